"""https://uxlfoundation.github.io/oneDNN/dev_guide_batch_normalization.html and .../dev_guide_lrn.html"""

from __future__ import annotations

from paddlecnn.onednn.bindings import AlgKind, Arg, NormalizationFlags, PropKind
from paddlecnn.onednn.handles import MemoryDesc, PrimitiveDesc
from paddlecnn.onednn.memory import Value
from paddlecnn.onednn.primitives.kernel import Kernel, require_shape


class BatchNormKernel(Kernel):
    """Batch statistics in training (biased variance, as in Paddle), running statistics otherwise."""

    def forward(self, source: Value) -> Value:
        op, b, flag = self.operation, self.builder, NormalizationFlags
        require_shape(source, 4, op.channels)
        self.flags = (
            (flag.USE_SCALE if op.scale else flag.NONE)
            | (flag.USE_SHIFT if op.shift else flag.NONE)
            | (flag.FUSE_NORM_RELU if op.relu else flag.NONE)
            | (flag.USE_GLOBAL_STATS if op.running else flag.NONE)
        )
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
        arguments = {Arg.SRC: source, Arg.DST: result, Arg.MEAN: mean, Arg.VARIANCE: variance}
        for arg, name, there in ((Arg.SCALE, "weight", op.scale), (Arg.SHIFT, "bias", op.shift)):
            if there:
                arguments[arg] = b.parameter((op.layer, name), per_channel)
        read_backward = (Arg.SRC, Arg.MEAN, Arg.VARIANCE, Arg.SCALE)
        return self.execute_forward("batch normalization forward", arguments, read_backward)

    def backward(self, gradient: Value, wanted: bool) -> Value:
        op, b, source = self.operation, self.builder, self.kept[Arg.SRC].desc
        gradient = b.to_layout(b.backward, "gradient", gradient, source)
        descs = (gradient.desc, gradient.desc, source)
        desc = PrimitiveDesc.create(
            "batch_normalization_backward", PropKind.BACKWARD, *descs, op.epsilon, self.flags, self.hint
        )
        per_channel = MemoryDesc.plain([op.channels])
        outputs = {}
        if op.scale:
            outputs[Arg.DIFF_SCALE] = b.gradient((op.layer, "weight"), per_channel, op.weight_trains)
        if op.shift:
            outputs[Arg.DIFF_SHIFT] = b.gradient((op.layer, "bias"), per_channel, op.bias_trains)
        return self.execute_backward("batch normalization backward", desc, gradient, gradient.desc, outputs)


class ResponseNormKernel(Kernel):
    """Across channels; oneDNN divides alpha by the size of the window."""

    def forward(self, source: Value) -> Value:
        op, b = self.operation, self.builder
        require_shape(source, 4)
        self.constants = (op.size, op.alpha, op.beta, op.k)
        self.hint = PrimitiveDesc.create(
            "lrn_forward", b.prop_kind, AlgKind.LRN_ACROSS_CHANNELS, source.desc, source.desc, *self.constants
        )
        return self.execute_forward("LRN forward", {Arg.SRC: source, Arg.DST: b.value(source.desc)}, [Arg.SRC])

    def backward(self, gradient: Value, wanted: bool) -> Value:
        b, source = self.builder, self.kept[Arg.SRC].desc
        gradient = b.to_layout(b.backward, "gradient", gradient, source)
        descs = (gradient.desc, gradient.desc, source)
        desc = PrimitiveDesc.create("lrn_backward", AlgKind.LRN_ACROSS_CHANNELS, *descs, *self.constants, self.hint)
        return self.execute_backward("LRN backward", desc, gradient, gradient.desc)
