"""Measure parts of paddlecnn and the plain alternatives, both in turn in one run.

    python tools/benchmark.py lrn     local response normalisation against paddle.nn's
    python tools/benchmark.py data    input pipelines against paddle.vision.transforms and Pillow

Each has its own options: python tools/benchmark.py lrn --help
"""
from __future__ import annotations

import argparse
import importlib
import json

from paddlecnn.cli.common import command_parser
from paddlecnn.runtime import load_paddle

BENCHMARKS = {"lrn": "paddlecnn.benchmarks.lrn", "data": "paddlecnn.benchmarks.data"}


def main(argv: list[str] | None = None) -> int:
    parser = command_parser("benchmark", __doc__)
    parser.add_argument("what", choices=BENCHMARKS)
    parser.add_argument("options", nargs=argparse.REMAINDER, help="options of the benchmark")
    args = parser.parse_args(argv)
    load_paddle()
    benchmark = importlib.import_module(BENCHMARKS[args.what])
    own = command_parser(f"benchmark {args.what}", benchmark.__doc__)
    benchmark.add_arguments(own)
    own.add_argument("--json", action="store_true", help="print JSON")
    options = own.parse_args(args.options)
    results = []
    for result in benchmark.measure(options):
        results.append(result.as_dict())
        if not options.json:
            print(result, flush=True)
    if options.json:
        print(json.dumps(results))
    return 0
