"""Shapes by arithmetic: what a layer makes of [C, H, W], without running it."""
from __future__ import annotations

from paddle import nn

from paddlecnn.errors import ModelError

NamedLayer = tuple[str, nn.Layer]


def pair(value: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    """(height, width) from one number or two."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def padding_sums(padding: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    """Padding on both sides together, (height, width), from n, [h, w] or [top, bottom, left, right]."""
    if not isinstance(padding, int) and len(padding) == 4:
        return padding[0] + padding[1], padding[2] + padding[3]
    height, width = pair(padding)
    return 2 * height, 2 * width


def same_padding(size: int, kernel: int, stride: int) -> list[int]:
    """TensorFlow's 'SAME' as [top, bottom, left, right]: ceil(size / stride) outputs, the odd pixel at the end."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return [total // 2, total - total // 2] * 2


def window_of(layer: nn.Layer) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], bool]:
    """Kernel, stride, summed padding and whether partial windows count, of a convolution or a pool."""
    if isinstance(layer, nn.Conv2D):
        return pair(layer._kernel_size), pair(layer._stride), padding_sums(layer._padding), False
    return pair(layer.ksize), pair(layer.stride or layer.ksize), padding_sums(layer.padding), layer.ceil_mode


def output_shape(layer: nn.Layer, shape: list[int], name: str = "") -> list[int]:
    """[C, H, W] or [features] after `layer`. Raises ModelError, naming the layer, where nothing would be left."""
    if isinstance(layer, nn.Linear):
        return [layer.weight.shape[1]]
    if not isinstance(layer, (nn.Conv2D, nn.MaxPool2D)):
        return list(shape)
    window, strides, paddings, partial = window_of(layer)
    sides = []
    for side, kernel, stride, padding in zip(shape[1:], window, strides, paddings, strict=True):
        room = side + padding - kernel
        sides.append((-(-room // stride) if partial else room // stride) + 1)
    if min(sides) < 1:
        raise ModelError(f"input_size is too small: {shape[1]}x{shape[2]} is left before {name}, "
                         f"whose window is {window[0]}x{window[1]}")
    return [layer.weight.shape[0] if isinstance(layer, nn.Conv2D) else shape[0], *sides]


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
