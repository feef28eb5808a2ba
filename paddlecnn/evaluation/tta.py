"""Test-time augmentation: a model that looks at each image several times and takes the mean of its logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import paddle
from paddle import nn

from paddlecnn.config import Preprocess

View = Callable[[paddle.Tensor], paddle.Tensor]
MARGIN = 8 / 7  # AlexNet takes crops of 224 pixels out of 256


class Averaged(nn.Layer):
    """The mean of a model's logits over views of an image; images [N, 3, S, S] to logits [N, C]."""

    def __init__(self, model: nn.Layer, views: Sequence[View]) -> None:
        super().__init__()
        self.model = model
        self.views = tuple(views)
        self.num_classes = model.num_classes

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        return sum(self.model(view(images)) for view in self.views) / len(self.views)


def whole(images: paddle.Tensor) -> paddle.Tensor:
    """The image as it is."""
    return images


def mirrored(images: paddle.Tensor) -> paddle.Tensor:
    """Left and right changed over, [N, C, H, W]."""
    return paddle.flip(images, axis=[3])


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

    none: the two as they are. flip: each image and its mirror image. crops: ten crops out of an image whose
    side is 8/7 of the input's, or the preprocessing's own `resize` where that is larger.
    """
    if kind == "none":
        return model, preprocess
    if kind == "flip":
        return Averaged(model, [whole, mirrored]), preprocess
    large = max(preprocess.resize or 0, round(preprocess.size * MARGIN))
    wide = preprocess.model_copy(update={"size": large, "resize": large})
    return Averaged(model, ten_crops(preprocess.size, large)), wide
