"""The baselines: LeNet-5 and the two-convolution network that tutorials begin with.

LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE 1998.
"""
from __future__ import annotations

from typing import Annotated

from paddle import nn
from pydantic import Field

from paddlecnn.models.network import HE_NORMAL, NORMAL_001, ConvClassifier, classifier, conv
from paddlecnn.models.registry import register
from paddlecnn.models.shapes import NamedLayer

Positive = Annotated[int, Field(gt=0)]


class LeNet(ConvClassifier):
    """5x5 convolutions, each followed by ReLU and 2x2 max pooling, then fully connected layers.

    widths: output channels of the convolutions
    hidden: units of the hidden fully connected layers
    """

    def __init__(self, num_classes: Positive = 10, *, widths: tuple[Positive, ...], hidden: tuple[Positive, ...],
                 dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0, input_size: Positive = 32):
        features: list[NamedLayer] = []
        channels = 3
        for number, width in enumerate(widths, start=1):
            features += [(f"conv{number}", conv(channels, width, 5, weight=HE_NORMAL)),
                         (f"relu{number}", nn.ReLU()), (f"pool{number}", nn.MaxPool2D(2, 2))]
            channels = width
        super().__init__(features, input_size, num_classes)
        self.classifier = classifier(self.feature_shape, hidden, num_classes, dropout, weight=HE_NORMAL,
                                     last=NORMAL_001,
                                     first=len(widths) + 1)


@register
def lenet5(num_classes: int = 10, **options) -> LeNet:
    """LeNet-5 on colour images, with what replaced its parts since: ReLU, max pooling, full conv2 connections.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   62,006 parameters, 664.5 k multiply-adds
    """
    return LeNet(**{"widths": (6, 16), "hidden": (120, 84), "num_classes": num_classes} | options)


@register
def simple_cnn(num_classes: int = 10, **options) -> LeNet:
    """Two convolutions of 20 and 50 channels and one output layer: the Paddle book's first network.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   39,080 parameters, 3.73 M multiply-adds
    """
    return LeNet(**{"widths": (20, 50), "hidden": (), "num_classes": num_classes} | options)
