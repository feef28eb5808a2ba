"""Write RUN/report.html: one file that shows a run, for a browser, a mail or a printer.

It shows outcome, configuration, curves, classes, calibration, filters, feature maps, mistakes, layers, time and
environment, and loads nothing. `paddlecnn train` writes it, too, unless train.report is false.
"""

from __future__ import annotations

from paddlecnn.cli.common import add_run_argument, command_parser
from paddlecnn.runs.run_dir import find_run


def main(argv: list[str] | None = None) -> int:
    parser = command_parser("report", __doc__)
    add_run_argument(parser)
    parser.add_argument(
        "--data-changed",
        action="store_true",
        help="use the validation images that are there, even if they are not those of the training",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, gpu or gpu:N")
    args = parser.parse_args(argv)
    run = find_run(args.run)

    from paddlecnn import runtime

    runtime.load_paddle()
    from paddlecnn.api import Run

    print(Run(run, module=args.module).report(args.device, args.data_changed))
    return 0
