"""The time of a training step, phase by phase."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import paddle

from paddlecnn.files import write_json
from paddlecnn.text_tables import text_table

logger = logging.getLogger(__name__)
PHASES = ("data", "forward", "backward", "optimizer", "logging")
PHASES_FILE = "phases.json"


class StepProfiler:
    """`with profiler("forward"):` around each part of a step. Costs nothing unless steps are measured."""

    def __init__(self, steps: int = 0, trace: Path | None = None) -> None:
        """Measure the first `steps` steps; a Chrome trace of them and phases.json are written to the folder `trace`."""
        self.left, self.done, self.folder = steps, 0, trace
        self.seconds: dict[str, float] = defaultdict(float)
        self.profiler = None
        if steps and trace:
            kinds = [paddle.profiler.ProfilerTarget.CPU]
            if paddle.get_device().startswith("gpu"):
                kinds.append(paddle.profiler.ProfilerTarget.GPU)
            export = paddle.profiler.export_chrome_tracing(str(trace), "trace")
            self.profiler = paddle.profiler.Profiler(targets=kinds, on_trace_ready=export)
            self.profiler.start()

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if not self.left:
            yield
            return
        start = time.perf_counter()
        with paddle.profiler.RecordEvent(name):
            yield
            if paddle.get_device().startswith("gpu"):
                paddle.device.synchronize()  # otherwise the time would be counted where the host waits next
        self.seconds[name] += time.perf_counter() - start

    def end_step(self) -> None:
        """Count a step; after the last one to be measured, report."""
        if not self.left:
            return
        self.left -= 1
        self.done += 1
        if self.profiler:
            self.profiler.step()
        if not self.left:
            self.report()

    def finish(self) -> None:
        """Report if the run had fewer steps than were to be measured."""
        if self.left and self.done:
            self.left = 0
            self.report()

    def report(self) -> None:
        """Write the trace and the mean time of each phase, and log a table."""
        if self.profiler:
            self.profiler.stop()
        if self.folder:
            self.folder.mkdir(exist_ok=True)
            write_json(self.folder / PHASES_FILE, {name: self.seconds[name] / self.done for name in PHASES})
        logger.info("%s", self.table())

    def table(self) -> str:
        """Milliseconds per step and share of the time, phase by phase."""
        total = sum(self.seconds.values())
        rows = [["phase", "ms per step", "share"]]
        rows += [
            [name, f"{self.seconds[name] / self.done * 1e3:.2f}", f"{self.seconds[name] / total:.1%}"]
            for name in PHASES
        ]
        return text_table([*rows, ["whole step", f"{total / self.done * 1e3:.2f}", f"{1:.1%}"]])


def read_phases(folder: Path) -> dict[str, float]:
    """Seconds per step of each phase, as a StepProfiler wrote them; empty if no step was measured."""
    try:
        content = json.loads((folder / PHASES_FILE).read_text(encoding="utf-8"))
        return {name: float(content[name]) for name in PHASES}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
