"""Measure a trained run: paddlecnn eval runs/quickstart/RUN --split test

Writes predictions_SPLIT.csv, evaluation_SPLIT.json and confusion_SPLIT.png into the run's folder.
"""

from __future__ import annotations

import json

from paddlecnn.cli.common import CommandParser, add_data_changed_argument, add_engine_arguments, add_run_argument
from paddlecnn.runs.run_dir import find_run
from paddlecnn.runtime import load_paddle


def main(argv: list[str] | None = None) -> int:
    parser = CommandParser("eval", __doc__)
    add_run_argument(parser)
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    add_data_changed_argument(parser)
    add_engine_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args(argv)
    run = find_run(args.run)

    load_paddle()
    from paddlecnn.evaluation.evaluate import as_text, evaluate_run
    from paddlecnn.files import save_png
    from paddlecnn.reporting.figures import confusion_figure

    figures = evaluate_run(
        run, args.split, args.checkpoint, args.device, args.module, args.data_changed, args.engine, args.precision
    )
    title = f"{run.path.name}: {figures['top1']:.2%} of {figures['n']:,} {args.split} images"
    figure = confusion_figure(figures["confusion"], list(figures["per_class"]), title)
    save_png(figure, run.path / f"confusion_{args.split}.png", dpi=120)
    print(json.dumps(figures) if args.json else as_text(figures))
    return 0
