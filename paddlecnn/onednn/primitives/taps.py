"""Convolutions of small maps, one matrix product for each kernel position ("tap").

https://uxlfoundation.github.io/oneDNN/dev_guide_matmul.html

In the layout [H, W, N, C] the pixels that one tap sees lie in rows of W * N * C numbers: the tap's share of the output
is the product of a [W * N, I] matrix with the [I, O] matrix of its weights. The padding is skipped, which on a 2x2
map is more than half of what oneDNN's convolution multiplies; on 4x4 it is a third.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from paddlecnn.onednn.bindings import DataType
from paddlecnn.onednn.builder import Builder
from paddlecnn.onednn.handles import MemoryDesc
from paddlecnn.onednn.memory import Value
from paddlecnn.onednn.operations import Convolution, Pair, Shape4
from paddlecnn.onednn.primitives.linear import matmul

SMALL = 4  # rows or columns up to which all three passes are faster by taps
SMALL_BFLOAT16_WEIGHTS = 8  # and the weight gradient in bfloat16
FEWEST_CHANNELS = 16


@dataclass(frozen=True)
class Tap:
    """A kernel position, and the output and input pixels it connects: `rows` by `columns`, from (row, column) on."""

    y: int
    x: int
    output: Pair
    input: Pair
    rows: int
    columns: int


class Taps:
    """The taps of a convolution with stride 1 whose output and input have the given sizes."""

    def __init__(self, operation: Convolution, input_shape: Shape4, output_shape: Shape4, padding: Pair):
        self.input_shape, self.output_shape = input_shape, output_shape
        self.weight = operation.weight
        self.taps = list(find_taps(operation.weight[2:], input_shape[2:], output_shape[2:], padding))
        plain = operation.stride == (1, 1) and operation.dilation == (1, 1) and operation.groups == 1
        wide = min(operation.weight[:2]) >= FEWEST_CHANNELS
        sizes = [(tap.rows, tap.columns) for tap in self.taps]
        covering = output_shape[2:] in sizes and input_shape[2:] in sizes
        self.possible = plain and wide and covering and min(map(min, sizes)) > 0

    def suit(self, limit: int) -> bool:
        """Whether taps are possible, and the output has at most `limit` rows and columns."""
        return self.possible and max(self.output_shape[2:]) <= limit

    def forward(self, b: Builder, source: Value, weights: Value, bias: Value | None) -> Value:
        """The output, float32 in [H, W, N, C]; `source` in that layout, `weights` as in `weights_desc`."""
        outputs, inputs = self.weight[:2]
        result = b.value(hwnc(self.output_shape, DataType.F32))
        for number, tap in enumerate(covering_first(self.taps, self.output_shape[2:])):
            left = pixels(source, self.input_shape, tap.input, tap, self.whole(tap))
            right = weights.view([1, inputs, outputs], [inputs * outputs, outputs, 1], self.offset(tap))
            target = pixels(result, self.output_shape, tap.output, tap, self.whole(tap))
            matmul(b, b.forward, "tap forward", left, right, target, None if number else bias, accumulate=number > 0)
        return result

    def backward_data(self, b: Builder, gradient: Value, weights: Value) -> Value:
        """The gradient of the source, float32 in [H, W, N, C]. Ends the caller's use of `gradient`."""
        outputs, inputs = self.weight[:2]
        gradient = b.to_layout(b.backward, "gradient", gradient, hwnc(self.output_shape, b.activation))
        result = b.value(hwnc(self.input_shape, DataType.F32))
        for number, tap in enumerate(covering_first(self.taps, self.input_shape[2:])):
            left = pixels(gradient, self.output_shape, tap.output, tap, self.whole(tap))
            right = weights.view([1, outputs, inputs], [inputs * outputs, 1, outputs], self.offset(tap))
            target = pixels(result, self.input_shape, tap.input, tap, self.whole(tap))
            matmul(b, b.backward, "tap backward data", left, right, target, accumulate=number > 0)
        gradient.release()
        return result

    def backward_weights(self, b: Builder, source: Value, gradient: Value) -> Value:
        """The gradient of the weights, float32 in the layout of `weights_desc`: a sum over the rows of each tap."""
        outputs, inputs = self.weight[:2]
        result = b.value(self.weights_desc(DataType.F32))
        for tap in self.taps:
            target = result.view([inputs, outputs], [outputs, 1], self.offset(tap))
            steps = [(0, tap.rows)] if self.whole(tap) else [(row, 1) for row in range(tap.rows)]
            for row, rows in steps:
                left = strip(source, self.input_shape, tap.input, tap, row, rows)
                right = strip(gradient, self.output_shape, tap.output, tap, row, rows)
                pixels_seen, channels = left.desc.shape
                transposed = left.view([channels, pixels_seen], [1, channels])
                matmul(b, b.backward, "tap backward weights", transposed, right, target, accumulate=row > 0)
        return result

    def backward_bias(self, b: Builder, gradient: Value, target: Value) -> None:
        """The sum of the gradient over pixels and samples; target: [1, O]"""
        samples, channels, height, width = self.output_shape
        count = samples * height * width
        ones = b.ones(count, gradient.desc.type)
        matmul(b, b.backward, "tap backward bias", ones, gradient.view([count, channels], [channels, 1]), target)

    def weights_desc(self, data_type: DataType) -> MemoryDesc:
        """[rows, columns, I, O], described as Paddle's [O, I, rows, columns]."""
        outputs, inputs, _, columns = self.weight
        strides = [1, outputs, columns * inputs * outputs, inputs * outputs]
        return MemoryDesc.strided(self.weight, strides, data_type)

    def whole(self, tap: Tap) -> bool:
        """Whether the tap connects whole rows, which then form one matrix."""
        return tap.columns == self.input_shape[3] == self.output_shape[3]

    def offset(self, tap: Tap) -> int:
        return (tap.y * self.weight[3] + tap.x) * self.weight[0] * self.weight[1]


