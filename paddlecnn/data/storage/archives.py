"""Unpack an untrusted zip, tar or 7z: into its folder and nowhere else, all of it or nothing.

Refused before anything is written: members that would leave the folder (`..`, absolute paths, drive letters),
links, devices, duplicate names, a file that is also a folder, names too long for a disk, and archives whose headers
announce more than the disk has room for. While unpacking, a member that yields more bytes than announced is refused.
One set of rules serves the three formats; for tar it is stricter than tarfile's `filter="data"`, which admits links.
The files go to a hidden folder beside the target, which is renamed at the end: a killed extraction is never taken
for a complete one, and the next one removes it.
"""

from __future__ import annotations

import contextlib
import gzip
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, BinaryIO

from paddlecnn.data.storage import sevenzip
from paddlecnn.data.storage.file_storage import MAX_FILE, damage_named
from paddlecnn.data.storage.sevenzip import Member
from paddlecnn.errors import DataError
from paddlecnn.files import CHUNK, folder_written_aside, open_regular
from paddlecnn.progress_bar import ProgressBar

PADDING = 4096  # bytes of disk that each file may take beyond its size
MAX_NAME = 255  # bytes of a file's or a folder's name on common file systems
MAX_PATH = 1024  # bytes of a member's path, well below the 4,096 of Linux with the target's path before it
MAX_TAR = 1 << 34  # bytes of all members; CIFAR, the only data set published as a tar, has 180 MB
GZIP = b"\x1f\x8b"
MAX_TAIL = 1 << 24  # bytes that may follow a tar's last member: padding to a block


def extract(archive: Path, dest: Path, room: int | None = None) -> None:
    """Unpack `archive` into the new folder `dest`.

    room  bytes that may be used; None: the free space of the disk
    Raises DataError if the archive is damaged or refused; `dest` then does not exist.
    """
    if dest.exists():
        raise DataError(f"{dest}: already exists; remove it first, or choose another folder")
    with folder_written_aside(dest) as folder:
        unpack_into(archive, folder, room)


def unpack_into(archive: Path, folder: Path, room: int | None = None) -> None:
    """Unpack into an existing folder, with all checks but not atomically: for use inside `folder_written_aside`."""
    list_members, unpack = reader_of(archive)
    with damage_named(archive):
        members = list_members(archive)
        refuse_unsafe(archive, members, shutil.disk_usage(folder).free if room is None else room)
        total = sum(member.size for member in members)
        with ProgressBar(total=total, unit="B", unit_scale=True, desc=archive.name) as bar:
            unpack(archive, lambda name: Target(folder / name, bar))


def unpacked_size(archive: Path) -> int:
    """The bytes that the archive unpacks to, according to its headers."""
    list_members, _ = reader_of(archive)
    with damage_named(archive):
        return sum(member.size for member in list_members(archive))


def refuse_unsafe(archive: Path, members: list[Member], room: int) -> None:
    """Raise DataError naming the first member that must not be unpacked, or the missing room."""
    files: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    for member in members:
        if fault := fault_of_member(member, files, folders):
            raise DataError(f"{archive}: {shown(member.name)} {fault}; refused, nothing was unpacked")
        path = PurePosixPath(member.name)
        folders.update(path.parents)
        (files if member.kind == "file" else folders).add(path)
    if not files:
        raise DataError(f"{archive}: contains no files; get it again")
    needed = sum(member.size + PADDING for member in members)
    if needed > room:
        raise DataError(
            f"{archive}: unpacks to {needed / 2**20:,.0f} MiB according to its headers, but "
            f"{room / 2**20:,.0f} MiB are free; refused, nothing was unpacked"
        )


def fault_of_member(member: Member, files: set[PurePosixPath], folders: set[PurePosixPath]) -> str | None:
    """The reason why a member must not be unpacked after those files and folders; None if it may."""
    if member.kind not in ("file", "folder"):
        return f"is a {member.kind}"
    if leaves_folder(member.name):
        return "would leave the folder"
    path = PurePosixPath(member.name)
    encoded = member.name.encode("utf-8", "surrogateescape")
    if len(encoded) > MAX_PATH or any(len(part) > MAX_NAME for part in encoded.split(b"/")):
        return "has a name too long for a disk"
    if member.kind == "file" and path in files:
        return "is a duplicate name"
    if (member.kind == "file" and path in folders) or not files.isdisjoint([*path.parents, path]):
        return "is a file and a folder at once"
    return None


