"""Measure a trained run: paddlecnn eval runs/quickstart/RUN --split test

Writes predictions_SPLIT.csv, evaluation_SPLIT.json and confusion_SPLIT.png into the run's folder.
"""

from __future__ import annotations

import json

from paddlecnn.cli.common import add_engine_arguments, command_parser
from paddlecnn.runs.run_dir import find_run


def main(argv: list[str] | None = None) -> int:
    parser = command_parser("eval", __doc__)
    parser.add_argument("run", metavar="RUN", help="a run's folder, a config (its newest run), or latest")
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument("--module", metavar="FILE", help="the run's own networks or data sets")
    parser.add_argument(
        "--data-changed",
        action="store_true",
        help="evaluate even if the data are not those that the run was trained with",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, gpu or gpu:N")
    add_engine_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args(argv)
    run = find_run(args.run)

    from paddlecnn import runtime

    runtime.load_paddle()
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
