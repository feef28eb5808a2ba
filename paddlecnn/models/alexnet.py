"""AlexNet: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
NeurIPS 2012, and the versions of it that later papers and tutorials published.

docs/deviations.md holds each version against the paper, line by line.
"""
from __future__ import annotations

from typing import Annotated, Literal

from paddle import nn
from pydantic import Field

from paddlecnn.models.layers import LocalResponseNorm
from paddlecnn.models.network import HE_NORMAL, NORMAL_001, ConvClassifier, classifier, conv
from paddlecnn.models.registry import register
from paddlecnn.models.shapes import NamedLayer, same_padding

Positive = Annotated[int, Field(gt=0)]
Window = tuple[Positive, Positive]  # kernel, stride

#               conv1  conv2  conv3  conv4  conv5
PAPER_WIDTHS = (96,    256,   384,   384,   256)  # fmt: skip
OWT_WIDTHS   = (64,    192,   384,   256,   256)  # fmt: skip  # "one weird trick", Krizhevsky 2014

POOLS = ((3, 2), (3, 2), (3, 2))  # kernel and stride after conv 1, 2 and 5: overlapping, the paper's section 3.4

# conv1's kernel, stride and padding are the stem; the rest is 5x5 pad 2, then three times 3x3 pad 1.
PAPER = {"widths": PAPER_WIDTHS, "stem": (11, 4, 0), "pools": POOLS, "input_size": 227}
OWT = {"widths": OWT_WIDTHS, "stem": (11, 4, 2), "pools": POOLS, "input_size": 224}
CIFAR = {"widths": PAPER_WIDTHS, "stem": (11, 4, 1), "pools": POOLS, "ceil_pools": True, "input_size": 32}
OWT_CIFAR = {"widths": OWT_WIDTHS, "stem": (11, 4, 2), "pools": ((3, 2), None, None), "input_size": 32}
TF_CIFAR = {"widths": OWT_WIDTHS, "stem": (11, 4, "same"), "pools": POOLS, "input_size": 32}
KERAS_CIFAR100 = {"widths": PAPER_WIDTHS, "stem": (11, 2, "same"), "pools": ((3, 2), (3, 2), (2, 2)),
                  "hidden": (2048, 2048), "input_size": 32}
INITIALISERS = {"he": (HE_NORMAL, 0.0), "paper": (NORMAL_001, 1.0)}  # weights, and the biases that section 5 sets to 1
CAFFE_LRN = (5, 2e-5, 0.75, 1.0)  # Caffe's alpha of 1e-4 is divided by the size of 5; its k is 1


class AlexNet(ConvClassifier):
    """Five convolutions, two hidden fully connected layers with dropout, and the output layer.

    widths: output channels of the five convolutions
    stem: kernel, stride and padding of conv1; "same" pads as TensorFlow does
    pools: kernel and stride of the max pooling after conv 1, 2 and 5, None where there is none
    ceil_pools: a pool's last window may hang over the edge, as in Paddle v2 and Caffe
    norm: after ReLU 1 and 2 local response normalisation, or batch normalisation after every convolution
    norm_after_pool: local response normalisation after pooling, as CaffeNet; the paper has it before
    lrn: size, alpha, beta and k of the local response normalisation
    groups: 2 splits conv 2, 4 and 5 in halves that do not see each other, the paper's two GPUs
    hidden: units of the hidden fully connected layers
    init: "he" (He et al. 2015, biases 0) or "paper" (N(0, 0.01); biases 1 in conv 2, 4, 5 and the hidden layers);
        the output layer has N(0, 0.01) in both
    """

    def __init__(self, num_classes: Positive = 1000, *,
                 widths: tuple[Positive, Positive, Positive, Positive, Positive] = PAPER_WIDTHS,
                 stem: tuple[Positive, Positive, Annotated[int, Field(ge=0)] | Literal["same"]] = (11, 4, 0),
                 pools: tuple[Window | None, Window | None, Window | None] = POOLS,
                 ceil_pools: bool = False, norm: Literal["none", "lrn", "batch"] = "none",
                 norm_after_pool: bool = False, lrn: tuple[Positive, float, float, float] = (5, 1e-4, 0.75, 2.0),
                 groups: Literal[1, 2] = 1, hidden: tuple[Positive, ...] = (4096, 4096),
                 dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5, input_size: Positive = 227,
                 init: Literal["he", "paper"] = "he"):
        kernel, stride, padding = stem
        kernels = ((kernel, stride, same_padding(input_size, kernel, stride) if padding == "same" else padding),
                   (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))
        weight, one = INITIALISERS[init]

        features: list[NamedLayer] = []
        channels = 3
        for number, (width, window) in enumerate(zip(widths, kernels, strict=True), start=1):
            in_pair = number in (2, 4, 5)
            features.append((f"conv{number}", conv(channels, width, *window, groups if in_pair else 1,
                                                   weight=weight, bias=one if in_pair else 0.0)))
            if norm == "batch":
                features.append((f"norm{number}", nn.BatchNorm2D(width)))
            features.append((f"relu{number}", nn.ReLU()))
            after: list[NamedLayer] = []
            if norm == "lrn" and number in (1, 2):
                after.append((f"norm{number}", LocalResponseNorm(*lrn)))
            if pool := {1: pools[0], 2: pools[1], 5: pools[2]}.get(number):
                after.append((f"pool{number}", nn.MaxPool2D(*pool, ceil_mode=ceil_pools)))
            features += reversed(after) if norm_after_pool else after
            channels = width
        super().__init__(features, input_size, num_classes)
        self.classifier = classifier(self.feature_shape, hidden, num_classes, dropout, weight=weight, last=NORMAL_001,
                                     bias=one)


