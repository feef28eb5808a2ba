"""Resized images in one memory-mapped file, so that a JPEG is decoded once instead of in every epoch.

A file is named after a hash of the images and of their processing; other data or another size gives another file.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import numpy as np

from paddlecnn.data.base import ArrayDataset, Dataset
from paddlecnn.data.pipeline.prefetch import map_ahead
from paddlecnn.data.pipeline.transforms import square
from paddlecnn.data.storage.array_file import array_file
from paddlecnn.progress_bar import ProgressBar
from paddlecnn.runtime import usable_cores

VERSION = "2"  # of decoding and resizing: increase it when their pixels change
CHUNK = 64  # images that a thread resizes at a time


def cached(dataset: Dataset, side: int, folder: str | Path, fit: str | None = None) -> ArrayDataset:
    """The data set with its images as squares of `side`, from a file in `folder`, written if missing.

    fit: as in `transforms.square`
    Raises DataError if an image cannot be read or the disk has no room; then no file is left.
    """
    form = f"{side} squeezed" if fit == "squeeze" else str(side)
    key = hashlib.sha256(f"{VERSION}:{form}:{dataset.fingerprint}".encode()).hexdigest()[:16]
    path = Path(folder) / f"{dataset.name.replace(' ', '-')}-{side}px-{key}.npy"
    images = array_file(path, (len(dataset), side, side, 3), lambda file: write_squares(dataset, side, fit, file))
    result = ArrayDataset(dataset.name, dataset.classes, dataset.ids, dataset.labels, images)
    result.content_hashes = dataset.content_hashes  # those of the original images
    return result


def write_squares(dataset: Dataset, side: int, fit: str | None, file: BinaryIO) -> None:
    """Append all images, resized, in order. Threads share the work: OpenCV computes outside the interpreter lock."""
    chunks = [range(i, min(i + CHUNK, len(dataset))) for i in range(0, len(dataset), CHUNK)]

    def resized(chunk: range) -> np.ndarray:
        return np.stack([square(dataset.image(i), side, fit) for i in chunk])

    with (
        closing(map_ahead(resized, chunks, usable_cores())) as results,
        ProgressBar(total=len(dataset), unit="image", desc=f"caching {dataset.name}") as bar,
    ):
        for pixels in results:
            file.write(pixels.tobytes())
            bar.update(len(pixels))
