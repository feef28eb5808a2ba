"""Image files in a folder, a zip, or a zip inside a zip. Reading leaves nothing on disk."""

from __future__ import annotations

import errno
import io
import os
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from paddlecnn.errors import DataError, UserError
from paddlecnn.files import CHUNK, open_regular, require_space

MAX_FILE = 1 << 28  # bytes of a file that is read at once: beyond any photograph, below any bomb
ADVICE = "fix or remove it"


class FileStorage(Protocol):
    """Files by name."""

    def read(self, member: str) -> bytes:
        """The whole file. Raises DataError if it cannot be read."""

    def describe(self, member: str) -> str:
        """The file's full name, for messages."""

    def names(self) -> list[str]:
        """The names of all files, `/` between folders, sorted."""


def read_file(path: Path, advice: str = ADVICE) -> bytes:
    """The content of a regular file of at most MAX_FILE bytes. Raises DataError for anything else."""
    try:
        with open_regular(path, MAX_FILE) as file:
            return file.read(MAX_FILE)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); {advice}") from None


def read_text(path: Path, advice: str) -> str:
    """A text in UTF-8, with or without a byte order mark. Raises DataError, with the line of what is not UTF-8."""
    data = read_file(path, advice)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: not a text in UTF-8; {advice}") from None


class FolderStorage:
    """Files below a folder, which may itself be a link. Hidden files and folders are ignored."""

    def __init__(self, root: Path):
        self.root = root

    def read(self, member: str) -> bytes:
        return read_file(self.root / member)

    def describe(self, member: str) -> str:
        return str(self.root / member)

    def names(self) -> list[str]:
        """Raises DataError for a folder that cannot be listed, and for a link to one: nothing is skipped."""
        names = []
        for folder, folders, files in os.walk(self.root, onerror=refuse_unlisted):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in folders:
                if os.path.islink(path := os.path.join(folder, name)):
                    raise DataError(f"{path}: a link to a folder, which is not followed; put the folder itself there")
            below = Path(folder).relative_to(self.root).as_posix()
            prefix = "" if below == "." else f"{below}/"
            names += [f"{prefix}{name}" for name in files if not name.startswith(".")]
        return sorted(names)


def refuse_unlisted(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be listed ({error.strerror}); make the folder readable or remove it")


class ZipStorage:
    """Files in a zip, or in a zip that is a member (`inner`) of a zip.

    An inner zip that is stored uncompressed, as in Kaggle's bundles, is read in place. A compressed one is unpacked
    into an unnamed temporary file, which the system removes when the process ends. Both are read by position, so that
    worker processes can share the open file.
    """

    def __init__(self, path: Path, inner: str | None = None):
        self.name = str(path)
        try:
            self.file = open_regular(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None
        self.zip = self.open_zip(FileSlice(self.file, 0, os.fstat(self.file.fileno()).st_size))
        if inner is not None:
            part = self.open_member(inner)
            self.name = part.name
            self.zip = self.open_zip(part)

    def open_zip(self, part: FileSlice) -> zipfile.ZipFile:
        with damage_named(self.name, "not a complete zip"):
            return zipfile.ZipFile(part)

    def open_member(self, inner: str) -> FileSlice:
        """A member as a file that can seek, such as a zip in a bundle."""
        name = f"{self.name}/{inner}"
        with damage_named(name):
            info = self.zip.getinfo(inner)
            if info.compress_type == zipfile.ZIP_STORED:
                header = os.pread(self.file.fileno(), 30, info.header_offset)
                name_and_extra = sum(struct.unpack("<HH", header[26:30]))
                return FileSlice(self.file, info.header_offset + 30 + name_and_extra, info.file_size, name)
            require_space(Path(tempfile.gettempdir()), info.file_size, "set TMPDIR to a folder on another disk")
            unpacked = tempfile.TemporaryFile()  # noqa: SIM115 (open for as long as the data set)
            with self.zip.open(info) as member:
                shutil.copyfileobj(member, unpacked, CHUNK)
            unpacked.flush()
            return FileSlice(unpacked, 0, info.file_size, name)

    def read(self, member: str) -> bytes:
        with damage_named(self.describe(member), "cannot be read", ADVICE):
            info = self.zip.getinfo(member)
            if info.file_size > MAX_FILE:
                raise DataError(
                    f"{self.describe(member)}: {info.file_size:,} bytes according to its header, more than the limit "
                    f"of {MAX_FILE:,}; {ADVICE}"
                )
            return self.zip.read(info)  # checks the CRC

    def describe(self, member: str) -> str:
        return f"{self.name}/{member}"

    def names(self) -> list[str]:
        return sorted(name for name in self.zip.namelist() if not name.endswith("/"))


class FileSlice(io.RawIOBase):
    """A part of a file, as a file with its own position."""

    def __init__(self, file: BinaryIO, offset: int, size: int, name: str = ""):
        super().__init__()
        self.file, self.offset, self.size = file, offset, size
        self.position = 0
        self.name = name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        if self.position < 0:
            raise ValueError("seek before the beginning")
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io.BufferedReader passes no other type
        wanted = max(0, min(len(buffer), self.size - self.position))
        data = os.pread(self.file.fileno(), wanted, self.offset + self.position)
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)


@contextmanager
def damage_named(name: object, verdict: str = "damaged or truncated", advice: str = "get it again") -> Iterator[None]:
    """Turn any exception of the archive libraries for a damaged archive into a DataError that names it.

    A damaged header can break their parsers in any way, so every exception counts, except disk errors.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{name}: {verdict} ({reason}); {advice}") from None
