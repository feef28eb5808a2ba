"""Write the page of results, docs/results.md, from the files of figures in a folder.

    paddlecnn results docs/results                                          write the page, its figures, README tables
    paddlecnn results docs/results --add RUN --out docs/results/NAME.json   first add the figures of a finished run
    paddlecnn results docs/results --add JOB --submission CSV --answers CSV --out FILE   its score on known labels
    paddlecnn results docs/results --verify                                 compare page and READMEs with the files

Measure the test data of a run before it is added: paddlecnn eval RUN --split test
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from paddlecnn.cli.common import CommandParser, show
from paddlecnn.cli.targets import check_target
from paddlecnn.runs.fold_job import FoldJob, is_job
from paddlecnn.runs.run_dir import RunDir, find_path
from paddlecnn.runtime import load_paddle


def main(argv: list[str] | None = None) -> int:
    parser = CommandParser("results", __doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of JSON files, usually docs/results")
    parser.add_argument("--add", metavar="RUN", help="write the figures of a finished run or cross-validation to --out")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the JSON file for --add")
    text = "with --add RUN: its submission, with --answers FILE, the known labels to score it on"
    parser.add_argument("--submission", type=Path, metavar="CSV", help=text)
    parser.add_argument("--answers", type=Path, metavar="CSV", help="id and label, 1 or 0")
    text = "with --add: the config of the run, if its command named another"
    parser.add_argument("--config", type=Path, metavar="FILE", help=text)
    parser.add_argument("--verify", action="store_true", help="change nothing; fail if a number has no source")
    args = parser.parse_args(argv)
    if bool(args.add) != bool(args.out):
        parser.error("--add RUN and --out FILE belong together")
    if args.verify and args.add:
        parser.error("--verify changes nothing; leave out --add")

    if bool(args.submission) != bool(args.answers) or (args.submission and not args.add):
        parser.error("--submission CSV and --answers CSV belong together, with --add RUN")
    if args.out:
        check_target(args.out, "--out", ".json")

    load_paddle()
    from paddlecnn.files import write_json
    from paddlecnn.reporting.results_page import verify_pages, write_pages

    if args.add:
        found = record(find_path(args.add), args)
        write_json(args.out, found)
        show(args.out)
    for line in verify_pages(args.folder) if args.verify else write_pages(args.folder):
        show(line)
    return 0


def record(path: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The figures of a run, of a cross-validation, or of a submission of either."""
    from paddlecnn.kaggle.grade import grade
    from paddlecnn.reporting.records import folds_record, graded_record, training_record

    source = FoldJob(path) if is_job(path) else RunDir(path)
    if args.submission:
        score = grade(args.submission, args.answers)
        return graded_record(source, args.submission, args.answers, score.log_loss, score.images, args.config)
    if isinstance(source, FoldJob):
        return folds_record(source, args.config)
    return training_record(source, args.config)
