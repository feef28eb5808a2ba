"""Shapes by arithmetic: the output shape of a layer for an input [C, S, S], without running it."""

from __future__ import annotations

from dataclasses import dataclass

from paddle import nn

from paddlecnn.errors import ModelError

NamedLayer = tuple[str, nn.Layer]


@dataclass(frozen=True)
class Window:
    """The square window of a convolution or a pool, recorded on its layer (`layer.window`) when it is built."""

    kernel: int
    stride: int = 1
    padding: tuple[int, int] = (0, 0)  # before and after, in both directions
    ceil: bool = False  # a last window that hangs over the edge counts, as in Caffe and Paddle v2
    groups: int = 1

    def output_side(self, side: int) -> int:
        """The side of the output map for an input map of `side`; less than 1 if the window does not fit."""
        room = side + sum(self.padding) - self.kernel
        return (-(-room // self.stride) if self.ceil else room // self.stride) + 1

    def __str__(self) -> str:
        """`5x5 /2 g2`: kernel, stride if it is not 1, groups if they are not 1."""
        return (
            f"{self.kernel}x{self.kernel}"
            + (f" /{self.stride}" if self.stride > 1 else "")
            + (f" g{self.groups}" if self.groups > 1 else "")
        )


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's 'SAME' padding: ceil(size / stride) outputs; an odd pixel goes after the image."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def output_shape(layer: nn.Layer, shape: list[int], name: str = "") -> list[int]:
    """[C, S, S] or [features] after `layer`. Raises ModelError, naming the layer, if nothing would be left."""
    if isinstance(layer, nn.Linear):
        return [layer.weight.shape[1]]
    if outputs := getattr(layer, "outputs", None):
        return [outputs]
    window: Window | None = getattr(layer, "window", None)
    if window is None:
        return list(shape)
    side = window.output_side(shape[1])
    if side < 1:
        raise ModelError(
            f"input_size is too small: {shape[1]}x{shape[1]} is left before {name}, "
            f"whose window is {window.kernel}x{window.kernel}"
        )
    return [layer.weight.shape[0] if isinstance(layer, nn.Conv2D) else shape[0], side, side]


def drop_redundant_pools(layers: list[NamedLayer], shape: list[int]) -> tuple[list[NamedLayer], list[int]]:
    """The layers that an input of `shape` needs, and the shape after them.

    A map of 1x1 is not pooled again: on a small image the last pools of a network are left out.
    """
    kept = []
    for name, layer in layers:
        if isinstance(layer, nn.MaxPool2D) and shape[1:] == [1, 1]:
            continue
        shape = output_shape(layer, shape, name)
        kept.append((name, layer))
    return kept, shape
