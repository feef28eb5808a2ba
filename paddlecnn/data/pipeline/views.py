"""Views of an image: which part of it, at which scale, mirrored or not, becomes the network's input."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import numpy as np

from paddlecnn.config import Augment, Preprocess
from paddlecnn.data.pipeline.transforms import crop
from paddlecnn.randomness import generator

PACKED = struct.Struct("<4H")


@dataclass(frozen=True)
class View:
    """A crop of `size` pixels from the central square of an image whose short side was resized to `resize`."""

    resize: int
    top: int
    left: int
    mirrored: bool = False  # left to right, after the crop
    pad: int = 0  # pixels of the image's reflection around it; top and left are counted from the padded corner

    @property
    def packed(self) -> bytes:
        """The view as eight bytes."""
        return PACKED.pack(self.resize, self.top, self.left, 2 * self.pad + self.mirrored)

    def cut(self, squares: np.ndarray, size: int) -> np.ndarray:
        """uint8 [n, resize, resize, 3] to [n, 3, size, size]."""
        corner = np.full(len(squares), 1)
        images = crop(squares, self.top * corner, self.left * corner, size, self.pad, "reflect")
        return np.ascontiguousarray(images[:, :, :, ::-1]) if self.mirrored else images


def centre(side: int, size: int) -> View:
    """The central crop of an image of `side` pixels."""
    offset = (side - size) // 2
    return View(side, offset, offset)


def both_ways(views: list[View]) -> list[View]:
    """The views, then their mirror images."""
    return views + [replace(view, mirrored=True) for view in views]


def crop_places(count: int, room: int) -> list[tuple[int, int]]:
    """`count` fixed places (top, left) of a crop that may move by `room` pixels: centre, corners, then others.

    The others are the same in every run, so that a larger count only adds places.
    """
    middle = room // 2
    places = [(middle, middle), (0, 0), (0, room), (room, 0), (room, room)]
    others = (generator(0, "crop places").random((max(count - len(places), 0), 2)) * (room + 1)).astype(int)
    return [*places, *((int(top), int(left)) for top, left in others)][:count]


def training_views(augment: Augment, spec: Preprocess) -> list[View] | None:
    """All views that training chooses from, in the order of `augment.view_numbers`; None if the set is not fixed."""
    plain = Augment(crop=augment.crop, crop_places=augment.crop_places, flip=augment.flip, pad_mode=augment.pad_mode)
    room = spec.resize - spec.size
    if augment != plain or (augment.crop and room and not augment.crop_places):
        return None
    if augment.crop and room:
        views = [View(spec.resize, top, left) for top, left in crop_places(augment.crop_places, room)]
    else:
        views = [centre(spec.resize, spec.size)]
    return both_ways(views) if augment.flip else views


MARGIN = 8 / 7  # AlexNet takes crops of 224 pixels out of 256


def prediction_views(kind: str, spec: Preprocess) -> dict[View, float]:
    """The views whose weighted mean of logits is an image's prediction, by the kind of test-time augmentation.

    none    the central crop
    flip    the central crop and its mirror image
    shift   the same, with half of the weight on both moved by one pixel diagonally, up-left and down-right
            (Jordan 2024)
    crops   four corners and the centre, each also mirrored (AlexNet, section 4.1), of an image whose side is 8/7 of
            the input's, or the preprocessing's own `resize` if that is larger
    scales  the central crop and its mirror image at 7/7, 8/7 and 9/7 of the input's side: for 224 pixels the 224, 256
            and 288 of VGG, section 4.2, table 4
    """
    size, middle = spec.size, centre(spec.resize, spec.size)
    if kind == "none":
        return {middle: 1.0}
    if kind == "crops":
        side = max(spec.resize, round(size * MARGIN))
        views = [View(side, top, left) for top, left in crop_places(5, side - size)]
    elif kind == "scales":
        views = [centre(round(size * sevenths / 7), size) for sevenths in (7, 8, 9)]
    else:
        views = [middle]
    views = list(dict.fromkeys(views))  # with one pixel of room the centre is also a corner; it counts once
    weights = dict.fromkeys(both_ways(views), 0.5 / len(views))
    if kind == "shift":
        moved = [replace(middle, top=middle.top + 1 - by, left=middle.left + 1 - by, pad=1) for by in (-1, 1)]
        weights = dict.fromkeys(weights, 0.25) | dict.fromkeys(both_ways(moved), 0.125)
    return weights
