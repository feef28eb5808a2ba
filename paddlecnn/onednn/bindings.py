"""The part of oneDNN's C API that the engine calls, through ctypes, in the library of Paddle's wheel.

Names and values are those of oneDNN's headers dnnl.h, dnnl_types.h and dnnl_common_types.h (major version 3); the
public reference is https://uxlfoundation.github.io/oneDNN/. Nothing here knows about layers.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_int64, c_size_t, c_uint, c_void_p
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import TYPE_CHECKING, Any

MAJOR_VERSION = 3
OLDEST_MINOR = 6  # oneDNN 3.2, in Paddle 2.6, crashes in the backward pass of some networks
MAX_DIMENSIONS = 12


class Unavailable(Exception):
    """oneDNN cannot be used here; the message says why, in one line."""


class OneDNNError(RuntimeError):
    """A oneDNN function returned an error status."""


class DataType(IntEnum):
    """dnnl_data_type_t"""

    BF16 = 2
    F32 = 3

    @property
    def bytes(self) -> int:
        return 2 if self is DataType.BF16 else 4


class PropKind(IntEnum):
    """dnnl_prop_kind_t"""

    FORWARD_TRAINING = 64
    FORWARD_INFERENCE = 96
    BACKWARD = 128


class AlgKind(IntEnum):
    """dnnl_alg_kind_t"""

    CONVOLUTION_DIRECT = 0x1
    RELU = 0x20
    GELU_TANH = 0x2B
    GELU_ERF = 0x31
    RELU_USE_DST_FOR_BWD = 0x100
    POOLING_MAX = 0x1FF
    LRN_ACROSS_CHANNELS = 0xAFF


class NormalizationFlags(IntFlag):
    """dnnl_normalization_flags_t"""

    NONE = 0
    USE_GLOBAL_STATS = 1
    USE_SCALE = 2
    USE_SHIFT = 4
    FUSE_NORM_RELU = 8


class Query(IntEnum):
    """dnnl_query_t"""

    IMPL_INFO_STR = 8
    SRC_MD = 129
    DIFF_SRC_MD = 130
    WEIGHTS_MD = 131
    DIFF_WEIGHTS_MD = 132
    DST_MD = 133
    DIFF_DST_MD = 134
    WORKSPACE_MD = 135
    SCRATCHPAD_MD = 136


class Arg(IntEnum):
    """The DNNL_ARG_* indices of a primitive's arguments."""

    SRC = 1
    DST = 17
    WEIGHTS = 33
    BIAS = 41
    MEAN = 49
    VARIANCE = 50
    SCALE = 51
    SHIFT = 52
    WORKSPACE = 64
    SCRATCHPAD = 80
    DIFF_SRC = 129
    DIFF_DST = 145
    DIFF_WEIGHTS = 161
    DIFF_BIAS = 169
    DIFF_SCALE = 255
    DIFF_SHIFT = 256


FORMAT_ANY = 1  # dnnl_format_tag_any: the primitive chooses the layout
ENGINE_CPU = 1  # dnnl_cpu
STREAM_IN_ORDER = 1  # dnnl_stream_in_order
SCRATCHPAD_USER = 1  # dnnl_scratchpad_mode_user

Dims = c_int64 * MAX_DIMENSIONS


class ExecArg(ctypes.Structure):
    """dnnl_exec_arg_t"""

    _fields_ = [("arg", c_int), ("memory", c_void_p)]


P = c_void_p  # a oneDNN object
NEW = POINTER(c_void_p)  # receives one
DIMS = POINTER(c_int64)
# Functions that return a status, with their argument types.
PROTOTYPES = {
    "dnnl_engine_create": (NEW, c_int, c_size_t),
    "dnnl_stream_create": (NEW, P, c_uint),
    "dnnl_stream_wait": (P,),
    "dnnl_memory_desc_create_with_strides": (NEW, c_int, DIMS, c_int, DIMS),
    "dnnl_memory_desc_create_with_tag": (NEW, c_int, DIMS, c_int, c_int),
    "dnnl_memory_desc_clone": (NEW, P),
    "dnnl_memory_desc_destroy": (P,),
    "dnnl_memory_create": (NEW, P, P, P),
    "dnnl_memory_set_data_handle": (P, P),
    "dnnl_memory_destroy": (P,),
    "dnnl_primitive_attr_create": (NEW,),
    "dnnl_primitive_attr_set_scratchpad_mode": (P, c_int),
    "dnnl_primitive_attr_set_post_ops": (P, P),
    "dnnl_primitive_attr_destroy": (P,),
    "dnnl_post_ops_create": (NEW,),
    "dnnl_post_ops_append_eltwise": (P, c_int, c_float, c_float),
    "dnnl_post_ops_append_sum": (P, c_float, c_int, c_int),
    "dnnl_post_ops_destroy": (P,),
    "dnnl_primitive_desc_query": (P, c_int, c_int, P),
    "dnnl_primitive_desc_next_impl": (P,),
    "dnnl_primitive_desc_destroy": (P,),
    "dnnl_primitive_create": (NEW, P),
    "dnnl_primitive_execute": (P, P, c_int, POINTER(ExecArg)),
    "dnnl_primitive_destroy": (P,),
    "dnnl_reorder_primitive_desc_create": (NEW, P, P, P, P, P),
    "dnnl_matmul_primitive_desc_create": (NEW, P, P, P, P, P, P),
    "dnnl_convolution_forward_primitive_desc_create": (NEW, P, c_int, c_int, *[P] * 4, *[DIMS] * 4, P),
    "dnnl_convolution_backward_data_primitive_desc_create": (NEW, P, c_int, *[P] * 3, *[DIMS] * 4, P, P),
    "dnnl_convolution_backward_weights_primitive_desc_create": (NEW, P, c_int, *[P] * 4, *[DIMS] * 4, P, P),
    "dnnl_eltwise_forward_primitive_desc_create": (NEW, P, c_int, c_int, P, P, c_float, c_float, P),
    "dnnl_eltwise_backward_primitive_desc_create": (NEW, P, c_int, *[P] * 3, c_float, c_float, P, P),
    "dnnl_pooling_forward_primitive_desc_create": (NEW, P, c_int, c_int, P, P, *[DIMS] * 5, P),
    "dnnl_pooling_backward_primitive_desc_create": (NEW, P, c_int, P, P, *[DIMS] * 5, P, P),
    "dnnl_lrn_forward_primitive_desc_create": (NEW, P, c_int, c_int, P, P, c_int64, c_float, c_float, c_float, P),
    "dnnl_lrn_backward_primitive_desc_create": (NEW, P, c_int, *[P] * 3, c_int64, c_float, c_float, c_float, P, P),
    "dnnl_batch_normalization_forward_primitive_desc_create": (NEW, P, c_int, P, P, c_float, c_uint, P),
    "dnnl_batch_normalization_backward_primitive_desc_create": (NEW, P, c_int, *[P] * 3, c_float, c_uint, P, P),
}


