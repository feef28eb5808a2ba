"""What must hold before `import paddle`, and the choice of the device.

Paddle sets OMP_NUM_THREADS=1 when the variable is absent, and its math library takes a slow path on
AMD processors unless MKL_DEBUG_CPU_TYPE=5 is set. Both are read once, at import. Together they make
training 3 to 5 times faster on an AMD CPU. A value the user has set is never touched.
"""
from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
from types import ModuleType

from paddlecnn.errors import DeviceError


def prepare_environment() -> None:
    """Set threads and math library for Paddle, only where the user has not. Idempotent."""
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")


def usable_cores() -> int:
    """Cores this process may run on: a container or `taskset` may allow fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_paddle() -> ModuleType:
    """Import Paddle without its start-up notices.

    They warn about OMP_NUM_THREADS above 1, which is set here on purpose, and about ccache, which only
    matters to those who compile operators. Errors still come through.
    """
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.filterwarnings("ignore", message="No ccache found")
        import paddle
    # Said at each training step with batch normalisation, about what everybody expects it to do.
    warnings.filterwarnings("ignore", message="When training, we now always track global mean and variance")
    return paddle


def choose_device(wanted: str) -> str:
    """The device to compute on, made Paddle's current one.

    `wanted` is auto, cpu, gpu or gpu:N; auto takes the first GPU where Paddle can use one. Returns cpu or
    gpu:N. Raises DeviceError where a GPU is asked for and this machine or this build of Paddle has none.
    """
    if not re.fullmatch(r"auto|cpu|gpu(:\d+)?", wanted):
        raise DeviceError(f"--device {wanted}: not a device; take auto, cpu, gpu or gpu:N")
    paddle = load_paddle()
    count = paddle.device.cuda.device_count() if paddle.device.is_compiled_with_cuda() else 0
    if wanted == "auto":
        wanted = "gpu" if count else "cpu"
    if wanted == "cpu":
        paddle.set_device("cpu")
        return "cpu"
    if not paddle.device.is_compiled_with_cuda():
        raise DeviceError(f"--device {wanted}: this PaddlePaddle is a CPU build; "
                          "install the GPU build (GPU=1 make install) or take --device cpu")
    # Under paddle.distributed.launch each rank sees its own card, named by this variable.
    selected = os.environ.get("FLAGS_selected_gpus", "0")  # noqa: SIM112 (Paddle spells it so)
    number = int(wanted.partition(":")[2] or selected.split(",")[0])
    if number >= count:
        raise DeviceError(f"--device {wanted}: this machine has {count} usable GPU(s), numbered from 0; "
                          "take one of those or --device cpu")
    paddle.set_device(f"gpu:{number}")
    return f"gpu:{number}"
