"""Where the time of a training step goes."""
from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import paddle

NAMES = ("data", "forward", "backward", "optimizer", "logging")


class StepProfiler:
    """`with phases("forward"):` around each part of a step. Costs nothing while not profiling."""

    def __init__(self, steps: int = 0, trace: Path | None = None) -> None:
        self.left = steps
        self.done = 0
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
                paddle.device.synchronize()  # or the time would fall to whoever waits next
        self.seconds[name] += time.perf_counter() - start

    def end_step(self) -> bool:
        """Count a step; True when the last one that was asked for has ended."""
        if not self.left:
            return False
        self.left -= 1
        self.done += 1
        if self.profiler:
            self.profiler.step()
        return self.left == 0 and self.stop()

    def stop(self) -> bool:
        """Measure no further step and write the trace. Returns whether any step was measured."""
        self.left = 0
        if self.profiler:
            self.profiler.stop()
            self.profiler = None
        return self.done > 0

    def table(self) -> str:
        """Milliseconds a step and share of the time, phase by phase."""
        total = sum(self.seconds.values())
        lines = [f"{'phase':<10} {'ms a step':>10} {'share':>7}"]
        lines += [f"{name:<10} {self.seconds[name] / self.done * 1e3:>10.2f} {self.seconds[name] / total:>7.1%}"
                  for name in NAMES]
        return "\n".join([*lines, f"{'whole step':<10} {total / self.done * 1e3:>10.2f} {1:>7.1%}"])
