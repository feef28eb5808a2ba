"""Training speed of the engine and of PyTorch by batch, image size, depth and number of processes.

    batch       the small AlexNet, 8 to 512 images of 32x32
    image side  VGG11 with batch normalisation, 16 images of 32 to 128 pixels; megapixels/s
    depth       VGG11 to VGG19 with batch normalisation, 64 images of 32x32
    processes   the small AlexNet, 128 images for each process; the cores are divided among independent processes

A round measures every contender at every value once. --figure draws the medians.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paddlecnn.arguments import positive
from paddlecnn.benchmarks.speed import Machine, describe_machine, find_contenders, run_worker
from paddlecnn.benchmarks.workloads import GROWTH
from paddlecnn.files import require_writable, save_png
from paddlecnn.runtime import usable_cores
from paddlecnn.text_tables import text_table

CONTENDERS = ("onednn_float32", "onednn_bfloat16", "torch eager", "torch bfloat16")
UNITS = {"image side": "megapixels/s"}


@dataclass(frozen=True)
class Growth:
    """The median speed of each contender at each value of the growing quantity; None if it could not be measured."""

    grows: str
    unit: str
    values: list[int]
    speeds: dict[str, list[float | None]]

    def as_dict(self) -> dict[str, Any]:
        return {"what": "growth", **asdict(self)}

    def __str__(self) -> str:
        rows = [[f"{self.unit} by {self.grows}", *map(str, self.values)]]
        rows += [
            [name, *("-" if speed is None else f"{speed:,.1f}" for speed in speeds)]
            for name, speeds in self.speeds.items()
        ]
        return "\n" + text_table(rows)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=positive, default=3, help="measurements of each contender")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one measurement")
    parser.add_argument("--only", nargs="+", choices=GROWTH, metavar="NAME", help="the quantities that grow")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=CONTENDERS, metavar="NAME")
    parser.add_argument("--peers-python", metavar="PATH", help="an interpreter that has PyTorch")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the speeds as PNG")


def measure(args: argparse.Namespace) -> Iterator[Machine | Growth]:
    """The machine, then one table for each growing quantity."""
    if args.figure:
        require_writable(args.figure, "--figure")
    contenders = [name for name in find_contenders("train", args.peers_python) if name in args.contenders]
    yield Machine(describe_machine() | {"rounds": args.rounds, "seconds": args.seconds})
    found = []
    for grows in args.only or GROWTH:
        speeds: dict[tuple[str, int], list[float]] = {(name, n): [] for name in contenders for n in GROWTH[grows]}
        for _ in range(args.rounds):
            for (name, value), measured in speeds.items():
                measured += speed(name, grows, value, args)
        medians = {
            name: [statistics.median(speeds[name, n]) if speeds[name, n] else None for n in GROWTH[grows]]
            for name in contenders
        }
        found.append(Growth(grows, UNITS.get(grows, "images/s"), list(GROWTH[grows]), medians))
        yield found[-1]
    if args.figure:
        draw(found, args.figure)


def speed(contender: str, grows: str, value: int, args: argparse.Namespace) -> list[float]:
    """One measurement, over all processes together; empty if it failed."""
    processes = value if grows == "processes" else 1
    threads = max(usable_cores() // processes, 1)

    def one(_: int) -> dict[str, Any]:
        return run_worker(contender, "train", f"{grows} {value}", args.seconds, args.peers_python, threads)

    with ThreadPoolExecutor(processes) as pool:
        found = list(pool.map(one, range(processes)))
    if any("error" in result for result in found):
        return []
    factor = value**2 / 1e6 if grows == "image side" else 1
    return [sum(result["images_per_second"] for result in found) * factor]


def draw(growths: list[Growth], path: Path) -> None:
    from paddlecnn.reporting.speed_tables import NAMES
    from paddlecnn.reporting.theme import drawing

    with drawing(2.8, width=2.6 * len(growths), ncols=len(growths), squeeze=False) as (figure, panels):
        for axes, growth in zip(panels[0], growths, strict=True):
            places = range(len(growth.values))
            for (name, speeds), marker in zip(growth.speeds.items(), "osD^", strict=False):
                known = [place for place in places if speeds[place] is not None]
                axes.plot(known, [speeds[place] for place in known], marker=marker, markersize=4, label=NAMES[name])
            axes.set(xticks=list(places), xticklabels=growth.values, xlabel=growth.grows, title=growth.unit)
            axes.set_ylim(bottom=0)
        figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=len(CONTENDERS))
        save_png(figure, path, dpi=150)
