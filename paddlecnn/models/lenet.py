"""The baselines: LeNet-5 and the two-convolution network that tutorials begin with.

LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE 1998.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from paddle import nn
from pydantic import Field

from paddlecnn.models.network import (
    HE_NORMAL,
    NORMAL_001,
    ConvClassifier,
    Dropout,
    Hidden,
    Pixels,
    Units,
    classifier,
    conv,
    max_pool,
)
from paddlecnn.models.registry import Variant, register_variants
from paddlecnn.models.shapes import NamedLayer, Window


@dataclass(frozen=True)
class LeNetConfig:
    """The settings of one baseline. The defaults are LeNet-5's (figure 2 of the paper)."""

    num_classes: Units = 10
    input_size: Pixels = 32  # side of the square image
    widths: Annotated[tuple[Units, ...], Field(min_length=1, max_length=8)] = (6, 16)  # channels of C1 and C3
    hidden: Hidden = (120, 84)  # units of C5, which sees the whole map, and of F6
    dropout: Dropout = 0.0  # on the outputs of the hidden layers


class LeNet(ConvClassifier):
    """5x5 convolutions, each followed by ReLU and 2x2 max pooling, then fully connected layers."""

    def __init__(self, config: LeNetConfig):
        features: list[NamedLayer] = []
        channels = 3
        for number, width in enumerate(config.widths, start=1):
            features += [
                (f"conv{number}", conv(channels, width, Window(5), weight=HE_NORMAL)),
                (f"relu{number}", nn.ReLU()),
                (f"pool{number}", max_pool(2, 2)),
            ]
            channels = width
        super().__init__(features, config.input_size, config.num_classes)
        first = len(config.widths) + 1
        self.classifier = classifier(self.feature_shape, config, weight=HE_NORMAL, last=NORMAL_001, first=first)


VARIANTS = {
    "lenet5": Variant(
        LeNetConfig(),
        "LeNet-5 on colour images, with ReLU, max pooling and full connections in conv2",
        "LeCun et al. 1998, figure 2",
    ),
    "simple_cnn": Variant(
        LeNetConfig(widths=(20, 50), hidden=()),
        "two convolutions of 20 and 50 channels",
        "`02.recognize_digits` of PaddlePaddle/book",
    ),
}
register_variants(LeNet, VARIANTS)
