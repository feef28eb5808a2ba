"""A plan: the forward and the backward program of a run of operations for one input shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ctypes import c_float

import numpy as np

from paddlecnn.onednn.bindings import DataType
from paddlecnn.onednn.builder import Builder, Unsupported
from paddlecnn.onednn.handles import MemoryDesc
from paddlecnn.onednn.memory import ALIGNMENT, Slot, Value
from paddlecnn.onednn.operations import (
    Activation,
    BatchNorm,
    Convolution,
    Flatten,
    Linear,
    MaxPool,
    Operation,
    ResponseNorm,
)  # fmt: skip
from paddlecnn.onednn.primitives.batch_norm import BatchNormKernel
from paddlecnn.onednn.primitives.convolution import ConvolutionKernel
from paddlecnn.onednn.primitives.eltwise import ActivationKernel
from paddlecnn.onednn.primitives.flatten import FlattenKernel
from paddlecnn.onednn.primitives.linear import LinearKernel
from paddlecnn.onednn.primitives.pooling import MaxPoolKernel
from paddlecnn.onednn.primitives.response_norm import ResponseNormKernel

KERNELS = {
    Convolution: ConvolutionKernel,
    Linear: LinearKernel,
    BatchNorm: BatchNormKernel,
    MaxPool: MaxPoolKernel,
    ResponseNorm: ResponseNormKernel,
    Activation: ActivationKernel,
    Flatten: FlattenKernel,
}

Name = tuple[int, str]  # position of a layer, its attribute


class UnsupportedOperation(Unsupported):
    """Names the layer that stays Paddle's: its position in the chain."""

    def __init__(self, layer: int, reason: str):
        super().__init__(reason)
        self.layer = layer


class Plan:
    """Built once, run many times; one run at a time, since its buffer holds the activations until the backward pass.

    input_shape: of a contiguous float32 tensor; activation: element type between the operations
    training: whether a backward pass follows; input_gradient: whether it ends with the gradient of the input
    Raises UnsupportedOperation if an operation cannot be run.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        input_shape: Sequence[int],
        *,
        training: bool,
        input_gradient: bool,
        activation: DataType,
    ):
        b = Builder(activation, training)
        self.input, self.output = Slot(), Slot()
        self.output_gradient, self.input_gradient = Slot(), Slot() if input_gradient else None
        kernels = []
        value = Value(MemoryDesc.plain(input_shape), self.input)
        for operation in operations:
            kernel = KERNELS[type(operation)](operation, b)
            value = attempt(operation, kernel.forward, self.prepare(b, operation, value))
            kernels.append((operation, kernel))
        self.output_shape = value.desc.shape
        result = Value(MemoryDesc.plain(self.output_shape), self.output)
        b.reorder(b.forward, "output", value, result)
        value.release()
        if training:
            self.build_backward(b, kernels)
        self.forward, self.backward = b.forward, b.backward
        self.parameters, self.gradients, self.statistics = b.inputs, b.gradients, b.statistics
        self.buffer, self.constants = b.buffer, b.constants
        self.buffer_bytes = b.arena.size + ALIGNMENT  # a buffer may begin anywhere

    @staticmethod
    def prepare(b: Builder, operation: Operation, value: Value) -> Value:
        """The input as activations; a convolution and a linear layer reorder it themselves."""
        if isinstance(operation, (Convolution, Linear)) or value.desc.type == b.activation:
            return value
        if value.lifetime is None:
            return b.to_layout(b.forward, "input", value, b.plain(value.desc.shape))
        return value

    def build_backward(self, b: Builder, kernels: list[tuple[Operation, object]]) -> None:
        gradient = Value(MemoryDesc.plain(self.output_shape), self.output_gradient)
        for position in reversed(range(len(kernels))):
            operation, kernel = kernels[position]
            wanted = self.input_gradient is not None or any(earlier.trains for earlier, _ in kernels[:position])
            gradient = attempt(operation, lambda g, k=kernel, w=wanted: k.backward(g, w), gradient)
            if not wanted:
                break
        if self.input_gradient is not None:
            target = Value(MemoryDesc.plain(gradient.desc.shape), self.input_gradient)
            b.reorder(b.backward, "input gradient", gradient, target)

    def run_forward(self, buffer: np.ndarray, source: int, result: int, addresses: Mapping[Name, int]) -> None:
        """source, result, addresses: of contiguous float32 tensors: input, output, parameters and statistics."""
        self.bind(buffer, addresses)
        self.input.bind(source)
        self.output.bind(result)
        self.forward.run()

    def run_backward(
        self,
        buffer: np.ndarray,
        source: int,
        output_gradient: int,
        input_gradient: int | None,
        addresses: Mapping[Name, int],
        gradients: Mapping[Name, int],
    ) -> None:
        self.bind(buffer, addresses)
        self.input.bind(source)
        self.output_gradient.bind(output_gradient)
        if self.input_gradient is not None:
            self.input_gradient.bind(input_gradient)
        for name, slot in self.gradients.items():
            slot.bind(gradients[name])
        self.backward.run()

    def bind(self, buffer: np.ndarray, addresses: Mapping[Name, int]) -> None:
        self.buffer.bind(-(-buffer.ctypes.data // ALIGNMENT) * ALIGNMENT)
        for name, slot in self.parameters.items():
            slot.bind(addresses[name])

    def batch_statistics(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Mean and variance of each batch normalisation of `statistics` in the last forward pass."""
        base = self.buffer.address
        return [
            (floats(base + mean.offset, mean.desc.shape[0]), floats(base + variance.offset, mean.desc.shape[0]))
            for _, _, mean, variance in self.statistics
        ]


def floats(address: int, count: int) -> np.ndarray:
    """The float32 numbers at an address, without a copy."""
    return np.frombuffer((c_float * count).from_address(address), np.float32)


def attempt(operation: Operation, build: Callable[[Value], Value | None], value: Value) -> Value | None:
    try:
        return build(value)
    except Unsupported as error:
        raise UnsupportedOperation(operation.layer, str(error)) from error
