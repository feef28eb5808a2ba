"""The time of a training step of the engine: milliseconds by oneDNN primitive, and the share of the machine's peak.

The share of peak is 6 times the multiply-adds per second of convolutions and linear layers (forward, and two products
of the same size backward, two operations each), divided by the speed of a large matrix product in the same precision
and process.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from paddlecnn import onednn
from paddlecnn.benchmarks.speed import Machine, describe_machine, run_worker
from paddlecnn.benchmarks.workloads import TRAINING, Workload
from paddlecnn.models.summary import summarize
from paddlecnn.onednn.bindings import OneDNNError, library
from paddlecnn.text_tables import text_table

STEPS, WARM_UP = 10, 3
LINES = 14  # of a table; the rest is summed


@dataclass(frozen=True)
class Profile:
    """Milliseconds of a step in each primitive, the largest first."""

    workload: str
    precision: str
    step_ms: float
    share_of_peak: float
    primitives: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        return {"what": "primitives", **asdict(self)}

    def __str__(self) -> str:
        outside = self.step_ms - sum(self.primitives.values())
        named = list(self.primitives.items())
        parts = [*named[:LINES], ("other primitives", sum(ms for _, ms in named[LINES:])), ("outside oneDNN", outside)]
        head = f"{self.workload}, {self.precision}: {self.share_of_peak:.0%} of peak"
        rows = [[head, "ms", "share"], *([name, f"{ms:.2f}", f"{ms / self.step_ms:.1%}"] for name, ms in parts)]
        return "\n" + text_table([*rows, ["step", f"{self.step_ms:.2f}", "100.0%"]])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=TRAINING, metavar="NAME", help="workloads to profile")


def measure(args: argparse.Namespace) -> Iterator[Machine | Profile]:
    """The machine, then a profile for each workload and precision."""
    yield Machine(describe_machine())
    for workload in args.only or TRAINING:
        for precision in filter(onednn.available, ("float32", "bfloat16")):
            found = run_worker(f"onednn_{precision}", "primitives", workload, 0, None)
            yield Profile(workload, precision, **found)


def profile(network: Any, step: Callable[[], object], workload: Workload, peak: float | None) -> dict[str, Any]:
    """The worker's side. step: a training step of the accelerated network; peak: GFLOP/s of a matrix product."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for _ in range(WARM_UP):
        step()
    for layer in network.sublayers(include_self=True):
        for plan in layer.executor.pool.plans.values() if hasattr(layer, "executor") else ():
            for program in (plan.forward, plan.backward):
                program.run = partial(timed_run, program, seconds)
    begin = time.perf_counter()
    for _ in range(STEPS):
        step()
    passed = (time.perf_counter() - begin) / STEPS
    with onednn.run_by_paddle(network):
        layers = summarize(network, workload.size).layers
    multiply_adds = sum(layer.multiply_adds for layer in layers if layer.kind in ("Conv", "Linear"))
    largest_first = sorted(seconds.items(), key=lambda item: -item[1])
    return {
        "step_ms": round(1e3 * passed, 3),
        "share_of_peak": round(6e-9 * workload.batch * multiply_adds / passed / peak, 4) if peak else 0.0,
        "primitives": {label: round(1e3 * total / STEPS, 3) for label, total in largest_first},
    }


def timed_run(program: Any, seconds: defaultdict[str, float]) -> None:
    """Like Program.run, but adds the time of each primitive under its label."""
    for (primitive, count, arguments), label in zip(program.steps, program.labels, strict=True):
        begin = time.perf_counter()
        if status := library().execute(primitive, library().stream, count, arguments):
            raise OneDNNError(f"{label}: status {status}")
        seconds[label] += time.perf_counter() - begin
