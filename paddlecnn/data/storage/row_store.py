"""Rows of float16 numbers on disk, each with a key and a checksum; appended in blocks, read through a memory map.

    rows    the numbers, one row after another
    index   for each appended block: number of rows and its CRC-32, then key and CRC-32 of each row, then a CRC-32

The rows of a block are on disk before its entries are written. A kill thus leaves at most rows without entries, or a
truncated last block; the next writer removes both and continues with the same bytes.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np
from filelock import FileLock

from paddlecnn.errors import DataError
from paddlecnn.files import sync

KEY_BYTES = 24
ENTRY = np.dtype([("key", f"V{KEY_BYTES}"), ("crc", "<u4")])
HEADER = struct.Struct("<II")  # number of entries, CRC-32 of that number
CHECKSUM = struct.Struct("<I")


class RowStore:
    """The rows in a folder, each of shape `row_shape`. Several processes may read, and one at a time may append."""

    def __init__(self, folder: Path, row_shape: Sequence[int]):
        self.folder = folder
        self.row_shape = tuple(row_shape)
        self.row_bytes = 2 * prod(row_shape)
        self.load()

    def __len__(self) -> int:
        return len(self.entries)

    def load(self) -> None:
        """Read the index as it is on disk now. Raises DataError if it is damaged."""
        self.entries, self.index_bytes = self.read_index()
        self.places = {entry.tobytes(): place for place, entry in enumerate(self.entries["key"])}
        self.is_verified = np.zeros(len(self.entries), bool)
        self.rows: np.memmap | None = None
        if len(self.entries):
            found = self.path("rows").stat().st_size if self.path("rows").exists() else 0
            if found < len(self.entries) * self.row_bytes:
                raise self.damaged("rows", "shorter than its index says")
            shape = (len(self.entries), *self.row_shape)
            self.rows = np.memmap(self.path("rows"), np.float16, "r", shape=shape)

    def read_index(self) -> tuple[np.ndarray, int]:
        """All entries, and the number of bytes of the complete blocks."""
        data = self.path("index").read_bytes() if self.path("index").exists() else b""
        blocks, offset = [np.empty(0, ENTRY)], 0
        while len(data) - offset >= HEADER.size:
            count, crc = HEADER.unpack_from(data, offset)
            if crc != zlib.crc32(CHECKSUM.pack(count)):
                raise self.damaged("index", "a block's header does not match its checksum")
            begin = offset + HEADER.size
            end = begin + count * ENTRY.itemsize
            if end + CHECKSUM.size > len(data):
                break
            if CHECKSUM.unpack_from(data, end)[0] != zlib.crc32(data[begin:end]):
                raise self.damaged("index", "a block does not match its checksum")
            blocks.append(np.frombuffer(data[begin:end], ENTRY))
            offset = end + CHECKSUM.size
        return np.concatenate(blocks), offset

    def missing(self, keys: Sequence[bytes]) -> list[int]:
        """The positions in `keys` of the keys that have no row, each key once."""
        seen = set(self.places)
        return [i for i, key in enumerate(keys) if not (key in seen or seen.add(key))]  # type: ignore[func-returns-value]

    def places_of(self, keys: Sequence[bytes]) -> np.ndarray:
        """int64 [len(keys)]: the number of each key's row. Raises KeyError for a key without one."""
        return np.array([self.places[key] for key in keys], np.int64)

    def read(self, places: np.ndarray) -> np.ndarray:
        """float16 [n, *row_shape]. Each row's checksum is compared when this process first reads it.

        Raises DataError for a damaged row. Pages that were read are released from the map: they stay in the system's
        cache, but do not count as this process's memory.
        """
        if self.rows is None:
            return np.empty((0, *self.row_shape), np.float16)
        rows = self.rows[places]
        self.rows._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
        for row, place in zip(rows, places, strict=True):
            if not self.is_verified[place]:
                if zlib.crc32(row.data) != self.entries["crc"][place]:
                    raise self.damaged("rows", f"row {place:,} does not match its checksum")
                self.is_verified[place] = True
        return np.asarray(rows)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Become the only writer, after removing the unfinished end left by a killed one; other writers wait."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path("lock")):  # released by the system when a process dies
            self.load()
            for name, size in (("rows", len(self) * self.row_bytes), ("index", self.index_bytes)):
                with open(self.path(name), "ab") as file:
                    file.truncate(size)
            sync(self.folder)
            yield
            self.load()

    def append(self, keys: Sequence[bytes], rows: np.ndarray) -> None:
        """Append a block of rows, float16 [n, *row_shape]; returns when it is on disk. Only within `writing`."""
        entries = np.empty(len(keys), ENTRY)
        entries["key"] = np.frombuffer(b"".join(keys), f"V{KEY_BYTES}")
        entries["crc"] = [zlib.crc32(row.tobytes()) for row in rows]
        header = HEADER.pack(len(keys), zlib.crc32(CHECKSUM.pack(len(keys))))
        body = entries.tobytes()
        for name, data in (("rows", rows.tobytes()), ("index", header + body + CHECKSUM.pack(zlib.crc32(body)))):
            with open(self.path(name), "ab") as file:
                file.write(data)
            sync(self.path(name))

    def path(self, name: str) -> Path:
        return self.folder / name

    def damaged(self, name: str, how: str) -> DataError:
        return DataError(f"{self.path(name)}: damaged ({how}); remove {self.folder} and run this again")
