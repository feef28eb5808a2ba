"""https://uxlfoundation.github.io/oneDNN/dev_guide_batch_normalization.html"""

from __future__ import annotations

from paddlecnn.onednn.bindings import Arg, NormalizationFlags, PropKind, Query
from paddlecnn.onednn.builder import Builder
from paddlecnn.onednn.handles import MemoryDesc, PrimitiveDesc, Unsupported
from paddlecnn.onednn.memory import Value
from paddlecnn.onednn.operations import BatchNorm


class BatchNormKernel:
    """Batch statistics in training (biased variance, as Paddle's), running statistics otherwise."""

    def __init__(self, operation: BatchNorm, builder: Builder):
        self.operation, self.builder = operation, builder
        flag = NormalizationFlags
        self.flags = (
            (flag.USE_SCALE if operation.scale else flag.NONE)
            | (flag.USE_SHIFT if operation.shift else flag.NONE)
            | (flag.FUSE_NORM_RELU if operation.relu else flag.NONE)
            | (flag.USE_GLOBAL_STATS if operation.running else flag.NONE)
        )
        self.kept: dict[Arg, Value] = {}  # what the backward pass reads

    def forward(self, source: Value) -> Value:
        op, b = self.operation, self.builder
        if len(source.desc.shape) != 4 or source.desc.shape[1] != op.channels:
            raise Unsupported(f"an input of shape {list(source.desc.shape)}")
        self.hint = PrimitiveDesc.create(
            "batch_normalization_forward", b.prop_kind, source.desc, source.desc, op.epsilon, self.flags
        )
        result = b.value(source.desc)
        per_channel = MemoryDesc.plain([op.channels])
        if op.running:
            mean, variance = (b.parameter((op.layer, name), per_channel) for name in ("_mean", "_variance"))
        else:
            mean, variance = b.value(per_channel), b.value(per_channel)
            b.statistics.append((op.layer, op.momentum, mean, variance))
        arguments = {Arg.SRC: source, Arg.DST: result, Arg.MEAN: mean, Arg.VARIANCE: variance} | self.parameters()
        workspace = self.hint.query_bytes(Query.WORKSPACE_MD) if op.relu and b.training else None
        if workspace:
            arguments[Arg.WORKSPACE] = b.value(workspace)
        b.execute(b.forward, "batch normalization forward", self.hint, arguments)
        if b.training:
            self.kept = {arg: value for arg, value in arguments.items() if arg not in (Arg.DST, Arg.SHIFT)}
        else:
            source.release()
        return result

    def backward(self, gradient: Value, wanted: bool) -> Value:
        op, b = self.operation, self.builder
        source = self.kept[Arg.SRC]
        gradient = b.to_layout(b.backward, "gradient", gradient, source.desc)
        desc = PrimitiveDesc.create(
            "batch_normalization_backward",
            PropKind.BACKWARD,
            gradient.desc,
            gradient.desc,
            source.desc,
            op.epsilon,
            self.flags,
            self.hint,
        )
        result = b.value(gradient.desc)
        outputs = {Arg.DIFF_SRC: result}
        per_channel = MemoryDesc.plain([op.channels])
        if op.scale:
            outputs[Arg.DIFF_SCALE] = b.gradient((op.layer, "weight"), per_channel, op.scale_trains)
        if op.shift:
            outputs[Arg.DIFF_SHIFT] = b.gradient((op.layer, "bias"), per_channel, op.shift_trains)
        b.execute(b.backward, "batch normalization backward", desc, self.kept | {Arg.DIFF_DST: gradient} | outputs)
        for value in (*self.kept.values(), gradient, outputs.get(Arg.DIFF_SCALE), outputs.get(Arg.DIFF_SHIFT)):
            if value is not None:
                value.release()
        return result

    def parameters(self) -> dict[Arg, Value]:
        op, desc = self.operation, MemoryDesc.plain([self.operation.channels])
        named = ((Arg.SCALE, "weight", op.scale), (Arg.SHIFT, "bias", op.shift))
        return {arg: self.builder.parameter((op.layer, name), desc) for arg, name, there in named if there}
