"""VGG: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
arXiv 1409.1556, ICLR 2015.

TABLE is the paper's table 1. Each network comes with and without batch normalisation (`_bn`, Ioffe and
Szegedy 2015, which the paper did not have), and for 32x32 images with a classifier of 512-512 (`_cifar`).
docs/deviations.md holds each against the paper.
"""
from __future__ import annotations

from typing import Annotated, Literal

from paddle import nn
from paddle.nn.initializer import KaimingNormal, Normal, XavierUniform
from pydantic import Field

from paddlecnn.models.layers import LocalResponseNorm
from paddlecnn.models.network import HE_NORMAL, ConvClassifier, classifier, conv
from paddlecnn.models.registry import register
from paddlecnn.models.shapes import NamedLayer

Positive = Annotated[int, Field(gt=0)]
Depth = Literal["A", "A-LRN", "B", "C", "D", "E"]

WIDTHS = (64, 128, 256, 512, 512)  # channels of the five blocks; each block ends in a 2x2 max pool

# Kernels of the convolutions of each block: 3x3, in C also 1x1.
TABLE = {
    "A":     ((3,),   (3,),   (3, 3),       (3, 3),       (3, 3)),
    "A-LRN": ((3,),   (3,),   (3, 3),       (3, 3),       (3, 3)),  # and normalisation after conv1_1
    "B":     ((3, 3), (3, 3), (3, 3),       (3, 3),       (3, 3)),
    "C":     ((3, 3), (3, 3), (3, 3, 1),    (3, 3, 1),    (3, 3, 1)),
    "D":     ((3, 3), (3, 3), (3, 3, 3),    (3, 3, 3),    (3, 3, 3)),
    "E":     ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)),
}  # fmt: skip

INITIALISERS = {  # weights, weights of the output layer
    "he": (HE_NORMAL, KaimingNormal(nonlinearity="linear")),  # without ReLU's factor; with N(0, 0.01) E would not start
    "glorot": (XavierUniform(), XavierUniform()),  # Glorot and Bengio 2010: what section 3.1 found afterwards
    "paper": (Normal(0.0, 0.1), Normal(0.0, 0.1)),  # section 3.1: variance 0.01, for A; deeper ones started from A
}
CIFAR = {"hidden": (512, 512), "input_size": 32}


