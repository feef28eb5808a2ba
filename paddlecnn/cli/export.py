"""Write a run's network for use elsewhere: paddlecnn export RUN --format onnx --check

    paddle        a folder with an inference program, for Paddle's inference library
    onnx          one file for onnxruntime and others (extra `onnx`)
    safetensors   the weights alone

Each contains class names and preprocessing. `paddlecnn predict EXPORTED IMAGE` classifies with any of them.
"""

from __future__ import annotations

import os
from pathlib import Path

from paddlecnn.cli.common import CommandParser, add_data_root_argument, add_run_argument
from paddlecnn.runs.run_dir import find_run


def main(argv: list[str] | None = None) -> int:
    parser = CommandParser("export", __doc__)
    add_run_argument(parser)
    parser.add_argument("--format", choices=("paddle", "onnx", "safetensors"), required=True, help="see above")
    parser.add_argument("--check", action="store_true", help="compare with the run on images of its data")
    add_data_root_argument(parser)
    parser.add_argument("--out", type=Path, metavar="PATH", help="a new file or folder (default: in RUN/export)")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="the epoch to export")
    args = parser.parse_args(argv)
    if args.data_root and not args.check:
        parser.error("--data-root: has no effect without --check; leave it out")
    run = find_run(args.run, data_root=args.data_root)

    from paddlecnn import runtime

    os.environ.setdefault("GLOG_minloglevel", "2")  # Paddle's remarks on each program that it traces
    runtime.load_paddle()
    from paddlecnn.evaluation.export import export_run

    done = export_run(run, args.format, args.out, which=args.checkpoint, module=args.module, check=args.check)
    checked = "" if done.difference is None else f" (logits differ from the run's by at most {done.difference:.1g})"
    print(f"{done.path}{checked}")
    return 0
