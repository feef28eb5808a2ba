"""Dogs vs. Cats (Kaggle): 25,000 photographs `cat.N.jpg` and `dog.N.jpg` to train on, 12,500 `N.jpg` to predict.

Two editions of the competition have the same images: Redux (test.zip, log loss) and the one of 2013 (test1.zip).
Each is read in place, without unpacking: as the bundle zip, as the inner zips, or as folders.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from paddlecnn.config import IMAGENET_PREPROCESS, DataConfig
from paddlecnn.data.base import FileDataset, PublishedSplits, nothing_found
from paddlecnn.data.storage.file_storage import FileStorage, FolderStorage, ZipStorage

CLASSES = ("cat", "dog")
COMPETITIONS = ("dogs-vs-cats-redux-kernels-edition", "dogs-vs-cats")
COUNTS = {"train": 25000, "test": 12500}
TRAIN_NAME = re.compile(r"(?:.*/)?(cat|dog)\.(\d{1,9})\.jpg", re.IGNORECASE)
TEST_NAME = re.compile(r"(?:.*/)?(\d{1,9})\.jpg", re.IGNORECASE)
TEST_FOLDERS = ("test", "test1")
PREPROCESS = IMAGENET_PREPROCESS


def load(config: DataConfig) -> PublishedSplits:
    """Dogs vs. Cats below config.root: a folder, a bundle zip or a zip of images.

    Training ids are `train/cat.0.jpg`, test ids the number alone, as the submission requires. The test part
    has no labels; it is None if it is not on disk.
    """
    root = Path(config.root)
    train, test = first_with((TRAIN_NAME, TEST_NAME), find_sources(root))
    if train is None:
        names = [f"{COMPETITIONS[0]}.zip", "train.zip", "train/cat.0.jpg"]
        raise nothing_found("Dogs vs. Cats", root, names, "dogs_vs_cats")
    return PublishedSplits(train_part(*train), test_part(*test) if test else None)


Source = tuple[FileStorage, list[str]]  # a storage and the names in it
Found = tuple[FileStorage, list[re.Match[str]]]  # a storage and the names of one kind in it


def find_sources(root: Path) -> Iterator[Source]:
    """Every place below `root` that may contain images, folders first, since they were unpacked on purpose."""
    if root.is_file():
        yield from zip_sources(root)
        return
    for folder in (root, *(root / name for name in COMPETITIONS)):
        for part in ("train", *TEST_FOLDERS):
            if (folder / part).is_dir():
                store = FolderStorage(folder)
                yield store, [f"{part}/{name}" for name in FolderStorage(folder / part).names()]
        for part in ("train", *TEST_FOLDERS):
            if (folder / f"{part}.zip").is_file():
                yield from zip_sources(folder / f"{part}.zip")
    for name in COMPETITIONS:
        if (root / f"{name}.zip").is_file():
            yield from zip_sources(root / f"{name}.zip")


def zip_sources(path: Path) -> Iterator[Source]:
    """The images in a zip, and those in its inner zips."""
    store = ZipStorage(path)
    names = store.names()
    yield store, names
    for part in ("train", *TEST_FOLDERS):
        if f"{part}.zip" in names:
            inner = ZipStorage(path, f"{part}.zip")
            yield inner, inner.names()


def first_with(patterns: Sequence[re.Pattern[str]], sources: Iterable[Source]) -> list[Found | None]:
    """For each pattern the first source with such images, and their names, matched.

    Sources after the last one that is needed are not opened: they may be damaged, or have to be unpacked.
    """
    found: list[Found | None] = [None for _ in patterns]
    for store, names in sources:
        for place, pattern in enumerate(patterns):
            if found[place] is None and (matches := [one for name in names if (one := pattern.fullmatch(name))]):
                found[place] = store, matches
        if None not in found:
            break
    return found


def train_part(store: FileStorage, matches: list[re.Match[str]]) -> FileDataset:
    matches = sorted(matches, key=lambda match: (match[1].lower(), int(match[2])))
    ids = [f"train/{match[1].lower()}.{int(match[2])}.jpg" for match in matches]
    labels = np.array([CLASSES.index(match[1].lower()) for match in matches], np.int64)
    return FileDataset("dogs_vs_cats", CLASSES, ids, labels, store, [match[0] for match in matches])


def test_part(store: FileStorage, matches: list[re.Match[str]]) -> FileDataset:
    matches = sorted(matches, key=lambda match: int(match[1]))
    ids = [str(int(match[1])) for match in matches]
    return FileDataset("dogs_vs_cats test", CLASSES, ids, None, store, [match[0] for match in matches])
