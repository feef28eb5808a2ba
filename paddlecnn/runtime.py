"""The environment that Paddle needs at its import, and the choice of the device.

Paddle sets OMP_NUM_THREADS=1 when the variable is absent, and its math library takes a slow path on
AMD processors unless MKL_DEBUG_CPU_TYPE=5 is set. Both are read once, at import. Setting both makes
training 3 to 5 times faster on an AMD CPU. A value the user has set is never changed.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import platform
import re
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

from paddlecnn.errors import DeviceError

if TYPE_CHECKING:
    from paddlecnn.gpu import GpuFacts

logger = logging.getLogger(__name__)
MXCSR, FLUSH_TO_ZERO, DENORMALS_ARE_ZERO = 7, 0x8000, 0x40


def prepare_environment() -> None:
    """Set threads and math library for Paddle, unless the user has. Idempotent."""
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")


def compute_threads() -> int:
    """The threads of Paddle's kernels, OMP_NUM_THREADS: another number changes result bits, in the whole process."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdigit() and int(value) else usable_cores()


def usable_cores() -> int:
    """Cores this process may run on: a container or `taskset` may allow fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_paddle() -> ModuleType:
    """Import Paddle without its start-up notices and without its handler of the root logger.

    They warn about OMP_NUM_THREADS above 1, which is set here on purpose, and about ccache, which only
    matters to those who compile operators. Errors still come through.
    """
    with warnings.catch_warnings(), root_logger_unchanged(), contextlib.redirect_stderr(io.StringIO()):
        warnings.filterwarnings("ignore", message="No ccache found")
        import numpy.random  # noqa: F401 (first: after PaddlePaddle 2.6.2, numpy 2.4's own import crashes)
        import paddle
    # Repeated at each training step with batch normalisation, about its usual behaviour.
    warnings.filterwarnings("ignore", message="When training, we now always track global mean and variance")
    return paddle


@contextlib.contextmanager
def root_logger_unchanged() -> Iterator[None]:
    """A context that leaves the root logger as it was: Paddle's import sets its level and adds a handler.

    That handler writes to the stderr of the import, here a buffer, and makes a later logging.basicConfig do nothing.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def choose_device(wanted: str) -> str:
    """The device to compute on, made Paddle's current one after a small computation on it gave the right result.

    `wanted` is auto, cpu, gpu or gpu:N. auto uses the first GPU; without any card it uses the CPU, with a warning if
    this Paddle is a GPU build. Returns cpu or gpu:N. Raises DeviceError, with the reason and the build to install,
    if the device cannot be used.
    """
    from paddlecnn import gpu

    if not re.fullmatch(r"auto|cpu|gpu(:\d+)?", wanted):
        raise DeviceError(f"--device {wanted}: not a device; use auto, cpu, gpu or gpu:N")
    if problem := gpu.two_builds(gpu.installed_builds()):
        raise DeviceError(problem)
    paddle = load_paddle()
    if wanted == "cpu":
        return use_device(paddle, "cpu", None)
    facts = gpu.gather(paddle)
    # Under paddle.distributed.launch each rank sees its own card, named by this variable.
    selected = os.environ.get("FLAGS_selected_gpus", "0")  # noqa: SIM112 (Paddle spells it so)
    number = int(wanted.partition(":")[2] or selected.split(",")[0])
    problem = gpu.gpu_problem(facts, number)
    if problem is None:
        return use_device(paddle, f"gpu:{number}", facts)
    if wanted != "auto" or (facts.cuda and facts.cards):
        raise DeviceError(f"--device {wanted}: {problem}")
    if facts.cuda or facts.cards:
        logger.warning("%s", problem)
    return use_device(paddle, "cpu", None)


