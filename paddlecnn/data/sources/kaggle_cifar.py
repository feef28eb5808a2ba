"""CIFAR-10 as published in the Kaggle competition `cifar-10`: PNGs of 32x32 in two 7z archives, labels in a CSV.

    train.7z  50,000 images `train/1.png` ...    trainLabels.csv  id,label
    test.7z   300,000 images, of which Kaggle scores 10,000; no labels

The archives are solid: an image can only be reached through those before it. So the first use of a part decodes its
archive in one pass into a memory-mapped array file, kept in `data.cache` if that is set, otherwise
unnamed and temporary. Only one block is in memory at a time. Unpacked folders are read too.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import tempfile
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from paddlecnn.config import DataConfig
from paddlecnn.data.base import ArrayDataset, Dataset, FileDataset, PublishedSplits, nothing_found
from paddlecnn.data.sources import cifar
from paddlecnn.data.storage import sevenzip
from paddlecnn.data.storage.array_file import array_file
from paddlecnn.data.storage.file_storage import FileSlice, FileStorage, FolderStorage, ZipStorage
from paddlecnn.data.storage.images import decode_image
from paddlecnn.errors import DataError
from paddlecnn.files import require_space
from paddlecnn.progress_bar import ProgressBar

COMPETITION = "cifar-10"
CLASSES = cifar.CIFAR10_CLASSES
COUNTS = {"train": 50000, "test": 300000}
PREPROCESS = cifar.CIFAR10.preprocess
SIDE = 32
MAX_PNG = 1 << 20  # bytes; 32x32 pixels of RGB have 3,072
IMAGE_NAME = re.compile(r"(?:.*/)?(\d{1,9})\.png", re.IGNORECASE)


def load(config: DataConfig) -> PublishedSplits:
    """The competition's data below config.root: the bundle zip, or a folder with the 7z archives or unpacked parts.

    Ids are the competition's numbers. The test part has no labels; it is None if it is not on disk.
    """
    root = Path(config.root)
    for place in places(root):
        if not place.has("trainLabels.csv"):
            continue
        if train := open_part(place, "train", config.cache, read_labels(place.store)):
            return PublishedSplits(train, open_part(place, "test", config.cache, None))
    names = [f"{COMPETITION}.zip", "train.7z and trainLabels.csv", "train/1.png and trainLabels.csv"]
    raise nothing_found("Kaggle CIFAR-10", root, names, "kaggle_cifar10")


class Place:
    """A folder or a bundle zip that may contain the competition's files."""

    def __init__(self, path: Path):
        self.path = path
        self.bundle = ZipStorage(path) if path.is_file() else None
        self.store = self.bundle or FolderStorage(path)

    def has(self, name: str) -> bool:
        return name in self.bundle.names() if self.bundle else (self.path / name).is_file()

    def archive(self, name: str) -> Path | FileSlice | None:
        if not self.has(name):
            return None
        return self.bundle.open_member(name) if self.bundle else self.path / name


def places(root: Path) -> Iterator[Place]:
    """The places that exist, each opened only when it is reached, since the first may suffice."""
    candidates = [root, root / COMPETITION, root / f"{COMPETITION}.zip"]
    return (Place(path) for path in candidates if path.is_dir() or (path.suffix == ".zip" and path.is_file()))


def read_labels(store: FileStorage) -> dict[str, int]:
    """trainLabels.csv: image number to class."""
    text, source = store.read("trainLabels.csv").decode("utf-8-sig", "replace"), store.describe("trainLabels.csv")
    labels = {}
    try:
        for number, row in enumerate(csv.DictReader(io.StringIO(text.replace("\0", ""))), start=2):
            image, label = row.get("id"), row.get("label")
            if image is None or label not in CLASSES:
                raise DataError(f"{source}, line {number}: label {label} is not one of {', '.join(CLASSES)}")
            if image in labels:
                raise DataError(f"{source}, line {number}: duplicate line for image {image}; download it again")
            labels[image] = CLASSES.index(label)
    except csv.Error as error:
        raise DataError(f"{source}: not a CSV file ({error}); download it again") from None
    return labels


