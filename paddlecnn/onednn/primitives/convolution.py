"""https://uxlfoundation.github.io/oneDNN/dev_guide_convolution.html

Forward, data gradient and weight gradient each choose their own layouts ("any"); weights are reordered from Paddle's
[O, I, H, W] at each call, since an optimizer may have changed them.
"""

from __future__ import annotations

from paddlecnn.onednn.bindings import AlgKind, Arg, DataType, Query
from paddlecnn.onednn.handles import MemoryDesc, PrimitiveDesc, Unsupported
from paddlecnn.onednn.memory import Value
from paddlecnn.onednn.primitives.eltwise import relu_backward, relu_in_place
from paddlecnn.onednn.primitives.kernel import Kernel, require_shape
from paddlecnn.onednn.primitives.taps import SMALL, SMALL_BFLOAT16_WEIGHTS, Taps, hwnc


class ConvolutionKernel(Kernel):
    source: Value  # for the gradient of the weights
    tap_weights: Value | None = None  # for the gradient of the source
    result: Value | None = None  # for the gradient of the ReLU

    def forward(self, source: Value) -> Value:
        op, b = self.operation, self.builder
        require_shape(source, 4, op.weight[1] * op.groups)
        self.set_geometry(*source.desc.shape)
        descs = (self.any(self.input_shape), self.any(self.weight_shape), self.bias_desc, self.any(self.output_shape))
        self.hint = PrimitiveDesc.create(
            "convolution_forward", b.prop_kind, AlgKind.CONVOLUTION_DIRECT, *descs, *self.geometry, relu=op.relu
        )
        if self.taps.suit(SMALL):
            return self.forward_by_taps(source)
        source = b.to_layout(b.forward, "convolution source", source, self.query(self.hint, Query.SRC_MD))
        weights = b.borrow(b.forward, "weights", self.weights, self.query(self.hint, Query.WEIGHTS_MD))
        result = b.value(self.query(self.hint, Query.DST_MD))
        arguments = {Arg.SRC: source, Arg.WEIGHTS: weights, Arg.DST: result}
        if self.bias_desc:
            arguments[Arg.BIAS] = b.parameter((op.layer, "bias"), self.bias_desc)
        b.execute(b.forward, "convolution forward", self.hint, arguments)
        weights.release()
        return self.keep_for_backward(source, result)

    def forward_by_taps(self, source: Value) -> Value:
        op, b = self.operation, self.builder
        source = b.to_layout(b.forward, "convolution source", source, hwnc(self.input_shape, b.activation))
        weights = b.borrow(b.forward, "weights", self.weights, self.taps.weights_desc(b.activation))
        bias = b.parameter((op.layer, "bias"), MemoryDesc.plain([1, 1, op.weight[0]])) if op.bias else None
        result = self.taps.forward(b, source, weights, bias)
        if b.training:
            self.tap_weights = weights
        else:
            weights.release()
        if op.relu:
            relu_in_place(b, result)
        result = b.to_layout(b.forward, "convolution result", result, self.query(self.hint, Query.DST_MD))
        return self.keep_for_backward(source, result)

    def keep_for_backward(self, source: Value, result: Value) -> Value:
        """The result. Keeps what the backward pass reads, and releases the source if it does not read it."""
        op, training = self.operation, self.builder.training
        if training and op.trained:
            self.source = source
        else:
            source.release()
        if training and op.relu_gradient:
            self.result = result.retain()
        return result

    def backward(self, gradient: Value, wanted: bool) -> Value | None:
        """The gradient of the source if it is wanted. Weight and bias gradients go to Paddle's tensors."""
        if self.result is not None:
            gradient = relu_backward(self.builder, gradient, self.result)
        small = SMALL_BFLOAT16_WEIGHTS if self.builder.activation is DataType.BF16 else SMALL
        if self.operation.trained:
            by_taps = self.taps.suit(small)
            gradient = self.backward_weights_by_taps(gradient) if by_taps else self.backward_weights(gradient)
            self.source.release()
        result = None
        if not wanted:
            gradient.release()
        elif self.tap_weights is None:
            result = self.backward_data(gradient)
        else:
            result = self.taps.backward_data(self.builder, gradient, self.tap_weights)
        self.builder.release(self.tap_weights)
        return result

    def backward_weights(self, gradient: Value) -> Value:
        op, b = self.operation, self.builder
        desc = self.choose_backward_weights()
        source = b.borrow(b.backward, "convolution source", self.source, self.query(desc, Query.SRC_MD))
        gradient = b.to_layout(b.backward, "gradient", gradient, self.query(desc, Query.DIFF_DST_MD))
        target = b.gradient((op.layer, "weight"), self.plain_weights, op.weight_trains)
        layout = desc.query(Query.DIFF_WEIGHTS_MD, self.weight_shape, DataType.F32)
        direct = layout.same_layout(target.desc)
        result = target if direct else b.value(layout)
        arguments = {Arg.SRC: source, Arg.DIFF_DST: gradient, Arg.DIFF_WEIGHTS: result}
        bias = None
        if self.bias_desc:
            bias = arguments[Arg.DIFF_BIAS] = b.gradient((op.layer, "bias"), self.bias_desc, op.bias_trains)
        b.execute(b.backward, "convolution backward weights", desc, arguments)
        if not direct:
            b.reorder(b.backward, "weight gradient", result, target)
            result.release()
        b.release(source, target, bias)
        return gradient

    def backward_weights_by_taps(self, gradient: Value) -> Value:
        op, b = self.operation, self.builder
        gradient = b.to_layout(b.backward, "gradient", gradient, hwnc(self.output_shape, b.activation))
        source = b.borrow(b.backward, "convolution source", self.source, hwnc(self.input_shape, b.activation))
        if op.weight_trains:
            result = self.taps.backward_weights(b, source, gradient)
            target = b.gradient((op.layer, "weight"), self.plain_weights, wanted=True)
            b.reorder(b.backward, "weight gradient", result, target)
            result.release()
        source.release()
        if op.bias_trains:
            target = b.gradient((op.layer, "bias"), MemoryDesc.plain([1, op.weight[0]]), wanted=True)
            self.taps.backward_bias(b, gradient, target)
        return gradient

    def choose_backward_weights(self) -> PrimitiveDesc:
        """The primitive for the source in its present layout or, if there is none, in the layout it prefers."""

        outputs = (MemoryDesc.any(self.weight_shape, DataType.F32), self.bias_desc, self.any(self.output_shape))

        def create(source: MemoryDesc) -> PrimitiveDesc:
            name, algorithm = "convolution_backward_weights", AlgKind.CONVOLUTION_DIRECT
            return PrimitiveDesc.create(name, algorithm, source, *outputs, *self.geometry, self.hint)

        try:
            return create(self.source.desc)
        except Unsupported:
            return create(self.any(self.input_shape))

    def backward_data(self, gradient: Value) -> Value:
        b = self.builder
        descs = (self.any(self.input_shape), self.any(self.weight_shape), self.any(self.output_shape))
        name, algorithm = "convolution_backward_data", AlgKind.CONVOLUTION_DIRECT
        desc = PrimitiveDesc.create(name, algorithm, *descs, *self.geometry, self.hint)
        gradient = b.to_layout(b.backward, "gradient", gradient, self.query(desc, Query.DIFF_DST_MD))
        weights = b.borrow(b.backward, "weights", self.weights, self.query(desc, Query.WEIGHTS_MD))
        result = b.value(self.query(desc, Query.DIFF_SRC_MD))
        arguments = {Arg.DIFF_DST: gradient, Arg.WEIGHTS: weights, Arg.DIFF_SRC: result}
        b.execute(b.backward, "convolution backward data", desc, arguments)
        b.release(weights, gradient)
        return result

    def set_geometry(self, samples: int, channels: int, height: int, width: int) -> None:
        op = self.operation
        before, after = op.padding.resolve((height, width), op.weight[2:], op.stride)
        sides = zip((height, width), op.weight[2:], op.stride, op.dilation, before, after, strict=True)
        rows, columns = ((n + p + q - d * (k - 1) - 1) // s + 1 for n, k, s, d, p, q in sides)
        if min(rows, columns) < 1:
            raise Unsupported(f"an input of {height}x{width} is smaller than the kernel")
        self.input_shape, self.output_shape = (samples, channels, height, width), (samples, op.weight[0], rows, columns)
        self.geometry = (op.stride, tuple(d - 1 for d in op.dilation), before, after)
        grouped = (op.groups, op.weight[0] // op.groups, *op.weight[1:])
        self.weight_shape: tuple[int, ...] = grouped if op.groups > 1 else op.weight
        self.plain_weights = MemoryDesc.plain(self.weight_shape)
        self.bias_desc = MemoryDesc.plain(op.weight[:1]) if op.bias else None
        self.taps = Taps(op, self.input_shape, self.output_shape, before)
        self.weights = self.builder.parameter((op.layer, "weight"), self.plain_weights)

    def any(self, shape: tuple[int, ...]) -> MemoryDesc:
        return MemoryDesc.any(shape, self.builder.activation)

    def query(self, desc: PrimitiveDesc, what: Query) -> MemoryDesc:
        shape = {
            Query.SRC_MD: self.input_shape,
            Query.DIFF_SRC_MD: self.input_shape,
            Query.DST_MD: self.output_shape,
            Query.DIFF_DST_MD: self.output_shape,
            Query.WEIGHTS_MD: self.weight_shape,
        }[what]
        return desc.query(what, shape, self.builder.activation)
