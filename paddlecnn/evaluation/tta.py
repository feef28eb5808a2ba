"""Test-time augmentation: a model that looks at each image several times and takes the mean of its logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import paddle
import paddle.nn.functional as F
from paddle import nn

from paddlecnn.config import Preprocess

View = Callable[[paddle.Tensor], paddle.Tensor]
MARGIN = 8 / 7  # AlexNet takes crops of 224 pixels out of 256


class Averaged(nn.Layer):
    """The weighted mean of a model's logits over views of an image; images [N, 3, S, S] to logits [N, C].

    weights: one for each view; equal if not given
    """

    def __init__(self, model: nn.Layer, views: Sequence[View], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.model = model
        self.views = tuple(views)
        self.weights = tuple(weights or [1.0] * len(self.views))
        self.num_classes = model.num_classes

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        logits = [weight * self.model(view(images)) for view, weight in zip(self.views, self.weights, strict=True)]
        return sum(logits) / sum(self.weights)


def whole(images: paddle.Tensor) -> paddle.Tensor:
    """The image as it is."""
    return images


def mirrored(images: paddle.Tensor) -> paddle.Tensor:
    """Left and right changed over, [N, C, H, W]."""
    return paddle.flip(images, axis=[3])


def shifted(by: int, mirror: bool) -> View:
    """The image moved by `by` pixels down and to the right (up and to the left if negative), its edge reflected."""

    def view(images: paddle.Tensor) -> paddle.Tensor:
        pad, (height, width) = abs(by), images.shape[2:]
        padded = F.pad(images, [pad] * 4, mode="reflect")
        part = padded[:, :, pad - by : pad - by + height, pad - by : pad - by + width]
        return mirrored(part) if mirror else part

    return view


def ten_crops(size: int, large: int) -> list[View]:
    """Four corners and the centre, each also mirrored (AlexNet, section 4.1): [N, C, large, large] to size x size."""
    end, middle = large - size, (large - size) // 2

    def crop(top: int, left: int, mirror: bool) -> View:
        def view(images: paddle.Tensor) -> paddle.Tensor:
            part = images[:, :, top : top + size, left : left + size]
            return mirrored(part) if mirror else part

        return view

    corners = [(0, 0), (0, end), (end, 0), (end, end), (middle, middle)]
    return [crop(top, left, mirror) for mirror in (False, True) for top, left in corners]


def with_views(kind: str, model: nn.Layer, preprocess: Preprocess) -> tuple[nn.Layer, Preprocess]:
    """The model and the preprocessing for a kind of test-time augmentation.

    none: the two as they are. flip: each image and its mirror image. shift: the same, with half of the weight on the
    image moved by one pixel to either corner (Jordan 2024). crops: ten crops out of an image whose
    side is 8/7 of the input's, or the preprocessing's own `resize` where that is larger.
    """
    if kind == "none":
        return model, preprocess
    if kind == "flip":
        return Averaged(model, [whole, mirrored]), preprocess
    if kind == "shift":
        moved = [shifted(by, mirror) for by in (-1, 1) for mirror in (False, True)]
        return Averaged(model, [whole, mirrored, *moved], [0.25, 0.25, *[0.125] * 4]), preprocess
    large = max(preprocess.resize or 0, round(preprocess.size * MARGIN))
    wide = preprocess.model_copy(update={"size": large, "resize": large})
    return Averaged(model, ten_crops(preprocess.size, large)), wide
