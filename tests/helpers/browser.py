"""Waiting for a page in a real browser."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], bool]) -> None:
    """Wait: a page fetches its content after it has loaded."""
    for _ in range(300):
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError("the page does not show it")
