"""The operations of a chain, as plain hashable records: what Paddle's layers say, and what oneDNN is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Pair = tuple[int, int]
Shape4 = tuple[int, int, int, int]


@dataclass(frozen=True)
class Padding:
    """Rows above and below, columns left and right; `same` computes them from the input size, as Paddle's "SAME"."""

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


@dataclass(frozen=True)
class Operation:
    """layer: position in the chain, of the layer whose parameters it uses."""

    layer: int

    @property
    def trains(self) -> bool:
        """Whether a parameter of this operation wants a gradient."""
        return False


@dataclass(frozen=True)
class Convolution(Operation):
    """nn.Conv2D, with the ReLU that follows it.

    weight: [outputs, inputs // groups, rows, columns]
    relu_gradient: the gradient of the ReLU is taken here; False where the max pool that follows takes it
    """

    weight: Shape4
    stride: Pair
    dilation: Pair
    padding: Padding
    groups: int
    bias: bool
    weight_trains: bool
    bias_trains: bool
    relu: bool = False
    relu_gradient: bool = False

    @property
    def trains(self) -> bool:
        return self.weight_trains or self.bias_trains


@dataclass(frozen=True)
class Linear(Operation):
    """nn.Linear on [N, inputs], with the ReLU that follows it. weight: [inputs, outputs]"""

    weight: Pair
    bias: bool
    weight_trains: bool
    bias_trains: bool
    relu: bool = False

    @property
    def trains(self) -> bool:
        return self.weight_trains or self.bias_trains


@dataclass(frozen=True)
class BatchNorm(Operation):
    """nn.BatchNorm2D, with the ReLU that follows it.

    momentum: of the running statistics; running: normalise with them, and leave them as they are
    """

    channels: int
    epsilon: float
    momentum: float
    running: bool
    scale: bool
    shift: bool
    scale_trains: bool
    shift_trains: bool
    relu: bool = False

    @property
    def trains(self) -> bool:
        return self.scale_trains or self.shift_trains


@dataclass(frozen=True)
class MaxPool(Operation):
    """nn.MaxPool2D. relu_gradient: the gradient of the convolution's ReLU before it is taken here."""

    kernel: Pair
    stride: Pair
    padding: Padding
    ceil_mode: bool
    relu_gradient: bool = False


@dataclass(frozen=True)
class ResponseNorm(Operation):
    """Local response normalisation over `size` channels; alpha multiplies the mean of the squares, as in oneDNN."""

    size: int
    alpha: float
    beta: float
    k: float


@dataclass(frozen=True)
class Activation(Operation):
    kind: Literal["relu", "gelu_erf", "gelu_tanh"]


@dataclass(frozen=True)
class Flatten(Operation):
    """[N, C, H, W] to [N, C * H * W]"""


@dataclass(frozen=True)
class Identity(Operation):
    """A dropout in evaluation, or nn.Identity."""
