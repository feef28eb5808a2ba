"""Measure a part of this project beside the plain alternative, both in turn in one run.

    python tools/benchmark.py lrn     local response normalisation against paddle.nn's
    python tools/benchmark.py data    input pipelines against paddle.vision.transforms and Pillow

Each has options of its own: python tools/benchmark.py lrn --help
"""
from __future__ import annotations

import argparse
import importlib

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
    benchmark.main(own.parse_args(args.options))
    return 0
