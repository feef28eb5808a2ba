"""The networks again, in plain NumPy on [N, H, W, C], as TensorFlow lays out images and weights.

It shares no line with the package: kernels are [height, width, in, out], matrices [in, out], and the last map is
flattened as [H, W, C].
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

HIDDEN = (48, 40)  # of the classifiers, small so that the tests are quick


def alexnet(widths, stem, groups=1, lrn=False):
    """Layers as (kind, name, numbers ...)."""
    kernel, stride, padding = stem
    norm = [("lrn",)] if lrn else []
    one, two, three, four, five = widths
    return [
        ("conv", "conv1", kernel, stride, padding, one, 1),
        ("relu",),
        *norm,
        ("pool", 3, 2),
        ("conv", "conv2", 5, 1, 2, two, groups),
        ("relu",),
        *norm,
        ("pool", 3, 2),
        ("conv", "conv3", 3, 1, 1, three, 1),
        ("relu",),
        ("conv", "conv4", 3, 1, 1, four, groups),
        ("relu",),
        ("conv", "conv5", 3, 1, 1, five, groups),
        ("relu",),
        ("pool", 3, 2),
    ]


def vgg16():
    layers = []
    for block, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for number in range(1, count + 1):
            layers += [("conv", f"conv{block}_{number}", 3, 1, 1, width, 1), ("relu",)]
        layers.append(("pool", 2, 2))
    return layers


NETWORKS = {  # name: features, input size, the side of the last map
    "alexnet_two_tower": (alexnet((96, 256, 384, 384, 256), (11, 4, 0), groups=2, lrn=True), 227, 6),
    "alexnet_owt": (alexnet((64, 192, 384, 256, 256), (11, 4, 2)), 224, 6),
    "vgg16": (vgg16(), 64, 2),
}


def random_weights(name, seed=0, classes=1000):
    """{layer: (weight, bias)}"""
    rng = np.random.default_rng(seed)
    features, _, side = NETWORKS[name]
    weights, channels = {}, 3
    for kind, *rest in features:
        if kind == "conv":
            layer, kernel, _, _, width, groups = rest
            shape = (kernel, kernel, channels // groups, width)
            weights[layer] = draw(rng, shape)
            channels = width
    inputs = channels * side * side
    for layer, units in zip(("fc6", "fc7", "fc8"), (*HIDDEN, classes), strict=True):
        weights[layer] = draw(rng, (inputs, units))
        inputs = units
    return weights


def draw(rng, shape):
    """He-scaled weights, so that logits are of the order of 1, and biases."""
    weight = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))
    return weight.astype(np.float32), rng.standard_normal(shape[-1]).astype(np.float32) / 8


def forward(name, weights, images):
    """Logits of images [N, H, W, 3] in float64."""
    x = images.astype(np.float64)
    for kind, *rest in NETWORKS[name][0]:
        if kind == "conv":
            layer, _, stride, padding, _, groups = rest
            x = convolve(x, *weights[layer], stride, padding, groups)  # type: ignore[call-arg]
        elif kind == "relu":
            x = np.maximum(x, 0)
        elif kind == "lrn":
            x = normalise(x)
        else:
            x = windows(x, rest[0], rest[1]).max(axis=(-2, -1))
    x = x.reshape(len(x), -1)
    for layer in ("fc6", "fc7", "fc8"):
        x = x @ weights[layer][0] + weights[layer][1]
        x = x if layer == "fc8" else np.maximum(x, 0)
    return x


def windows(x, kernel, stride):
    return sliding_window_view(x, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]


def convolve(x, weight, bias, stride, padding, groups):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    parts = [
        np.einsum("nhwcij,ijco->nhwo", windows(part, len(weight), stride), kernel, optimize=True)
        for part, kernel in zip(np.split(x, groups, -1), np.split(weight, groups, -1), strict=True)
    ]
    return np.concatenate(parts, -1) + bias


def normalise(x, size=5, alpha=1e-4, beta=0.75, k=2.0):
    """The paper's formula, a channel at a time, for the last axis."""
    result = np.empty_like(x)
    for channel in range(x.shape[-1]):
        near = x[..., max(0, channel - size // 2) : channel + (size - 1) // 2 + 1]
        result[..., channel] = x[..., channel] / (k + alpha * (near**2).sum(-1)) ** beta
    return result
