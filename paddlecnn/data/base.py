"""The interface of every data set: images with ids, labels and class names."""

from __future__ import annotations

import copy
import hashlib
import mmap
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from paddlecnn.data.storage.file_storage import FileStorage
from paddlecnn.data.storage.images import decode_image
from paddlecnn.errors import DataError

DIGEST_BYTES = 16
# Line breaks, other control characters, and bytes that are not UTF-8: text files and CSVs cannot hold them.
UNUSABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(eq=False, repr=False)
class Dataset:
    """Images by position. A subclass supplies the pixels and their bytes.

    Raises DataError for a name that a text file cannot hold, a duplicate id, and labels that do not fit the ids.
    """

    name: str  # of the data set and its part, for messages and keys
    classes: tuple[str, ...]  # in the order of the labels
    ids: list[str]  # one stable name per image, unique in its part
    labels: np.ndarray | None  # int64 [N], or None if none are published
    PER_IMAGE: ClassVar[tuple[str, ...]] = ()  # further attributes with one entry per image

    def __post_init__(self) -> None:
        self.classes, self.ids = tuple(self.classes), list(self.ids)
        self.check_names()
        self.labels = None if self.labels is None else self.checked_labels()

    def check_names(self) -> None:
        for kind, names in (("class", self.classes), ("image", self.ids)):
            if UNUSABLE.search("".join(names)):
                name = next(name for name in names if UNUSABLE.search(name))
                raise DataError(
                    f"{self.name}: {kind} name {name!a} has a control character or is not UTF-8; "
                    "rename the file or folder"
                )
        if len(set(self.ids)) < len(self.ids):  # e.g. of a folder that was unpacked a second time into itself
            duplicate = Counter(self.ids).most_common(1)[0][0]
            raise DataError(f"{self.name}: duplicate image {duplicate}; remove one copy")

    def checked_labels(self) -> np.ndarray:
        """The labels as int64 [N]."""
        labels, last = np.asarray(self.labels), len(self.classes) - 1
        if labels.shape != (len(self.ids),):
            raise DataError(f"{self.name}: {len(self.ids):,} ids, but labels of shape {list(labels.shape)}")
        if labels.dtype.kind not in "iu" and len(labels):
            raise DataError(f"{self.name}: labels of type {labels.dtype}; expected integers from 0 to {last}")
        wrong = np.flatnonzero((labels < 0) | (labels > last))
        if len(wrong):
            raise DataError(
                f"{self.name}: label {labels[wrong[0]]} of {self.ids[wrong[0]]}; expected 0 to {last}, a position in "
                f"the {len(self.classes)} classes"
            )
        return labels.astype(np.int64, copy=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        labels = "" if self.labels is not None else ", no labels"
        return f"{type(self).__name__}({self.name!r}: {len(self):,} images, {len(self.classes):,} classes{labels})"

    def image(self, position: int) -> np.ndarray:
        """uint8 [H, W, 3], RGB. Raises DataError if the image cannot be read."""
        raise NotImplementedError

    def stored_bytes(self, position: int) -> bytes:
        """The input of the content hash: the file, or the pixels if there is no file."""
        raise NotImplementedError

    def subset(self, positions: np.ndarray) -> Self:
        """The data set of these positions, in this order. Known content hashes are not computed again."""
        part = copy.copy(self)
        values = part.__dict__
        for name in ("fingerprint", "position_of"):
            values.pop(name, None)
        for name in ("ids", "labels", "content_hashes", *self.PER_IMAGE):
            whole = values.get(name)
            if whole is not None:
                values[name] = whole[positions] if isinstance(whole, np.ndarray) else [whole[i] for i in positions]
        return part

    @cached_property
    def position_of(self) -> dict[str, int]:
        """Positions by id."""
        return {name: position for position, name in enumerate(self.ids)}

    @cached_property
    def content_hashes(self) -> list[bytes]:
        """A 16-byte hash of each image: equal for exact duplicates. An unreadable file is hashed by its id."""
        return [hashlib.blake2b(self.bytes_to_hash(i), digest_size=DIGEST_BYTES).digest() for i in range(len(self))]

    def bytes_to_hash(self, position: int) -> bytes:
        try:
            return self.stored_bytes(position)
        except DataError:  # reported where the image is needed
            return f"unreadable {self.ids[position]}".encode()

    @cached_property
    def fingerprint(self) -> str:
        """A hash that differs if name, classes, ids, labels or any image differs."""
        digest = hashlib.sha256("\0".join([self.name, *self.classes, "", *self.ids]).encode())
        digest.update(b"" if self.labels is None else self.labels.tobytes())
        digest.update(b"".join(self.content_hashes))
        return digest.hexdigest()


@dataclass(eq=False, repr=False)
class ArrayDataset(Dataset):
    """Images of one size in one uint8 array [N, H, W, 3], in memory or memory-mapped.

    Batches are fastest to make from separate colour planes: a transposed view of [N, 3, H, W].
    """

    images: np.ndarray
    PER_IMAGE: ClassVar[tuple[str, ...]] = ("images",)

    def __post_init__(self) -> None:
        super().__post_init__()
        shape, kind = self.images.shape, self.images.dtype
        if kind != np.uint8 or len(shape) != 4 or shape[3] != 3 or shape[0] != len(self.ids):
            raise DataError(
                f"{self.name}: images of type {kind} and shape {list(shape)} for {len(self.ids):,} ids; expected uint8 "
                "[N, height, width, 3], RGB from 0 to 255"
            )

    def image(self, position: int) -> np.ndarray:
        return np.ascontiguousarray(self.images[position])

    def rows(self, positions: np.ndarray) -> np.ndarray:
        """uint8 [n, H, W, 3]: the images at these positions.

        A memory map releases the pages it has read: they stay in the system's cache, but no longer count as this
        process's memory, which would otherwise grow to the size of the file.
        """
        rows = self.images[positions]
        if isinstance(self.images, np.memmap):
            self.images._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
        return rows

    def stored_bytes(self, position: int) -> bytes:
        return self.images[position].tobytes()


@dataclass(eq=False, repr=False)
class FileDataset(Dataset):
    """Image files in a folder or a zip, decoded on demand."""

    store: FileStorage
    members: list[str]  # the file of each image
    PER_IMAGE = ("members",)

    def image(self, position: int) -> np.ndarray:
        return decode_image(self.stored_bytes(position), self.path(position))

    def path(self, position: int) -> str:
        """The file's full name, for messages."""
        return self.store.describe(self.members[position])

    def stored_bytes(self, position: int) -> bytes:
        return self.store.read(self.members[position])


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set; `test` may be None."""

    train: Dataset
    val: Dataset
    test: Dataset | None


@dataclass(frozen=True)
class PublishedSplits:
    """The published parts: a training part, and perhaps a validation and a test part."""

    train: Dataset
    test: Dataset | None = None
    val: Dataset | None = None


def nothing_found(title: str, root: object, names: Sequence[str], download: str) -> DataError:
    """The error if none of a data set's files `names` is in `root`; `download` is its name in `paddlecnn download`."""
    where = f"{root} (for {' or '.join(names)})"
    advice = f"get it with: paddlecnn download {download} --dest {root}, or name its folder (for a run: --data-root)"
    return DataError(f"data.root: no {title} in {where}; {advice}")
