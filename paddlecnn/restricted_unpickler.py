"""Read pickled arrays without running the pickle's code: the one unpickler of the project.

A pickle is a program for a small machine: it names functions, calls them and changes their results. The machine here
knows only the instructions that build plain values, resolves names in a table of stand-ins and refuses every other
name. Neither a function outside this package nor an object of NumPy is ever within its reach: bytes become an array
only after the pickle has ended, and after their type and size were checked.

It is built on the standard library's Unpickler in Python (`pickle._Unpickler`), which allows instructions to be left
out. The one in C allocates memory for any index that a file names, and overflows the stack on deeply nested keys.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import Any, BinaryIO, ClassVar

import numpy as np

MAX_DEPTH = 32  # of containers within containers; a training checkpoint has about 5
FREE_COPIES = 1_000_000  # items or characters that calls may copy, beyond four times what was read
PLAIN_NUMBER = re.compile(r"[<>=|]?([biuf][1248])")  # NumPy's codes of bool, int, unsigned and float


class RefusedName(Exception):
    """A name that a file of plain values and arrays never needs; nothing behind it was run."""


class DamagedPickle(Exception):
    """Anything else that is wrong with a pickle."""


class StandIn:
    """The value of a permitted name: it can only be called."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call

    def __call__(self, *args: Any) -> Any:
        return self.call(*args)


class DType:
    """Stands in for numpy.dtype: the code ("f4") and the byte order, nothing else."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = code if isinstance(code, str) else code.decode("ascii"), "<"

    def restore(self, state: tuple[Any, ...]) -> None:
        """Set the state of a pickled dtype: (version, byte order, ...)."""
        self.order = ">" if state[1] in (">", b">") else "<"

    def numpy(self) -> np.dtype[Any]:
        """The NumPy type. Raises ValueError if it is not a type of plain numbers."""
        if (match := PLAIN_NUMBER.fullmatch(self.code)) is None:
            raise ValueError(f"an array of {self.code!r:.40}")
        return np.dtype(self.order + match[1])


class Array:
    """Stands in for numpy.ndarray while a pickle is read; `value` is the array, or the content of an object array."""

    def __init__(self, *_: Any) -> None:
        self.value: Any = None

    def restore(self, state: tuple[Any, ...]) -> None:
        """Set the state of a pickled array: (version, shape, dtype, whether in Fortran order, content)."""
        _, shape, dtype, fortran, content = state
        if isinstance(content, list):  # an object array; in weight files without dimensions, with one dict in it
            self.value = content[0] if len(content) == 1 else content
        else:
            self.value = array_of(as_bytes(content), dtype.numpy(), shape, "F" if fortran else "C")


class Ordered(dict[Any, Any]):
    """Stands in for collections.OrderedDict; attributes such as PyTorch's _metadata are left out."""

    def __init__(self, pairs: Iterable[tuple[Any, Any]] = ()) -> None:
        super().__init__(with_plain_keys(pairs))

    def restore(self, state: Any) -> None:
        """Ignore the attributes of an ordered dict."""


def as_bytes(content: Any) -> bytes:
    """Bytes as Python 3 pickles them, or as text, the form of Python 2."""
    return content.encode("latin1") if isinstance(content, str) else content


def array_of(content: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any = "C") -> np.ndarray:
    """An array from bytes. Raises ValueError if their number does not fit the shape."""
    if len(content) != prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(content)} bytes for a shape of {list(shape)!s:.80}")
    return np.frombuffer(content, dtype).reshape(shape, order=order)


def array_from_buffer(content: bytes, dtype: DType, shape: tuple[int, ...], order: str) -> Array:
    """Stands in for NumPy's constructor of protocol 5."""
    array = Array()
    array.value = array_of(content, dtype.numpy(), shape, order)
    return array


def scalar_of(dtype: DType, content: bytes | str) -> Any:
    """Stands in for NumPy's constructor of scalars; returns a Python number."""
    return array_of(as_bytes(content), dtype.numpy(), ()).item()


def encode(text: str, codec: str = "latin1") -> bytes:
    """Stands in for _codecs.encode, with which old protocols write bytes, always as Latin-1."""
    if codec not in ("latin1", "latin-1", "iso-8859-1"):
        raise ValueError(f"bytes by the codec {codec!r:.40}")
    return str.encode(text, "latin1")


Names = Mapping[tuple[str, str], Any]
NUMPY_NAMES: Names = {
    ("numpy", "ndarray"): StandIn(Array),
    ("numpy", "dtype"): StandIn(DType),
    ("_codecs", "encode"): StandIn(encode),
    ("collections", "OrderedDict"): StandIn(Ordered),
    **{(f"{package}.multiarray", "_reconstruct"): StandIn(Array) for package in ("numpy.core", "numpy._core")},
    **{(f"{package}.multiarray", "scalar"): StandIn(scalar_of) for package in ("numpy.core", "numpy._core")},
    **{(f"{package}.numeric", "_frombuffer"): StandIn(array_from_buffer) for package in ("numpy.core", "numpy._core")},
    **{(builtins, "tuple"): StandIn(tuple) for builtins in ("builtins", "__builtin__")},
    # Old protocols call bytes without arguments for empty ones.
    **{(builtins, "bytes"): StandIn(lambda: b"") for builtins in ("builtins", "__builtin__")},
}

