"""Unpack a zip, tar or 7z from a stranger: into its folder and nowhere else, all of it or nothing.

Refused before anything is written: members that would leave the folder (`..`, absolute paths, drive letters),
links, devices, two members of one name, and archives that say they unpack to more than the disk has room for.
While unpacking, a member that gives more bytes than it said is refused. The files go to a hidden folder
beside the target, which is renamed at the end: a killed extraction is never taken for a complete one, and the
next one clears it away.
"""
from __future__ import annotations

import gzip
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from tqdm import tqdm

from paddlecnn.data.storage import sevenzip
from paddlecnn.errors import DataError
from paddlecnn.files import CHUNK, sync

PADDING = 4096  # bytes of disk that each file may take beyond its size


@dataclass(frozen=True)
class Member:
    """What an archive says of one of its entries."""

    name: str
    size: int
    kind: str  # file, folder, or what else it is


def extract(archive: Path, dest: Path, room: int | None = None) -> None:
    """Unpack `archive` into the new folder `dest`.

    room  bytes that may be used; None: what is free on the disk
    Raises DataError where the archive is damaged or refused; `dest` does not exist then.
    """
    if dest.exists():
        raise DataError(f"{dest}: is already there; remove it first, or choose another folder")
    with aside_folder(dest) as folder:
        unpack_into(archive, folder, room)


def unpack_into(archive: Path, folder: Path, room: int | None = None) -> None:
    """Unpack into an existing folder, with all checks but not atomically: for use inside `aside_folder`."""
    list_members, unpack = reader_of(archive)
    with damage_named(archive):
        members = list_members(archive)
        refuse_unsafe(archive, members, shutil.disk_usage(folder).free if room is None else room)
        sizes = {member.name: member.size for member in members if member.kind == "file"}
        with tqdm(total=sum(sizes.values()), unit="B", unit_scale=True, desc=archive.name, disable=None) as bar:
            unpack(archive, lambda name: Target(folder, name, sizes[name], bar))


@contextmanager
def aside_folder(dest: Path) -> Iterator[Path]:
    """A new folder beside `dest`, renamed to it when the block ends without an error."""
    aside = dest.with_name(f".{dest.name}.part")
    shutil.rmtree(aside, ignore_errors=True)  # of a killed extraction
    aside.mkdir(parents=True)
    try:
        yield aside
        os.replace(aside, dest)
        sync(dest.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def unpacked_size(archive: Path) -> int:
    """Bytes that the archive says it unpacks to."""
    list_members, _ = reader_of(archive)
    with damage_named(archive):
        return sum(member.size for member in list_members(archive))


def refuse_unsafe(archive: Path, members: list[Member], room: int) -> None:
    """Raises DataError naming the first member that must not be unpacked, or the room that is missing."""
    seen = set()
    for member in members:
        if member.kind not in ("file", "folder"):
            raise DataError(f"{archive}: {member.name} is a {member.kind}; refused, nothing was unpacked")
        if leaves_folder(member.name):
            raise DataError(f"{archive}: {member.name} would leave the folder; refused, nothing was unpacked")
        if member.kind == "file" and (path := PurePosixPath(member.name)) in seen:
            raise DataError(f"{archive}: holds {member.name} twice; refused, nothing was unpacked")
        elif member.kind == "file":
            seen.add(path)
    needed = sum(member.size + PADDING for member in members)
    if needed > room:
        raise DataError(f"{archive}: says it unpacks to {needed / 2**20:,.0f} MiB and {room / 2**20:,.0f} MiB "
                        "are free; refused, nothing was unpacked")


def leaves_folder(name: str) -> bool:
    """Whether a member's path points, on any system, outside the folder it is unpacked into."""
    windows = PureWindowsPath(name)
    return not name or "\0" in name or name.startswith("/") or bool(windows.drive or windows.root) \
        or ".." in windows.parts or not PurePosixPath(name).parts


class Target:
    """A file being written below a folder, which may not grow beyond the size it was announced with."""

    def __init__(self, folder: Path, name: str, size: int, bar: tqdm):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(path, "xb")  # noqa: SIM115 (closed by `close`)
        self.name, self.left, self.bar = name, size, bar

    def write(self, data: bytes) -> int:
        self.left -= len(data)
        if self.left < 0:
            raise DataError(f"{self.name}: more bytes than the archive said; refused")
        self.bar.update(len(data))
        return self.file.write(data)

    def close(self) -> None:
        self.file.close()


OpenTarget = Callable[[str], Target]


def zip_members(archive: Path) -> list[Member]:
    with zipfile.ZipFile(archive) as file:
        return [Member(info.filename, info.file_size, zip_kind(info)) for info in file.infolist()]


def zip_kind(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16  # the Unix mode, 0 where the zip was made elsewhere
    if info.is_dir():
        return "folder"
    return "file" if not stat.S_IFMT(mode) or stat.S_ISREG(mode) else "link or device"


def unpack_zip(archive: Path, open_target: OpenTarget) -> None:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            if not info.is_dir():
                with file.open(info) as source, closing(open_target(info.filename)) as target:
                    shutil.copyfileobj(source, target, CHUNK)


def tar_members(archive: Path) -> list[Member]:
    with tarfile.open(archive, "r:*") as tar:
        members = [Member(info.name, info.size, tar_kind(info)) for info in tar]
        read_to_end(tar)
        return members


def read_to_end(tar: tarfile.TarFile) -> None:
    """Read what follows the last member, up to the checksum of the compression: tarfile stops before it."""
    while tar.fileobj.read(CHUNK):
        pass


def tar_kind(info: tarfile.TarInfo) -> str:
    if info.isdir():
        return "folder"
    return "file" if info.isreg() else "link" if info.issym() or info.islnk() else "device"


def unpack_tar(archive: Path, open_target: OpenTarget) -> None:
    with tarfile.open(archive, "r:*") as tar:
        for info in tar:
            if info.isreg():
                with tar.extractfile(info) as source, closing(open_target(info.name)) as target:
                    shutil.copyfileobj(source, target, CHUNK)


def seven_members(archive: Path) -> list[Member]:
    return [Member(name, size, kind) for name, size, kind in sevenzip.members(archive)]


def unpack_seven(archive: Path, open_target: OpenTarget) -> None:
    sevenzip.stream(archive, open_target)


def reader_of(archive: Path) -> tuple[Callable[[Path], list[Member]], Callable[[Path, OpenTarget], None]]:
    """How to list and how to unpack an archive, by its first bytes and not by its name."""
    try:
        with open(archive, "rb") as file:
            head = file.read(6)
    except OSError as error:
        raise DataError(f"{archive}: cannot be read ({error.strerror})") from None
    if head == sevenzip.SIGNATURE:
        return seven_members, unpack_seven
    if head[:2] == b"PK":
        return zip_members, unpack_zip
    if head[:2] == b"\x1f\x8b" or archive.name.endswith(".tar"):
        return tar_members, unpack_tar
    raise DataError(f"{archive}: neither a zip, nor a tar, nor a 7z; get it again")


@contextmanager
def damage_named(archive: Path) -> Iterator[None]:
    """Turn what the libraries raise for a damaged archive into a DataError that names it."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError,
            ValueError, gzip.BadGzipFile) as error:  # RuntimeError: encrypted; NotImplementedError: compression
        raise DataError(f"{archive}: damaged or cut off ({error or type(error).__name__}); get it again") from None
