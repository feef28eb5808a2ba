"""The operations of a chain, as plain hashable records, and how each is read from the present state of its layer.

A layer that oneDNN cannot run has no operation and is left to Paddle: NotRunnable says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import paddle
from paddle import nn

Pair = tuple[int, int]
Shape4 = tuple[int, int, int, int]


class NotRunnable(Exception):
    """The layer is left to Paddle; the message says why."""


@dataclass(frozen=True)
class Padding:
    """Rows above and below, columns left and right; `same` computes them from the input size, like Paddle's "SAME"."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0
    same: bool = False

    def resolve(self, size: Sequence[int], kernel: Pair, stride: Pair) -> tuple[Pair, Pair]:
        """((top, left), (bottom, right)) for an input of `size` rows and columns."""
        if not self.same:
            return (self.top, self.left), (self.bottom, self.right)
        total = [max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in zip(size, kernel, stride, strict=True)]
        return (total[0] // 2, total[1] // 2), (total[0] - total[0] // 2, total[1] - total[1] // 2)


def parse_padding(padding: Any) -> Padding:
    """Paddle's forms: n, [rows, columns], [top, bottom, left, right], [[0, 0], [0, 0], [t, b], [l, r]], or a name."""
    if isinstance(padding, str):
        return Padding(same=padding.upper() == "SAME")
    if isinstance(padding, int):
        return Padding(padding, padding, padding, padding)
    if len(padding) == 2:
        return Padding(padding[0], padding[0], padding[1], padding[1])
    if isinstance(padding[0], int):
        return Padding(*padding)
    return Padding(*padding[2], *padding[3])


@dataclass(frozen=True, kw_only=True)
class Operation:
    """layer: position in the chain of the layer whose parameters it uses; *_trains: which of them need a gradient."""

    layer: int
    weight_trains: bool = False
    bias_trains: bool = False

    @property
    def trained(self) -> list[str]:
        """The attributes of the layer that need a gradient."""
        return ["weight"] * self.weight_trains + ["bias"] * self.bias_trains


def trains(parameter: paddle.Tensor | None) -> bool:
    return parameter is not None and not parameter.stop_gradient


def trained_by(layer: nn.Layer) -> dict[str, bool]:
    """`weight_trains` and `bias_trains` of a layer, whose parameters must be float32 on the CPU."""
    for parameter in (layer.weight, layer.bias):
        require_float32(parameter)
    return {"weight_trains": trains(layer.weight), "bias_trains": trains(layer.bias)}


def require_float32(parameter: paddle.Tensor | None) -> None:
    """Raise NotRunnable for a parameter that is not float32 in CPU memory: the engine reads the numbers there."""
    if parameter is not None and parameter.dtype != paddle.float32:
        raise NotRunnable(f"its parameters are {str(parameter.dtype).removeprefix('paddle.')}, not float32")
    if parameter is not None and not parameter.place.is_cpu_place():
        raise NotRunnable(f"its parameters are on {parameter.place}, not on the CPU")


def loses_gradient(layer: nn.Layer) -> bool:
    """Whether Paddle 3.3 trains nothing in it: a batch normalisation in which only the scale or the shift trains."""
    return isinstance(layer, nn.BatchNorm2D) and trains(layer.weight) != trains(layer.bias)


@dataclass(frozen=True, kw_only=True)
class Convolution(Operation):
    """nn.Conv2D, with the ReLU that follows it.

    weight: [outputs, inputs // groups, rows, columns]
    relu_gradient: the gradient of the ReLU is computed here; False if the max pool that follows computes it
    """

    weight: Shape4
    stride: Pair
    dilation: Pair
    padding: Padding
    groups: int
    bias: bool
    relu: bool = False
    relu_gradient: bool = False


def describe_convolution(layer: nn.Conv2D, index: int) -> Convolution:
    if layer._data_format != "NCHW" or layer._padding_mode != "zeros":
        raise NotRunnable("only NCHW with zero padding")
    padding, dilation = parse_padding(layer._padding), pair(layer._dilation)
    if padding.same and dilation != (1, 1):
        raise NotRunnable("padding SAME with dilation")
    return Convolution(
        layer=index,
        weight=tuple(layer.weight.shape),
        stride=pair(layer._stride),
        dilation=dilation,
        padding=padding,
        groups=layer._groups,
        bias=layer.bias is not None,
        **trained_by(layer),
    )


@dataclass(frozen=True, kw_only=True)
class Linear(Operation):
    """nn.Linear on [N, inputs], with the ReLU that follows it. weight: [inputs, outputs]"""

    weight: Pair
    bias: bool
    relu: bool = False


def describe_linear(layer: nn.Linear, index: int) -> Linear:
    return Linear(layer=index, weight=tuple(layer.weight.shape), bias=layer.bias is not None, **trained_by(layer))


@dataclass(frozen=True, kw_only=True)
class BatchNorm(Operation):
    """nn.BatchNorm2D, with the ReLU that follows it; its scale is Paddle's weight, its shift the bias.

    momentum: of the running statistics; running: normalise with them, and leave them as they are
    """

    channels: int
    epsilon: float
    momentum: float
    running: bool
    scale: bool
    shift: bool
    relu: bool = False


def describe_batch_norm(layer: nn.BatchNorm2D, index: int) -> BatchNorm:
    if layer._data_format not in ("NCHW", "NC"):
        raise NotRunnable("only NCHW")
    running = not layer.training if layer._use_global_stats is None else layer._use_global_stats
    if not running and not layer.training:
        raise NotRunnable("batch statistics in evaluation")
    require_float32(layer._mean)
    return BatchNorm(
        layer=index,
        channels=layer._mean.shape[0],
        epsilon=layer._epsilon,
        momentum=layer._momentum,
        running=running,
        scale=layer.weight is not None,
        shift=layer.bias is not None,
        **trained_by(layer),
    )


@dataclass(frozen=True, kw_only=True)
class MaxPool(Operation):
    """nn.MaxPool2D. relu_gradient: the gradient of the ReLU of the convolution before it is computed here."""

    kernel: Pair
    stride: Pair
    padding: Padding
    ceil_mode: bool
    relu_gradient: bool = False


def describe_max_pool(layer: nn.MaxPool2D, index: int) -> MaxPool:
    if layer.data_format != "NCHW" or layer.return_mask:
        raise NotRunnable("only NCHW without indices")
    kernel, padding = pair(layer.ksize), parse_padding(layer.padding)
    stride = kernel if layer.stride is None else pair(layer.stride)
    return MaxPool(layer=index, kernel=kernel, stride=stride, padding=padding, ceil_mode=layer.ceil_mode)


@dataclass(frozen=True, kw_only=True)
class ResponseNorm(Operation):
    """Local response normalisation over `size` channels; alpha multiplies the mean of the squares, as in oneDNN."""

    size: int
    alpha: float
    beta: float
    k: float


def describe_response_norm(layer: nn.Layer, index: int) -> ResponseNorm:
    """The AlexNet paper's form, whose alpha multiplies the sum; oneDNN's and Paddle's multiply the mean."""
    factor = 1 if type(layer) is nn.LocalResponseNorm else layer.size
    if layer.size % 2 == 0 or getattr(layer, "data_format", "NCHW") != "NCHW":
        raise NotRunnable("only NCHW and windows of odd size")
    return ResponseNorm(layer=index, size=layer.size, alpha=layer.alpha * factor, beta=layer.beta, k=layer.k)


@dataclass(frozen=True, kw_only=True)
class Activation(Operation):
    kind: Literal["relu", "gelu_erf", "gelu_tanh"]


@dataclass(frozen=True, kw_only=True)
class Flatten(Operation):
    """[N, C, H, W] to [N, C * H * W]"""


def describe_flatten(layer: nn.Flatten, index: int) -> Flatten:
    if (layer.start_axis, layer.stop_axis) not in ((1, -1), (1, 3)):
        raise NotRunnable("only [N, C, H, W] to [N, C * H * W]")
    return Flatten(layer=index)


@dataclass(frozen=True, kw_only=True)
class Identity(Operation):
    """A dropout in evaluation, or nn.Identity."""


def describe_dropout(layer: nn.Dropout, index: int) -> Identity:
    if layer.training and layer.p != 0:
        raise NotRunnable("its mask is drawn by Paddle")
    if layer.mode != "upscale_in_train":
        raise NotRunnable(f"its mode is {layer.mode}")
    return Identity(layer=index)


DESCRIBERS: dict[type, Callable[[Any, int], Operation]] = {
    nn.Conv2D: describe_convolution,
    nn.Linear: describe_linear,
    nn.BatchNorm2D: describe_batch_norm,
    nn.MaxPool2D: describe_max_pool,
    nn.LocalResponseNorm: describe_response_norm,
    nn.ReLU: lambda layer, index: Activation(layer=index, kind="relu"),
    nn.GELU: lambda layer, index: Activation(
        layer=index, kind="gelu_tanh" if layer._approximate in (True, "tanh") else "gelu_erf"
    ),
    nn.Flatten: describe_flatten,
    nn.Dropout: describe_dropout,
    nn.Identity: lambda layer, index: Identity(layer=index),
}


def describe(layer: nn.Layer, index: int) -> Operation:
    """The operation of one layer in its present state (mode, frozen parameters). Raises NotRunnable."""
    if layer._forward_pre_hooks or layer._forward_post_hooks:
        raise NotRunnable("it has forward hooks")
    try:
        if type(layer) in DESCRIBERS:
            return DESCRIBERS[type(layer)](layer, index)
        if type(layer).__name__ == "LocalResponseNorm" and all(hasattr(layer, name) for name in ("size", "alpha", "k")):
            return describe_response_norm(layer, index)
        raise NotRunnable(f"the engine has no {type(layer).__name__}")
    except AttributeError as error:  # another version of Paddle keeps its settings elsewhere
        raise NotRunnable(f"its settings are not found: {error}") from error


def pair(value: int | Sequence[int]) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def fuse(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """Join each ReLU to the operation before it. Between convolution and max pool its gradient moves after the pool:

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
