"""oneDNN objects that destroy themselves: memory descriptors, memory, primitive descriptors and primitives."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_float, c_void_p, cast
from typing import Any

from paddlecnn.onednn.bindings import FORMAT_ANY, SCRATCHPAD_USER, AlgKind, DataType, Dims, OneDNNError, Query, library


class Unsupported(Exception):
    """An operation that oneDNN cannot run here, or only by a reference implementation: it is left to Paddle."""


# The number of live objects of each kind, for leak tests.
live: collections.Counter[str] = collections.Counter()


class Handle:
    """Owner of one oneDNN object. `pointer` is its address, valid as long as this object lives."""

    __slots__ = ("__weakref__", "pointer")
    kind = ""  # as in dnnl_<kind>_destroy

    def __init__(self, pointer: c_void_p):
        self.pointer = pointer
        live[self.kind] += 1

    def __del__(self) -> None:
        pointer = getattr(self, "pointer", None)  # absent if the constructor of a subclass raised
        if pointer:
            getattr(library(), self.kind + "_destroy")(pointer)
            live[self.kind] -= 1


class MemoryDesc(Handle):
    """Shape, element type and layout of a tensor (dnnl_memory_desc)."""

    __slots__ = ("shape", "type")
    kind = "memory_desc"

    def __init__(self, pointer: c_void_p, shape: Sequence[int], data_type: DataType):
        super().__init__(pointer)
        self.shape, self.type = tuple(shape), data_type

    @classmethod
    def strided(cls, shape: Sequence[int], strides: Sequence[int], data_type: DataType) -> MemoryDesc:
        """A layout given by the distance, in elements, between neighbours along each dimension."""
        layout = (len(shape), Dims(*shape), data_type, Dims(*strides))
        return cls(new("memory_desc_create_with_strides", *layout), shape, data_type)

    @classmethod
    def plain(cls, shape: Sequence[int], data_type: DataType = DataType.F32) -> MemoryDesc:
        """The row-major layout of a contiguous Paddle tensor."""
        return cls.strided(shape, row_major_strides(shape), data_type)

    @classmethod
    def any(cls, shape: Sequence[int], data_type: DataType) -> MemoryDesc:
        """A layout for the primitive to choose."""
        layout = (len(shape), Dims(*shape), data_type, FORMAT_ANY)
        return cls(new("memory_desc_create_with_tag", *layout), shape, data_type)

    @property
    def bytes(self) -> int:
        return library().memory_desc_get_size(self.pointer)

    def same_layout(self, other: MemoryDesc) -> bool:
        return bool(library().memory_desc_equal(self.pointer, other.pointer))


def row_major_strides(shape: Sequence[int]) -> list[int]:
    strides = [1]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * size)
    return strides[::-1]


class Memory(Handle):
    """A memory object (dnnl_memory): a descriptor with an address that is set later."""

    __slots__ = ()
    kind = "memory"

    def __init__(self, desc: MemoryDesc):
        super().__init__(new("memory_create", desc.pointer, library().engine, None))

    def set_address(self, address: int) -> None:
        library().memory_set_data_handle(self.pointer, address)


class PrimitiveDesc(Handle):
    """A primitive descriptor: an operation, its layouts, and the implementation that oneDNN chose.

    Reference implementations ("ref") are correct but up to 50 times slower than any other: `create` skips them.
    """

    __slots__ = ("implementation",)
    kind = "primitive_desc"
    implementation: str

    @classmethod
    def create(cls, operation: str, *arguments: Any, relu: bool = False, accumulate: bool = False) -> PrimitiveDesc:
        """The first implementation that is not a reference one. Raises Unsupported if there is none.

        operation: as in dnnl_<operation>_primitive_desc_create; arguments: those between `engine` and `attr`
        relu, accumulate: post-operations; accumulate adds to what the destination holds
        (https://uxlfoundation.github.io/oneDNN/dev_guide_attributes_post_ops.html)
        """
        if operation == "reorder":  # the only one with an engine for each side
            source, destination = arguments
            arguments = (source, library().engine, destination, library().engine)
        else:
            arguments = (library().engine, *arguments)
        attributes = create_attributes(relu, accumulate)
        try:
            desc = cls(new(operation + "_primitive_desc_create", *map(unwrap, arguments), attributes))
        except OneDNNError:
            raise Unsupported(f"oneDNN has no {operation.replace('_', ' ')} for these shapes") from None
        finally:
            library().primitive_attr_destroy(attributes)
        try:
            while "ref" in desc.query_implementation():
                library().primitive_desc_next_impl(desc.pointer)
        except OneDNNError:  # no further implementation
            raise Unsupported(f"oneDNN has only a reference kernel for {operation.replace('_', ' ')} here") from None
        desc.implementation = desc.query_implementation()
        return desc

    def query_implementation(self) -> str:
        text = c_char_p()
        library().primitive_desc_query(self.pointer, Query.IMPL_INFO_STR, 0, cast(byref(text), c_void_p))
        return (text.value or b"").decode()

    def query(self, what: Query, shape: Sequence[int], data_type: DataType) -> MemoryDesc:
        """The memory descriptor that the primitive expects."""
        borrowed = library().primitive_desc_query_md(self.pointer, what, 0)
        return MemoryDesc(new("memory_desc_clone", borrowed), shape, data_type)

    def query_bytes(self, what: Query) -> MemoryDesc | None:
        """The descriptor of an opaque buffer (workspace, scratchpad); None if the primitive needs none."""
        borrowed = library().primitive_desc_query_md(self.pointer, what, 0)
        if not borrowed or library().memory_desc_get_size(borrowed) == 0:
            return None
        return MemoryDesc(new("memory_desc_clone", borrowed), (), DataType.F32)


class Primitive(Handle):
    """A primitive, ready to be executed."""

    __slots__ = ()
    kind = "primitive"

    def __init__(self, desc: PrimitiveDesc):
        super().__init__(new("primitive_create", desc.pointer))


def new(function: str, *arguments: Any) -> c_void_p:
    """The object that a oneDNN function creates."""
    pointer = c_void_p()
    getattr(library(), function)(byref(pointer), *arguments)
    return pointer


def unwrap(value: Any) -> Any:
    """A C argument: the pointer of a handle, an array for a tuple."""
    if isinstance(value, Handle):
        return value.pointer
    if isinstance(value, tuple):
        return Dims(*value)
    return value


def create_attributes(relu: bool, accumulate: bool) -> c_void_p:
    """Attributes with the post-operations and our own scratchpad (the library's belongs to one thread)."""
    attributes = new("primitive_attr_create")
    library().primitive_attr_set_scratchpad_mode(attributes, SCRATCHPAD_USER)
    if relu or accumulate:
        operations = new("post_ops_create")
        if accumulate:
            library().post_ops_append_sum(operations, c_float(1.0), 0, 0)
        if relu:
            library().post_ops_append_eltwise(operations, AlgKind.RELU, c_float(0.0), c_float(0.0))
        library().primitive_attr_set_post_ops(attributes, operations)
        library().post_ops_destroy(operations)
    return attributes
