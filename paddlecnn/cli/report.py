"""Write RUN/report.html: one file that shows a run, for a browser, an e-mail or a printer.

It shows outcome, configuration, curves, classes, calibration, filters, feature maps, mistakes, layers, time and
environment, and loads nothing. `paddlecnn train` writes it, too, unless train.report is false. For a
cross-validation it writes a page for each fold and JOB/report.html, which shows all images out of fold.
"""

from __future__ import annotations

from paddlecnn.cli.common import CommandParser, add_data_arguments, add_device_argument, add_run_argument, show
from paddlecnn.runs.fold_job import FoldJob, find_runs, is_job
from paddlecnn.runs.run_dir import find_path
from paddlecnn.runtime import load_paddle


def main(argv: list[str] | None = None) -> int:
    parser = CommandParser("report", __doc__)
    add_run_argument(parser)
    add_data_arguments(parser)
    add_device_argument(parser)
    args = parser.parse_args(argv)
    path = find_path(args.run)
    runs = find_runs(path, args.data_root)

    load_paddle()
    from paddlecnn.api import Folds, Run

    for run in runs:
        show(Run(run, module=args.module).report(args.device, args.data_changed))
    if is_job(path):
        show(Folds(FoldJob(path, args.data_root), args.module).report())
    return 0
