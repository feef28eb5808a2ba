"""The CPU engine: chains of Paddle's layers run by the oneDNN library in Paddle's own wheel.

    network = paddlecnn.onednn.accelerate(network)                        # or precision="bfloat16"

docs/performance.md explains how it works. The order of the modules: bindings (C API), handles (objects), memory and
builder (programs), operations (what Paddle's layers ask for), primitives/ (one oneDNN primitive each),
plan, leases, call (autograd), selfcheck, executor, engine (train.engine).
"""

from paddlecnn.onednn.bindings import Unavailable
from paddlecnn.onednn.call import GradientError
from paddlecnn.onednn.engine import (
    Engine,
    accelerate,
    available,
    choose_engine,
    describe_engine,
    engine_for_run,
    failed_checks,
    require,
    restore_failed_checks,
    run_by_paddle,
)
from paddlecnn.onednn.operations import loses_gradient

__all__ = [
    "Engine",
    "GradientError",
    "Unavailable",
    "accelerate",
    "available",
    "choose_engine",
    "describe_engine",
    "engine_for_run",
    "failed_checks",
    "loses_gradient",
    "require",
    "restore_failed_checks",
    "run_by_paddle",
]
