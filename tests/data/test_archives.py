"""Untrusted archives are unpacked into their folder and nowhere else, completely or not at all."""

from __future__ import annotations

import io
import os
import signal
import stat
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path

import py7zr
import pytest

from paddlecnn.data.storage.archives import extract, leaves_folder, unpacked_size
from paddlecnn.errors import DataError

FILES = {"a/1.txt": b"one", "a/b/2.txt": b"two" * 1000, "empty.txt": b""}


def make_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)


def make_tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def make_seven(path: Path) -> None:
    with py7zr.SevenZipFile(path, "w") as archive:
        for name, data in FILES.items():
            archive.writestr(data, name)


MAKERS = {"x.zip": make_zip, "x.tar.gz": make_tar, "x.7z": make_seven}


def everything_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", MAKERS)
def test_each_kind_unpacks(tmp_path, name):
    MAKERS[name](tmp_path / name)
    extract(tmp_path / name, tmp_path / "out")
    assert everything_in(tmp_path / "out") == FILES
    assert unpacked_size(tmp_path / name) == 3003
    with pytest.raises(DataError, match="out: already exists"):
        extract(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize("name", MAKERS)
def test_a_truncated_archive_leaves_nothing(tmp_path, name):
    MAKERS[name](tmp_path / name)
    data = (tmp_path / name).read_bytes()
    for length in (len(data) // 2, len(data) - 9):
        (tmp_path / name).write_bytes(data[:length])
        with pytest.raises(DataError, match=rf"{tmp_path}/{name}: damaged or truncated"):
            extract(tmp_path / name, tmp_path / "out")
        assert sorted(path.name for path in tmp_path.iterdir()) == [name]


@pytest.mark.parametrize("name", MAKERS)
def test_a_bomb_is_refused_before_anything_is_written(tmp_path, name):
    """The header of a bomb states its size, which exceeds the room."""
    MAKERS[name](tmp_path / name)
    with pytest.raises(
        DataError, match=r"unpacks to .* MiB according to its headers, but 0 MiB are free; refused, nothing was"
    ):
        extract(tmp_path / name, tmp_path / "out", room=2000)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_a_zip_that_announces_more_than_the_disk_has(tmp_path):
    """A petabyte, in a header of a hundred bytes."""
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("zeros.bin", b"0" * 100)
        archive.filelist[0].file_size = 1 << 50
    with pytest.raises(DataError, match=r"unpacks to 1,073,741,824 MiB according to its headers"):
        extract(path, tmp_path / "out")


def test_a_zip_that_yields_more_than_it_announces(tmp_path):
    path = tmp_path / "liar.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.bin", bytes(1 << 20))
        archive.filelist[0].file_size = 10
    with pytest.raises(DataError, match=r"liar.zip: damaged or truncated \(Bad CRC-32"):
        extract(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "member", ["../evil.txt", "a/../../evil.txt", "/tmp/evil.txt", "a/..", "..\\evil.txt", "C:\\evil.txt"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_that_leave_the_folder_are_refused(tmp_path, member, kind):
    path = tmp_path / "slip"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("fine.txt", b"fine")
            archive.writestr(member, b"evil")
    else:
        with tarfile.open(path, "w:gz") as archive:
            archive.addfile(tarfile.TarInfo("fine.txt"))
            archive.addfile(tarfile.TarInfo(member))
    with pytest.raises(DataError, match=r"would leave the folder; refused, nothing was unpacked"):
        extract(path, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["slip"]
    assert leaves_folder(member)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("way/out")
        info.type, info.linkname = kind, "/etc"
        archive.addfile(info)
    with pytest.raises(DataError, match=r"way/out is a (link|device); refused"):
        extract(tmp_path / "x.tar.gz", tmp_path / "out")


def test_a_link_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("way/out")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc")
    with pytest.raises(DataError, match=r"way/out is a link or device; refused"):
        extract(tmp_path / "x.zip", tmp_path / "out")


def test_a_link_in_a_7z_is_refused(tmp_path):
    (tmp_path / "link").symlink_to("/etc/hostname")
    with py7zr.SevenZipFile(tmp_path / "x.7z", "w") as archive:
        archive.write(tmp_path / "link", "way/out")
    with pytest.raises(DataError, match=r"way/out is a link or device; refused"):
        extract(tmp_path / "x.7z", tmp_path / "out")


def test_two_members_with_one_name_are_refused(tmp_path):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        for name in ("a.txt", "./a.txt"):
            archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(DataError, match=r"\./a.txt is a duplicate name"):
        extract(tmp_path / "x.tar.gz", tmp_path / "out")


def test_a_file_that_is_not_an_archive_is_named(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"<html>please log in</html>")
    with pytest.raises(DataError, match=r"x.zip: not a zip, tar or 7z"):
        extract(tmp_path / "x.zip", tmp_path / "out")
    with pytest.raises(DataError, match=r"y.zip: cannot be read"):
        extract(tmp_path / "y.zip", tmp_path / "out")


def test_a_killed_extraction_is_not_mistaken_for_a_complete_one(tmp_path, python):
    with zipfile.ZipFile(tmp_path / "big.zip", "w") as archive:
        for i in range(3000):
            archive.writestr(f"{i}.bin", os.urandom(10_000))
    code = (
        "from pathlib import Path; from paddlecnn.data.storage.archives import extract; "
        f"extract(Path({str(tmp_path / 'big.zip')!r}), Path({str(tmp_path / 'out')!r}))"
    )
    process = subprocess.Popen([python, "-c", code], stderr=subprocess.DEVNULL)
    aside = tmp_path / ".out.part"
    while process.poll() is None and not (aside.is_dir() and any(aside.iterdir())):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    extract(tmp_path / "big.zip", tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 3000
    assert not aside.exists()


def test_a_second_process_is_refused_while_the_first_unpacks(tmp_path, python):
    with zipfile.ZipFile(tmp_path / "big.zip", "w") as archive:
        for i in range(3000):
            archive.writestr(f"{i}.bin", os.urandom(10_000))
    archive, target, aside = tmp_path / "big.zip", tmp_path / "out", tmp_path / ".out.part"
    code = (
        "import sys; from pathlib import Path; from paddlecnn.data.storage.archives import extract; "
        "extract(*map(Path, sys.argv[1:]))"
    )
    process = subprocess.Popen([python, "-c", code, archive, target], stderr=subprocess.DEVNULL)
    while process.poll() is None and not (aside.is_dir() and any(aside.iterdir())):
        time.sleep(0.005)
    process.send_signal(signal.SIGSTOP)  # so that it cannot have finished before the second one begins
    try:
        with pytest.raises(DataError, match=r"out: another process is writing it; wait for it or stop it"):
            extract(archive, target)
    finally:
        process.send_signal(signal.SIGCONT)
    assert process.wait() == 0
    assert len(list(target.iterdir())) == 3000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big.zip", "out"]
