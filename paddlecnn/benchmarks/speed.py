"""Training, inference or process start by each engine and framework in turn, each in its own process.

    train   a training step with momentum, four networks
    infer   the features of VGG16 at 224 pixels
    start   from the start of a process to the end of the first training step
    loop    the whole training loop against its bare step

A round measures every contender once (A B A B ...), so that a slow minute of the machine affects all. Contenders
that are not installed are named. --peers-python names the interpreter of an environment with PyTorch.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paddlecnn import onednn
from paddlecnn.arguments import positive
from paddlecnn.benchmarks.workloads import INFERENCE, TRAINING, Workload
from paddlecnn.runs.provenance import PACKAGES, cpu_name, git_state, installed
from paddlecnn.text_tables import text_table

logger = logging.getLogger(__name__)

OURS = ("onednn_float32", "onednn_bfloat16", "paddle")
PADDLES = {
    "train": ("installed", "model_fit", *OURS),
    "infer": (*OURS, "predictor_float32", "predictor_bfloat16", "onnxruntime"),
    "start": OURS,
    "loop": ("onednn_float32", "onednn_bfloat16"),
}
TORCHES = ("torch eager", "torch channels_last", "torch bfloat16")
REFERENCE = "torch eager"  # ratios are to this contender, or to "installed" without PyTorch
VARIABLES = ("OMP_NUM_THREADS", "MKL_DEBUG_CPU_TYPE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.get_default("what")
    parser.add_argument("--rounds", type=positive, default=5, help="measurements of each contender")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement")
    workloads, contenders = workloads_of(what), (*PADDLES[what], *torches_of(what))
    parser.add_argument("--only", nargs="+", choices=workloads, metavar="NAME", help="workloads to measure")
    text = "contenders to measure, e.g. onednn_float32"
    parser.add_argument("--contenders", nargs="+", choices=contenders, metavar="NAME", help=text)
    parser.add_argument("--peers-python", metavar="PATH", help="an interpreter that has PyTorch")


def workloads_of(what: str) -> dict[str, Workload]:
    """The workloads of a measurement, by name."""
    if what == "infer":
        return INFERENCE
    return {name: one for name, one in TRAINING.items() if what != "loop" or one.size == 32}


def torches_of(what: str) -> tuple[str, ...]:
    """The contenders that need PyTorch."""
    return TORCHES if what in ("train", "infer") else ()


@dataclass(frozen=True)
class Machine:
    """The machine and the versions of a measurement."""

    facts: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return self.facts

    def __str__(self) -> str:
        peak = ", ".join(f"{name} {value:,.0f}" for name, value in self.facts["matmul_gflops"].items() if value)
        return (
            f"{self.facts['cpu']}, {self.facts['cores']} cores, {self.facts['engine']}, "
            f"OMP_NUM_THREADS={self.facts['threads']}, load {self.facts['load']}\n"
            f"matrix multiplication, GFLOP/s: {peak}"
        )


@dataclass(frozen=True)
class Result:
    """The figures of one network, by contender."""

    what: str
    workload: str
    rows: dict[str, dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        return {"what": self.what, "workload": self.workload, "contenders": self.rows}

    def __str__(self) -> str:
        reference = next((row["ratio_to"] for row in self.rows.values() if "ratio_to" in row), "")
        unit = "s" if self.what == "start" else "images/s"
        table = [[self.workload, f"x {reference}", unit, "range", "MiB"]]
        for name, row in self.rows.items():
            if "error" in row:
                table.append([name, "", row["error"], "", ""])
                continue
            ratio, spread = f"{row['ratio']:.2f}" if "ratio" in row else "", "{:,.1f} to {:,.1f}".format(*row["range"])
            table.append([name, ratio, f"{row['median']:,.2f}", spread, f"{row.get('peak_memory_mib', 0):,.0f}"])
        return "\n" + text_table(table)


def measure(args: argparse.Namespace) -> Iterator[Machine | Result]:
    """The machine, then each network as soon as it is measured."""
    found = find_contenders(args.what, args.peers_python)
    contenders = [one for one in found if not args.contenders or one in args.contenders]
    yield Machine(describe_machine() | {"rounds": args.rounds, "seconds": args.seconds})
    for workload in args.only or workloads_of(args.what):
        figures: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
        for _ in range(args.rounds):
            for name in contenders:
                figures[name].append(run_worker(name, args.what, workload, args.seconds, args.peers_python))
        yield Result(args.what, workload, summarize(figures, args.what))


def find_contenders(what: str, peers: str | None) -> Iterator[str]:
    """The contenders that can run here; the others are reported."""
    for name in PADDLES[what]:
        if name == "onnxruntime" and not (installed("onnxruntime") and installed("paddle2onnx")):
            logger.warning("onnxruntime: not measured, onnxruntime and paddle2onnx are not installed")
        elif name.endswith("_bfloat16") and not onednn.available("bfloat16"):
            logger.warning("%s: not measured, this CPU does not compute in bfloat16", name)
        elif name.startswith("onednn_") and not onednn.available(name.removeprefix("onednn_")):
            logger.warning("%s: not measured, impossible on this machine", name)
        else:
            yield name
    if peers is None:
        logger.warning("PyTorch: not measured; --peers-python names an interpreter that has it")
    else:
        yield from torches_of(what)


def run_worker(
    contender: str, what: str, workload: str, seconds: float, peers: str | None, threads: int | None = None
) -> dict[str, Any]:
    """One measurement in a new process. `installed` and `model_fit` run without the variables of runtime.py."""
    request = {"what": what, "workload": workload, "contender": contender.removeprefix("torch "), "seconds": seconds}
    removed = VARIABLES if contender in ("installed", "model_fit") else ()
    environment = {name: value for name, value in os.environ.items() if name not in removed}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, "-W", "ignore", "-m", "paddlecnn.benchmarks.paddle_worker", json.dumps(request)]
    if contender.startswith("torch ") and peers:
        command = [peers, str(Path(__file__).with_name("torch_worker.py")), json.dumps(request)]
    begin = time.time()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:200]}
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if "finished" in found:
        return {"seconds": round(found["finished"] - begin, 3)}
    return found


def summarize(figures: dict[str, list[dict[str, Any]]], what: str) -> dict[str, dict[str, Any]]:
    """Values, median and spread of each contender, and the ratio to the reference."""
    key = "seconds" if what == "start" else "images_per_second"
    rows: dict[str, dict[str, Any]] = {}
    for name, found in figures.items():
        values = [one[key] for one in found if key in one]
        if not values:
            rows[name] = {"error": found[0]["error"]}
            continue
        rows[name] = {
            key: values,
            "median": statistics.median(values),
            "range": [min(values), max(values)],
            **medians(found, "best", "images_per_cpu_second", "bare_step", "to_bare_step"),
            **{extra: found[0][extra] for extra in ("peak_memory_mib", "version") if extra in found[0]},
        }
    references = (REFERENCE, "installed", "paddle", "onnxruntime")
    reference = next((name for name in references if "median" in rows.get(name, {})), None)
    for row in rows.values():
        if "to_bare_step" in row:
            row["ratio"], row["ratio_to"] = row["to_bare_step"], "bare step"
        elif reference and "median" in row:
            row["ratio"], row["ratio_to"] = round(row["median"] / rows[reference]["median"], 3), reference
    return rows


def medians(found: list[dict[str, Any]], *names: str) -> dict[str, float]:
    return {
        name: statistics.median([one[name] for one in found if name in one])
        for name in names
        if any(name in one for one in found)
    }


def describe_machine() -> dict[str, Any]:
    """CPU, instruction set, versions, threads, load, commit, and the peak of a matrix product in both precisions."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "engine": onednn.describe_engine() if onednn.available() else None,
        "load": round(os.getloadavg()[0], 2),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "matmul_gflops": run_worker("paddle", "peak", "", 0, None),
        "python": platform.python_version(),
        "packages": {name: version for name in (*PACKAGES, "onnxruntime") if (version := installed(name))},
        "git": git_state(),
    }
