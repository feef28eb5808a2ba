"""https://uxlfoundation.github.io/oneDNN/dev_guide_eltwise.html"""

from __future__ import annotations

from paddlecnn.onednn.bindings import AlgKind, Arg, PropKind
from paddlecnn.onednn.builder import Builder
from paddlecnn.onednn.handles import MemoryDesc, PrimitiveDesc
from paddlecnn.onednn.memory import Value
from paddlecnn.onednn.primitives.kernel import Kernel

ALGORITHMS = {"relu": AlgKind.RELU, "gelu_erf": AlgKind.GELU_ERF, "gelu_tanh": AlgKind.GELU_TANH}


class ActivationKernel(Kernel):
    """A ReLU or GELU that is not fused into the operation before it."""

    def forward(self, source: Value) -> Value:
        b = self.builder
        self.hint = create_forward(b.prop_kind, ALGORITHMS[self.operation.kind], source.desc)
        return self.execute_forward("activation forward", {Arg.SRC: source, Arg.DST: b.value(source.desc)}, [Arg.SRC])

    def backward(self, gradient: Value, wanted: bool) -> Value:
        b, source = self.builder, self.kept[Arg.SRC].desc
        gradient = b.to_layout(b.backward, "gradient", gradient, source)
        desc = create_backward(ALGORITHMS[self.operation.kind], gradient.desc, source, self.hint)
        return self.execute_backward("activation backward", desc, gradient, gradient.desc)


def create_forward(prop_kind: PropKind, algorithm: AlgKind, desc: MemoryDesc) -> PrimitiveDesc:
    return PrimitiveDesc.create("eltwise_forward", prop_kind, algorithm, desc, desc, 0.0, 0.0)


def create_backward(algorithm: AlgKind, gradient: MemoryDesc, data: MemoryDesc, hint: PrimitiveDesc) -> PrimitiveDesc:
    return PrimitiveDesc.create("eltwise_backward", algorithm, gradient, gradient, data, 0.0, 0.0, hint)


def relu_in_place(builder: Builder, value: Value) -> None:
    desc = create_forward(PropKind.FORWARD_INFERENCE, AlgKind.RELU, value.desc)
    builder.execute(builder.forward, "ReLU forward", desc, {Arg.SRC: value, Arg.DST: value})


def relu_backward(builder: Builder, gradient: Value, result: Value) -> Value:
    """The gradient where `result`, the output of a ReLU (or of a max pool after it), is positive; 0 elsewhere.

    Ends the caller's use of both.
    """
    b, algorithm = builder, AlgKind.RELU_USE_DST_FOR_BWD
    gradient = b.to_layout(b.backward, "gradient", gradient, result.desc)
    hint = create_forward(PropKind.FORWARD_TRAINING, algorithm, result.desc)
    desc = create_backward(algorithm, gradient.desc, result.desc, hint)
    masked = b.value(gradient.desc) if gradient.lifetime is None else gradient  # never write to the caller's tensor
    b.execute(b.backward, "ReLU backward", desc, {Arg.DST: result, Arg.DIFF_DST: gradient, Arg.DIFF_SRC: masked})
    result.release()
    return masked