@register
def alexnet(num_classes: int = 1000, **options) -> AlexNet:
    """AlexNet on one device, without normalisation.

    The paper's figure 2 with the two towers joined; without local response normalisation, as most readers
    build it since VGG (2014) found that it does not help.

    Input  [N, 3, 227, 227] (the paper's 224 does not divide; docs/deviations.md)
    Output logits [N, num_classes]
    Size   62,378,344 parameters, 1.14 G multiply-adds
    """
    return AlexNet(**PAPER | {"num_classes": num_classes} | options)


@register
def alexnet_lrn(num_classes: int = 1000, **options) -> AlexNet:
    """AlexNet on one device, with local response normalisation (the paper's section 3.3), towers joined.

    Input  [N, 3, 227, 227]
    Output logits [N, num_classes]
    Size   62,378,344 parameters, 1.14 G multiply-adds
    """
    return AlexNet(**PAPER | {"norm": "lrn", "num_classes": num_classes} | options)


@register
def alexnet_two_tower(num_classes: int = 1000, **options) -> AlexNet:
    """AlexNet as the paper trained it: local response normalisation, conv 2, 4 and 5 in two groups (figure 2).

    The two GPUs' halves are groups of one convolution: the same arithmetic on one device.

    Input  [N, 3, 227, 227]
    Output logits [N, num_classes]
    Size   60,965,224 parameters, 729.5 M multiply-adds
    """
    return AlexNet(**PAPER | {"norm": "lrn", "groups": 2, "num_classes": num_classes} | options)


@register
def alexnet_caffe(num_classes: int = 1000, **options) -> AlexNet:
    """`alexnet_two_tower` with Caffe's normalisation (alpha divided by 5, k = 1), for `bvlc_alexnet.npy`.

    Input  [N, 3, 227, 227]
    Output logits [N, num_classes]
    Size   60,965,224 parameters, 729.5 M multiply-adds
    """
    return AlexNet(**PAPER | {"norm": "lrn", "lrn": CAFFE_LRN, "groups": 2, "num_classes": num_classes} | options)


@register
def caffenet(num_classes: int = 1000, **options) -> AlexNet:
    """CaffeNet (Jia et al., "Caffe", 2014): `alexnet_caffe` that pools before it normalises.

    Input  [N, 3, 227, 227]
    Output logits [N, num_classes]
    Size   60,965,224 parameters, 727.0 M multiply-adds
    """
    return alexnet_caffe(**{"norm_after_pool": True, "num_classes": num_classes} | options)


@register
def alexnet_bn(num_classes: int = 1000, **options) -> AlexNet:
    """`alexnet` with batch normalisation (Ioffe and Szegedy 2015) between each convolution and its ReLU.

    Input  [N, 3, 227, 227]
    Output logits [N, num_classes]
    Size   62,381,096 parameters, 1.14 G multiply-adds
    """
    return AlexNet(**PAPER | {"norm": "batch", "num_classes": num_classes} | options)


@register
def alexnet_owt(num_classes: int = 1000, **options) -> AlexNet:
    """The network of Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.

    What torchvision and `paddle.vision` call AlexNet: fewer channels, one tower, no normalisation. Their dropout
    stands before fc6 and fc7, here after (docs/deviations.md); evaluation is the same.

    Input  [N, 3, 224, 224]
    Output logits [N, num_classes]
    Size   61,100,840 parameters, 715.5 M multiply-adds
    """
    return AlexNet(**OWT | {"num_classes": num_classes} | options)


@register
def alexnet_cifar(num_classes: int = 10, **options) -> AlexNet:
    """The paper's widths on 32x32 images, without normalisation.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   21,622,154 parameters, 27.8 M multiply-adds
    """
    return AlexNet(**CIFAR | {"num_classes": num_classes} | options)


@register
def alexnet_cifar_lrn(num_classes: int = 10, **options) -> AlexNet:
    """`alexnet_cifar` with local response normalisation: the `alexnet_lrn` of the Paddle v2 tutorial.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   21,622,154 parameters, 27.8 M multiply-adds
    """
    return AlexNet(**CIFAR | {"norm": "lrn", "num_classes": num_classes} | options)


@register
def alexnet_owt_cifar(num_classes: int = 10, **options) -> AlexNet:
    """The "one weird trick" widths on 32x32 images: only the first pool is left, fc6 sees 256x3x3.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   28,733,258 parameters, 49.4 M multiply-adds
    """
    return AlexNet(**OWT_CIFAR | {"num_classes": num_classes} | options)


@register
def alexnet_tf_cifar(num_classes: int = 10, **options) -> AlexNet:
    """The TensorFlow tutorials' version: "one weird trick" widths, convolutions padded 'SAME', with LRN.

    `tf.nn.lrn(depth_radius=2, bias=2.0, alpha=1e-4, beta=0.75)`, which sums as the paper does.
    With input_size=224 the last map is theirs, 256x6x6.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   20,344,650 parameters, 24.3 M multiply-adds
    """
    return AlexNet(**TF_CIFAR | {"norm": "lrn", "num_classes": num_classes} | options)


@register
def alexnet_cifar100_k11s2(num_classes: int = 100, **options) -> AlexNet:
    """A Keras tutorial's version for CIFAR-100: 11x11 with stride 2, narrower fully connected layers.

    Input  [N, 3, 32, 32]
    Output logits [N, num_classes]
    Size   8,674,788 parameters, 71.9 M multiply-adds
    """
    return AlexNet(**KERAS_CIFAR100 | {"num_classes": num_classes} | options)
