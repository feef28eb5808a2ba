"""A stack of its own for signal handlers, while oneDNN runs.

oneDNN's kernel for matrix products, `gemm:jit`, points the stack pointer into a buffer on the heap. The frame of a
signal that arrives meanwhile (Ctrl-C, SIGTERM, a profiler's timer) overwrites what lies below the buffer: the heap is
corrupted, and the process hangs or dies a few steps later (https://github.com/uxlfoundation/oneDNN/issues/4845; fixed
after the oneDNN 3.6 of PaddlePaddle 3.3). Python installs its handlers with SA_ONSTACK, so the kernel writes the frame
to the alternate stack of the thread if there is one (sigaltstack(2)).
"""

from __future__ import annotations

import ctypes
import threading
from functools import cache
from typing import Any

BYTES = 1 << 16  # a frame holds all registers: with AMX about 11 KiB
SS_DISABLE = 2  # sigaltstack(2); the value of Linux, on which alone the engine runs


class Stack(ctypes.Structure):
    """stack_t"""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


memory = ctypes.create_string_buffer(BYTES)  # never freed: handlers may run as long as the process does


def use_signal_stack() -> None:
    """Give the main thread an alternate stack, unless it has one (faulthandler sets one).

    Signals are sent to the process, and the system hands them to the main thread: no other thread needs one.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    present = Stack()
    if sigaltstack()(None, ctypes.byref(present)) == 0 and present.flags & SS_DISABLE:
        sigaltstack()(ctypes.byref(Stack(ctypes.addressof(memory), 0, BYTES)), None)


@cache
def sigaltstack() -> Any:
    return ctypes.CDLL(None).sigaltstack
