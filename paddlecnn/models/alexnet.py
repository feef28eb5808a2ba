"""AlexNet: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
NeurIPS 2012, and the versions of it that later papers, libraries and tutorials published.

docs/deviations.md compares each version with the paper, line by line; docs/models.md lists their sizes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from paddle import nn
from paddle.nn.initializer import Uniform
from pydantic import Field

from paddlecnn.models.layers import LocalResponseNorm
from paddlecnn.models.network import (
    HE_NORMAL,
    NORMAL_001,
    ConvClassifier,
    Dropout,
    Hidden,
    Pixels,
    Side,
    Units,
    classifier,
    conv,
    max_pool,
)
from paddlecnn.models.registry import Variant, register_variants
from paddlecnn.models.shapes import NamedLayer, Window, same_padding

Padding = Annotated[int, Field(ge=0, le=64)] | Literal["same"]
Pool = tuple[Side, Side] | None  # kernel, stride
Real = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
PositiveReal = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]

KERAS_UNIFORM = Uniform(-0.05, 0.05)
INITIALISERS = {  # weights, weights of the output layer, biases of conv 2, 4, 5 and the hidden layers
    "he": (HE_NORMAL, NORMAL_001, 0.0),
    "paper": (NORMAL_001, NORMAL_001, 1.0),
    "uniform": (KERAS_UNIFORM, KERAS_UNIFORM, 0.0),
}


@dataclass(frozen=True)
class AlexNetConfig:
    """The settings of one AlexNet. The defaults are the paper's, with the two towers joined and no normalisation."""

    num_classes: Units = 1000
    # Side of the square image; not the paper's 224: 11x11 with stride 4 gives its 55x55 from 227.
    input_size: Pixels = 227
    widths: tuple[Units, Units, Units, Units, Units] = (96, 256, 384, 384, 256)  # channels of conv 1 to 5, section 3.5
    stem: tuple[Side, Side, Padding] = (11, 4, 0)  # conv1: kernel, stride, padding; "same" pads as TensorFlow does
    # Kernel and stride of the pools after conv 1, 2 and 5, null for none; the paper's overlap, section 3.4.
    pools: tuple[Pool, Pool, Pool] = ((3, 2), (3, 2), (3, 2))
    ceil_pools: bool = False  # a pool's last window may hang over the edge, as in Paddle v2 and Caffe
    # lrn: after ReLU 1 and 2, over all channels, as in the formula of section 3.3; on the paper's two GPUs, which
    # exchange nothing there (section 3.2), its window ended at the border of a tower. batch: before ReLU 1 to 5
    norm: Literal["none", "lrn", "batch"] = "none"
    norm_after_pool: bool = False  # CaffeNet's order; the paper normalises before it pools
    lrn: tuple[Units, Real, Real, PositiveReal] = (5, 1e-4, 0.75, 2.0)  # size, alpha, beta, k of section 3.3
    groups: Literal[1, 2] = 1  # 2: conv 2, 4 and 5 in two separate halves, one per GPU of section 3.2
    hidden: Hidden = (4096, 4096)  # units of fc6 and fc7, section 3.5
    dropout: Dropout = 0.5  # on the outputs of fc6 and fc7, section 4.2
    # "he": He et al. 2015, biases 0. "paper", section 5: N(0, 0.01), biases 1 in conv 2, 4, 5 and the hidden layers.
    # The output layer has N(0, 0.01) in both. "uniform": U(-0.05, 0.05) everywhere, Keras' RandomUniform, biases 0.
    init: Literal["he", "paper", "uniform"] = "he"
    pooled: bool = False  # not in the papers: the classifier sees statistics of each map (MapStatistics)


class AlexNet(ConvClassifier):
    """Five convolutions, two hidden fully connected layers with dropout, and the output layer (section 3.5)."""

    def __init__(self, config: AlexNetConfig):
        weight, last, one = INITIALISERS[config.init]
        pools = dict(zip((1, 2, 5), config.pools, strict=True))
        features: list[NamedLayer] = []
        channels = 3
        for number, (width, window) in enumerate(zip(config.widths, windows(config), strict=True), start=1):
            bias = one if number in (2, 4, 5) else 0.0
            features.append((f"conv{number}", conv(channels, width, window, weight=weight, bias=bias)))
            if config.norm == "batch":
                features.append((f"norm{number}", nn.BatchNorm2D(width)))
            features.append((f"relu{number}", nn.ReLU()))
            after: list[NamedLayer] = []
            if config.norm == "lrn" and number in (1, 2):
                after.append((f"norm{number}", LocalResponseNorm(*config.lrn)))
            if pool := pools.get(number):
                after.append((f"pool{number}", max_pool(*pool, ceil=config.ceil_pools)))
            features += reversed(after) if config.norm_after_pool else after
            channels = width
        super().__init__(features, config.input_size, config.num_classes)
        self.classifier = classifier(
            self.feature_shape, config, weight=weight, last=last, bias=one, pooled=config.pooled
        )


