"""Stream a 7z archive, member by member, through py7zr. Only one block is in memory at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from paddlecnn.data.storage.file_storage import FileSlice, damage_named
from paddlecnn.errors import DataError

SIGNATURE = b"7z\xbc\xaf\x27\x1c"


class Member(NamedTuple):
    """An archive's header for one of its entries."""

    name: str
    size: int  # bytes
    kind: str  # file, folder, or another kind, in words
    crc: int | None = None  # CRC-32 of the bytes, where the archive lists it


class Sink(Protocol):
    """The target of a member's bytes."""

    def write(self, data: bytes | bytearray) -> int: ...

    def close(self) -> None: ...


def members(archive: Path | FileSlice) -> list[Member]:
    """The members in the archive's order."""
    with opened(archive) as seven:
        return [member_of(info) for info in seven.list()]


def member_of(info: Any) -> Member:
    kind = "folder" if info.is_directory else "file" if info.is_file else "link or device"
    return Member(info.filename, info.uncompressed or 0, kind, info.crc32)


def stream(archive: Path | FileSlice, open_sink: Callable[[str], Sink]) -> None:
    """Send each file's bytes to the sink that `open_sink(name)` returns; the CRCs are checked on the way."""
    import py7zr.io

    class Writer(py7zr.io.Py7zIO):
        """One member on its way to its sink, which is open from the first byte to the last."""

        def __init__(self, name: str, size: int):
            self.name, self.bytes, self.written = name, size, 0
            self.sink: Sink | None = None

        def write(self, data: bytes | bytearray) -> int:
            sink = self.sink = self.sink or open_sink(self.name)
            sink.write(data)
            self.written += len(data)
            if self.written >= self.bytes:
                sink.close()
            return len(data)

        def read(self, size: int | None = None) -> bytes:
            return b""

        def seek(self, offset: int, whence: int = 0) -> int:
            return 0

        def flush(self) -> None:
            """Sinks flush when they are closed."""

        def size(self) -> int:
            return self.written

    class Factory(py7zr.io.WriterFactory):
        """Gives py7zr the file object of each member."""

        def create(self, filename: str) -> Writer:
            return Writer(filename, sizes[filename])

    with opened(archive) as seven:
        sizes = {name: size for name, size, kind, _ in map(member_of, seven.list()) if kind == "file"}
        seven.extractall(factory=Factory())
    for name, size in sizes.items():
        if not size:  # py7zr never writes to it
            open_sink(name).close()


@contextlib.contextmanager
def opened(archive: Path | FileSlice) -> Iterator[Any]:
    """An open archive; whatever py7zr raises becomes a DataError that names it."""
    import py7zr

    name = archive if isinstance(archive, Path) else archive.name
    if not isinstance(archive, Path):
        archive.seek(0)
    with damage_named(name):
        try:
            seven = py7zr.SevenZipFile(archive)  # type: ignore[arg-type]
        except py7zr.exceptions.PasswordRequired:
            raise DataError(f"{name}: encrypted; unpack it with its password first") from None
        with seven:
            if seven.password_protected:
                raise DataError(f"{name}: encrypted; unpack it with its password first")
            yield seven
