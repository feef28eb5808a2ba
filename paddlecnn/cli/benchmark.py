"""Measure parts of paddlecnn and plain alternatives, in turn within one run.

    paddlecnn benchmark lrn         local response normalisation against paddle.nn's
    paddlecnn benchmark data        input pipelines against paddle.vision.transforms and Pillow
    paddlecnn benchmark train       training steps by engine and framework; infer, start and loop likewise
    paddlecnn benchmark transfer    new layers on frozen ones, with and without cached features
    paddlecnn benchmark primitives  where the time of a training step of the oneDNN engine goes
    paddlecnn benchmark growth      speed of training by batch, image size, depth and processes; --figure draws it

Each has its own options: paddlecnn benchmark lrn --help
"""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

from paddlecnn.cli.common import CommandParser, show
from paddlecnn.cli.targets import check_target
from paddlecnn.files import write_json
from paddlecnn.runtime import load_paddle

SPEED = "paddlecnn.benchmarks.speed"
BENCHMARKS = {
    "lrn": "paddlecnn.benchmarks.lrn",
    "data": "paddlecnn.benchmarks.data",
    "transfer": "paddlecnn.benchmarks.transfer",
    "train": SPEED,
    "infer": SPEED,
    "start": SPEED,
    "loop": SPEED,
    "growth": "paddlecnn.benchmarks.growth",
    "primitives": "paddlecnn.benchmarks.primitives",
}


def main(argv: list[str] | None = None) -> int:
    parser = CommandParser("benchmark", __doc__)
    parser.add_argument("what", choices=BENCHMARKS, metavar=f"{{{','.join(BENCHMARKS)}}}", help="see above")
    rest = parser.add_argument("options", nargs=argparse.REMAINDER, help="options of the benchmark")
    rest.required = False  # otherwise the message about a missing name asks for them, too
    args = parser.parse_args(argv)
    load_paddle()
    benchmark = importlib.import_module(BENCHMARKS[args.what])
    own = CommandParser(f"benchmark {args.what}", benchmark.__doc__)
    own.set_defaults(what=args.what)
    benchmark.add_arguments(own)
    own.add_argument("--json", nargs="?", const="-", metavar="FILE", help="print JSON, or write it to a file")
    options = own.parse_args(args.options)
    file = Path(options.json) if options.json not in (None, "-") else None
    if file:
        check_target(file, "--json", ".json")
    results = []
    for result in benchmark.measure(options):
        results.append(result.as_dict())
        if file:
            write_json(file, results)  # after each, so that a later failure loses none
        if options.json != "-":
            show(result)
    if options.json == "-":
        print(json.dumps(results))
    return 0