def find_taps(kernel: Pair, size: Pair, output: Pair, padding: Pair) -> Iterator[Tap]:
    for y in range(kernel[0]):
        for x in range(kernel[1]):
            top, left = max(0, padding[0] - y), max(0, padding[1] - x)
            bottom, right = min(output[0], size[0] + padding[0] - y), min(output[1], size[1] + padding[1] - x)
            yield Tap(y, x, (top, left), (top + y - padding[0], left + x - padding[1]), bottom - top, right - left)


def covering_first(taps: list[Tap], size: Pair) -> list[Tap]:
    """The taps, one that reaches every pixel first: it writes what the others add to."""
    return sorted(taps, key=lambda tap: (tap.rows, tap.columns) != size)


def hwnc(shape: tuple[int, ...], data_type: DataType) -> MemoryDesc:
    """[H, W, N, C], described as [N, C, H, W]."""
    samples, channels, _, width = shape
    return MemoryDesc.strided(shape, [channels, 1, width * samples * channels, samples * channels], data_type)


def pixels(value: Value, shape: tuple[int, ...], start: tuple[int, int], tap: Tap, whole: bool) -> Value:
    """The tap's pixels as [rows, columns * N, C] or, with whole rows, as one matrix [1, rows * columns * N, C]."""
    samples, channels, _, width = shape
    row = width * samples * channels
    offset = start[0] * row + start[1] * samples * channels
    if whole:
        return value.view([1, tap.rows * width * samples, channels], [tap.rows * row, channels, 1], offset)
    return value.view([tap.rows, tap.columns * samples, channels], [row, channels, 1], offset)


def strip(value: Value, shape: tuple[int, ...], start: tuple[int, int], tap: Tap, row: int, rows: int) -> Value:
    """`rows` of the tap's rows from `row` on, as one matrix [pixels, C]."""
    samples, channels, _, width = shape
    offset = ((start[0] + row) * width + start[1]) * samples * channels
    return value.view([rows * tap.columns * samples, channels], [channels, 1], offset)
