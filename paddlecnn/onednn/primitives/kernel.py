"""The base of the kernels of all operations, and the flattening of maps, which needs no primitive of its own."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from paddlecnn.onednn.bindings import Arg, Query
from paddlecnn.onednn.builder import Builder
from paddlecnn.onednn.handles import MemoryDesc, PrimitiveDesc, Unsupported, row_major_strides
from paddlecnn.onednn.memory import Value


class Kernel:
    """The primitives of one operation. A method appends to a program and ends the caller's use of its argument."""

    hint: PrimitiveDesc  # of the forward primitive, which the backward primitives refer to

    def __init__(self, operation: Any, builder: Builder):
        self.operation, self.builder = operation, builder
        self.kept: dict[Arg, Value] = {}  # arguments of the forward primitive that the backward pass reads

    def forward(self, source: Value) -> Value:
        raise NotImplementedError

    def backward(self, gradient: Value, wanted: bool) -> Value | None:
        """The gradient of the source, if it is wanted."""
        raise NotImplementedError

    def execute_forward(self, label: str, arguments: dict[Arg, Value], keep: Sequence[Arg] = ()) -> Value:
        """The result of the primitive of `hint`. In training, the arguments `keep` and its workspace are kept."""
        b = self.builder
        if b.training and (workspace := self.hint.query_bytes(Query.WORKSPACE_MD)):
            arguments[Arg.WORKSPACE] = b.value(workspace)
        b.execute(b.forward, label, self.hint, arguments)
        if b.training:
            self.kept = {arg: value for arg, value in arguments.items() if arg in (*keep, Arg.WORKSPACE)}
        if Arg.SRC not in self.kept:
            arguments[Arg.SRC].release()
        return arguments[Arg.DST]

    def execute_backward(
        self, label: str, desc: PrimitiveDesc, gradient: Value, source: MemoryDesc, more: dict[Arg, Value] | None = None
    ) -> Value:
        """The gradient of the source in the layout `source`. more: further arguments"""
        b, more = self.builder, more or {}
        result = b.value(source)
        arguments = self.kept | {Arg.DIFF_DST: gradient, Arg.DIFF_SRC: result} | more
        b.execute(b.backward, label, desc, arguments)
        b.release(*self.kept.values(), gradient, *more.values())
        return result


def require_shape(source: Value, dimensions: int, channels: int | None = None) -> None:
    """Raise Unsupported for an input with another number of dimensions or channels."""
    shape = source.desc.shape
    if len(shape) != dimensions or channels not in (None, shape[1]):
        raise Unsupported(f"an input of shape {list(shape)}")


class FlattenKernel(Kernel):
    """[N, C, H, W] to [N, C * H * W]: a reorder to Paddle's layout, where the two are the same memory."""

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
