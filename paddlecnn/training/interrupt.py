"""Ctrl-C and SIGTERM end training after the step in hand, with a checkpoint."""
from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


class StopRequest:
    """Which signal asked to stop; 0 while none has."""

    signal_number = 0


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Within this context the first SIGINT or SIGTERM is noted; the second does what it always did."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: object) -> None:
        request.signal_number = number
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
