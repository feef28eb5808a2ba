"""Which of Paddle's layers the engine can run: each as an operation, or the reason why it stays Paddle's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import paddle
from paddle import nn

from paddlecnn.onednn.operations import (
    Activation,
    BatchNorm,
    Convolution,
    Flatten,
    Identity,
    Linear,
    MaxPool,
    Operation,
    Padding,
    Pair,
    ResponseNorm,
)  # fmt: skip


class NotRunnable(Exception):
    """The layer stays Paddle's; the message says why."""


def describe(layer: nn.Layer, index: int) -> Operation:
    """The operation of one layer as it is now: mode, frozen parameters. Raises NotRunnable."""
    if layer._forward_pre_hooks or layer._forward_post_hooks:
        raise NotRunnable("it has forward hooks")
    try:
        describe_type = DESCRIBERS.get(type(layer)) or (describe_response_norm if is_response_norm(layer) else None)
        if describe_type is None:
            raise NotRunnable(f"oneDNN engine: no {type(layer).__name__}")
        return describe_type(layer, index)
    except AttributeError as error:  # another Paddle keeps its settings elsewhere
        raise NotRunnable(f"its settings are not found: {error}") from error


def describe_convolution(layer: nn.Conv2D, index: int) -> Convolution:
    if layer._data_format != "NCHW" or layer._padding_mode != "zeros":
        raise NotRunnable("only NCHW with zero padding")
    padding = parse_padding(layer._padding)
    dilation = pair(layer._dilation)
    if padding.same and dilation != (1, 1):
        raise NotRunnable("padding SAME with dilation")
    return Convolution(
        index,
        tuple(layer.weight.shape),
        pair(layer._stride),
        dilation,
        padding,
        layer._groups,
        layer.bias is not None,
        trains(layer.weight),
        trains(layer.bias),
    )


def describe_linear(layer: nn.Linear, index: int) -> Linear:
    return Linear(index, tuple(layer.weight.shape), layer.bias is not None, trains(layer.weight), trains(layer.bias))


def describe_batch_norm(layer: nn.BatchNorm2D, index: int) -> BatchNorm:
    if layer._data_format not in ("NCHW", "NC"):
        raise NotRunnable("only NCHW")
    running = not layer.training if layer._use_global_stats is None else layer._use_global_stats
    if not running and not layer.training:
        raise NotRunnable("batch statistics in evaluation")
    return BatchNorm(
        index,
        layer._mean.shape[0],
        layer._epsilon,
        layer._momentum,
        running,
        layer.weight is not None,
        layer.bias is not None,
        trains(layer.weight),
        trains(layer.bias),
    )


def describe_max_pool(layer: nn.MaxPool2D, index: int) -> MaxPool:
    if layer.data_format != "NCHW" or layer.return_mask:
        raise NotRunnable("only NCHW without indices")
    kernel = pair(layer.ksize)
    stride = kernel if layer.stride is None else pair(layer.stride)
    return MaxPool(index, kernel, stride, parse_padding(layer.padding), layer.ceil_mode)


def is_response_norm(layer: nn.Layer) -> bool:
    return type(layer).__name__ == "LocalResponseNorm" and all(hasattr(layer, name) for name in ("size", "alpha", "k"))


def describe_response_norm(layer: nn.Layer, index: int) -> ResponseNorm:
    """The AlexNet paper's form, whose alpha multiplies the sum; oneDNN's and Paddle's multiply the mean."""
    factor = 1 if type(layer) is nn.LocalResponseNorm else layer.size
    if layer.size % 2 == 0 or getattr(layer, "data_format", "NCHW") != "NCHW":
        raise NotRunnable("only NCHW and windows of odd size")
    return ResponseNorm(index, layer.size, layer.alpha * factor, layer.beta, layer.k)


def describe_flatten(layer: nn.Flatten, index: int) -> Flatten:
    if (layer.start_axis, layer.stop_axis) not in ((1, -1), (1, 3)):
        raise NotRunnable("only [N, C, H, W] to [N, C * H * W]")
    return Flatten(index)


def describe_gelu(layer: nn.GELU, index: int) -> Activation:
    return Activation(index, "gelu_tanh" if layer._approximate in (True, "tanh") else "gelu_erf")


def describe_dropout(layer: nn.Dropout, index: int) -> Identity:
    if layer.training and layer.p != 0:
        raise NotRunnable("its mask is drawn by Paddle")
    if layer.mode != "upscale_in_train":
        raise NotRunnable(f"its mode {layer.mode}")
    return Identity(index)


DESCRIBERS: dict[type, Callable[[Any, int], Operation]] = {
    nn.Conv2D: describe_convolution,
    nn.Linear: describe_linear,
    nn.BatchNorm2D: describe_batch_norm,
    nn.MaxPool2D: describe_max_pool,
    nn.LocalResponseNorm: describe_response_norm,
    nn.ReLU: lambda layer, index: Activation(index, "relu"),
    nn.GELU: describe_gelu,
    nn.Flatten: describe_flatten,
    nn.Dropout: describe_dropout,
    nn.Identity: lambda layer, index: Identity(index),
}


def trains(parameter: paddle.Tensor | None) -> bool:
    return parameter is not None and not parameter.stop_gradient


def loses_gradient(layer: nn.Layer) -> bool:
    """Whether Paddle 3.3 trains nothing of it: a batch normalisation of which only the scale or the shift trains."""
    return isinstance(layer, nn.BatchNorm2D) and trains(layer.weight) != trains(layer.bias)


def pair(value: int | Sequence[int]) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def parse_padding(padding: Any) -> Padding:
    """Paddle's forms: n, [rows, columns], [top, bottom, left, right], [[0, 0], [0, 0], [t, b], [l, r]], a name."""
    if isinstance(padding, str):
        return Padding(same=padding.upper() == "SAME")
    if isinstance(padding, int):
        return Padding(padding, padding, padding, padding)
    if len(padding) == 2:
        return Padding(padding[0], padding[0], padding[1], padding[1])
    if isinstance(padding[0], int):
        return Padding(*padding)
    return Padding(*padding[2], *padding[3])


def fuse(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """A ReLU joins the operation before it. Between a convolution and a max pool its gradient moves behind the pool:

    max(relu(x)) > 0 says which gradients pass, and the pooled tensor is a quarter of the size.
    """
    fused: list[Operation] = []
    for operation in operations:
        before = fused[-1] if fused else None
        if isinstance(operation, Identity):
            continue
        if isinstance(operation, Activation) and operation.kind == "relu":
            if isinstance(before, Convolution) and not before.relu:
                fused[-1] = replace(before, relu=True, relu_gradient=True)
                continue
            if isinstance(before, (BatchNorm, Linear)) and not before.relu:
                fused[-1] = replace(before, relu=True)
                continue
        if isinstance(operation, MaxPool) and isinstance(before, Convolution) and before.relu:
            fused[-1] = replace(before, relu_gradient=False)
            operation = replace(operation, relu_gradient=True)
        fused.append(operation)
    return tuple(fused)
