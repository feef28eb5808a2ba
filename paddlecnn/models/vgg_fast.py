"""A narrow VGG for 32x32 images that learns CIFAR-10 in about ten epochs (14 in our config).

Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv 2404.00498, 2024, and its `airbench94.py`
(KellerJordan/cifar10-airbench). The network is here; its training is `configs/cifar10/vgg_fast.yaml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt
from typing import Annotated, Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn.initializer import Initializer, Uniform
from pydantic import Field

from paddlecnn.models.network import ConvClassifier, Pixels, Units, conv, max_pool
from paddlecnn.models.registry import Variant, register_variants
from paddlecnn.models.shapes import NamedLayer, Window

PATCH = 2  # side of the patches that the first convolution whitens
SMALLEST_VARIANCE = 5e-4  # added to each variance before taking its root


@dataclass(frozen=True)
class FastVGGConfig:
    """The settings of the network. The defaults are those of airbench94."""

    num_classes: Units = 10
    input_size: Annotated[Pixels, Field(ge=25)] = 32  # side of the square image; the last pool needs a map of 3x3
    widths: tuple[Units, Units, Units] = (64, 256, 256)  # channels of the three blocks
    logit_scale: Annotated[float, Field(gt=0, le=1e3)] = 1 / 9  # factor on the logits


class FastVGG(ConvClassifier):
    """Whitening, three blocks of two 3x3 convolutions, and one fully connected layer.

    In a block the pool follows the first convolution. Batch normalisation precedes each GELU.
    """

    def __init__(self, config: FastVGGConfig):
        width = 2 * 3 * PATCH**2
        start = PartialIdentity()
        whiten = conv(3, width, Window(PATCH), weight=start)
        features: list[NamedLayer] = [("whiten", whiten), ("gelu0", nn.GELU())]
        around = Window(3, padding=(1, 1))
        for block, channels in enumerate(config.widths, start=1):
            features += [
                (f"conv{block}_1", conv(width, channels, around, weight=start, bias=None)),
                (f"pool{block}", max_pool(2, 2)),
                (f"norm{block}_1", nn.BatchNorm2D(channels, momentum=0.6, epsilon=1e-12)),
                (f"gelu{block}_1", nn.GELU()),
                (f"conv{block}_2", conv(channels, channels, around, weight=start, bias=None)),
                (f"norm{block}_2", nn.BatchNorm2D(channels, momentum=0.6, epsilon=1e-12)),
                (f"gelu{block}_2", nn.GELU()),
            ]
            width = channels
        super().__init__([*features, ("pool4", max_pool(3, 3))], config.input_size, config.num_classes)
        units = prod(self.feature_shape)
        bound = 1 / sqrt(units)
        self.classifier = nn.Sequential(
            ("fc", nn.Linear(units, config.num_classes, Uniform(-bound, bound), bias_attr=False)),
            ("scale", Scale(config.logit_scale)),
        )

    @paddle.no_grad()
    def initialise_from(self, images: paddle.Tensor) -> None:
        """Make the first convolution whiten 2x2 patches like those of `images`, float32 [n, 3, S, S].

        Its kernels are the patches' principal components, each divided by its standard deviation, and their negatives.
        """
        x = images.numpy().astype(np.float64)
        patches = np.lib.stride_tricks.sliding_window_view(x, (PATCH, PATCH), axis=(2, 3))
        flat = patches.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 3 * PATCH**2)
        variances, directions = np.linalg.eigh(flat.T @ flat / len(flat))
        order = np.argsort(variances)[::-1]
        scaled = directions.T[order] / np.sqrt(variances[order] + SMALLEST_VARIANCE)[:, None]
        kernels = np.concatenate([scaled, -scaled]).reshape(-1, 3, PATCH, PATCH)
        self.features.whiten.weight.set_value(kernels.astype(np.float32))


class Scale(nn.Layer):
    """Multiplication of the input by a constant."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return x * self.factor

    def extra_repr(self) -> str:
        return f"factor={self.factor:.4g}"


class PartialIdentity(Initializer):
    """Uniform, except that the first kernels of a convolution each pass one input channel on: float32 [O, I, k, k]."""

    @paddle.no_grad()
    def forward(self, var: Any, block: Any = None) -> Any:
        bound = 1 / sqrt(prod(var.shape[1:]))
        Uniform(-bound, bound)(var, block)
        count, middle = min(var.shape[:2]), var.shape[2] // 2
        first = np.zeros([count, *var.shape[1:]], np.float32)
        first[range(count), range(count), middle, middle] = 1
        var[:count] = paddle.to_tensor(first)
        return var


VARIANTS = {
    "vgg_fast": Variant(
        FastVGGConfig(),
        "whitening, three narrow blocks with batch normalisation and GELU, one fully connected layer",
        "Jordan 2024, arXiv 2404.00498, `airbench94.py`",
    )
}
register_variants(FastVGG, VARIANTS)
