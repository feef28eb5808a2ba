"""A memory-mapped array file that one process writes and all processes read.

It is written under another name and a lock, then renamed: a kill leaves no incomplete file under its name, and of
several processes one writes and the others wait.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock

from paddlecnn.errors import DataError
from paddlecnn.files import require_space, written_aside


def array_file(path: Path, shape: tuple[int, ...], write: Callable[[BinaryIO], None]) -> np.ndarray:
    """A memory-mapped uint8 .npy file; `write` supplies its content if it does not exist yet."""
    if not path.exists():  # a complete file needs no lock, and may be on a disk that is read-only
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # released by the system when a process dies
            if not path.exists():
                write_file(path, shape, write)
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path}: damaged ({error}); remove it and run this again") from None
    if images.shape != shape or images.dtype != np.uint8:
        raise DataError(
            f"{path}: expected uint8 {list(shape)}, found {images.dtype} {list(images.shape)}; "
            "remove it and run this again"
        )
    return images


def write_file(path: Path, shape: tuple[int, ...], write: Callable[[BinaryIO], None]) -> None:
    """Write a .npy file whose content `write` supplies. Only under the lock."""
    for leftover in path.parent.glob(f".{path.name}.*.part"):  # left by a killed process: the lock is ours
        leftover.unlink()
    # Checked first, before anything is decoded.
    require_space(path.parent, int(np.prod(shape, dtype=object)), "choose another data.cache")
    with written_aside(path) as aside, open(aside, "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        write(file)
