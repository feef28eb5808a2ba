"""The axes of each format's arrays, the layers that they belong to, and the preprocessing of their images.

Conversions go wrong silently in three places: the axes of a kernel, the axes of a fully connected matrix, and
the order in which the last feature map was flattened before the first fully connected layer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from paddle import nn

from paddlecnn.config import IMAGENET_PREPROCESS
from paddlecnn.errors import WeightsError
from paddlecnn.models.network import ConvClassifier
from paddlecnn.models.weights.readers import Layers, WeightFile


@dataclass(frozen=True)
class Layout:
    """The axes of a format. Ours: kernels [out, in, height, width], matrices [in, out], maps flattened as [C, H, W]."""

    kernel: tuple[int, int, int, int]  # the transposition to our kernel axes
    matrix: tuple[int, int]  # the transposition to our matrix axes
    channels_last: bool  # maps were flattened as [H, W, C]


TENSORFLOW = Layout(kernel=(3, 2, 0, 1), matrix=(0, 1), channels_last=True)
LAYOUTS = {
    "npy": TENSORFLOW,
    "npz": TENSORFLOW,
    "keras": TENSORFLOW,
    "torch": Layout(kernel=(0, 1, 2, 3), matrix=(1, 0), channels_last=False),
    "paddle": Layout(kernel=(0, 1, 2, 3), matrix=(0, 1), channels_last=False),
}

IMAGENET = IMAGENET_PREPROCESS.model_dump(include={"channels", "scale", "mean", "std"})
ONES = [1.0, 1.0, 1.0]
# The preprocessing published with the ImageNet weights of a format, for AlexNet and for VGG. Means in BGR: Caffe's
# models/bvlc_googlenet/train_val.prototxt (104, 117, 123), in place of the mean image of bvlc_alexnet, and Keras'
# imagenet_utils.preprocess_input; in RGB: Frossard's vgg16.py (cs.toronto.edu/~frossard/post/vgg16); IMAGENET:
# torchvision's and paddle.vision's pages on their weights.
PUBLISHED = {
    ("npy", "AlexNet"): {"channels": "bgr", "scale": 1.0, "mean": [104.0, 117.0, 123.0], "std": ONES},
    ("npy", "VGG"): {"channels": "bgr", "scale": 1.0, "mean": [103.939, 116.779, 123.68], "std": ONES},
    ("npz", "VGG"): {"channels": "rgb", "scale": 1.0, "mean": [123.68, 116.779, 103.939], "std": ONES},
    ("keras", "VGG"): {"channels": "bgr", "scale": 1.0, "mean": [103.939, 116.779, 123.68], "std": ONES},
    **{(form, network): IMAGENET for form in ("torch", "paddle") for network in ("AlexNet", "VGG")},
}
IMAGENET_CLASSES = 1000

KINDS = {nn.Conv2D: "convolution", nn.Linear: "fully connected layer", nn.BatchNorm2D: "batch normalisation"}
KIND_BY_AXES = {4: "convolution", 2: "fully connected layer", 1: "batch normalisation"}  # axes of the weight


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names for a message, shortened if they are many or long."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"{name:.80}" for name in names[:most]) + more


def weighted_layers(network: ConvClassifier) -> dict[str, nn.Layer]:
    """A network's layers that have weights or statistics, in order, by their names without `features.` or
    `classifier.`."""
    children = [*network.features.named_children(), *network.classifier.named_children()]
    return {name: layer for name, layer in children if type(layer) in (*KINDS, nn.BatchNorm1D)}


def in_our_terms(file: WeightFile, network: ConvClassifier) -> tuple[Layers, dict[str, str]]:
    """A file's layers with our axes and, where known, our names; and the file's own name for each.

    Raises WeightsError if layers without known names cannot be paired by their order, or if two would share a name.
    """
    ours = weighted_layers(network)
    names = our_names(file, ours, network)
    if len(set(names.values())) < len(names):
        twice = next(name for name in names.values() if list(names.values()).count(name) > 1)
        found = [theirs for theirs, ours_ in names.items() if ours_ == twice]
        raise WeightsError(f"{file.path}: {listed(found)} would all be {twice}; remove all but one")
    layers = {names[name]: with_our_axes(arrays, LAYOUTS[file.format]) for name, arrays in file.layers.items()}
    first = next(name for name, layer in ours.items() if isinstance(layer, nn.Linear))
    if LAYOUTS[file.format].channels_last and "weight" in layers.get(first, ()):
        layers[first]["weight"] = flattened_channels_first(layers[first]["weight"], network.feature_shape)
    if file.format == "paddle" and "_fc6" in file.layers:
        # paddle.vision's AlexNet. Its dropout is "downscale_in_infer": nothing is scaled in training, and the inputs of
        # fc6 and fc7 are halved in evaluation. Ours doubles what is kept in training and leaves evaluation alone.
        for arrays in (layers[name] for name in ("fc6", "fc7") if "weight" in layers.get(name, ())):
            arrays["weight"] = arrays["weight"] * 0.5
    return layers, {ours_: theirs for theirs, ours_ in names.items()}


def with_our_axes(arrays: Mapping[str, np.ndarray], layout: Layout) -> dict[str, np.ndarray]:
    """A layer's arrays, with kernels and matrices transposed to our axes."""
    axes = {4: layout.kernel, 2: layout.matrix}
    return {role: array.transpose(axes.get(array.ndim) if role == "weight" else None) for role, array in arrays.items()}


