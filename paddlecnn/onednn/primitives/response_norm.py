"""https://uxlfoundation.github.io/oneDNN/dev_guide_lrn.html"""

from __future__ import annotations

from paddlecnn.onednn.bindings import AlgKind, Arg, Query
from paddlecnn.onednn.builder import Builder
from paddlecnn.onednn.handles import PrimitiveDesc, Unsupported
from paddlecnn.onednn.memory import Value
from paddlecnn.onednn.operations import ResponseNorm


class ResponseNormKernel:
    """Across channels; oneDNN divides alpha by the size of the window."""

    source: Value  # for the backward pass

    def __init__(self, operation: ResponseNorm, builder: Builder):
        self.builder = builder
        self.constants = (operation.size, operation.alpha, operation.beta, operation.k)
        self.workspace: Value | None = None

    def forward(self, source: Value) -> Value:
        b = self.builder
        if len(source.desc.shape) != 4:
            raise Unsupported(f"an input of shape {list(source.desc.shape)}")
        self.hint = PrimitiveDesc.create(
            "lrn_forward", b.prop_kind, AlgKind.LRN_ACROSS_CHANNELS, source.desc, source.desc, *self.constants
        )
        result = b.value(source.desc)
        arguments = {Arg.SRC: source, Arg.DST: result}
        if b.training and (workspace := self.hint.query_bytes(Query.WORKSPACE_MD)):
            self.workspace = arguments[Arg.WORKSPACE] = b.value(workspace)
        b.execute(b.forward, "LRN forward", self.hint, arguments)
        if b.training:
            self.source = source
        else:
            source.release()
        return result

    def backward(self, gradient: Value, wanted: bool) -> Value:
        b = self.builder
        gradient = b.to_layout(b.backward, "gradient", gradient, self.source.desc)
        desc = PrimitiveDesc.create(
            "lrn_backward",
            AlgKind.LRN_ACROSS_CHANNELS,
            gradient.desc,
            gradient.desc,
            self.source.desc,
            *self.constants,
            self.hint,
        )
        result = b.value(gradient.desc)
        arguments = {Arg.SRC: self.source, Arg.DIFF_DST: gradient, Arg.DIFF_SRC: result}
        if self.workspace is not None:
            arguments[Arg.WORKSPACE] = self.workspace
        b.execute(b.backward, "LRN backward", desc, arguments)
        for value in (gradient, self.source, self.workspace):
            if value is not None:
                value.release()
        return result