class Library:
    """The loaded library with one engine and one stream: on a CPU both are stateless and shared by all threads.

    Each function is an attribute named as in dnnl.h without `dnnl_`: `library.memory_destroy(pointer)`. A function
    that returns a status raises OneDNNError for any status but success.
    """

    if TYPE_CHECKING:  # the functions of PROTOTYPES

        def __getattr__(self, name: str) -> Callable[..., None]: ...

    def __init__(self, path: Path):
        try:
            self.dll = ctypes.CDLL(str(path))
        except OSError as error:
            raise Unavailable(f"oneDNN cannot be loaded from {path}: {error}") from error
        self.version = self._read_version(path)
        for name, arguments in PROTOTYPES.items():
            function = getattr(self.dll, name)
            function.argtypes, function.restype = arguments, c_int
            setattr(self, name.removeprefix("dnnl_"), self._checked(name, function))
        self.execute = self.dll.dnnl_primitive_execute  # unchecked: the caller looks at the status
        self.memory_desc_get_size = self._plain("dnnl_memory_desc_get_size", c_size_t, c_void_p)
        self.memory_desc_equal = self._plain("dnnl_memory_desc_equal", c_int, c_void_p, c_void_p)
        self.primitive_desc_query_md = self._plain("dnnl_primitive_desc_query_md", c_void_p, c_void_p, c_int, c_int)
        self.engine, self.stream = c_void_p(), c_void_p()
        self.engine_create(byref(self.engine), ENGINE_CPU, 0)
        self.stream_create(byref(self.stream), self.engine, STREAM_IN_ORDER)

    def _read_version(self, path: Path) -> str:
        major, minor, patch = self._plain("dnnl_version", POINTER(c_int))()[:3]  # dnnl_version_t begins with them
        if major != MAJOR_VERSION or minor < OLDEST_MINOR:
            raise Unavailable(
                f"{path} is oneDNN {major}.{minor}; the engine needs {MAJOR_VERSION}.{OLDEST_MINOR} "
                f"or newer, below {MAJOR_VERSION + 1}.0"
            )
        return f"{major}.{minor}.{patch}"

    def _plain(self, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
        function: Any = getattr(self.dll, name)
        function.restype, function.argtypes = result, arguments
        return function

    @staticmethod
    def _checked(name: str, function: Callable[..., int]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            if status := function(*arguments):
                raise OneDNNError(f"{name}: status {status}")

        return call

    @property
    def instruction_set(self) -> str:
        """The instruction set that oneDNN uses: the CPU's, or a smaller one set by ONEDNN_MAX_CPU_ISA."""
        isa = self._plain("dnnl_get_effective_cpu_isa", c_int)()
        name = self._plain("dnnl_cpu_isa2str", c_char_p, c_int)(isa)
        return name.decode().removeprefix("cpu_isa_") if name else hex(isa)

    @property
    def has_bfloat16(self) -> bool:
        """Whether the instruction set multiplies bfloat16 numbers (AVX512-BF16 or AMX)."""
        return any(part in self.instruction_set for part in ("bf16", "fp16", "amx", "avx10"))


@functools.cache
def library() -> Library:
    """oneDNN, loaded once. Raises Unavailable if the library is missing or its version is unsuitable."""
    path = library_path()
    if not path.is_file():
        raise Unavailable(f"this PaddlePaddle contains no oneDNN: {path} does not exist")
    return Library(path)


def library_path() -> Path:
    """libdnnl.so.3 of the installed wheel; PADDLECNN_ONEDNN_LIBRARY names another one."""
    if path := os.environ.get("PADDLECNN_ONEDNN_LIBRARY"):
        return Path(path)
    import paddle

    return Path(paddle.__file__).parent / "libs" / f"libdnnl.so.{MAJOR_VERSION}"
