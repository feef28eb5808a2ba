"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from the official python batches or their tar.gz, in place.

The batches are pickles. They are read by an unpickler that can build NumPy arrays and nothing else, so an untrusted
file cannot run code. Batches with the published MD5 are official; a folder of other batches in the same format is
read with a warning.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from paddlecnn.config import DataConfig, Preprocess
from paddlecnn.data.base import ArrayDataset, PublishedSplits, nothing_found
from paddlecnn.data.storage.archives import content_of, opened_tar
from paddlecnn.data.storage.file_storage import MAX_FILE, damage_named, read_file
from paddlecnn.errors import DataError
from paddlecnn.restricted_unpickler import DamagedPickle, RefusedName, unpickle

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Edition:
    """One of the two data sets as published at https://www.cs.toronto.edu/~kriz/cifar.html.

    The page states the archives' MD5; those of the files were computed from them (`md5sum`). They alone decide
    whether a file is official.
    """

    name: str
    folder: str
    archive: str
    archive_md5: str
    train: dict[str, str]  # file name to MD5
    test: dict[str, str]
    meta: dict[str, str]
    labels: dict[str, tuple[bytes, bytes]]  # data.labels: the key in a batch, the key of the names in meta
    preprocess: Preprocess
    mirrors: tuple[str, ...]

    @property
    def md5(self) -> dict[str, str]:
        """The MD5 of every file."""
        return {**self.train, **self.test, **self.meta}


