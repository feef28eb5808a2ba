"""https://uxlfoundation.github.io/oneDNN/dev_guide_pooling.html"""

from __future__ import annotations

from paddlecnn.onednn.bindings import AlgKind, Arg, Query
from paddlecnn.onednn.builder import Builder
from paddlecnn.onednn.handles import MemoryDesc, PrimitiveDesc, Unsupported
from paddlecnn.onednn.memory import Value
from paddlecnn.onednn.operations import MaxPool, Pair
from paddlecnn.onednn.primitives.eltwise import relu_backward

NO_DILATION = (0, 0)


class MaxPoolKernel:
    def __init__(self, operation: MaxPool, builder: Builder):
        self.operation, self.builder = operation, builder
        self.workspace: Value | None = None
        self.result: Value | None = None

    def forward(self, source: Value) -> Value:
        op, b = self.operation, self.builder
        if len(source.desc.shape) != 4:
            raise Unsupported(f"an input of shape {list(source.desc.shape)}")
        shape, before, after = self.shapes(*source.desc.shape)
        self.geometry = (op.stride, op.kernel, NO_DILATION, before, after)
        self.source_desc = source.desc
        target = MemoryDesc.any(shape, source.desc.type)
        self.hint = PrimitiveDesc.create(
            "pooling_forward", b.prop_kind, AlgKind.POOLING_MAX, source.desc, target, *self.geometry
        )
        result = b.value(self.hint.query(Query.DST_MD, shape, source.desc.type))
        arguments = {Arg.SRC: source, Arg.DST: result}
        if b.training and (workspace := self.hint.query_bytes(Query.WORKSPACE_MD)):
            self.workspace = arguments[Arg.WORKSPACE] = b.value(workspace)
        b.execute(b.forward, "pooling forward", self.hint, arguments)
        source.release()
        if b.training and op.relu_gradient:
            self.result = result.retain()
        self.result_desc = result.desc
        return result

    def backward(self, gradient: Value, wanted: bool) -> Value:
        b = self.builder
        if self.result is not None:
            gradient = relu_backward(b, gradient, self.result)
            self.result.release()
        gradient = b.to_layout(b.backward, "gradient", gradient, self.result_desc)
        desc = PrimitiveDesc.create(
            "pooling_backward", AlgKind.POOLING_MAX, self.source_desc, self.result_desc, *self.geometry, self.hint
        )
        result = b.value(self.source_desc)
        arguments = {Arg.DIFF_DST: gradient, Arg.DIFF_SRC: result}
        if self.workspace is not None:
            arguments[Arg.WORKSPACE] = self.workspace
        b.execute(b.backward, "pooling backward", desc, arguments)
        gradient.release()
        if self.workspace is not None:
            self.workspace.release()
        return result

    def shapes(self, samples: int, channels: int, height: int, width: int) -> tuple[tuple[int, ...], Pair, Pair]:
        """Output shape and padding before and after; in ceil mode the last window may hang over the edge."""
        op = self.operation
        before, after = op.padding.resolve((height, width), op.kernel, op.stride)
        sides, reach = [], []
        for n, k, s, p, q in zip((height, width), op.kernel, op.stride, before, after, strict=True):
            side = (n + p + q - k + (s - 1 if op.ceil_mode else 0)) // s + 1
            sides.append(side)
            reach.append((side - 1) * s + k - n - p)
            if side < 1 or max(p, reach[-1]) >= k:
                raise Unsupported("a pooling window that sees nothing but padding")
        return (samples, channels, *sides), before, (max(0, reach[0]), max(0, reach[1]))
