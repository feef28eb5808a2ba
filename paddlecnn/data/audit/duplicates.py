"""Duplicate images: the same bytes, or the same picture in different bytes."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

SIMILAR = 0.998  # smallest correlation of two thumbnails of one picture
CLOSE = 3.0  # largest mean difference of two such thumbnails, in grey levels
BLOCK = 1024  # rows compared at a time
MAX_IMAGES = 100_000  # the comparison grows with the square of the number


def exact_duplicates(content: list[bytes]) -> list[list[int]]:
    """Groups of positions with equal content."""
    groups = defaultdict(list)
    for position, digest in enumerate(content):
        groups[digest].append(position)
    return [members for members in groups.values() if len(members) > 1]


def near_duplicates(thumbnails: np.ndarray, content: list[bytes]) -> list[tuple[int, int]]:
    """Pairs of positions with matching thumbnails and different content.

    thumbnails  uint8 [N, side, side], grey
    An image without contrast resembles every other such image and is left out.
    """
    pixels = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    centred = pixels - pixels.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1)
    usable = np.flatnonzero(norms > pixels.shape[1] ** 0.5)  # a deviation of more than one grey level
    unit, pixels = centred[usable] / norms[usable, None], pixels[usable]
    pairs = []
    for begin in range(0, len(usable), BLOCK):
        alike = unit[begin : begin + BLOCK] @ unit[begin:].T > SIMILAR
        for row, column in zip(*np.nonzero(np.triu(alike, 1)), strict=True):
            first, second = begin + row, begin + column
            if np.abs(pixels[first] - pixels[second]).mean() <= CLOSE:
                pairs.append((int(usable[first]), int(usable[second])))
    return [pair for pair in pairs if content[pair[0]] != content[pair[1]]]
