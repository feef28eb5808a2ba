"""Write the page of results, docs/results.md, from the files of figures in a folder.

    paddlecnn results docs/results                                          write the page, its figures, README tables
    paddlecnn results docs/results --add RUN --out docs/results/NAME.json   first add the figures of a finished run
    paddlecnn results docs/results --verify                                 compare page and READMEs with the files

Measure the test data of a run before it is added: paddlecnn eval RUN --split test
"""

from __future__ import annotations

from pathlib import Path

from paddlecnn.cli.common import CommandParser
from paddlecnn.runs.fold_job import FoldJob, is_job
from paddlecnn.runs.run_dir import RunDir, find_path
from paddlecnn.runtime import load_paddle


def main(argv: list[str] | None = None) -> int:
    parser = CommandParser("results", __doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of JSON files, usually docs/results")
    parser.add_argument("--add", metavar="RUN", help="write the figures of a finished run or cross-validation to --out")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the JSON file for --add")
    text = "with --add: the config of the run, if its command named another"
    parser.add_argument("--config", type=Path, metavar="FILE", help=text)
    parser.add_argument("--verify", action="store_true", help="change nothing; fail if a number has no source")
    args = parser.parse_args(argv)
    if bool(args.add) != bool(args.out):
        parser.error("--add RUN and --out FILE belong together")
    if args.verify and args.add:
        parser.error("--verify changes nothing; leave out --add")

    load_paddle()
    from paddlecnn.files import write_json
    from paddlecnn.reporting.records import folds_record, training_record
    from paddlecnn.reporting.results_page import verify_pages, write_pages

    if args.add:
        path = find_path(args.add)
        record = (
            folds_record(FoldJob(path), args.config) if is_job(path) else training_record(RunDir(path), args.config)
        )
        write_json(args.out, record)
        print(args.out)
    for line in verify_pages(args.folder) if args.verify else write_pages(args.folder):
        print(line)
    return 0
