"""Compare runs: paddlecnn compare runs/cifar10/alexnet runs/cifar10/alexnet_lrn --html lrn.html

Each RUN is a run, a cross-validation (one row, measured out of fold) or a folder with some in it. Runs that differ only
in their seed are one row; the first row is the reference. Differences, with their intervals, are those of pairs with
equal seeds, which have the same validation images.
"""

from __future__ import annotations

from pathlib import Path

from paddlecnn.cli.common import CommandParser
from paddlecnn.cli.targets import check_target
from paddlecnn.errors import ModuleError
from paddlecnn.files import write_json, write_text
from paddlecnn.runtime import load_paddle


def main(argv: list[str] | None = None) -> int:
    parser = CommandParser("compare", __doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run (folder, config, or latest), or a folder of runs")
    parser.add_argument("--split", choices=("val", "test"), default="val", help="test: as `paddlecnn eval` measured it")
    text = "predict where predictions are not stored, for the confusion matrices"
    parser.add_argument("--evaluate", action="store_true", help=text)
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with curves and confusion matrices")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table as CSV")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table as JSON")
    args = parser.parse_args(argv)

    for name in ("html", "csv", "json"):
        if path := getattr(args, name):
            check_target(path, f"--{name}", f".{name}")
    load_paddle()
    from paddlecnn.reporting.compare import compare_runs
    from paddlecnn.reporting.compare_page import write_comparison
    from paddlecnn.reporting.compare_tables import as_csv, as_records, as_text

    try:
        comparison = compare_runs(args.runs, args.split, args.evaluate)
    except ModuleError as error:  # a module belongs to one run, and there are several here
        advice = f"measure it first by `paddlecnn eval --split {args.split}` with --module"
        raise ModuleError(str(error).replace("add --module", advice)) from None
    if args.csv:
        write_text(args.csv, as_csv(comparison))
    if args.json:
        write_json(args.json, as_records(comparison))
    if args.html:
        write_comparison(comparison, args.html)
    print(as_text(comparison))
    return 0
