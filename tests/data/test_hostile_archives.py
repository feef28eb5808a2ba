"""Archives, bundles and pickles, damaged or of other content: refused in one line, with nothing left behind."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import tarfile
import zipfile
from pathlib import Path

import py7zr
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from helpers.commands import run_command
from helpers.images import encoded, inner_zips, photo, zipped
from helpers.properties import PROPERTY
from paddlecnn.data.install import install_competition
from paddlecnn.data.sources.cifar import CIFAR10_CLASSES
from paddlecnn.data.storage.archives import extract
from paddlecnn.errors import DataError

REDUX = "dogs-vs-cats-redux-kernels-edition"

Damage = st.tuples(
    st.sampled_from(["flip", "cut", "zero", "repeat", "insert"]),
    st.floats(0, 1),
    st.integers(1, 64),
    st.integers(0, 255),
)


def damaged(data: bytes, changes: list[tuple[str, float, int, int]]) -> bytes:
    """The bytes after a few changes, each (kind, relative place, length, value)."""
    for kind, place, length, value in changes:
        at = int(place * max(0, len(data) - 1))
        middle = data[at : at + length]
        middle = {
            "flip": bytes(byte ^ (value or 1) for byte in middle),
            "cut": b"",
            "zero": bytes(len(middle)),
            "repeat": middle * 2,
            "insert": bytes([value]) * length + middle,
        }[kind]
        data = data[:at] + middle + data[at + length :]
    return data


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def seven_bundle() -> dict[str, bytes]:
    """The files of the competition cifar-10, with six and three images."""
    parts = {}
    for part, count in (("train", 6), ("test", 3)):
        buffer = io.BytesIO()
        with py7zr.SevenZipFile(buffer, "w") as archive:
            for i in range(1, count + 1):
                archive.writestr(encoded(photo(i, (32, 32)), "PNG"), f"{part}/{i}.png")
        parts[f"{part}.7z"] = buffer.getvalue()
    labels = "".join(f"{i},{CIFAR10_CLASSES[i % 10]}\n" for i in range(1, 7))
    return parts | {
        "trainLabels.csv": f"id,label\n{labels}".encode(),
        "sampleSubmission.csv": b"id,label\n1,cat\n2,cat\n3,cat\n",
    }


def compressed_tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def compressed_seven(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(data, name)
    return buffer.getvalue()


SMALL = {f"train/{kind}.{i}.jpg": encoded(photo(i, (16, 12))) for kind in ("cat", "dog") for i in range(2)} | {
    f"test/{i}.jpg": encoded(photo(i, (16, 12))) for i in range(1, 6)
}
FLAT = {**SMALL, "sample_submission.csv": inner_zips(SMALL)["sample_submission.csv"]}
BUNDLES = {
    "zip": zipped(inner_zips(SMALL)),
    "deflated": zipped(FLAT, zipfile.ZIP_DEFLATED),
    "lzma": zipped(FLAT, zipfile.ZIP_LZMA),
    "bzip2": zipped(FLAT, zipfile.ZIP_BZIP2),
    "tar": compressed_tar(FLAT),
    "7z": compressed_seven(FLAT),
}


@PROPERTY
@given(kind=st.sampled_from(sorted(BUNDLES)), changes=st.lists(Damage, max_size=3))
def test_a_damaged_bundle_installs_or_is_refused_in_one_line(tmp_path, kind, changes):
    work = tmp_path / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    source = work / "bundle"
    source.write_bytes(damaged(BUNDLES[kind], changes))
    code, lines = run_command("download", "dogs_vs_cats", "--dest", work / "data", "--from", source)
    assert code in (0, 2, 3), lines
    assert len(lines) <= 1, lines
    assert {path.name for path in work.iterdir()} <= {"bundle", "data"}
    assert [path.name for path in (work / "data").iterdir()] == ([REDUX] if code == 0 else [])
    if not changes:
        assert code == 0


@PROPERTY
@given(
    which=st.sampled_from(["bundle", "train.7z", "test.7z", "trainLabels.csv"]), changes=st.lists(Damage, max_size=3)
)
def test_damaged_kaggle_archives_are_read_or_refused_in_one_line(tmp_path, which, changes):
    work = tmp_path / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    files = dict(SEVEN)
    if which != "bundle":
        files[which] = damaged(files[which], changes)
    (work / "cifar-10.zip").write_bytes(damaged(zipped(files), changes if which == "bundle" else []))
    config = tmp_path / "c.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "data": {"name": "kaggle_cifar10", "root": str(work)},
                "model": {"name": "simple_cnn"},
                "train": {"epochs": 1},
            }
        )
    )
    code, lines = run_command("split", "-c", config, "--out", tmp_path / "split")
    assert code in (0, 2), lines
    assert len(lines) <= 1, lines
    assert sorted(snapshot(work)) == ["cifar-10.zip"]


SEVEN = seven_bundle()


@PROPERTY
@given(name=st.sampled_from(["data_batch_2", "test_batch", "batches.meta"]), changes=st.lists(Damage, max_size=4))
def test_damaged_cifar_pickles_are_read_or_refused_in_one_line(tmp_path, cifar_folder, name, changes):
    original = (cifar_folder / name).read_bytes()
    before = snapshot(tmp_path)
    # Half of the damage goes to the pickle's own instructions, at the two ends of a file of pixels.
    ends = [
        (kind, place * 0.002 if value % 2 else 1 - place * 0.004, length, value)
        for kind, place, length, value in changes
    ]
    (cifar_folder / name).write_bytes(damaged(original, ends if len(changes) % 2 else changes))
    config = tmp_path / "c.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "data": {"name": "cifar10", "root": str(tmp_path)},
                "model": {"name": "simple_cnn"},
                "train": {"epochs": 1},
            }
        )
    )
    code, lines = run_command("split", "-c", config, "--out", tmp_path / "split")
    (cifar_folder / name).write_bytes(original)
    assert code in (0, 2), lines
    assert len(lines) <= 1, lines
    after = {key: value for key, value in snapshot(tmp_path).items() if not key.startswith(("split/", "c.yaml"))}
    assert after == {key: value for key, value in before.items() if not key.startswith(("split/", "c.yaml"))}


def install_error(tmp_path: Path, data: bytes, name: str = "dogs_vs_cats") -> str:
    """The one line with which a bundle is refused."""
    (tmp_path / "bundle").write_bytes(data)
    code, lines = run_command("download", name, "--dest", tmp_path / "data", "--from", tmp_path / "bundle")
    assert (code, len(lines)) == (2, 1)
    assert list((tmp_path / "data").iterdir()) == []
    return lines[0]


@pytest.mark.parametrize("name", ["dogs_vs_cats", "kaggle_cifar10"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: zipped({"readme.txt": b"other content"}), "not the content of the competition"),
        (lambda: zipped({}), "contains no files"),
        (lambda: gzip.compress(bytes(1 << 20)), "contains no files"),
        (lambda: gzip.compress(bytes(100 << 20)), "more than 16,777,216 bytes after the last member"),
        (lambda: compressed_tar({"x": b"y"}), "not the content of the competition"),
    ],
)
def test_a_sound_archive_of_other_content_is_not_ready(tmp_path, make, message, name):
    assert message in install_error(tmp_path, make(), name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_submission.csv": b""}, "lists 0 test images, but 5 are there"),
        ({"sample_submission.csv": b"id,label\n" + b"".join(b"%d,0.5\n" % i for i in range(1, 8))}, "(6 is missing)"),
        ({"test.zip": zipped({"test/readme.txt": b""})}, "it contains no test images"),
        ({"train.zip": zipped({"train/readme.txt": b""})}, "no Dogs vs. Cats in"),
    ],
)
def test_a_bundle_that_lacks_a_part_is_not_ready(tmp_path, change, message):
    assert message in install_error(tmp_path, zipped(inner_zips(SMALL) | change))


@pytest.mark.parametrize(
    "change",
    [
        {"trainLabels.csv": b"id,label\n"},
        {"trainLabels.csv": b""},
        {"train.7z": b""},
        {"test.7z": compressed_seven({"test/readme.txt": b""})},
    ],
)
def test_a_cifar_bundle_that_lacks_a_part_is_not_ready(tmp_path, change):
    assert "not the content of the competition cifar-10" in install_error(tmp_path, zipped(SEVEN | change), "cifar-10")


def test_an_empty_folder_under_the_name_is_not_ready(tmp_path):
    (tmp_path / "data" / REDUX).mkdir(parents=True)
    code, lines = run_command("download", "dogs_vs_cats", "--dest", tmp_path / "data")
    assert (code, len(lines)) == (2, 1)
    assert "not the content of the competition" in lines[0]


@pytest.mark.parametrize("make", ["file link", "folder link", "fifo"])
@pytest.mark.parametrize("name", ["dogs_vs_cats", "cifar10"])
def test_links_do_not_lead_out_of_a_folder_given_by_hand(tmp_path, make, name):
    source = tmp_path / "source"
    with zipfile.ZipFile(io.BytesIO(BUNDLES["deflated"])) as bundle:
        bundle.extractall(source)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.txt").write_text("secret")
    if make == "fifo":
        os.mkfifo(source / "train" / "pipe")
    else:
        target = tmp_path / "secret" if make == "folder link" else tmp_path / "secret" / "key.txt"
        (source / "train" / "extra").symlink_to(target)
    code, lines = run_command("download", name, "--dest", tmp_path / "data", "--from", source)
    assert (code, len(lines)) == (2, 1)
    assert "refused, nothing was copied" in lines[0]
    assert list((tmp_path / "data").iterdir()) == []


def test_a_link_inside_the_folder_is_copied_as_a_file(tmp_path):
    source = tmp_path / "source"
    with zipfile.ZipFile(io.BytesIO(BUNDLES["deflated"])) as bundle:
        bundle.extractall(source)
    (source / "train" / "cat.7.jpg").symlink_to("cat.0.jpg")
    folder = install_competition(REDUX, tmp_path / "data", source)
    assert not (folder / "train" / "cat.7.jpg").is_symlink()
    assert (folder / "train" / "cat.7.jpg").read_bytes() == (source / "train" / "cat.0.jpg").read_bytes()


MAKERS = {"zip": zipped, "tar": compressed_tar, "7z": compressed_seven}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["x" * 300], "has a name too long for a disk"),
        (["/".join(["folder"] * 400)], "has a name too long for a disk"),
        (["a", "a/b"], "a/b is a file and a folder at once"),
        (["a/b", "a"], "a is a file and a folder at once"),
        (["a/b/c", "a/b"], "a/b is a file and a folder at once"),
    ],
)
def test_names_that_a_disk_cannot_hold_are_refused_first(tmp_path, kind, names, message):
    (tmp_path / "x").write_bytes(MAKERS[kind](dict.fromkeys(names, b"content")))
    with pytest.raises(DataError, match=rf"{message}; refused, nothing was unpacked") as error:
        extract(tmp_path / "x", tmp_path / "out")
    assert len(str(error.value)) < 400
    assert not (tmp_path / "out").exists()


def test_a_zip_whose_members_begin_before_the_file_is_damaged(tmp_path):
    """The operating system refuses to seek there, which is no error of the disk."""
    data = bytearray(zipped({"a.txt": b"x" * 100}))
    offset = data.rindex(b"PK\x05\x06") + 16  # of the directory, in the end record
    data[offset : offset + 4] = (int.from_bytes(data[offset : offset + 4], "little") + 50).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"x\.zip: damaged or truncated"):
        extract(tmp_path / "x.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_encrypted_archives_are_named(tmp_path):
    with py7zr.SevenZipFile(tmp_path / "content.7z", "w", password="secret") as archive:
        archive.writestr(b"x" * 100, "a.txt")
    with py7zr.SevenZipFile(tmp_path / "names.7z", "w", password="secret", header_encryption=True) as archive:
        archive.writestr(b"x" * 100, "a.txt")
    data = bytearray(zipped({"a.txt": b"x" * 100}))
    data[6] |= 1  # the flag of encryption in the local header ...
    data[data.index(b"PK\x01\x02") + 8] |= 1  # ... and in the directory
    (tmp_path / "x.zip").write_bytes(data)
    for name in ("content.7z", "names.7z", "x.zip"):
        with pytest.raises(DataError, match=rf"{name}: .*encrypted"):
            extract(tmp_path / name, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_tar_header_of_gigabytes_is_refused(tmp_path):
    """The size field of an extended header makes tarfile read that much at once."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 3 << 30
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(info.tobuf() + bytes(1 << 20)))
    with pytest.raises(DataError, match=r"x.tar.gz: damaged or truncated \(a header of 3,221,225,472 bytes\)"):
        extract(tmp_path / "x.tar.gz", tmp_path / "out")


def test_a_tar_that_announces_terabytes_is_refused_at_its_header(tmp_path):
    info = tarfile.TarInfo("x")
    info.size = 1 << 40
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
    with pytest.raises(DataError, match=r"x.tar.gz: unpacks to more than 16 GiB according to its headers; refused"):
        extract(tmp_path / "x.tar.gz", tmp_path / "out")


def test_random_bytes_after_each_signature(tmp_path):
    noise = random.Random(0)
    for head in (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08", b"7z\xbc\xaf\x27\x1c\x00\x04"):
        for _ in range(25):
            (tmp_path / "x").write_bytes(head + noise.randbytes(noise.randrange(200)))
            with pytest.raises(DataError):
                extract(tmp_path / "x", tmp_path / "out")
