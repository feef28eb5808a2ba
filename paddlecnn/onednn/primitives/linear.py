"""https://uxlfoundation.github.io/oneDNN/dev_guide_matmul.html

y = x W + b in plain layouts. If activations are bfloat16, x, W and the incoming gradient are rounded to it, and y,
sums and gradients of parameters are float32: with AVX512-BF16 the three products and the rounding take 0.56 of the time
of float32 at 4096 to 4096 and batch 128, and 0.75 at 9216 to 4096 and batch 32.
"""

from __future__ import annotations

from paddlecnn.onednn.bindings import Arg, DataType
from paddlecnn.onednn.builder import Builder, Program
from paddlecnn.onednn.handles import MemoryDesc, PrimitiveDesc
from paddlecnn.onednn.memory import Value
from paddlecnn.onednn.primitives.eltwise import relu_backward
from paddlecnn.onednn.primitives.kernel import Kernel, require_shape


class LinearKernel(Kernel):
    source: Value  # for the backward pass
    result: Value | None = None  # for the gradient of the ReLU

    def forward(self, source: Value) -> Value:
        op, b = self.operation, self.builder
        require_shape(source, 2, op.weight[0])
        self.samples = source.desc.shape[0]
        source = b.to_layout(b.forward, "linear source", source, b.plain(source.desc.shape))
        weights = b.parameter((op.layer, "weight"), MemoryDesc.plain(op.weight))
        self.weights = b.to_layout(b.forward, "linear weights", weights, b.plain(op.weight))
        bias = b.parameter((op.layer, "bias"), MemoryDesc.plain([1, op.weight[1]])) if op.bias else None
        result = b.value(MemoryDesc.plain([self.samples, op.weight[1]]))
        matmul(b, b.forward, "linear forward", source, self.weights, result, bias, relu=op.relu)
        if not b.training:
            self.weights.release()
        if b.training and op.weight_trains:
            self.source = source
        else:
            source.release()
        if b.training and op.relu:
            self.result = result.retain()
        return result

    def backward(self, gradient: Value, wanted: bool) -> Value | None:
        op, b = self.operation, self.builder
        inputs, outputs = op.weight
        gradient = b.to_layout(b.backward, "gradient", gradient, b.plain([self.samples, outputs], DataType.F32))
        if self.result is not None:
            gradient = relu_backward(b, gradient, self.result)
        gradient = b.to_layout(b.backward, "linear gradient", gradient, b.plain([self.samples, outputs]))
        if op.weight_trains:
            transposed = self.source.view([inputs, self.samples], [1, inputs])
            target = b.gradient((op.layer, "weight"), MemoryDesc.plain(op.weight), wanted=True)
            matmul(b, b.backward, "linear backward weights", transposed, gradient, target)
            self.source.release()
        if op.bias_trains:
            target = b.gradient((op.layer, "bias"), MemoryDesc.plain([1, outputs]), wanted=True)
            matmul(b, b.backward, "linear backward bias", b.ones(self.samples, b.activation), gradient, target)
        result = None
        if wanted:
            result = b.value(MemoryDesc.plain([self.samples, inputs]))
            transposed = self.weights.view([outputs, inputs], [1, outputs])
            matmul(b, b.backward, "linear backward data", gradient, transposed, result)
        b.release(self.weights, gradient)
        return result


def matmul(
    b: Builder,
    program: Program,
    label: str,
    left: Value,
    right: Value,
    result: Value,
    bias: Value | None = None,
    *,
    relu: bool = False,
    accumulate: bool = False,
) -> None:
    """result = left right + bias, or added to what `result` holds; then ReLU."""
    desc = PrimitiveDesc.create(
        "matmul", left.desc, right.desc, bias.desc if bias else None, result.desc, relu=relu, accumulate=accumulate
    )
    arguments = {Arg.SRC: left, Arg.WEIGHTS: right, Arg.DST: result}
    if bias is not None:
        arguments[Arg.BIAS] = bias
    b.execute(program, label, desc, arguments)