def open_part(place: Place, part: str, cache: str | None, labels: dict[str, int] | None) -> Dataset | None:
    """The unpacked folder of a part if it exists, else its archive; None if neither exists."""
    name = "kaggle_cifar10" if part == "train" else f"kaggle_cifar10 {part}"
    folder = place.path / part
    if folder.is_dir():
        store = FolderStorage(folder)
        ids, members = numbered(store.names())
        return FileDataset(name, CLASSES, ids, labels_of(ids, labels, str(folder)), store, members) if ids else None
    archive = place.archive(f"{part}.7z")
    if archive is None:
        return None
    listed = [member for member in sevenzip.members(archive) if member.kind == "file"]
    ids, members = numbered([member.name for member in listed])
    source = f"{place.path}/{part}.7z"
    if not ids:
        raise DataError(f"{source}: contains no images named like {part}/1.png; get the competition's archive")
    content = hashlib.sha256(repr(listed).encode()).hexdigest()
    return PackedDataset(name, ids, labels_of(ids, labels, source), archive, source, members, content, cache)


def numbered(names: list[str]) -> tuple[list[str], list[str]]:
    """The ids in increasing order, and the names they belong to."""
    found = sorted((int(match[1]), name) for name in names if (match := IMAGE_NAME.fullmatch(name)))
    return [str(number) for number, _ in found], [name for _, name in found]


def labels_of(ids: list[str], labels: dict[str, int] | None, source: str) -> np.ndarray | None:
    if labels is None:
        return None
    unknown = [image for image in ids if image not in labels]
    if unknown:
        raise DataError(f"{source}: image {unknown[0]} has no line in trainLabels.csv ({len(unknown):,} such images)")
    return np.array([labels[image] for image in ids], np.int64)


class PackedDataset(ArrayDataset):
    """The images of a 7z archive, decoded at first use: a run that never tests never decodes the test part.

    content: a digest of the archive's list with the members' checksums, so that a cache is only used for equal images
    """

    PER_IMAGE = ("members", "images")

    def __init__(
        self,
        name: str,
        ids: list[str],
        labels: np.ndarray | None,
        archive: Path | FileSlice,
        source: str,
        members: list[str],
        content: str,
        cache: str | None,
    ):
        Dataset.__init__(self, name, CLASSES, ids, labels)
        self.archive, self.source, self.members = archive, source, members
        self.content, self.cache = content, cache

    def __post_init__(self) -> None:
        Dataset.__post_init__(self)  # without the check of the pixels, which would decode them

    @cached_property
    def images(self) -> np.ndarray:  # type: ignore[override]  # made at first use
        """uint8 [N, 32, 32, 3], memory-mapped."""
        key = hashlib.sha256(repr((self.content, self.members)).encode()).hexdigest()
        shape = (len(self), SIDE, SIDE, 3)
        if self.cache is not None:
            return array_file(Path(self.cache) / f"{self.name.replace(' ', '-')}-{key[:16]}.npy", shape, self.decode)
        require_space(Path(tempfile.gettempdir()), int(np.prod(shape)), "set TMPDIR or data.cache")
        file = tempfile.TemporaryFile()  # noqa: SIM115 (mapped as long as the data set)
        self.decode(file)
        file.flush()
        return np.memmap(file, np.uint8, "r", shape=shape)

    def decode(self, file: BinaryIO) -> None:
        """Write all pixels to a file, from its current position, in the order of the ids."""
        begin = file.tell()
        rows = {member: row for row, member in enumerate(self.members)}
        with ProgressBar(total=len(rows), unit="image", desc=f"decoding {self.source}") as bar:

            def write(member: str, pixels: np.ndarray) -> None:
                file.seek(begin + rows.pop(member) * pixels.size)
                file.write(pixels.tobytes())
                bar.update()

            def open_sink(member: str) -> DecodeSink:
                return DecodeSink(f"{self.source}/{member}", partial(write, member) if member in rows else None)

            sevenzip.stream(self.archive, open_sink)
        if rows:
            raise DataError(f"{self.source}: {len(rows):,} images are missing after unpacking; get it again")
        file.seek(0, io.SEEK_END)


class DecodeSink:
    """Collects one PNG and passes its pixels, uint8 [32, 32, 3], to `done`; without `done` it discards the bytes."""

    def __init__(self, name: str, done: Callable[[np.ndarray], None] | None):
        self.name, self.done = name, done
        self.data = io.BytesIO()

    def write(self, data: bytes | bytearray) -> int:
        if self.data.tell() + len(data) > MAX_PNG:
            raise DataError(f"{self.name}: more than {MAX_PNG:,} bytes for an image of 32x32; get the archive again")
        return self.data.write(data)

    def close(self) -> None:
        if self.done is None:
            return
        pixels = decode_image(self.data.getvalue(), self.name)
        if pixels.shape != (SIDE, SIDE, 3):
            raise DataError(f"{self.name}: expected {SIDE}x{SIDE} pixels, found {pixels.shape[1]}x{pixels.shape[0]}")
        self.done(pixels)
