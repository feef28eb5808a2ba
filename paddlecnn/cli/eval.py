"""Measure a trained run: paddlecnn eval runs/quickstart/RUN --split test

Writes predictions_SPLIT.csv, evaluation_SPLIT.json and confusion_SPLIT.png into the run's folder. A cross-validation is
measured out of fold, each image by the run that was not trained on it: out_of_fold.csv and .json. Several seeds
(`train --seeds`) are measured one by one, with mean and standard deviation. With --checkpoint last, --tta,
--data-changed, or another --engine or --precision than the run's, the names of the files say so, as in
evaluation_test_last_flip.json; other commands read the files without such additions.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from paddlecnn.cli.common import (
    CommandParser,
    add_data_arguments,
    add_engine_arguments,
    add_run_argument,
    add_tta_argument,
)
from paddlecnn.errors import RunError
from paddlecnn.runs.fold_job import FoldJob, find_runs, is_job
from paddlecnn.runs.run_dir import find_path
from paddlecnn.runtime import choose_device, load_paddle

if TYPE_CHECKING:
    from paddlecnn.runs.run_dir import RunDir


def main(argv: list[str] | None = None) -> int:
    parser = CommandParser("eval", __doc__)
    add_run_argument(parser)
    parser.add_argument("--split", choices=("val", "test"), default="val", help="the images to measure on")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="the epoch to measure")
    add_tta_argument(parser)
    add_data_arguments(parser)
    add_engine_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args(argv)
    path = find_path(args.run)
    runs = find_runs(path, args.data_root)
    if is_job(path) and (args.split, args.checkpoint) != ("val", "best"):
        advice = f"name one of its runs, e.g. {runs[0].path}"
        raise RunError(f"{path}: is a cross-validation, measured out of fold; {advice}")

    load_paddle()
    choose_device(args.device)
    from paddlecnn.evaluation import evaluate, out_of_fold

    if is_job(path):
        job = FoldJob(path, args.data_root)
        table = out_of_fold.evaluate_folds(job, args.module, args.data_changed, args.engine, args.precision, args.tta)
        print(json.dumps(table) if args.json else out_of_fold.as_text(table))
        return 0
    figures = {run.path.name: measured(run, args) for run in runs}
    if args.json:
        print(json.dumps(figures if len(runs) > 1 else figures[runs[0].path.name]))
    else:
        print(evaluate.as_text(figures[runs[0].path.name]) if len(runs) == 1 else evaluate.seeds_as_text(figures))
    return 0


def measured(run: RunDir, args: argparse.Namespace) -> dict[str, Any]:
    """The figures of a run, with its confusion matrix drawn."""
    from paddlecnn.evaluation.evaluate import ending, evaluate_run
    from paddlecnn.files import save_png
    from paddlecnn.reporting.figures import confusion_figure

    names = ("split", "checkpoint", "device", "module", "data_changed", "engine", "precision", "tta")
    figures = evaluate_run(run, **{name: getattr(args, name) for name in names})
    title = f"{run.path.name}: {figures['top1']:.2%} of {figures['n']:,} {args.split} images"
    figure = confusion_figure(figures["confusion"], list(figures["per_class"]), title)
    save_png(figure, run.path / f"confusion_{args.split}{ending(figures)}.png", dpi=120)
    return figures
