"""A plan: the forward and the backward program of a run of operations for one input shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ctypes import c_float
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from paddle import Tensor

from paddlecnn.onednn.bindings import DataType
from paddlecnn.onednn.builder import Builder
from paddlecnn.onednn.handles import MemoryDesc, Unsupported
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
from paddlecnn.onednn.primitives.convolution import ConvolutionKernel
from paddlecnn.onednn.primitives.eltwise import ActivationKernel
from paddlecnn.onednn.primitives.kernel import FlattenKernel, Kernel
from paddlecnn.onednn.primitives.linear import LinearKernel
from paddlecnn.onednn.primitives.normalization import BatchNormKernel, ResponseNormKernel
from paddlecnn.onednn.primitives.pooling import MaxPoolKernel

KERNELS: dict[type[Operation], type[Kernel]] = {
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
    """An operation that is left to Paddle, with the position of its layer in the chain."""

    def __init__(self, layer: int, reason: str):
        super().__init__(reason)
        self.layer = layer


@dataclass(frozen=True)
class PlanKey:
    """Everything that a plan depends on.

    input_shape: of a contiguous float32 tensor; activation: element type between the operations
    training: whether a backward pass follows; input_gradient: whether it ends with the gradient of the input
    """

    operations: tuple[Operation, ...]
    input_shape: tuple[int, ...]
    activation: DataType
    training: bool
    input_gradient: bool


class Plan:
    """Programs built once and run many times, one run at a time: the buffer holds activations until the backward pass.

    Raises UnsupportedOperation if an operation cannot be run.
    """

    def __init__(self, key: PlanKey):
        b = Builder(key.activation, key.training)
        self.input, self.output = Slot(), Slot()
        self.output_gradient, self.input_gradient = Slot(), Slot() if key.input_gradient else None
        kernels: list[tuple[Operation, Kernel]] = []
        value = Value(MemoryDesc.plain(key.input_shape), self.input)
        for operation in key.operations:
            kernel = KERNELS[type(operation)](operation, b)
            # A convolution and a linear layer reorder the input themselves.
            if value.lifetime is None and not isinstance(operation, (Convolution, Linear)):
                value = b.to_layout(b.forward, "input", value, b.plain(value.desc.shape))
            value = attempt(operation, partial(kernel.forward, value))
            kernels.append((operation, kernel))
        self.output_shape = value.desc.shape
        result = Value(MemoryDesc.plain(self.output_shape), self.output)
        b.reorder(b.forward, "output", value, result)
        value.release()
        if key.training:
            self.build_backward(b, kernels)
        self.forward, self.backward = b.forward, b.backward
        self.parameters, self.gradients, self.statistics = b.inputs, b.gradients, b.statistics
        self.buffer, self.constants = b.buffer, b.constants
        self.buffer_bytes = b.arena.size + ALIGNMENT  # a buffer may begin at any address

    def build_backward(self, b: Builder, kernels: list[tuple[Operation, Kernel]]) -> None:
        gradient = Value(MemoryDesc.plain(self.output_shape), self.output_gradient)
        for position in reversed(range(len(kernels))):
            operation, kernel = kernels[position]
            wanted = self.input_gradient is not None or any(earlier.trained for earlier, _ in kernels[:position])
            of_source = attempt(operation, partial(kernel.backward, gradient, wanted))
            if not wanted or of_source is None:
                return
            gradient = of_source
        if self.input_gradient is not None:
            target = Value(MemoryDesc.plain(gradient.desc.shape), self.input_gradient)
            b.reorder(b.backward, "input gradient", gradient, target)

    def run_forward(self, buffer: np.ndarray, source: Tensor, result: Tensor, tensors: Mapping[Name, Tensor]) -> None:
        """Run the forward program on contiguous float32 tensors. tensors: parameters and running statistics"""
        self.bind(buffer, tensors)
        self.input.bind(source.data_ptr())
        self.output.bind(result.data_ptr())
        self.forward.run()

    def run_backward(
        self,
        buffer: np.ndarray,
        source: Tensor,
        output_gradient: Tensor,
        input_gradient: Tensor | None,
        tensors: Mapping[Name, Tensor],
        gradients: Mapping[Name, Tensor],
    ) -> None:
        self.bind(buffer, tensors)
        self.input.bind(source.data_ptr())
        self.output_gradient.bind(output_gradient.data_ptr())
        if self.input_gradient is not None and input_gradient is not None:
            self.input_gradient.bind(input_gradient.data_ptr())
        for name, slot in self.gradients.items():
            slot.bind(gradients[name].data_ptr())
        self.backward.run()

    def bind(self, buffer: np.ndarray, tensors: Mapping[Name, Tensor]) -> None:
        self.buffer.bind(-(-buffer.ctypes.data // ALIGNMENT) * ALIGNMENT)
        for name, slot in self.parameters.items():
            slot.bind(tensors[name].data_ptr())

    def batch_statistics(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Mean and variance of each batch normalisation of `statistics` in the last forward pass."""
        base = self.buffer.address
        return [
            (floats(base + mean.offset, mean.desc.shape[0]), floats(base + variance.offset, mean.desc.shape[0]))
            for _, _, mean, variance in self.statistics
        ]


def floats(address: int, count: int) -> np.ndarray:
    """The float32 numbers at an address, without a copy."""
    return np.ctypeslib.as_array((c_float * count).from_address(address))


Result = TypeVar("Result")


def attempt(operation: Operation, build: Callable[[], Result]) -> Result:
    try:
        return build()
    except Unsupported as error:
        raise UnsupportedOperation(operation.layer, str(error)) from error
