"""Measure a trained run: python tools/eval.py runs/quickstart/RUN --split test

Writes predictions_SPLIT.csv, evaluation_SPLIT.json and confusion_SPLIT.png into the run's folder.
"""
import json

from paddlecnn.cli.common import add_run_argument, command_parser


def main(argv: list[str] | None = None) -> int:
    parser = command_parser("eval", __doc__)
    add_run_argument(parser)
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument("--device", default="auto", help="auto, cpu, gpu or gpu:N")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args(argv)

    from paddlecnn import runtime
    runtime.load_paddle()
    from paddlecnn.evaluation.evaluate import as_text, evaluate_run
    from paddlecnn.runs.run_dir import find_run

    figures = evaluate_run(find_run(args.run), args.split, args.checkpoint, args.device, args.module)
    print(json.dumps(figures) if args.json else as_text(figures))
    return 0
