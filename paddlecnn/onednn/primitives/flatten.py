"""[N, C, H, W] to [N, C * H * W]: a reorder to Paddle's layout, where the two are the same memory."""

from __future__ import annotations

from math import prod

from paddlecnn.onednn.builder import Builder
from paddlecnn.onednn.handles import row_major_strides
from paddlecnn.onednn.memory import Value
from paddlecnn.onednn.operations import Flatten


class FlattenKernel:
    def __init__(self, operation: Flatten, builder: Builder):
        self.builder = builder

    def forward(self, source: Value) -> Value:
        b = self.builder
        self.shape = source.desc.shape
        source = b.to_layout(b.forward, "flatten", source, b.plain(self.shape, source.desc.type))
        flat = [self.shape[0], prod(self.shape[1:])]
        return source.view(flat, row_major_strides(flat))

    def backward(self, gradient: Value, wanted: bool) -> Value:
        b = self.builder
        gradient = b.to_layout(b.backward, "flatten", gradient, b.plain(gradient.desc.shape, gradient.desc.type))
        return gradient.view(self.shape, row_major_strides(self.shape))
