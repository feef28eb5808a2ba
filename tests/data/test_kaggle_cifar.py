"""Kaggle's CIFAR-10: PNGs in 7z archives, streamed into a memory-mapped file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import py7zr
import pytest

from helpers.images import encoded, photo, zipped
from paddlecnn.config import DataConfig
from paddlecnn.data.datasets import defaults, open_dataset, open_parts
from paddlecnn.data.pipeline.loader import Loader
from paddlecnn.data.sources.kaggle_cifar import CLASSES, PackedDataset
from paddlecnn.errors import DataError

TRAIN, TEST = 30, 12


def image(part: str, number: int) -> np.ndarray:
    return photo(number + (1000 if part == "test" else 0), (32, 32))


def write_seven(path: Path, part: str, count: int, numbered_from: int = 0) -> None:
    """Members in the archive's own order, which is that of their names and not of their numbers."""
    with py7zr.SevenZipFile(path, "w") as archive:
        for number in sorted(range(1, count + 1), key=str):
            archive.writestr(encoded(image(part, numbered_from + number), "PNG"), f"{part}/{number}.png")


@pytest.fixture
def packed(tmp_path) -> Path:
    root = tmp_path / "cifar-10"
    root.mkdir()
    write_seven(root / "train.7z", "train", TRAIN)
    write_seven(root / "test.7z", "test", TEST)
    labels = "".join(f"{i},{CLASSES[i % 10]}\n" for i in range(1, TRAIN + 1))
    (root / "trainLabels.csv").write_text("id,label\n" + labels)
    return root


def form(packed: Path, name: str) -> Path:
    """The same data as a folder of archives, a bundle zip, or unpacked."""
    if name == "bundle":
        path = packed.parent / "cifar-10.zip"
        path.write_bytes(zipped({file.name: file.read_bytes() for file in packed.iterdir()}))
        return path
    if name == "unpacked":
        for part in ("train", "test"):
            with py7zr.SevenZipFile(packed / f"{part}.7z") as archive:
                archive.extractall(packed)
            (packed / f"{part}.7z").unlink()
    return packed.parent if name == "archives" else packed


@pytest.mark.parametrize("name", ["archives", "bundle", "unpacked"])
def test_each_form_gives_the_same_images(packed, name):
    parts = open_parts(DataConfig(name="kaggle_cifar10", root=str(form(packed, name))))
    assert parts.train.ids == [str(i) for i in range(1, TRAIN + 1)]
    assert parts.train.labels.tolist() == [i % 10 for i in range(1, TRAIN + 1)]
    assert parts.test.ids == [str(i) for i in range(1, TEST + 1)]
    assert parts.test.labels is None
    assert all(np.array_equal(parts.train.image(i), image("train", i + 1)) for i in range(TRAIN))
    assert all(np.array_equal(parts.test.image(i), image("test", i + 1)) for i in range(TEST))


def test_a_damaged_bundle_beside_complete_archives_is_not_opened(packed):
    (packed / "cifar-10.zip").write_bytes(b"PK half")
    assert len(open_parts(DataConfig(name="kaggle_cifar10", root=str(packed))).train) == TRAIN


def test_the_test_part_is_not_decoded_before_it_is_used(packed):
    splits = open_dataset(DataConfig(name="kaggle_cifar10", root=str(packed), limit=10, val_fraction=0.3), 0)
    assert len(splits.test) == 10
    assert isinstance(splits.test, PackedDataset)
    assert "images" not in vars(splits.test)
    batch = next(Loader(splits.test, defaults("kaggle_cifar10"), 4).epoch(0))
    assert batch.images.shape == [4, 3, 32, 32]
    assert isinstance(splits.test.images, np.memmap)
    assert np.array_equal(splits.test.image(0), image("test", int(splits.test.ids[0])))


def test_a_cache_folder_keeps_what_was_decoded(packed, tmp_path):
    config = DataConfig(name="kaggle_cifar10", root=str(packed), cache=str(tmp_path / "cache"))
    first = open_parts(config).train.images
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*.npy")}
    assert len(written) == 1
    assert np.array_equal(open_parts(config).train.images, first)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*.npy")} == written


def test_a_cache_of_other_images_under_the_same_names_is_not_used(packed, tmp_path):
    config = DataConfig(name="kaggle_cifar10", root=str(packed), cache=str(tmp_path / "cache"))
    path = packed / "train.7z"
    size = path.stat().st_size + 4096  # 7z ignores what follows, so that both archives have the same size
    os.truncate(path, size)
    assert np.array_equal(open_parts(config).train.image(0), image("train", 1))
    write_seven(path, "train", TRAIN, numbered_from=500)
    os.truncate(path, size)
    assert np.array_equal(open_parts(config).train.image(0), image("train", 501))


def test_missing_data_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"paddlecnn download kaggle_cifar10 --dest"):
        open_parts(DataConfig(name="kaggle_cifar10", root=str(tmp_path)))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("id,label\n1,lion\n", r"trainLabels.csv, line 2: label lion is not one of airplane"),
        ("id,label\n1,cat\n2,dog\n1,ship\n", r"trainLabels.csv, line 4: duplicate line for image 1; download it again"),
        ("id,label\n1,cat\n", r"train.7z: image 2 has no line in trainLabels.csv \(29 such images\)"),
    ],
)
def test_bad_labels_are_named(packed, labels, message):
    (packed / "trainLabels.csv").write_text(labels)
    with pytest.raises(DataError, match=message):
        open_parts(DataConfig(name="kaggle_cifar10", root=str(packed)))


def test_labels_that_a_spreadsheet_program_has_saved_are_read(packed):
    labels = open_parts(DataConfig(name="kaggle_cifar10", root=str(packed))).train.labels
    table = packed / "trainLabels.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n"))
    again = open_parts(DataConfig(name="kaggle_cifar10", root=str(packed))).train.labels
    np.testing.assert_array_equal(again, labels)


def test_a_truncated_archive_is_named(packed):
    data = (packed / "train.7z").read_bytes()
    (packed / "train.7z").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"train.7z: damaged or truncated"):
        open_parts(DataConfig(name="kaggle_cifar10", root=str(packed)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (encoded(photo(1, (64, 64)), "PNG"), r"train/2.png: expected 32x32 pixels, found 64x64"),
        (b"no image", r"train/2.png: not an image"),
        (bytes(3 << 20), r"train/2.png: more than 1,048,576 bytes for an image of 32x32"),
    ],
)
def test_a_bad_member_is_named(packed, content, message):
    with py7zr.SevenZipFile(packed / "train.7z", "w") as archive:
        archive.writestr(encoded(photo(1, (32, 32)), "PNG"), "train/1.png")
        archive.writestr(content, "train/2.png")
    with pytest.raises(DataError, match=message):
        _ = open_parts(DataConfig(name="kaggle_cifar10", root=str(packed))).train.images
