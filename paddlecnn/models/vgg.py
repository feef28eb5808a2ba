"""VGG: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
arXiv 1409.1556, ICLR 2015.

TABLE is the paper's table 1. Its networks come with and without batch normalisation (`_bn`, Ioffe and Szegedy 2015,
which the paper did not have), and for 32x32 images with a classifier of 512-512 (`_cifar`).
docs/deviations.md compares each with the paper; docs/models.md lists their sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from paddle import nn
from paddle.nn.initializer import KaimingNormal, Normal, XavierUniform
from pydantic import Field

from paddlecnn.models.layers import LocalResponseNorm
from paddlecnn.models.network import HE_NORMAL, ConvClassifier, Dropout, Hidden, Units, classifier, conv, max_pool
from paddlecnn.models.registry import Variant, register_variants
from paddlecnn.models.shapes import NamedLayer, Window

Depth = Literal["A", "A-LRN", "B", "C", "D", "E"]
WIDTHS = (64, 128, 256, 512, 512)  # channels of the five blocks; each block ends in a 2x2 max pool

# Kernels of the convolutions of each block: 3x3, in C also 1x1.
TABLE: dict[Depth, tuple[tuple[int, ...], ...]] = {
    "A":     ((3,),   (3,),   (3, 3),       (3, 3),       (3, 3)),
    "A-LRN": ((3,),   (3,),   (3, 3),       (3, 3),       (3, 3)),  # with LRN after conv1_1
    "B":     ((3, 3), (3, 3), (3, 3),       (3, 3),       (3, 3)),
    "C":     ((3, 3), (3, 3), (3, 3, 1),    (3, 3, 1),    (3, 3, 1)),
    "D":     ((3, 3), (3, 3), (3, 3, 3),    (3, 3, 3),    (3, 3, 3)),
    "E":     ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)),
}  # fmt: skip

INITIALISERS = {  # weights, weights of the output layer
    "he": (HE_NORMAL, KaimingNormal(nonlinearity="linear")),  # no ReLU factor; with N(0, 0.01), E would not learn
    "glorot": (XavierUniform(), XavierUniform()),  # Glorot and Bengio 2010, the alternative that section 3.1 names
    "paper": (Normal(0.0, 0.1), Normal(0.0, 0.1)),  # section 3.1: variance 0.01, for A; deeper networks started from A
}


@dataclass(frozen=True)
class VGGConfig:
    """The settings of one VGG. The defaults are configuration D, commonly called VGG16."""

    depth: Depth = "D"  # the column of table 1: A, A-LRN, B, C, D or E
    batch_norm: bool = False  # between each convolution and its ReLU
    num_classes: Units = 1000
    # Side of the square image; the five pools reduce 224 to 7x7 and 32 to 1x1.
    input_size: Annotated[int, Field(ge=32, le=1 << 14)] = 224
    hidden: Hidden = (4096, 4096)  # units of fc6 and fc7
    dropout: Dropout = 0.5  # on the outputs of fc6 and fc7, section 3.1
    # Of the weights: he, He et al. 2015; glorot, Glorot and Bengio 2010; paper, N(0, 0.1), section 3.1. Biases are 0.
    init: Literal["he", "glorot", "paper"] = "he"
    pooled: bool = False  # not in the paper: the classifier sees statistics of each map (MapStatistics)


class VGG(ConvClassifier):
    """Five blocks of small convolutions with ReLU, each ending in a pool that halves the map; two hidden fully
    connected layers."""

    def __init__(self, config: VGGConfig):
        weight, last = INITIALISERS[config.init]
        features: list[NamedLayer] = []
        channels = 3
        for block, (width, kernels) in enumerate(zip(WIDTHS, TABLE[config.depth], strict=True), start=1):
            for number, kernel in enumerate(kernels, start=1):
                name = f"{block}_{number}"
                window = Window(kernel, padding=(kernel // 2, kernel // 2))
                features.append((f"conv{name}", conv(channels, width, window, weight=weight)))
                if config.batch_norm:
                    features.append((f"norm{name}", nn.BatchNorm2D(width)))
                features.append((f"relu{name}", nn.ReLU()))
                if config.depth == "A-LRN" and name == "1_1":
                    features.append(("lrn1_1", LocalResponseNorm()))
                channels = width
            features.append((f"pool{block}", max_pool(2, 2)))
        super().__init__(features, config.input_size, config.num_classes)
        self.classifier = classifier(self.feature_shape, config, weight=weight, last=last, pooled=config.pooled)


def published(depth: Depth, text: str) -> Variant:
    """A column of table 1, as in the paper."""
    return Variant(VGGConfig(depth), text, f"Simonyan and Zisserman 2015, table 1, {depth}")


def with_batch_norm(depth: Depth, text: str) -> Variant:
    source = "torchvision and `paddle.vision`, after Ioffe and Szegedy 2015"
    return Variant(VGGConfig(depth, batch_norm=True), f"{text}, batch normalisation", source)


def for_cifar(depth: Depth, text: str, batch_norm: bool) -> Variant:
    config = VGGConfig(depth, batch_norm, num_classes=10, input_size=32, hidden=(512, 512))
    description = f"{text}{', batch normalisation' if batch_norm else ''}, for 32x32 images"
    return Variant(config, description, "`vgg.py` of chengyangfu/pytorch-vgg-cifar10")


DEPTHS: dict[str, tuple[Depth, str]] = {
    "vgg11": ("A", "11 weight layers"),
    "vgg13": ("B", "13 weight layers"),
    "vgg16": ("D", "16 weight layers"),
    "vgg19": ("E", "19 weight layers"),
}
VARIANTS = {
    **{name: published(*column) for name, column in DEPTHS.items()},
    "vgg11_lrn": published("A-LRN", "`vgg11` with LRN after conv1_1"),
    "vgg16_c": published("C", "16 weight layers, the third convolution of blocks 3 to 5 is 1x1"),
    **{f"{name}_bn": with_batch_norm(*column) for name, column in DEPTHS.items()},
    **{f"{name}_cifar": for_cifar(*column, batch_norm=False) for name, column in DEPTHS.items()},
    **{f"{name}_bn_cifar": for_cifar(*column, batch_norm=True) for name, column in DEPTHS.items()},
}
register_variants(VGG, VARIANTS)
