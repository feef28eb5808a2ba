"""Stream a 7z archive, member by member, through py7zr. Nothing is held in memory but one block."""
from __future__ import annotations

import contextlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from paddlecnn.errors import DataError

SIGNATURE = b"7z\xbc\xaf\x27\x1c"


class Sink(Protocol):
    """Where a member's bytes go."""

    def write(self, data: bytes) -> int: ...

    def close(self) -> None: ...


def members(archive: Path | BinaryIO) -> list[tuple[str, int, str]]:
    """(name, bytes, kind) of each member, in the archive's order; kind is file, folder or link."""
    with opened(archive) as seven:
        return [(info.filename, info.uncompressed or 0, kind_of(info)) for info in seven.list()]


def kind_of(info: object) -> str:
    if info.is_directory:
        return "folder"
    return "file" if info.is_file else "link or device"


def stream(archive: Path | BinaryIO, open_sink: Callable[[str], Sink]) -> None:
    """Send each file's bytes to the sink that `open_sink(name)` gives; the CRCs are checked on the way."""
    import py7zr.io

    class Writer(py7zr.io.Py7zIO):
        """One member, on its way to its sink."""

        def __init__(self, name: str):
            self.name, self.sink, self.written = name, None, 0

        def write(self, data: bytes) -> int:
            if self.sink is None:  # opened when its turn comes: an archive may hold 300,000
                self.sink = open_sink(self.name)
            self.written += len(data)
            return self.sink.write(data)

        def read(self, size: int | None = None) -> bytes:
            return b""

        def seek(self, offset: int, whence: int = 0) -> int:
            return 0

        def flush(self) -> None:
            """Sinks flush when they are closed."""

        def size(self) -> int:
            return self.written

        def close(self) -> None:
            (self.sink or open_sink(self.name)).close()
            self.sink = None

    class Factory(py7zr.io.WriterFactory):
        """Sinks by member name; py7zr gives names below the folder it would write to."""

        def create(self, filename: str) -> Writer:
            return Writer(filename)

    with opened(archive) as seven:
        seven.extractall(factory=Factory())


@contextlib.contextmanager
def opened(archive: Path | BinaryIO) -> Iterator[object]:
    """An open archive; what py7zr raises becomes a DataError that names it."""
    import py7zr

    name = archive if isinstance(archive, Path) else archive.name
    if not isinstance(archive, Path):
        archive.seek(0)
    try:
        with py7zr.SevenZipFile(archive) as seven:
            yield seven
    except (py7zr.exceptions.ArchiveError, lzma.LZMAError, zlib.error, EOFError, ValueError, TypeError,
            AttributeError, IndexError, KeyError, AssertionError, NotImplementedError) as error:
        # py7zr meets a damaged header with whatever its parser stumbles on.
        raise DataError(f"{name}: damaged or cut off ({error or type(error).__name__}); get it again") from None
