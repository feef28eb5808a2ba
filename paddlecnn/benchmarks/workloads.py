"""The measured networks, as tables that both Paddle and PyTorch can build from. Imports no framework."""

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


VGG_COUNTS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def vgg(depth: int, batch_norm: bool) -> tuple[Layer, ...]:
    """The convolutions of VGG A, B, D or E: five blocks, each ending in a 2x2 pool."""
    layers: list[Layer] = []
    channels = 3
    for width, count in zip((64, 128, 256, 512, 512), VGG_COUNTS[depth], strict=True):
        for _ in range(count):
            layers += [conv(channels, width), *([("bn", width)] if batch_norm else []), ("relu",)]
            channels = width
        layers.append(("pool", 2, 2))
    return tuple(layers)


def vgg_bn(depth: int, batch: int, size: int = 32) -> Workload:
    """A VGG with batch normalisation and one linear layer."""
    return Workload((*vgg(depth, True), ("flatten",), ("linear", 512 * (size // 32) ** 2, 10)), batch, size)


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
    "vgg16_bn_cifar": vgg_bn(16, 128),
    "alexnet_lrn": Workload(ALEXNET_LRN, 32, 227, 1000),
}
INFERENCE = {"vgg16_features": Workload(vgg(16, False), 16, 224), "vgg16_bn_cifar": TRAINING["vgg16_bn_cifar"]}
# What grows, and its values; each in a network that is otherwise the same.
GROWTH: dict[str, dict[int, Workload]] = {
    "batch": {batch: Workload(SMALL_ALEXNET, batch, 32) for batch in (8, 32, 128, 512)},
    "image side": {side: vgg_bn(11, 16, side) for side in (32, 64, 128)},
    "depth": {depth: vgg_bn(depth, 64) for depth in VGG_COUNTS},
    "processes": {processes: Workload(SMALL_ALEXNET, 128, 32) for processes in (1, 2)},
}
WORKLOADS = (
    TRAINING
    | INFERENCE
    | {f"{what} {value}": workload for what, values in GROWTH.items() for value, workload in values.items()}
)
