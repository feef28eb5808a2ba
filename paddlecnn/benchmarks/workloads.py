"""The networks that are measured, as tables that Paddle and PyTorch build alike. Imports no framework."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Layer = tuple[Any, ...]  # ("conv", in, out, kernel, stride, padding), ("pool", kernel, stride, ceil), ("relu",), ...


@dataclass(frozen=True)
class Workload:
    """A chain of layers, its batch and its images' size."""

    layers: tuple[Layer, ...]
    batch: int
    size: int
    classes: int = 10


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, padding: int | None = None) -> Layer:
    return "conv", inputs, outputs, kernel, stride, kernel // 2 if padding is None else padding


def vgg16(batch_norm: bool) -> tuple[Layer, ...]:
    """The convolutions of VGG D: five blocks, each ending in a 2x2 pool."""
    layers: list[Layer] = []
    channels = 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += [conv(channels, width), *([("bn", width)] if batch_norm else []), ("relu",)]
            channels = width
        layers.append(("pool", 2, 2))
    return tuple(layers)


RELU, LRN = ("relu",), ("lrn",)
CEIL_POOL = ("pool", 3, 2, True)
SMALL_ALEXNET = (
    conv(3, 64, 11, 4, 5), RELU, ("pool", 2, 2), conv(64, 192, 5), RELU, ("pool", 2, 2), conv(192, 384), RELU,
    conv(384, 256), RELU, conv(256, 256), RELU, ("pool", 2, 2), ("flatten",), ("linear", 256, 10),
)  # fmt: skip
CONV_3_TO_5 = (conv(256, 384), RELU, conv(384, 384), RELU, conv(384, 256), RELU)
HIDDEN = (("linear", 4096, 4096), RELU, ("dropout", 0.5))
ALEXNET_CIFAR_LRN = (  # the package's model of that name
    conv(3, 96, 11, 4, 1), RELU, LRN, CEIL_POOL, conv(96, 256, 5), RELU, LRN, CEIL_POOL, *CONV_3_TO_5,
    ("flatten",), ("linear", 256, 4096), RELU, ("dropout", 0.5), *HIDDEN, ("linear", 4096, 10),
)  # fmt: skip
ALEXNET_LRN = (
    conv(3, 96, 11, 4, 0), RELU, LRN, ("pool", 3, 2), conv(96, 256, 5), RELU, LRN, ("pool", 3, 2), *CONV_3_TO_5,
    ("pool", 3, 2), ("flatten",), ("linear", 9216, 4096), RELU, ("dropout", 0.5), *HIDDEN, ("linear", 4096, 1000),
)  # fmt: skip

TRAINING = {
    "small_alexnet": Workload(SMALL_ALEXNET, 128, 32),
    "alexnet_cifar_lrn": Workload(ALEXNET_CIFAR_LRN, 128, 32),
    "vgg16_bn_cifar": Workload((*vgg16(True), ("flatten",), ("linear", 512, 10)), 128, 32),
    "alexnet_lrn": Workload(ALEXNET_LRN, 32, 227, 1000),
}
INFERENCE = {"vgg16_features": Workload(vgg16(False), 16, 224), "vgg16_bn_cifar": TRAINING["vgg16_bn_cifar"]}
WORKLOADS = TRAINING | INFERENCE
