"""https://uxlfoundation.github.io/oneDNN/dev_guide_eltwise.html"""

from __future__ import annotations

from paddlecnn.onednn.bindings import AlgKind, Arg, PropKind
from paddlecnn.onednn.builder import Builder
from paddlecnn.onednn.handles import PrimitiveDesc
from paddlecnn.onednn.memory import Value
from paddlecnn.onednn.operations import Activation

ALGORITHMS = {"relu": AlgKind.RELU, "gelu_erf": AlgKind.GELU_ERF, "gelu_tanh": AlgKind.GELU_TANH}


class ActivationKernel:
    """A ReLU or GELU that no operation before it takes along."""

    source: Value  # for the backward pass

    def __init__(self, operation: Activation, builder: Builder):
        self.algorithm, self.builder = ALGORITHMS[operation.kind], builder

    def forward(self, source: Value) -> Value:
        b = self.builder
        self.hint = PrimitiveDesc.create(
            "eltwise_forward", b.prop_kind, self.algorithm, source.desc, source.desc, 0.0, 0.0
        )
        result = b.value(source.desc)
        b.execute(b.forward, "activation forward", self.hint, {Arg.SRC: source, Arg.DST: result})
        if b.training:
            self.source = source
        else:
            source.release()
        return result

    def backward(self, gradient: Value, wanted: bool) -> Value:
        b = self.builder
        gradient = b.to_layout(b.backward, "gradient", gradient, self.source.desc)
        desc = PrimitiveDesc.create(
            "eltwise_backward", self.algorithm, gradient.desc, gradient.desc, self.source.desc, 0.0, 0.0, self.hint
        )
        result = b.value(gradient.desc)
        b.execute(
            b.backward,
            "activation backward",
            desc,
            {Arg.SRC: self.source, Arg.DIFF_DST: gradient, Arg.DIFF_SRC: result},
        )
        self.source.release()
        gradient.release()
        return result


def relu_in_place(builder: Builder, value: Value) -> None:
    desc = PrimitiveDesc.create(
        "eltwise_forward", PropKind.FORWARD_INFERENCE, AlgKind.RELU, value.desc, value.desc, 0.0, 0.0
    )
    builder.execute(builder.forward, "ReLU forward", desc, {Arg.SRC: value, Arg.DST: value})


def relu_backward(builder: Builder, gradient: Value, result: Value) -> Value:
    """The gradient where `result`, the output of a ReLU (or of a max pool behind it), is positive; 0 elsewhere."""
    b, algorithm = builder, AlgKind.RELU_USE_DST_FOR_BWD
    gradient = b.to_layout(b.backward, "gradient", gradient, result.desc)
    hint = PrimitiveDesc.create(
        "eltwise_forward", PropKind.FORWARD_TRAINING, algorithm, result.desc, result.desc, 0.0, 0.0
    )
    desc = PrimitiveDesc.create(
        "eltwise_backward", algorithm, gradient.desc, gradient.desc, result.desc, 0.0, 0.0, hint
    )
    masked = b.value(gradient.desc) if gradient.lifetime is None else gradient  # never into the caller's tensor
    b.execute(b.backward, "ReLU backward", desc, {Arg.DST: result, Arg.DIFF_DST: gradient, Arg.DIFF_SRC: masked})
    return masked