class VGG(ConvClassifier):
    """Five blocks of small convolutions with ReLU, each halved by a pool; two hidden fully connected layers.

    depth: the column of the paper's table 1
    batch_norm: batch normalisation between each convolution and its ReLU
    hidden: units of the hidden fully connected layers
    input_size: 32 or more pixels: the five pools leave 1x1 of 32, 7x7 of 224
    """

    def __init__(self, num_classes: Positive = 1000, *, depth: Depth = "D", batch_norm: bool = False,
                 hidden: tuple[Positive, ...] = (4096, 4096), dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
                 input_size: Annotated[int, Field(ge=32)] = 224, init: Literal["he", "glorot", "paper"] = "he"):
        weight, last = INITIALISERS[init]
        features: list[NamedLayer] = []
        channels = 3
        for block, (width, kernels) in enumerate(zip(WIDTHS, TABLE[depth], strict=True), start=1):
            for number, kernel in enumerate(kernels, start=1):
                name = f"{block}_{number}"
                features.append((f"conv{name}", conv(channels, width, kernel, padding=kernel // 2, weight=weight)))
                if batch_norm:
                    features.append((f"norm{name}", nn.BatchNorm2D(width)))
                features.append((f"relu{name}", nn.ReLU()))
                if depth == "A-LRN" and name == "1_1":
                    features.append(("lrn1_1", LocalResponseNorm()))
                channels = width
            features.append((f"pool{block}", nn.MaxPool2D(2, 2)))
        super().__init__(features, input_size, num_classes)
        self.classifier = classifier(self.feature_shape, hidden, num_classes, dropout, weight=weight, last=last)


@register
def vgg11(num_classes: int = 1000, **options) -> VGG:
    """VGG A: 11 layers with weights.

    Input  [N, 3, 224, 224]
    Output logits [N, num_classes]
    Size   132,863,336 parameters, 7.62 G multiply-adds
    """
    return VGG(**{"depth": "A", "num_classes": num_classes} | options)


@register
def vgg11_bn(num_classes: int = 1000, **options) -> VGG:
    """VGG A: 11 layers with weights, with batch normalisation.

    Input  [N, 3, 224, 224]
    Output logits [N, num_classes]
    Size   132,868,840 parameters, 7.63 G multiply-adds
    """
    return VGG(**{"depth": "A", "batch_norm": True, "num_classes": num_classes} | options)


@register
def vgg11_lrn(num_classes: int = 1000, **options) -> VGG:
    """VGG A-LRN: A with local response normalisation after conv1_1.

    Input  [N, 3, 224, 224]
    Output logits [N, num_classes]
    Size   132,863,336 parameters, 7.65 G multiply-adds
    """
    return VGG(**{"depth": "A-LRN", "num_classes": num_classes} | options)


@register
def vgg11_lrn_bn(num_classes: int = 1000, **options) -> VGG:
    """VGG A-LRN: A with local response normalisation after conv1_1, with batch normalisation.

    Input  [N, 3, 224, 224]
    Output logits [N, num_classes]
    Size   132,868,840 parameters, 7.65 G multiply-adds
    """
    return VGG(**{"depth": "A-LRN", "batch_norm": True, "num_classes": num_classes} | options)


@register
def vgg13(num_classes: int = 1000, **options) -> VGG:
    """VGG B: 13 layers.

    Input  [N, 3, 224, 224]
    Output logits [N, num_classes]
    Size   133,047,848 parameters, 11.3 G multiply-adds
    """
    return VGG(**{"depth": "B", "num_classes": num_classes} | options)


@register
def vgg13_bn(num_classes: int = 1000, **options) -> VGG:
    """VGG B: 13 layers, with batch normalisation.

    Input  [N, 3, 224, 224]
    Output logits [N, num_classes]
    Size   133,053,736 parameters, 11.3 G multiply-adds
    """
    return VGG(**{"depth": "B", "batch_norm": True, "num_classes": num_classes} | options)


@register
def vgg16_c(num_classes: int = 1000, **options) -> VGG:
    """VGG C: 16 layers, the third convolution of blocks 3 to 5 is 1x1.

    Input  [N, 3, 224, 224]
    Output logits [N, num_classes]
    Size   133,638,952 parameters, 11.8 G multiply-adds
    """
    return VGG(**{"depth": "C", "num_classes": num_classes} | options)


@register
def vgg16_c_bn(num_classes: int = 1000, **options) -> VGG:
    """VGG C: 16 layers, the third convolution of blocks 3 to 5 is 1x1, with batch normalisation.

    Input  [N, 3, 224, 224]
    Output logits [N, num_classes]
    Size   133,647,400 parameters, 11.8 G multiply-adds
    """
    return VGG(**{"depth": "C", "batch_norm": True, "num_classes": num_classes} | options)


@register
def vgg16(num_classes: int = 1000, **options) -> VGG:
    """VGG D: 16 layers, all convolutions 3x3.

    Input  [N, 3, 224, 224]
    Output logits [N, num_classes]
    Size   138,357,544 parameters, 15.5 G multiply-adds
    """
    return VGG(**{"depth": "D", "num_classes": num_classes} | options)


@register
def vgg16_bn(num_classes: int = 1000, **options) -> VGG:
    """VGG D: 16 layers, all convolutions 3x3, with batch normalisation.

    Input  [N, 3, 224, 224]
    Output logits [N, num_classes]
    Size   138,365,992 parameters, 15.5 G multiply-adds
    """
    return VGG(**{"depth": "D", "batch_norm": True, "num_classes": num_classes} | options)


@register
def vgg19(num_classes: int = 1000, **options) -> VGG:
    """VGG E: 19 layers.

    Input  [N, 3, 224, 224]
    Output logits [N, num_classes]
    Size   143,667,240 parameters, 19.7 G multiply-adds
    """
    return VGG(**{"depth": "E", "num_classes": num_classes} | options)


@register
def vgg19_bn(num_classes: int = 1000, **options) -> VGG:
    """VGG E: 19 layers, with batch normalisation.

    Input  [N, 3, 224, 224]
    Output logits [N, num_classes]
    Size   143,678,248 parameters, 19.7 G multiply-adds
    """
    return VGG(**{"depth": "E", "batch_norm": True, "num_classes": num_classes} | options)


@register
def vgg11_cifar(num_classes: int = 10, **options) -> VGG:
    """VGG A: 11 layers with weights, for 32x32 images.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   9,750,922 parameters, 153.6 M multiply-adds
    """
    return VGG(**CIFAR | {"depth": "A", "num_classes": num_classes} | options)


@register
def vgg11_bn_cifar(num_classes: int = 10, **options) -> VGG:
    """VGG A: 11 layers with weights, with batch normalisation, for 32x32 images.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   9,756,426 parameters, 153.7 M multiply-adds
    """
    return VGG(**CIFAR | {"depth": "A", "batch_norm": True, "num_classes": num_classes} | options)


@register
def vgg11_lrn_cifar(num_classes: int = 10, **options) -> VGG:
    """VGG A-LRN: A with local response normalisation after conv1_1, for 32x32 images.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   9,750,922 parameters, 154.0 M multiply-adds
    """
    return VGG(**CIFAR | {"depth": "A-LRN", "num_classes": num_classes} | options)


@register
def vgg11_lrn_bn_cifar(num_classes: int = 10, **options) -> VGG:
    """VGG A-LRN: A with local response normalisation after conv1_1, with batch normalisation, for 32x32 images.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   9,756,426 parameters, 154.2 M multiply-adds
    """
    return VGG(**CIFAR | {"depth": "A-LRN", "batch_norm": True, "num_classes": num_classes} | options)


@register
def vgg13_cifar(num_classes: int = 10, **options) -> VGG:
    """VGG B: 13 layers, for 32x32 images.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   9,935,434 parameters, 229.2 M multiply-adds
    """
    return VGG(**CIFAR | {"depth": "B", "num_classes": num_classes} | options)


@register
def vgg13_bn_cifar(num_classes: int = 10, **options) -> VGG:
    """VGG B: 13 layers, with batch normalisation, for 32x32 images.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   9,941,322 parameters, 229.4 M multiply-adds
    """
    return VGG(**CIFAR | {"depth": "B", "batch_norm": True, "num_classes": num_classes} | options)


@register
def vgg16_c_cifar(num_classes: int = 10, **options) -> VGG:
    """VGG C: 16 layers, the third convolution of blocks 3 to 5 is 1x1, for 32x32 images.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   10,526,538 parameters, 238.6 M multiply-adds
    """
    return VGG(**CIFAR | {"depth": "C", "num_classes": num_classes} | options)


@register
def vgg16_c_bn_cifar(num_classes: int = 10, **options) -> VGG:
    """VGG C: 16 layers, the third convolution of blocks 3 to 5 is 1x1, with batch normalisation, for 32x32 images.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   10,534,986 parameters, 238.9 M multiply-adds
    """
    return VGG(**CIFAR | {"depth": "C", "batch_norm": True, "num_classes": num_classes} | options)


@register
def vgg16_cifar(num_classes: int = 10, **options) -> VGG:
    """VGG D: 16 layers, all convolutions 3x3, for 32x32 images.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   15,245,130 parameters, 314.1 M multiply-adds
    """
    return VGG(**CIFAR | {"depth": "D", "num_classes": num_classes} | options)


@register
def vgg16_bn_cifar(num_classes: int = 10, **options) -> VGG:
    """VGG D: 16 layers, all convolutions 3x3, with batch normalisation, for 32x32 images.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   15,253,578 parameters, 314.4 M multiply-adds
    """
    return VGG(**CIFAR | {"depth": "D", "batch_norm": True, "num_classes": num_classes} | options)


@register
def vgg19_cifar(num_classes: int = 10, **options) -> VGG:
    """VGG E: 19 layers, for 32x32 images.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   20,554,826 parameters, 399.1 M multiply-adds
    """
    return VGG(**CIFAR | {"depth": "E", "num_classes": num_classes} | options)


@register
def vgg19_bn_cifar(num_classes: int = 10, **options) -> VGG:
    """VGG E: 19 layers, with batch normalisation, for 32x32 images.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   20,565,834 parameters, 399.4 M multiply-adds
    """
    return VGG(**CIFAR | {"depth": "E", "batch_norm": True, "num_classes": num_classes} | options)
