"""Where image files lie: a folder, a zip, or a zip inside a zip. Reading never writes anything."""
from __future__ import annotations

from pathlib import Path
from typing import Protocol

from paddlecnn.errors import DataError


class Store(Protocol):
    """Files by name."""

    def read(self, member: str) -> bytes:
        """The whole file. Raises DataError where it cannot be read."""

    def describe(self, member: str) -> str:
        """The file's whole name, for messages."""

    def names(self) -> list[str]:
        """The names of all files, `/` between folders, sorted."""


class FolderStore:
    """Files below a folder."""

    def __init__(self, root: Path):
        self.root = root

    def read(self, member: str) -> bytes:
        try:
            return (self.root / member).read_bytes()
        except OSError as error:
            raise DataError(f"{self.root / member}: cannot be read ({error.strerror}); "
                            "repair or remove it, then run tools/check_data.py") from None

    def describe(self, member: str) -> str:
        return str(self.root / member)

    def names(self) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())
