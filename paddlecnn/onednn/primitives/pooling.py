"""https://uxlfoundation.github.io/oneDNN/dev_guide_pooling.html"""

from __future__ import annotations

from paddlecnn.onednn.bindings import AlgKind, Arg, Query
from paddlecnn.onednn.handles import MemoryDesc, PrimitiveDesc, Unsupported
from paddlecnn.onednn.memory import Value
from paddlecnn.onednn.operations import Pair
from paddlecnn.onednn.primitives.eltwise import relu_backward
from paddlecnn.onednn.primitives.kernel import Kernel, require_shape

NO_DILATION = (0, 0)


class MaxPoolKernel(Kernel):
    result: Value | None = None  # for the gradient of the ReLU before the pool

    def forward(self, source: Value) -> Value:
        op, b = self.operation, self.builder
        require_shape(source, 4)
        shape, before, after = self.shapes(*source.desc.shape)
        self.geometry = (op.stride, op.kernel, NO_DILATION, before, after)
        self.source_desc = source.desc
        target = MemoryDesc.any(shape, source.desc.type)
        self.hint = PrimitiveDesc.create(
            "pooling_forward", b.prop_kind, AlgKind.POOLING_MAX, source.desc, target, *self.geometry
        )
        self.result_desc = self.hint.query(Query.DST_MD, shape, source.desc.type)
        result = self.execute_forward("pooling forward", {Arg.SRC: source, Arg.DST: b.value(self.result_desc)})
        if b.training and op.relu_gradient:
            self.result = result.retain()
        return result

    def backward(self, gradient: Value, wanted: bool) -> Value:
        b = self.builder
        if self.result is not None:
            gradient = relu_backward(b, gradient, self.result)
        gradient = b.to_layout(b.backward, "gradient", gradient, self.result_desc)
        desc = PrimitiveDesc.create(
            "pooling_backward", AlgKind.POOLING_MAX, self.source_desc, self.result_desc, *self.geometry, self.hint
        )
        return self.execute_backward("pooling backward", desc, gradient, self.source_desc)

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