def shown(name: str) -> str:
    """A member's name for a message, of bounded length."""
    return name if len(name) <= 120 else f"{name[:117]}..."


def leaves_folder(name: str) -> bool:
    """Whether a member's path points, on any system, outside of its folder."""
    windows = PureWindowsPath(name)
    return (
        not name
        or "\0" in name
        or name.startswith("/")
        or bool(windows.drive or windows.root)
        or ".." in windows.parts
        or not PurePosixPath(name).parts
    )


class Target:
    """A new file being written. The readers of all three formats yield at most the bytes that the archive announced."""

    def __init__(self, path: Path, bar: ProgressBar):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file, self.bar = open(path, "xb"), bar  # noqa: SIM115 (closed by `close`)

    def write(self, data: bytes | bytearray) -> int:
        self.bar.update(len(data))
        return self.file.write(data)

    def close(self) -> None:
        self.file.close()


OpenTarget = Callable[[str], Target]


def zip_members(archive: Path) -> list[Member]:
    with zipfile.ZipFile(archive) as file:
        return [Member(info.filename, info.file_size, zip_kind(info)) for info in file.infolist()]


def zip_kind(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16  # the Unix mode, 0 if the zip was made on another system
    if info.is_dir():
        return "folder"
    return "file" if not stat.S_IFMT(mode) or stat.S_ISREG(mode) else "link or device"


def unpack_zip(archive: Path, open_target: OpenTarget) -> None:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            if not info.is_dir():
                with file.open(info) as source, closing(open_target(info.filename)) as target:
                    shutil.copyfileobj(source, target, CHUNK)


class BoundedReader:
    """A decompressed stream whose single reads are limited: a tar header can announce a name of gigabytes."""

    def __init__(self, file: BinaryIO | gzip.GzipFile):
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_FILE:
            raise ValueError(f"a header of {size:,} bytes")
        return self.file.read(size)


@contextlib.contextmanager
def opened_tar(archive: Path) -> Iterator[tarfile.TarFile]:
    """A tar, compressed by gzip or not, read from its beginning to its end."""
    with open_regular(archive) as file:
        is_gzip = file.read(2) == GZIP
        file.seek(0)
        stream = gzip.GzipFile(fileobj=file) if is_gzip else file
        with tarfile.open(fileobj=BoundedReader(stream), mode="r:") as tar:  # type: ignore[call-overload]
            yield tar
            # tarfile stops at the last member; the checksum of the compression comes after it.
            for _ in range(MAX_TAIL // CHUNK):
                if not stream.read(CHUNK):
                    return
            raise ValueError(f"more than {MAX_TAIL:,} bytes after the last member")


def tar_members(archive: Path) -> list[Member]:
    members, total = [], 0
    with opened_tar(archive) as tar:
        for info in tar:
            members.append(Member(info.name, info.size, tar_kind(info)))
            total += info.size
            if total > MAX_TAR:  # the next header is only reached by decompressing all of it
                raise DataError(
                    f"{archive}: unpacks to more than {MAX_TAR / 2**30:,.0f} GiB according to its headers; refused, "
                    "nothing was unpacked"
                )
    return members


def content_of(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    """A regular member as a file."""
    file = tar.extractfile(info)
    assert file is not None, info.name
    return file


def tar_kind(info: tarfile.TarInfo) -> str:
    if info.isdir():
        return "folder"
    return "file" if info.isreg() else "link" if info.issym() or info.islnk() else "device"


def unpack_tar(archive: Path, open_target: OpenTarget) -> None:
    with opened_tar(archive) as tar:
        for info in tar:
            if info.isreg():
                with closing(open_target(info.name)) as target:
                    shutil.copyfileobj(content_of(tar, info), target, CHUNK)


def reader_of(archive: Path) -> tuple[Callable[[Path], list[Member]], Callable[[Path, OpenTarget], None]]:
    """The functions that list and unpack an archive, chosen by its first bytes; a plain tar is known by its name."""
    try:
        with open_regular(archive) as file:
            head = file.read(6)
    except OSError as error:
        raise DataError(f"{archive}: cannot be read ({error.strerror})") from None
    if head == sevenzip.SIGNATURE:
        return sevenzip.members, sevenzip.stream
    if head[:2] == b"PK":
        return zip_members, unpack_zip
    if head[:2] == GZIP or archive.name.endswith(".tar"):
        return tar_members, unpack_tar
    raise DataError(f"{archive}: not a zip, tar or 7z; get it again")
