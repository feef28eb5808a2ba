"""Where image files lie: a folder, a zip, or a zip inside a zip. Reading never leaves anything on disk."""
from __future__ import annotations

import io
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from paddlecnn.errors import DataError

LARGEST_FILE = 1 << 28  # bytes; no photograph has more, and a zip bomb's member has
ADVICE = "repair or remove it, then run tools/check_data.py"


class FileStorage(Protocol):
    """Files by name."""

    def read(self, member: str) -> bytes:
        """The whole file. Raises DataError where it cannot be read."""

    def describe(self, member: str) -> str:
        """The file's whole name, for messages."""

    def names(self) -> list[str]:
        """The names of all files, `/` between folders, sorted."""


class FolderStorage:
    """Files below a folder. Hidden files and folders are not seen."""

    def __init__(self, root: Path):
        self.root = root

    def read(self, member: str) -> bytes:
        try:
            return (self.root / member).read_bytes()
        except OSError as error:
            raise DataError(f"{self.describe(member)}: cannot be read ({error.strerror}); {ADVICE}") from None

    def describe(self, member: str) -> str:
        return str(self.root / member)

    def names(self) -> list[str]:
        return sorted(self.walk())

    def walk(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            below = Path(folder).relative_to(self.root).as_posix()
            for name in files:
                if not name.startswith("."):
                    yield name if below == "." else f"{below}/{name}"


class ZipStorage:
    """Files in a zip, or in a zip that is a member (`inner`) of a zip.

    An inner zip that is stored uncompressed, as in Kaggle's bundles, is read where it lies. A compressed one
    is unpacked into a nameless temporary file, which the system removes with the process. Both are read by
    position, so that worker processes can share the open file.
    """

    def __init__(self, path: Path, inner: str | None = None):
        self.name = str(path)
        try:
            self.file: BinaryIO = open(path, "rb")  # noqa: SIM115 (open as long as the data set)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None
        self.zip = self.open_zip(FileSlice(self.file, 0, os.fstat(self.file.fileno()).st_size))
        if inner is not None:
            window = self.open_member(inner)
            self.name = window.name
            self.zip = self.open_zip(window)

    def open_zip(self, window: FileSlice) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(window)
        except (zipfile.BadZipFile, OSError, ValueError, struct.error) as error:
            raise DataError(f"{self.name}: not a complete zip ({error}); get it again") from None

    def open_member(self, inner: str) -> FileSlice:
        """A member as a file that can seek, such as a zip in a bundle."""
        file, name = self.file, f"{self.name}/{inner}"
        info = self.zip.getinfo(inner)
        if info.compress_type == zipfile.ZIP_STORED:
            header = os.pread(file.fileno(), 30, info.header_offset)
            name_and_extra = sum(struct.unpack("<HH", header[26:30]))
            return FileSlice(file, info.header_offset + 30 + name_and_extra, info.file_size, name)
        unpacked = tempfile.TemporaryFile()  # noqa: SIM115
        if shutil.disk_usage(tempfile.gettempdir()).free < info.file_size:
            raise DataError(f"{name}: {info.file_size:,} bytes to unpack and less is free in "
                            f"{tempfile.gettempdir()}; free some space or set TMPDIR")
        try:
            with self.zip.open(info) as member:
                shutil.copyfileobj(member, unpacked, 1 << 20)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise DataError(f"{name}: damaged ({error}); get it again") from None
        unpacked.flush()
        return FileSlice(unpacked, 0, info.file_size, name)

    def read(self, member: str) -> bytes:
        try:
            info = self.zip.getinfo(member)
            if info.file_size > LARGEST_FILE:
                raise DataError(f"{self.describe(member)}: says it has {info.file_size:,} bytes; {ADVICE}")
            return self.zip.read(info)  # checks the CRC
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, RuntimeError,
                NotImplementedError) as error:  # RuntimeError: encrypted; NotImplementedError: compression
            raise DataError(f"{self.describe(member)}: cannot be read ({error}); {ADVICE}") from None

    def describe(self, member: str) -> str:
        return f"{self.name}/{member}"

    def names(self) -> list[str]:
        return sorted(name for name in self.zip.namelist() if not name.endswith("/"))


class FileSlice(io.RawIOBase):
    """A part of a file, as a file of its own with its own position."""

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
            raise OSError("seek before the beginning")
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: memoryview) -> int:
        wanted = max(0, min(len(buffer), self.size - self.position))
        data = os.pread(self.file.fileno(), wanted, self.offset + self.position)
        buffer[:len(data)] = data
        self.position += len(data)
        return len(data)