KEYS = (str, bytes, int)


def with_plain_keys(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """A dict. Raises ValueError for keys other than text, bytes and integers: hashing others can overflow the stack."""
    items = list(pairs)
    if any(type(key) not in KEYS for key, _ in items):
        raise ValueError("a dict whose keys are not text")
    return dict(items)


# Instructions that build plain values. Left out: sets, classes and their instances, registered extensions.
INSTRUCTIONS = """PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1
    LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES
    SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT
    DICT SETITEM SETITEMS GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL REDUCE BUILD PERSID
    BINPERSID""".split()  # noqa: SIM905


class RestrictedUnpickler(pickle._Unpickler):
    """The machine: permitted instructions and names, nothing else."""

    stack: list[Any]
    append: Callable[[Any], None]  # to the stack
    pop_mark: Callable[[], list[Any]]  # the values since the last mark
    dispatch: ClassVar[dict[int, Any]] = {
        code: pickle._Unpickler.dispatch[code] for code in (getattr(pickle, name)[0] for name in INSTRUCTIONS)
    }

    def __init__(self, file: BinaryIO, names: Names, persistent: Callable[[Any], Any] | None, encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self.file, self.names, self.persistent = file, names, persistent
        self.copied = 0  # the number of items and characters passed to calls

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.names[module, name]
        except KeyError:
            raise RefusedName(f"{module}.{name}"[:100]) from None

    def persistent_load(self, pid: Any) -> Any:
        if self.persistent is None:
            raise ValueError("a reference out of the file")
        return self.persistent(pid)

    def charge(self, values: Any) -> None:
        """Count what a call may copy, so that a small file cannot copy one large value over and over."""
        self.copied += sum(len(value) for value in values if isinstance(value, (str, list, tuple, dict)))
        if self.copied > FREE_COPIES + 4 * self.file.tell():
            raise ValueError("the same values are copied over and over")

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.charge([args, *args])
        self.stack[-1] = self.stack[-1](*args)

    def load_build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], (Array, DType, Ordered)):
            raise ValueError(f"a state for {type(self.stack[-1]).__name__}")
        if isinstance(self.stack[-1], Array):
            self.charge(state)
        self.stack[-1].restore(state)

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append(with_plain_keys(zip(items[::2], items[1::2], strict=True)))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def load_setitems(self) -> None:
        self.set_items(self.pop_mark())

    def set_items(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise ValueError(f"items of {type(self.stack[-1]).__name__}")
        self.stack[-1].update(with_plain_keys(zip(items[::2], items[1::2], strict=True)))

    dispatch |= {
        pickle.REDUCE[0]: load_reduce,
        pickle.BUILD[0]: load_build,
        pickle.DICT[0]: load_dict,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
    }


def unpickle(
    file: BinaryIO | bytes,
    names: Names = NUMPY_NAMES,
    persistent: Callable[[Any], Any] | None = None,
    encoding: str = "latin1",
) -> Any:
    """One pickled value: dicts, lists, tuples, numbers, text, bytes and arrays.

    names: stand-ins by (module, name); persistent: returns the value of a reference out of the file
    encoding: of text that Python 2 wrote; "bytes" leaves it as bytes

    Raises RefusedName for any other name, DamagedPickle for anything else.
    """
    try:
        source = io.BytesIO(file) if isinstance(file, bytes) else file
        return plain(RestrictedUnpickler(source, names, persistent, encoding).load())
    except RefusedName:
        raise
    except Exception as error:  # a damaged pickle can fail in any way that a program can
        raise DamagedPickle(f"{type(error).__name__}: {error}"[:200]) from None


def plain(value: Any, leaf: Callable[[Any], Any] = lambda value: value) -> Any:
    """The value with each stand-in replaced by its array, and any other non-container value by its `leaf`.

    A container that is referred to several times is visited once, so that the work is bounded by the file's size.
    Raises ValueError for containers nested deeper than MAX_DEPTH.
    """
    done: dict[int, Any] = {}

    def convert(value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f"values nested more than {MAX_DEPTH} deep")
        if isinstance(value, Array):
            return convert(value.value, depth + 1)
        if not isinstance(value, (dict, list, tuple)):
            return leaf(value)
        if id(value) not in done:
            if isinstance(value, dict):
                done[id(value)] = {key: convert(item, depth + 1) for key, item in value.items()}
            else:
                done[id(value)] = type(value)(convert(item, depth + 1) for item in value)
        return done[id(value)]

    return convert(value, 0)
