"""The progress of long work: a bar on a terminal; elsewhere (a log file, a notebook) a line every 30 seconds."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

log = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 30.0


class ProgressBar(tqdm):  # type: ignore[type-arg]  # not generic at run time
    """tqdm that also reports outside a terminal, where tqdm itself either floods a file or prints nothing."""

    monitor_interval = 0  # no thread that redraws: each update checks the clock

    def __init__(self, iterable: Iterable[Any] | None = None, *, hidden: bool = False, **options: Any) -> None:
        """hidden: report nothing, e.g. in a process that is not the first; options: those of tqdm."""
        self.on_terminal = sys.stderr.isatty()
        self.line_at = time.perf_counter()
        # With gui=True tqdm counts and calls `display`, but writes nothing itself.
        super().__init__(iterable, disable=hidden, gui=not self.on_terminal, dynamic_ncols=True, miniters=1, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """Draw the bar, or log a line if the last one is old enough."""
        if self.on_terminal:
            return super().display(msg, pos)
        if time.perf_counter() - self.line_at >= SECONDS_BETWEEN_LINES:
            self.line_at = time.perf_counter()
            log.info("%s", self.line())

    def clear(self, nolock: bool = False) -> None:
        """Make room for a message; outside a terminal, nothing is in its way."""
        if self.on_terminal:
            super().clear(nolock=nolock)

    def line(self) -> str:
        """`features of vgg16-pool5: 320/4,004 views, 4.2 views/s, 14 min 37 s left`; a postfix replaces the rate."""
        state = self.format_dict
        rate = (self.n - self.initial) / max(state["elapsed"], 1e-9)
        if state["unit_scale"]:  # bytes, whose total a server may not report
            done, speed = tqdm.format_sizeof(self.n, self.unit), tqdm.format_sizeof(rate, self.unit)
            amount = f"{done} of {tqdm.format_sizeof(self.total, self.unit)}" if self.total else done
        else:
            units = f"{self.unit}{'es' if self.unit.endswith('ch') else 's'}"
            amount, speed = f"{self.n:,}/{self.total:,} {units}", f"{rate:{',.0f' if rate >= 100 else '.3g'}} {units}"
        left = f", {duration((self.total - self.n) / rate)} left" if self.total and rate else ""
        return f"{self.desc.rstrip(': ')}: {amount}, {self.postfix or f'{speed}/s'}{left}"


def duration(seconds: float) -> str:
    """`8.3 s`, `12 min 05 s` or `3 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
