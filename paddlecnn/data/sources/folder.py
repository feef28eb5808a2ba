"""A tree of image files with one folder per class.

    ROOT/cats/1.jpg  ROOT/dogs/2.jpg                        one part, split here
    ROOT/train/cats/1.jpg  ROOT/val/...  ROOT/test/...      the parts as they are; val and test may be missing

Classes are the folders' names in alphabetical order; parts have the three names above and no others. `test` may contain
images without class folders, which then have no labels. Images beside class folders, those in other formats and folders
beside the parts are left out, with a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from paddlecnn.config import IMAGENET_PREPROCESS, DataConfig
from paddlecnn.data.base import FileDataset, PublishedSplits
from paddlecnn.data.storage.file_storage import FolderStorage
from paddlecnn.data.storage.images import OTHER_SUFFIXES, SUFFIXES
from paddlecnn.errors import DataError
from paddlecnn.text_tables import counted

logger = logging.getLogger(__name__)

PREPROCESS = IMAGENET_PREPROCESS
PARTS = ("train", "val", "test")
LIKE_PARTS = {*PARTS, "training", "valid", "validation", "dev", "testing"}  # in any case


def load(config: DataConfig) -> PublishedSplits:
    """The tree at config.root. Ids are the paths below it."""
    root = Path(config.root)
    if not root.is_dir():
        raise DataError(f"data.root: {root}: no such folder; expected one folder of images per class")
    if not (root / "train").is_dir():
        names = class_names(root)
        if LIKE_PARTS.issuperset(name.lower() for name in names):
            raise DataError(
                f"{root}: {', '.join(names)} are named like parts, not classes; call them train, val and test"
            )
        return PublishedSplits(labelled(root, "", names))
    others = [name for name in class_folders(root) if name not in PARTS]
    if others:
        logger.warning("%s: %s left out; the parts are called train, val and test", root, ", ".join(others))
    classes = class_names(root / "train")
    val = labelled(root, "val", classes) if (root / "val").is_dir() else None
    return PublishedSplits(labelled(root, "train", classes), test_part(root, classes), val)


def class_names(folder: Path) -> tuple[str, ...]:
    names = class_folders(folder)
    if len(names) < 2:
        raise DataError(f"{folder}: {counted(len(names), 'class folder')}; expected one per class, two or more")
    return tuple(names)


def class_folders(folder: Path) -> list[str]:
    """The names of the folders in a folder, without hidden ones such as .ipynb_checkpoints."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def labelled(root: Path, part: str, classes: tuple[str, ...]) -> FileDataset:
    """The images of a part whose folders are classes; every class folder must contain some."""
    folder = root / part
    images: list[tuple[str, int]] = []
    beside = sorted(path.name for path in folder.iterdir() if path.is_file())
    left_out = [name for name in beside if is_image(name) and not name.startswith(".")]
    for name in class_names(folder) if part in ("val", "test") else classes:
        if name not in classes:
            raise DataError(f"{folder / name}: not a class of {root / 'train'} ({', '.join(classes[:10])})")
        names, others = divided_names(folder / name)
        found = [f"{name}/{image}" for image in names]
        left_out += [f"{name}/{image}" for image in others]
        if not found:
            raise DataError(
                f"{folder / name}: a class folder without images ({', '.join(SUFFIXES)}); add some or remove the folder"
            )
        images += [(f"{part}/{image}" if part else image, classes.index(name)) for image in found]
    report_left_out(folder, left_out)
    ids = [image for image, _ in images]
    return FileDataset(
        f"folder {part}".strip(), classes, ids, np.array([label for _, label in images]), FolderStorage(root), ids
    )


def test_part(root: Path, classes: tuple[str, ...]) -> FileDataset | None:
    folder = root / "test"
    if not folder.is_dir():
        return None
    if class_folders(folder):
        return labelled(root, "test", classes)
    names, left_out = divided_names(folder)
    report_left_out(folder, left_out)
    ids = [f"test/{name}" for name in names]
    if not ids:
        raise DataError(f"{folder}: contains no images ({', '.join(SUFFIXES)}); add some or remove the folder")
    return FileDataset("folder test", classes, ids, None, FolderStorage(root), ids)


def image_names(folder: Path) -> list[str]:
    """The image files below a folder, by their suffix."""
    return divided_names(folder)[0]


def divided_names(folder: Path) -> tuple[list[str], list[str]]:
    """The image files below a folder, by their suffix: those that are read, and those in other formats."""
    names = [name for name in FolderStorage(folder).names() if is_image(name)]
    return [name for name in names if is_read(name)], [name for name in names if not is_read(name)]


def is_read(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES + OTHER_SUFFIXES)


def report_left_out(folder: Path, names: Sequence[str]) -> None:
    if names:
        logger.warning(
            "%s: %s left out, beside the class folders or with a suffix other than %s, such as %s",
            *(folder, counted(len(names), "image"), ", ".join(SUFFIXES), names[0]),
        )