MIRRORS = ("https://www.cs.toronto.edu/~kriz", "https://dataset.bj.bcebos.com/cifar")
COUNTS = {"train": 50000, "test": 10000}  # of both editions
CIFAR10 = Edition(
    name="cifar10",
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    archive_md5="c58f30108f718f92721af3b95e74349a",
    train={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "40351d587109b95175f43aff81a1287e"},
    meta={"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
    labels={"fine": (b"labels", b"label_names")},
    # Over the 50,000 training images, scale 0..1 (tests/real/test_data.py computes them).
    preprocess=Preprocess(
        size=32, resize=32, channels="rgb", scale=255.0, mean=[0.4914, 0.4822, 0.4465], std=[0.2470, 0.2435, 0.2616]
    ),
    mirrors=tuple(f"{place}/cifar-10-python.tar.gz" for place in MIRRORS),
)

CIFAR100 = Edition(
    name="cifar100",
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
    train={"train": "16019d7e3df5f24257cddd939b257f8d"},
    test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    meta={"meta": "7973b15100ade9c7d40fb424638fde48"},
    labels={"fine": (b"fine_labels", b"fine_label_names"), "coarse": (b"coarse_labels", b"coarse_label_names")},
    # Over the 50,000 training images, rounded from conf/global_settings.py of weiaicunzai/pytorch-cifar100.
    preprocess=Preprocess(
        size=32, resize=32, channels="rgb", scale=255.0, mean=[0.5071, 0.4865, 0.4409], std=[0.2673, 0.2564, 0.2762]
    ),
    mirrors=tuple(f"{place}/cifar-100-python.tar.gz" for place in MIRRORS),
)

# In the order of the labels, both in the official batches.meta and in the competition.
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
EDITIONS = {edition.name: edition for edition in (CIFAR10, CIFAR100)}


def load(config: DataConfig) -> PublishedSplits:
    """CIFAR below config.root: the folder of batches, its parent folder, or the tar.gz.

    Training ids are `data_batch_1/17` (CIFAR-100: `train/17`), test ids `test/17`. Raises DataError if a file is
    missing, damaged or not a CIFAR batch.
    """
    edition = EDITIONS[config.name]
    read = open_source(edition, Path(config.root))
    is_official = check_official(edition, read)
    label_key, names_key = edition.labels[config.labels]
    classes = class_names(edition, read, names_key)
    train = [read_batch(edition, read, name, label_key, len(classes), name) for name in edition.train]
    (test,) = (read_batch(edition, read, name, label_key, len(classes), "test") for name in edition.test)
    if not is_official:
        logger.warning(
            "%s: not the official batches of %s, by their MD5; reading them anyway", config.root, edition.name
        )
    return PublishedSplits(join(edition.name, classes, train), join(f"{edition.name} test", classes, [test]))


Read = Callable[[str], tuple[bytes, str]]  # a file's name to its bytes and its full name, for messages


def open_source(edition: Edition, root: Path) -> Read:
    """The reader of the edition's files below `root`."""
    if (root / edition.folder).is_dir():
        return folder_reader(root / edition.folder)
    if root.is_dir() and (root.name == edition.folder or any((root / name).exists() for name in edition.train)):
        return folder_reader(root)
    if root.is_file() or (root / edition.archive).is_file():
        return archive_reader(root if root.is_file() else root / edition.archive, edition)
    raise nothing_found(edition.name, root, [f"{edition.folder}/", edition.archive], edition.name)


def folder_reader(folder: Path) -> Read:
    def read(name: str) -> tuple[bytes, str]:
        if not (folder / name).exists():
            raise DataError(f"{folder / name}: missing; extract the official archive again")
        return read_file(folder / name, "extract the official archive again"), str(folder / name)

    return read


def archive_reader(archive: Path, edition: Edition) -> Read:
    """The reader of a tar.gz, unpacked once into memory (180 MB); members other than the edition's are ignored."""
    wanted = {f"{edition.folder}/{name}" for name in edition.md5}
    advice = f"get it again with: paddlecnn download {edition.name} --dest {archive.parent}"
    with damage_named(archive, "not a complete tar.gz", advice), opened_tar(archive) as tar:
        files = {
            member.name: content_of(tar, member).read(MAX_FILE)
            for member in tar
            if member.name in wanted and member.isreg() and member.size <= MAX_FILE
        }

    def read(name: str) -> tuple[bytes, str]:
        member = f"{edition.folder}/{name}"
        if member not in files:
            raise DataError(f"{archive}: {member} is missing; get the official archive")
        return files[member], f"{archive}/{member}"

    return read


def check_official(edition: Edition, read: Read) -> bool:
    """Whether all batches are official (True) or none is (False).

    Raises DataError for a mixture: beside official batches, another MD5 means damage.
    """
    names = [*edition.train, *edition.test]
    other = unpublished(edition, read, names)
    if other and len(other) < len(names):
        source = read(other[0])[1]
        raise DataError(
            f"{source}: MD5 is not the published {edition.md5[other[0]]}, while other files are official; "
            "this file is damaged or foreign, get it again"
        )
    return not other


def check_folder(edition: Edition, folder: Path) -> None:
    """Raise DataError if a file is missing or is not the published one."""
    read = folder_reader(folder)
    for name in unpublished(edition, read, edition.md5):
        data, source = read(name)
        raise DataError(
            f"{source}: {len(data):,} bytes with MD5 {md5_of(data)}, not the published {edition.md5[name]}; "
            "remove it and get it again"
        )


def unofficial_files(config: DataConfig) -> list[str]:
    """The files of the data set that are not the published ones, by their MD5."""
    edition = EDITIONS[config.name]
    read = open_source(edition, Path(config.root))
    return [read(name)[1] for name in unpublished(edition, read, edition.md5)]


def unpublished(edition: Edition, read: Read, names: Iterable[str]) -> list[str]:
    """The names of the files that are not the published ones, by their MD5."""
    return [name for name in names if md5_of(read(name)[0]) != edition.md5[name]]


CifarBatch = tuple[list[str], np.ndarray, np.ndarray]  # one file: ids, labels int64 [n], images uint8 [n, 32, 32, 3]


def read_batch(edition: Edition, read: Read, name: str, label_key: bytes, classes: int, prefix: str) -> CifarBatch:
    """One batch file, its format and label range checked."""
    data, source = read(name)
    batch = safe_unpickle(data, source)
    rows, labels = batch.get(b"data"), batch.get(label_key)
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != 3072:
        raise DataError(f"{source}: not a CIFAR batch; expected data of uint8 [n, 3072]")
    if not isinstance(labels, list) or len(labels) != len(rows) or not all(type(label) is int for label in labels):
        raise DataError(f"{source}: not a {edition.name} batch; expected {len(rows)} integers as {label_key.decode()}")
    outside = [i for i, label in enumerate(labels) if not 0 <= label < classes]
    if outside:
        raise DataError(
            f"{source}: label {labels[outside[0]]} of image {outside[0]} is outside the range "
            f"0 to {classes - 1} ({len(outside)} such labels); the file is damaged"
        )
    images = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # a view: batches are fastest from separate planes
    return [f"{prefix}/{i}" for i in range(len(images))], np.array(labels, np.int64), images


def class_names(edition: Edition, read: Read, key: bytes) -> tuple[str, ...]:
    (name,) = edition.meta
    data, source = read(name)
    names = safe_unpickle(data, source).get(key)
    if not isinstance(names, list) or not names or not all(isinstance(n, bytes) for n in names):
        raise DataError(f"{source}: no list of class names under {key.decode()}; extract the official archive again")
    return tuple(n.decode("utf-8", "replace") for n in names)


def md5_of(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def join(name: str, classes: tuple[str, ...], batches: list[CifarBatch]) -> ArrayDataset:
    ids, labels, images = zip(*batches, strict=True)
    return ArrayDataset(name, classes, [*chain(*ids)], np.concatenate(labels), np.concatenate(images))


def safe_unpickle(data: bytes, source: str) -> dict[Any, Any]:
    """The dict in a CIFAR file, read without executing anything in it. Raises DataError."""
    try:
        value = unpickle(data, encoding="bytes")
    except RefusedName as error:
        raise DataError(
            f"{source}: refused: it asks for {error}, and only NumPy arrays are allowed in a CIFAR file; "
            "do not use this file"
        ) from None
    except DamagedPickle as error:
        raise DataError(f"{source}: damaged or truncated after {len(data):,} bytes ({error}); get it again") from None
    if not isinstance(value, dict):
        raise DataError(f"{source}: not a CIFAR file; expected a dict, found a {type(value).__name__}")
    return value