def windows(config: AlexNetConfig) -> list[Window]:
    """The windows of the five convolutions: the stem, 5x5, and three times 3x3 (section 3.5)."""
    kernel, stride, padding = config.stem
    around = same_padding(config.input_size, kernel, stride) if padding == "same" else (padding, padding)
    two = config.groups
    return [
        Window(kernel, stride, around),
        Window(5, 1, (2, 2), groups=two),
        Window(3, 1, (1, 1)),
        Window(3, 1, (1, 1), groups=two),
        Window(3, 1, (1, 1), groups=two),
    ]


PAPER = AlexNetConfig()
TWO_TOWER = replace(PAPER, norm="lrn", groups=2)
CAFFE_LRN = (5, 2e-5, 0.75, 1.0)  # Caffe's alpha of 1e-4 is divided by the size of 5; its k is 1
CAFFE = replace(TWO_TOWER, lrn=CAFFE_LRN)
OWT_WIDTHS = (64, 192, 384, 256, 256)
OWT = replace(PAPER, widths=OWT_WIDTHS, stem=(11, 4, 2), input_size=224)
CIFAR = replace(PAPER, stem=(11, 4, 1), ceil_pools=True, input_size=32, num_classes=10)
OWT_CIFAR = replace(CIFAR, widths=OWT_WIDTHS, stem=(11, 4, 2), pools=((3, 2), None, None), ceil_pools=False)
TF_CIFAR = replace(CIFAR, widths=OWT_WIDTHS, stem=(11, 4, "same"), ceil_pools=False, norm="lrn")
KERAS_CIFAR100 = replace(
    CIFAR, stem=(11, 2, "same"), pools=((3, 2), (3, 2), (2, 2)), ceil_pools=False, hidden=(2048, 2048), num_classes=100
)

NEURIPS = "Krizhevsky et al. 2012"
PADDLE_TUTORIAL = "PaddlePaddle v2 tutorial 用PaddlePaddle和Tensorflow实现经典CNN网络AlexNet"
VARIANTS = {
    "alexnet": Variant(PAPER, "the towers joined, no normalisation", f"{NEURIPS}, figure 2 and section 3.5"),
    "alexnet_lrn": Variant(replace(PAPER, norm="lrn"), "the towers joined, LRN", f"{NEURIPS}, section 3.3"),
    "alexnet_two_tower": Variant(
        TWO_TOWER, "LRN, conv 2, 4 and 5 in two groups for the two GPUs", f"{NEURIPS}, figure 2 and section 3.2"
    ),
    "alexnet_caffe": Variant(
        CAFFE, "two groups, Caffe's LRN: for `bvlc_alexnet.npy`", "`models/bvlc_alexnet` of BVLC/caffe"
    ),
    "caffenet": Variant(
        replace(CAFFE, norm_after_pool=True),
        "`alexnet_caffe` with pooling before normalisation",
        "`models/bvlc_reference_caffenet` of BVLC/caffe",
    ),
    "alexnet_owt": Variant(
        OWT,
        "fewer channels, no normalisation: AlexNet of torchvision and `paddle.vision`",
        "Krizhevsky 2014, arXiv 1404.5997",
    ),
    "alexnet_cifar": Variant(CIFAR, "the paper's widths on 32x32, no normalisation", PADDLE_TUTORIAL),
    "alexnet_cifar_lrn": Variant(replace(CIFAR, norm="lrn"), "the paper's widths on 32x32, LRN", PADDLE_TUTORIAL),
    "alexnet_owt_cifar": Variant(
        OWT_CIFAR, "widths of `alexnet_owt` on 32x32; only pool1, fc6 sees 256x3x3", "a PyTorch tutorial for CIFAR-10"
    ),
    "alexnet_tf_cifar": Variant(
        TF_CIFAR,
        "widths of `alexnet_owt` on 32x32, 'SAME' padding, LRN",
        "`tutorials/image/alexnet/alexnet_benchmark.py` of tensorflow/models",
    ),
    "alexnet_cifar100_k11s2": Variant(
        KERAS_CIFAR100, "conv1 with stride 2, narrower fully connected layers", "a Keras tutorial for CIFAR-100"
    ),
}
register_variants(AlexNet, VARIANTS)
