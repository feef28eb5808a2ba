"""Files are written aside and renamed, so that a kill leaves the old file or the new one, never half of one."""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHUNK = 1 << 20


@contextlib.contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """Give a path beside `target` to write to; on success flush it to disk and rename it into place.

    On an error the partial file is removed and `target` is as it was.
    """
    target = Path(target)
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield aside
        sync(aside)
        os.replace(aside, target)
        sync(target.parent)
    finally:
        aside.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's or a folder's content is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(target: Path, text: str) -> None:
    """Write a whole text file, atomically."""
    with written_aside(target) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically. NaN is refused: JSON has none."""
    write_text(target, json.dumps(value, indent=2, allow_nan=False) + "\n")


def save_png(figure: Figure, target: Path, dpi: int = 100) -> None:
    """Write a matplotlib figure as PNG, atomically. Needs no display: the figure is not one of pyplot's."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(target) as aside:
        figure.savefig(aside, dpi=dpi, format="png")


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """The hex digest of a file, read in pieces."""
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()
