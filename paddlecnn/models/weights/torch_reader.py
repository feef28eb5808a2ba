"""Read a PyTorch state dict (.pth) without PyTorch and without running its pickle.

Two containers: since PyTorch 1.6, a zip with `data.pkl` and a raw file for each storage; before that, and still for
torchvision's first weights, four pickles in a row followed by the storages.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from paddlecnn.restricted_unpickler import NUMPY_NAMES, Names, StandIn, array_of, plain, unpickle

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
BFLOAT16 = "bfloat16"  # not a NumPy type: read as 16 bits, then widened
STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


@dataclass(frozen=True)
class StorageType:
    """Stands in for torch.FloatStorage and the like."""

    dtype: str


@dataclass(frozen=True)
class Storage:
    """A run of numbers in the file, not read yet."""

    key: str
    dtype: str
    numel: int


@dataclass(frozen=True)
class Tensor:
    """A view into a storage, as `torch._utils._rebuild_tensor_v2` describes it."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self, numbers: np.ndarray) -> np.ndarray:
        """The view as an array. Raises ValueError if it reaches beyond its storage."""
        steps = [*self.size, *self.stride, self.offset]
        if len(self.size) != len(self.stride) or any(type(step) is not int or step < 0 for step in steps):
            raise ValueError("a tensor's shape is invalid")
        if 0 in self.size:
            return np.zeros(self.size, numbers.dtype)
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.size, self.stride, strict=True))
        if last >= len(numbers) or np.prod(self.size, dtype=object) > len(numbers):
            raise ValueError("a tensor reaches beyond its storage")
        strides = [stride * numbers.itemsize for stride in self.stride]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.size, strides, writeable=False)


def rebuild_tensor(storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    return Tensor(storage, offset, tuple(size), tuple(stride))


TORCH_NAMES: Names = {
    **NUMPY_NAMES,
    ("torch._utils", "_rebuild_tensor"): StandIn(rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): StandIn(rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): StandIn(lambda tensor, *_: tensor),
    **{("torch", name): StorageType(dtype) for name, dtype in STORAGES.items()},
}


def storage_of(pid: tuple[Any, ...]) -> Storage:
    """The storage that a persistent id ("storage", type, key, location, numel, ...) names."""
    tag, kind, key, _, numel = pid[:5]
    if tag != "storage" or not isinstance(kind, StorageType) or type(numel) is not int or numel < 0:
        raise ValueError("a reference that is not to a storage")
    return Storage(str(key), kind.dtype, numel)


def read_torch(path: Path) -> Any:
    """The content of a .pth file, tensors as arrays. Raises an exception of any kind if it is damaged."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return read_zip(archive)
    with open(path, "rb") as file:
        return read_legacy(file, path.stat().st_size)


def read_zip(archive: zipfile.ZipFile) -> Any:
    names = set(archive.namelist())
    pickles = [name for name in names if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("no data.pkl in it; TorchScript and full models are not state dicts")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
        raise ValueError("written on a big-endian machine")
    tree = unpickle(archive.read(pickles[0]), TORCH_NAMES, storage_of)
    storages: dict[str, np.ndarray] = {}

    def numbers(storage: Storage) -> np.ndarray:
        if storage.key not in storages:
            name = f"{folder}data/{storage.key}"
            expected, found = storage.numel * itemsize(storage.dtype), archive.getinfo(name).file_size
            if found != expected:
                raise ValueError(f"{name}: expected {expected} bytes, found {found}")
            storages[storage.key] = numbers_of(archive.read(name), storage)
        return storages[storage.key]

    return resolve(tree, numbers)


def read_legacy(file: BinaryIO, size: int) -> Any:
    """The older container of `size` bytes: pickles in a row, then each storage with its length before it."""
    if unpickle(file) != LEGACY_MAGIC:
        raise ValueError("bad magic number")
    for _ in ("protocol version", "facts about the machine"):
        unpickle(file)
    tree = unpickle(file, TORCH_NAMES, storage_of)
    named: dict[str, Storage] = {}
    plain(tree, lambda leaf: named.setdefault(leaf.storage.key, leaf.storage) if isinstance(leaf, Tensor) else leaf)
    storages = {}
    for key in unpickle(file):
        storage = named[key]
        length, expected = int.from_bytes(file.read(8), "little"), storage.numel * itemsize(storage.dtype)
        if length != storage.numel or expected > size:
            raise ValueError(f"a storage of {length} numbers, but its tensors refer to {storage.numel}")
        storages[key] = numbers_of(file.read(expected), storage)
    return resolve(tree, lambda storage: storages[storage.key])


def itemsize(dtype: str) -> int:
    return 2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize


def numbers_of(content: bytes, storage: Storage) -> np.ndarray:
    """A storage's numbers from its bytes."""
    if storage.dtype != BFLOAT16:
        return array_of(content, np.dtype(storage.dtype), (storage.numel,))
    halves = array_of(content, np.dtype("<u2"), (storage.numel,)).astype(np.uint32)
    return (halves << 16).view(np.float32)  # bfloat16 is the upper half of a float32


def resolve(tree: Any, numbers: Callable[[Storage], np.ndarray]) -> Any:
    """The tree with each tensor as an array; `numbers` returns the values of a storage."""
    return plain(tree, lambda leaf: leaf.array(numbers(leaf.storage)) if isinstance(leaf, Tensor) else leaf)
