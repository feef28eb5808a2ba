"""Files are written aside and renamed, so that a kill leaves the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from filelock import FileLock, Timeout

from paddlecnn.errors import DataError, UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

CHUNK = 1 << 20


@dataclass(frozen=True)
class Checksum:
    """The hex digest of a file, or its first digits, as its publisher states it."""

    algorithm: str  # of hashlib
    digits: str


@contextlib.contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """Yield a path beside `target` to write to; on success flush it to disk and rename it into place.

    On an error the partial file is removed and `target` is as it was.
    """
    target = Path(target)
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield aside
        put_in_place(aside, target)
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_written_aside(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target` to fill; on success rename it to `target`, on an error remove it.

    Raises DataError while another process writes `target`. The leftover of a killed process is removed first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.part")
    with only_writer(target):
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            yield aside
            put_in_place(aside, target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def only_writer(target: Path) -> contextlib.AbstractContextManager[None]:
    """Be the only process that writes a file or folder. Raises DataError while another one does."""
    lock = target.with_name(f".{target.name}.lock")
    return only_process(lock, DataError(f"{target}: another process is writing it; wait for it or stop it"))


def put_in_place(aside: Path, target: Path) -> None:
    """Rename a complete file or folder to `target`; a file and the name of a folder are on disk before this returns."""
    sync(aside)
    os.replace(aside, target)
    sync(target.parent)


@contextlib.contextmanager
def only_process(lock_file: Path, otherwise: UserError) -> Iterator[None]:
    """Hold a lock file, which is removed afterwards. Raises `otherwise` if another process holds it."""
    lock = FileLock(lock_file, timeout=0)  # released by the system when a process dies
    try:
        lock.acquire()
    except Timeout:
        raise otherwise from None
    try:
        yield
    finally:
        lock_file.unlink()  # before the release: afterwards it could be the lock of another process
        lock.release()


def require_space(folder: Path, needed: int, advice: str) -> None:
    """Raise DataError if the disk of `folder` has less than `needed` bytes free, before anything is written."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{folder}: {needed / 2**20:,.0f} MiB needed and {free / 2**20:,.0f} MiB free; free some space or {advice}"
        )


def require_writable(path: Path, option: str) -> None:
    """Create the folder of the file that an option names. Raises UserError if the file cannot be written there.

    For use before hours of work, not after them.
    """
    if path.is_dir():
        raise UserError(f"{option} {path}: is a folder; name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(
            f"{option} {path}: cannot be written there ({error.strerror}); choose a folder that you may write to"
        ) from None


def open_regular(path: Path, limit: int | None = None) -> BinaryIO:
    """Open a regular file for reading, without waiting for the writer of a FIFO.

    Raises OSError for a folder, a FIFO, a device or, with `limit`, a file of more bytes.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and (limit is None or status.st_size <= limit):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISREG(status.st_mode):
        raise OSError(errno.EFBIG, f"{status.st_size:,} bytes, more than the limit of {limit:,}", str(path))
    raise OSError(errno.EINVAL, "not a regular file", str(path))


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


def write_csv(target: Path, table: DataFrame) -> None:
    """Write a table as CSV, atomically. Numbers keep all their digits."""
    write_text(target, table.to_csv(index=False, lineterminator="\n"))


def save_png(figure: Figure, target: Path, dpi: int = 100) -> None:
    """Write a matplotlib figure as PNG, atomically. Needs no display: the figure is not one of pyplot's."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(target) as aside:
        aside.write_bytes(png_of(figure, dpi))


def png_of(figure: Figure, dpi: int = 100) -> bytes:
    """The PNG of a matplotlib figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=dpi, format="png")
    return buffer.getvalue()


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """The hex digest of a file, read in pieces."""
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()
