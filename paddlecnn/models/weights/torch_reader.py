"""Read a PyTorch state dict (.pth) without PyTorch and without running its pickle.

Two containers: since PyTorch 1.6 a zip with `data.pkl` and a raw file for each storage; before, and still the
one of torchvision's first weights, four pickles in a row followed by the storages.
"""
from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from paddlecnn.errors import WeightsError
from paddlecnn.models.weights.restricted_unpickler import NUMPY_NAMES, Names, array_of, unpickle

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
BFLOAT16 = "bfloat16"  # NumPy has none: read as 16 bits, then widened
STORAGES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": BFLOAT16,
            "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1",
            "ByteStorage": "<u1", "BoolStorage": "?"}


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
        """The view as an array of its own. Raises ValueError where it leaves its storage."""
        steps = [*self.size, *self.stride, self.offset]
        if len(self.size) != len(self.stride) or any(type(step) is not int or step < 0 for step in steps):
            raise ValueError("a tensor's shape is not one")
        if 0 in self.size:
            return np.zeros(self.size, numbers.dtype)
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.size, self.stride, strict=True))
        if last >= len(numbers) or np.prod(self.size, dtype=object) > len(numbers):
            raise ValueError("a tensor reaches beyond its storage")
        strides = [stride * numbers.itemsize for stride in self.stride]
        return np.lib.stride_tricks.as_strided(numbers[self.offset:], self.size, strides).copy()


def rebuild_tensor(storage: Storage, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    return Tensor(storage, offset, tuple(size), tuple(stride))


def rebuild_parameter(tensor: Tensor, *_: Any) -> Tensor:
    return tensor


TORCH_NAMES: Names = {
    **NUMPY_NAMES,
    ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    **{("torch", name): StorageType(dtype) for name, dtype in STORAGES.items()},
}


def storage_of(pid: tuple) -> Storage:
    """The storage that a persistent id ("storage", type, key, location, numel, ...) names."""
    tag, kind, key, _, numel = pid[:5]
    if tag != "storage" or not isinstance(kind, StorageType) or type(numel) is not int or numel < 0:
        raise ValueError("a reference that is not to a storage")
    return Storage(str(key), kind.dtype, numel)


def read_torch(path: Path) -> dict[str, Any]:
    """What a .pth holds, tensors as arrays. Raises WeightsError where it is damaged or would run code."""
    try:
        if zipfile.is_zipfile(path):
            return read_zip(path)
        with open(path, "rb") as file:
            return read_legacy(file, str(path))
    except (ValueError, KeyError, EOFError, OverflowError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path}: damaged or not a PyTorch file ({error})") from None


def read_zip(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("no data.pkl in it; TorchScript and full models are not state dicts")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("written on a big-endian machine")
        with archive.open(pickles[0]) as file:
            tree = unpickle(file, str(path), TORCH_NAMES, storage_of)
        return resolve(tree, lambda storage: numbers_from(archive, f"{folder}data/{storage.key}", storage))


def numbers_from(archive: zipfile.ZipFile, name: str, storage: Storage) -> np.ndarray:
    """A storage of a zip; its size is known beforehand, so that a bomb is not unpacked."""
    size = storage.numel * itemsize(storage.dtype)
    if archive.getinfo(name).file_size != size:
        raise ValueError(f"{name} has not the {size} bytes of its storage")
    return numbers_of(archive.read(name), storage)


def read_legacy(file: BinaryIO, source: str) -> dict[str, Any]:
    if unpickle(file, source) != LEGACY_MAGIC:
        raise ValueError("no PyTorch file begins so")
    for _ in ("protocol version", "facts about the machine"):
        unpickle(file, source)
    tree = unpickle(file, source, TORCH_NAMES, storage_of)
    wanted = {tensor.storage.key: tensor.storage for tensor in tensors_in(tree)}
    storages = {}
    for key in unpickle(file, source):
        storage = wanted[key]
        if int.from_bytes(file.read(8), "little") != storage.numel:
            raise ValueError("a storage's length is not the one that its tensors name")
        storages[key] = numbers_of(file.read(storage.numel * itemsize(storage.dtype)), storage)
    return resolve(tree, lambda storage: storages[storage.key])


def itemsize(dtype: str) -> int:
    return 2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize


def numbers_of(content: bytes, storage: Storage) -> np.ndarray:
    """A storage's numbers from its bytes."""
    if storage.dtype != BFLOAT16:
        return array_of(content, np.dtype(storage.dtype), (storage.numel,))
    halves = array_of(content, np.dtype("<u2"), (storage.numel,)).astype(np.uint32)
    return (halves << 16).view(np.float32)  # bfloat16 is the upper half of a float32


def tensors_in(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    children = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for child in children for tensor in tensors_in(child)]


def resolve(value: Any, numbers: Callable[[Storage], np.ndarray]) -> Any:
    """The tree with each tensor as an array; `numbers` gives those of a storage."""
    if isinstance(value, Tensor):
        return value.array(numbers(value.storage))
    if isinstance(value, Mapping):
        return {key: resolve(item, numbers) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(resolve(item, numbers) for item in value)
    return value