def use_device(paddle: ModuleType, device: str, facts: GpuFacts | None) -> str:
    """Make `device` Paddle's current one and check its arithmetic. `facts` are given for a GPU."""
    from paddlecnn import gpu

    if facts and "FLAGS_cudnn_deterministic" not in os.environ:
        # A resumed run reaches the same weights only if the backward convolutions are deterministic.
        paddle.set_flags({"FLAGS_cudnn_deterministic": True})
    paddle.set_device(device)
    if reason := faulty_arithmetic(paddle):
        if facts:
            raise DeviceError(gpu.wrong_result(facts, int(device.partition(":")[2]), reason))
        with_paddle = f"with PaddlePaddle {paddle.__version__}"
        raise DeviceError(f"a small computation on the CPU {with_paddle} {reason}; install PaddlePaddle again")
    return device


def faulty_arithmetic(paddle: ModuleType) -> str | None:
    """The fault in a matrix product or a convolution on the current device; None if both are right.

    The inputs are small integers, so that the results are exact in float32 and also in TF32.
    """
    import numpy as np

    matrix = (np.arange(64, dtype="float32") % 7).reshape(8, 8)
    image = (np.arange(192, dtype="float32") % 5).reshape(1, 3, 8, 8)
    kernels = (np.arange(108, dtype="float32") % 3 - 1).reshape(4, 3, 3, 3)
    windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3), axis=(2, 3))
    expected = matrix @ matrix, np.einsum("nchwij,ocij->nohw", windows, kernels)
    try:
        found = (
            paddle.matmul(paddle.to_tensor(matrix), paddle.to_tensor(matrix)).numpy(),
            paddle.nn.functional.conv2d(paddle.to_tensor(image), paddle.to_tensor(kernels)).numpy(),
        )
    except Exception as error:  # Paddle's own classes, OSError for a missing kernel among them
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return f"fails ({lines[-1].strip()[:200]})"
    if all(np.array_equal(*pair) for pair in zip(expected, found, strict=True)):
        return None
    return "gives a wrong result"


def check_precision(precision: str, device: str) -> None:
    """Raise DeviceError if the GPU `device` (gpu:N) cannot compute in float16 or bfloat16."""
    from paddlecnn import gpu

    card = gpu.gather(load_paddle()).cards[int(device.partition(":")[2] or 0)]
    if problem := gpu.precision_problem(precision, card):
        raise DeviceError(problem)


@contextlib.contextmanager
def denormals_flushed() -> Iterator[None]:
    """A context in which this thread, and each that it starts, treats denormal numbers as zero.

    Numbers below 1e-38, which weights and velocities reach in long runs, make a CPU's arithmetic many times slower
    (issue 65850 of Paddle). Sets FTZ and DAZ in the register MXCSR, part of the floating-point environment of the GNU C
    library on x86-64; elsewhere nothing is changed.
    """
    import ctypes

    import numpy as np

    for name in ("float32", "float64"):
        np.finfo(name)  # NumPy caches these limits; computed below, they would cause a warning
    library = None
    before, flushing = (ctypes.c_uint32 * 8)(), (ctypes.c_uint32 * 8)()  # fenv_t; its last word is MXCSR
    if sys.platform == "linux" and platform.machine() == "x86_64":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            library = ctypes.CDLL("libm.so.6")
            library.fegetenv(before)
            library.fegetenv(flushing)
            flushing[MXCSR] |= FLUSH_TO_ZERO | DENORMALS_ARE_ZERO
            library.fesetenv(flushing)
    try:
        yield
    finally:
        if library is not None:
            library.fesetenv(before)


def denormals_are_zero() -> bool:
    """Whether this thread's arithmetic treats denormal numbers as zero."""
    import numpy as np

    return bool(np.array([1e-40], np.float32) * np.float32(1) == 0)


def numeric_modes(device: str) -> dict[str, bool]:
    """The modes that change results: denormals on a CPU; on a GPU determinism of cuDNN, TF32 in cuDNN and cuBLAS."""
    if not device.startswith("gpu"):
        return {"denormals_are_zero": denormals_are_zero()}
    paddle = load_paddle()
    flag = "FLAGS_cudnn_deterministic"
    return {
        "cudnn_deterministic": paddle.get_flags([flag])[flag],
        "cudnn_tf32": paddle.base.core.get_cudnn_switch(),
        "cublas_tf32": paddle.base.core.get_cublas_switch(),
    }