def flattened_channels_first(matrix: np.ndarray, feature_shape: Sequence[int]) -> np.ndarray:
    """The rows of a matrix [H*W*C, out] in the order of [C, H, W]; one of another size is left for the shape check."""
    if matrix.shape[0] != prod(feature_shape):
        return matrix
    channels, height, width = feature_shape
    cube = matrix.reshape(height, width, channels, -1).transpose(2, 0, 1, 3)
    return cube.reshape(matrix.shape)


def known_name(name: str, ours: Collection[str]) -> str:
    """Our name for a layer, from ours, Caffe's, Keras' or paddle.vision's; any other name is kept."""
    last = name.removesuffix("._conv").rpartition(".")[2].removeprefix("_")
    if last in ours:  # fc2 of a LeNet with one convolution is not Keras'
        return last
    if match := re.fullmatch(r"block(\d)_conv(\d)", last):
        return f"conv{match[1]}_{match[2]}"
    return {"fc1": "fc6", "fc2": "fc7", "predictions": "fc8"}.get(last, last)


def our_names(file: WeightFile, ours: Mapping[str, nn.Layer], network: ConvClassifier) -> dict[str, str]:
    """Our name for each of the file's layer names; its own if we have none.

    Layers with generic names (features.0, conv2d_1) are paired by their order within their kind. Raises WeightsError if
    the numbers of layers differ; fully connected ones are then of another classifier and keep the file's names.
    """
    names = {name: known_name(name, ours) for name in file.layers}
    for layer_type, kind in KINDS.items():
        theirs = [name for name, arrays in file.layers.items() if kind_of(arrays) == kind]
        wanted = [name for name, layer in ours.items() if isinstance(layer, layer_type)]
        if any(names[name] in wanted for name in theirs):
            continue
        if len(theirs) == len(wanted):
            names.update(zip(theirs, wanted, strict=True))
        elif layer_type is nn.Linear:
            names.update(zip(theirs, theirs, strict=True))
        else:
            raise WeightsError(
                f"{file.path}: {kind}s: found {len(theirs)}, expected {len(wanted)} for {network.name}; "
                "is it for another network?"
            )
    return names


def kind_of(arrays: Mapping[str, np.ndarray]) -> str | None:
    """The kind of a file's layer by the axes of its weight; None for another number, and for statistics alone."""
    return KIND_BY_AXES.get(arrays["weight"].ndim) if "weight" in arrays else None


def published_preprocess(file: WeightFile, layers: Layers, network: ConvClassifier) -> dict[str, Any] | None:
    """The preprocessing that came with the ImageNet weights of this format; None for any other weights."""
    if any(name.startswith(("features.conv", "classifier.fc")) for name in file.layers):
        return None  # ours: the run's checkpoint has it
    # Of the file's own layers, since the network may have fewer; a file need not keep their order.
    outputs = [arrays["weight"].shape[1] for arrays in layers.values() if kind_of(arrays) == KINDS[nn.Linear]]
    published = PUBLISHED.get((file.format, type(network).__name__))
    if published is None or (outputs and IMAGENET_CLASSES not in outputs):
        return None
    if published is IMAGENET:  # the centre 7/8 of the image: 224 of 256 pixels
        return {**published, "size": network.input_size, "resize": round(network.input_size * 256 / 224)}
    return {**published, "size": network.input_size}
