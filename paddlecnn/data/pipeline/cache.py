"""Resized images in one memory-mapped file, so that a JPEG is decoded once and not in every epoch.

A file is named by a hash of the images and of what is done to them; other data or another size is another
file. It is written aside, under a lock, and renamed: a kill leaves no file under the name, and of several
processes one writes and the others wait.
"""
from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tqdm import tqdm

from paddlecnn.data.base import ArrayDataset, Dataset
from paddlecnn.data.pipeline.transforms import square
from paddlecnn.errors import DataError
from paddlecnn.files import written_aside
from paddlecnn.runtime import usable_cores

VERSION = "1"  # of decoding and resizing: raise it when their pixels change
CHUNK = 64  # images that a thread resizes at a time


def cached(dataset: Dataset, side: int, folder: str | Path) -> ArrayDataset:
    """The data set with its images as central squares of `side`, from a file in `folder`, written if need be.

    Raises DataError where an image cannot be read or the disk has no room; no file is left then.
    """
    key = hashlib.sha256(f"{VERSION}:{side}:{dataset.fingerprint}".encode()).hexdigest()[:16]
    path = Path(folder) / f"{dataset.name.replace(' ', '-')}-{side}px-{key}.npy"
    images = array_file(path, (len(dataset), side, side, 3), lambda file: write_squares(dataset, side, file))
    copy = ArrayDataset(dataset.name, dataset.classes, dataset.ids, dataset.labels, images)
    copy.content_hashes = dataset.content_hashes  # still the images it stands for
    return copy


def array_file(path: Path, shape: tuple[int, ...], write: Callable[[BinaryIO], None]) -> np.ndarray:
    """A memory-mapped uint8 .npy file; `write` gives its content where it does not exist yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # freed by the system when a process dies
        if not path.exists():
            for leftover in path.parent.glob(f".{path.name}.*.part"):  # of a killed process: the lock is ours
                leftover.unlink()
            refuse_without_room(path.parent, int(np.prod(shape)), "choose another data.cache")
            with written_aside(path) as aside, open(aside, "wb") as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                write(file)
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    if images.shape != shape or images.dtype != np.uint8:
        raise DataError(f"{path}: not the cache it should be; remove it and run this again")
    return images


def refuse_without_room(folder: Path, needed: int, advice: str) -> None:
    """Raises DataError where the disk has no room. Checked first: a full disk under a memory map kills the process."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(f"{folder}: {needed / 2**20:,.0f} MiB are needed and {free / 2**20:,.0f} MiB are free; "
                        f"free some space or {advice}")


def write_squares(dataset: Dataset, side: int, file: BinaryIO) -> None:
    """Append all images, resized, in order. Threads share the work: OpenCV computes outside the interpreter lock."""
    chunks = [range(i, min(i + CHUNK, len(dataset))) for i in range(0, len(dataset), CHUNK)]

    def resized(chunk: range) -> np.ndarray:
        return np.stack([square(dataset.image(i), side) for i in chunk])

    with ThreadPoolExecutor(usable_cores()) as pool, \
            tqdm(total=len(dataset), unit="image", desc=f"caching {dataset.name}", disable=None) as bar:
        for begin in range(0, len(chunks), 16):  # a few at a time, so that the results do not pile up
            for pixels in pool.map(resized, chunks[begin:begin + 16]):
                file.write(pixels.tobytes())
                bar.update(len(pixels))
