"""A look into a network: its first filters, the outputs of its layers for an image, and what LRN suppresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import cv2
import numpy as np
import paddle
from matplotlib import colormaps
from paddle import nn

from paddlecnn.models.layers import LocalResponseNorm
from paddlecnn.models.summary import first_tensor
from paddlecnn.onednn import run_by_paddle

MAPS = 12  # feature maps shown per layer
SIDE = 64  # pixels of a feature map
GAP = 2  # pixels between pictures


@dataclass(frozen=True)
class LayerOutput:
    """The input and the output of one layer, float32 [n, C, H, W] or [n, features].

    before: None if it was passed by keyword, which a hook does not see
    """

    name: str
    layer: nn.Layer
    before: np.ndarray | None
    after: np.ndarray


def record(model: nn.Layer, images: np.ndarray, kind: type | None = None) -> list[LayerOutput]:
    """The outputs of all innermost layers, or of those of one kind, in the order of their calls.

    images: network inputs, float32 [n, 3, S, S]
    """
    recorded: list[LayerOutput] = []
    hooks = []
    for path, layer in model.named_sublayers():
        if layer.sublayers() or not isinstance(layer, kind or nn.Layer):
            continue

        def keep(layer: nn.Layer, inputs: Any, outputs: Any, name: str = path.rpartition(".")[2]) -> None:
            before, after = first_tensor(inputs), first_tensor(outputs)
            if after is not None:
                recorded.append(LayerOutput(name, layer, None if before is None else before.numpy(), after.numpy()))

        hooks.append(layer.register_forward_post_hook(keep))  # type: ignore[arg-type] # its result is not replaced
    try:
        with run_by_paddle(model), paddle.no_grad():
            model(paddle.to_tensor(images))
    finally:
        for hook in hooks:
            hook.remove()
    return recorded


def first_filters(model: nn.Layer, channels: str | None) -> np.ndarray | None:
    """The kernels of the first convolution with three input channels, uint8 [H, W, 4].

    Each kernel is scaled by its largest weight; grey is 0. AlexNet's 96 are 6 rows of 16, as in the paper's figure 3.
    None for a network without such a convolution. channels: "bgr" if the network's input has that order
    """
    for layer in model.sublayers():
        if isinstance(layer, nn.Conv2D) and layer.weight.shape[1] == 3:
            kernels = layer.weight.numpy()[:, :: -1 if channels == "bgr" else 1].transpose(0, 2, 3, 1)
            scaled = kernels / np.maximum(np.abs(kernels).max(axis=(1, 2, 3), keepdims=True), 1e-12)
            tiles = (127.5 + 127.5 * scaled).round().astype(np.uint8)
            factor = max(1, round(33 / tiles.shape[1]))
            return grid([enlarged(tile, factor) for tile in tiles], 16 if len(tiles) > 24 else 8)
    return None


def enlarged(tile: np.ndarray, factor: int) -> np.ndarray:
    """Each pixel as a square of `factor` by `factor` pixels."""
    return tile.repeat(factor, axis=0).repeat(factor, axis=1)


def grid(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Pictures uint8 [h, w, 3] of one size in rows, on a transparent background: uint8 [H, W, 4]."""
    height, width = tiles[0].shape[:2]
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    picture = np.zeros((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 4), np.uint8)
    for number, tile in enumerate(tiles):
        top, left = (number // columns) * (height + GAP), (number % columns) * (width + GAP)
        picture[top : top + height, left : left + width, :3] = tile
        picture[top : top + height, left : left + width, 3] = 255
    return picture


def overlaid(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A heat map [h, w] in 0..1 over a grey copy of an image: uint8 [H, W, 3] to the same."""
    smooth = cv2.resize(heat, pixels.shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
    grey = pixels.mean(axis=2, keepdims=True)
    blended = (1 - 0.6 * smooth) * grey + 0.6 * smooth * 255 * colormaps["inferno"](smooth[..., 0])[..., :3]
    return blended.clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class FeatureMaps:
    """The strongest feature maps of one layer for one image."""

    name: str  # conv1, relu1: the layers since the previous row
    shape: tuple[int, ...]  # [C, H, W]
    picture: np.ndarray  # uint8 [H, W, 4]
    active: float  # share of outputs that are not 0
    silent: int  # channels that are 0 everywhere


def feature_maps(outputs: Sequence[LayerOutput]) -> list[FeatureMaps]:
    """The maps of each layer with [C, H, W] outputs; a convolution is shown after its normalisation and activation."""
    layers = [one for one in outputs if one.after.ndim == 4 and not isinstance(one.layer, nn.Dropout)]
    rows, names = [], []
    for one, following in zip_longest(layers, layers[1:]):
        names.append(one.name)
        if following is not None and isinstance(following.layer, (nn.BatchNorm2D, nn.ReLU, nn.GELU)):
            continue
        maps = one.after[0]
        strongest = np.argsort(-np.abs(maps).mean(axis=(1, 2)), kind="stable")[:MAPS]
        low, high = min(0.0, float(maps.min())), float(maps[strongest].max())
        picture = grid([coloured(maps[channel], low, high) for channel in strongest], MAPS)
        active, silent = float((maps != 0).mean()), int((maps == 0).all(axis=(1, 2)).sum())
        rows.append(FeatureMaps(", ".join(names), maps.shape, picture, active, silent))
        names = []
    return rows


def coloured(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """A map [H, W] in the colours of viridis, which span `low` to `high`; uint8 [SIDE, SIDE, 3]."""
    scaled = np.clip((values - low) / max(high - low, 1e-12), 0, 1).astype(np.float32)
    shrinks = max(values.shape) > SIDE
    resized = cv2.resize(scaled, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
    return (colormaps["viridis"](resized)[..., :3] * 255).round().astype(np.uint8)


@dataclass(frozen=True)
class Suppression:
    """The effect of one LocalResponseNorm layer on a batch of images.

    The denominator is (k + alpha * sum)^beta. `constant` is k^beta, by which it divides in any case; `extra` is what
    the neighbours add, as a share of the constant: denominator / k^beta - 1.
    """

    name: str
    layer: LocalResponseNorm
    constant: float
    extra: np.ndarray  # [positive activations of all images]
    channel: int  # the most suppressed activation of the first image: its channel ...
    before: np.ndarray  # ... and [C] activations of all channels at its place, divided by the constant,
    after: np.ndarray  # ... and by the denominator
    picture: np.ndarray  # uint8 [H, W, 4]: its channel before and after, and the share that is taken away

    @property
    def median(self) -> float:
        return float(np.median(self.extra))

    @property
    def largest(self) -> float:
        return float(self.extra.max())

    def reduced_by(self, share: float) -> float:
        """The share of the activations that the neighbours reduce by more than `share`."""
        return float((1 - 1 / (1 + self.extra) > share).mean())


def suppressions(outputs: Sequence[LayerOutput]) -> list[Suppression]:
    """The effect of each LocalResponseNorm layer; layers without a positive input are left out."""
    found = []
    for one in outputs:
        if not isinstance(one.layer, LocalResponseNorm) or one.before is None or not (one.before > 0).any():
            continue
        constant = one.layer.k**one.layer.beta
        plain = one.before / constant
        taken = np.where(one.before > 0, 1 - one.after / np.where(one.before > 0, plain, 1), 0)
        channel, row, column = np.unravel_index(taken[0].argmax(), taken[0].shape)
        high, most = float(plain[0, channel].max()), float(taken[0, channel].max())
        maps = ((plain, high), (one.after, high), (taken, most))
        found.append(
            Suppression(
                one.name,
                one.layer,
                constant,
                extra=1 / (1 - taken[one.before > 0]) - 1,
                channel=int(channel),
                before=plain[0, :, row, column],
                after=one.after[0, :, row, column],
                picture=grid([coloured(values[0, channel], 0, top) for values, top in maps], 3),
            )
        )
    return found
