"""Read pickled arrays without running pickle's code.

A pickle is a program: it names functions and calls them. The unpickler here resolves names in a small table
of stand-ins of ours and refuses every other, so that no function outside this package can be reached. Not
even NumPy's own constructors are called: bytes become an array only after their type and size are checked.
"""
from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from math import prod
from typing import Any, BinaryIO

import numpy as np

from paddlecnn.errors import WeightsError

NUMBERS = "biuf"  # NumPy kinds that a weight file may hold: bool, int, unsigned, float
Names = Mapping[tuple[str, str], Any]


class DType:
    """Stands in for numpy.dtype: the code ("f4") and the byte order, nothing else."""

    def __init__(self, code: str, *_: Any):
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]

    def numpy(self) -> np.dtype:
        """The NumPy type. Raises ValueError where it is not of plain numbers."""
        dtype = np.dtype(f"{'>' if self.order == '>' else '<'}{str(self.code).lstrip('<>=|')}")
        if dtype.kind not in NUMBERS:
            raise ValueError(f"an array of {self.code}")
        return dtype


class Array:
    """Stands in for numpy.ndarray while a pickle is read; `value` is the array, or what an object array held."""

    def __init__(self, *_: Any):
        self.value: Any = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, content = state
        if isinstance(content, list):  # an object array; in weight files of no dimensions, with one dict in it
            self.value = content[0] if len(content) == 1 else content
            return
        content = content.encode("latin1") if isinstance(content, str) else content  # written by Python 2
        self.value = array_of(content, dtype.numpy(), shape, "F" if fortran else "C")


def array_of(content: bytes, dtype: np.dtype, shape: tuple[int, ...], order: str = "C") -> np.ndarray:
    """An array from bytes. Raises ValueError where their number does not fit the shape."""
    if len(content) != prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(content)} bytes for a shape of {list(shape)}")
    return np.frombuffer(content, dtype).reshape(shape, order=order)


def scalar_of(dtype: DType, content: bytes | str) -> Any:
    """Stands in for NumPy's constructor of scalars."""
    return array_of(content.encode("latin1") if isinstance(content, str) else content, dtype.numpy(), ())[()]


def latin1(text: str, *_: Any) -> bytes:
    """Stands in for _codecs.encode, with which old protocols write bytes."""
    return text.encode("latin1")


NUMPY_NAMES: Names = {
    ("numpy", "ndarray"): Array,
    ("numpy", "dtype"): DType,
    ("_codecs", "encode"): latin1,
    ("collections", "OrderedDict"): OrderedDict,
    **{(f"{package}.multiarray", "_reconstruct"): Array for package in ("numpy.core", "numpy._core")},
    **{(f"{package}.multiarray", "scalar"): scalar_of for package in ("numpy.core", "numpy._core")},
    **{(builtins, "tuple"): tuple for builtins in ("builtins", "__builtin__")},
}


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that knows the names it is given, and nothing else."""

    def __init__(self, file: BinaryIO, source: str, names: Names, persistent: Callable[[tuple], Any] | None = None):
        super().__init__(file, encoding="latin1")
        self.source, self.names, self.persistent = source, names, persistent

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.names[module, name]
        except KeyError:
            raise WeightsError(f"{self.source}: asks to run {module}.{name}, which plain weights never do; "
                               "nothing of it was run. Save the state dict alone, or as .safetensors") from None

    def persistent_load(self, pid: tuple) -> Any:
        if self.persistent is None:
            raise pickle.UnpicklingError("a reference out of the file")
        return self.persistent(pid)


def unpickle(file: BinaryIO, source: str, names: Names = NUMPY_NAMES,
             persistent: Callable[[tuple], Any] | None = None) -> Any:
    """One pickled value, of dicts, lists, numbers, text and arrays. Raises WeightsError for anything else."""
    try:
        return plain(RestrictedUnpickler(file, source, names, persistent).load())
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way that a program can
        raise WeightsError(f"{source}: damaged or not a weight file ({error})") from None


def plain(value: Any) -> Any:
    """The value with each stand-in replaced by its array."""
    if isinstance(value, Array):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value)
    return value
