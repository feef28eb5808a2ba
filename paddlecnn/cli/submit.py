"""Make a submission from a run, blend several, upload one, list all.

paddlecnn submit runs/dogs_vs_cats/vgg16_finetune/RUN                  predict, calibrate, write the CSV
paddlecnn submit runs/dogs_vs_cats/vgg16_finetune/RUN --upload --wait  then upload it and wait for the score
paddlecnn submit runs/dogs_vs_cats/vgg16_finetune/JOB                  the mean of a cross-validation's runs
paddlecnn submit --folds RUN RUN ...                                   the mean of runs that were trained one by one
paddlecnn submit --blend submissions/a.csv submissions/b.csv           the weighted mean of files
paddlecnn submit submissions/a.csv --upload -m "first" --wait          upload an existing file
paddlecnn submit submissions/a.csv --score data/mle-bench/test.csv     score a file on known labels, as MLE-bench
paddlecnn submit --list                                                all submissions, expected and actual scores
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paddlecnn.cli.common import (
    CommandParser,
    add_data_arguments,
    add_engine_arguments,
    add_module_argument,
    add_tta_argument,
    show,
)
from paddlecnn.errors import SubmissionError
from paddlecnn.kaggle.ledger import Ledger, ledger_table
from paddlecnn.runs.fold_job import find_runs
from paddlecnn.runtime import choose_device

if TYPE_CHECKING:
    from paddlecnn.kaggle.build_submission import Settings, WrittenSubmission

# Options by the work they are for.
PREDICTING = ("split", "tta", "module", "data_root", "data_changed", "device", "engine", "precision")
MAKING = (*PREDICTING, "out", "temperature", "clip", "weights")
SENDING = ("message", "again")
SUBMISSIONS = Path("submissions")  # where they are written by default


def parser() -> argparse.ArgumentParser:
    result = CommandParser("submit", __doc__)
    source = result.add_argument_group("source").add_mutually_exclusive_group(required=True)
    text = "a run or a cross-validation (its folder, a config, or latest), or a CSV to upload"
    source.add_argument("target", nargs="?", type=Path, metavar="RUN|CSV", help=text)
    source.add_argument("--folds", nargs="+", type=Path, metavar="RUN", help="runs to average")
    source.add_argument("--blend", nargs="+", type=Path, metavar="CSV", help="submissions to average")
    text = "show the ledger of a folder of submissions"
    source.add_argument("--list", nargs="?", type=Path, const=SUBMISSIONS, metavar="FOLDER", help=text)
    make = result.add_argument_group("making a submission")
    make.add_argument("--out", type=Path, help="the CSV to write (default: in submissions/, named after the run)")
    make.add_argument("--split", choices=("val", "test"), default="test", help="the split to predict")
    add_tta_argument(make)
    add_module_argument(make)
    add_data_arguments(make)
    add_engine_arguments(make)
    make.add_argument("--temperature", default="auto", metavar="auto|T", help="1 leaves the probabilities as trained")
    text = "the smallest distance of a probability from 0 and 1"
    make.add_argument("--clip", default="auto", metavar="auto|EPS|none", help=text)
    make.add_argument("--weights", default="auto", metavar="auto|W,W,...", help="the weights of the files of a blend")
    make.add_argument("--competition", metavar="NAME", help="Kaggle's name for it (default: the data set's own)")
    text = "score the file on known labels: a CSV with id and label"
    make.add_argument("--score", type=Path, metavar="CSV", help=text)
    send = result.add_argument_group("uploading")
    send.add_argument("--upload", action="store_true", help="upload the file")
    send.add_argument("-m", "--message", help="the description on Kaggle (default: the file's name and SHA-256)")
    text = "wait for the score; the limit includes the upload (default: 600)"
    send.add_argument("--wait", nargs="?", const="600", metavar="SECONDS", help=text)
    send.add_argument("--again", action="store_true", help="upload even if it was uploaded before")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    refuse_unused(args)
    if args.list:
        if args.list != SUBMISSIONS and not args.list.is_dir():
            raise SubmissionError(f"--list {args.list}: no such folder; name one with submissions")
        ledger = Ledger(args.list)
        entries = ledger.entries()
        print(ledger_table(entries) if entries else f"{ledger.path}: no submission yet")
        return 0
    seconds = None if args.wait is None else read_number("--wait", args.wait, 0, 7 * 86400, "")
    path = args.target
    if args.blend or args.folds or path.suffix != ".csv":
        written = write(args)
        show(written)
        path = written.path
    elif not path.exists():
        raise SubmissionError(f"{path}: no such file; write one with `paddlecnn submit RUN`")
    elif not args.upload and not args.score and seconds is None:
        raise SubmissionError(
            f"{path}: add --upload to upload it, --wait if it is already uploaded, or --score CSV to score it here"
        )
    if args.score:
        from paddlecnn.kaggle.grade import grade

        show("\n".join(grade(path, args.score).report()))
    send(path, args, seconds)
    return 0


def refuse_unused(args: argparse.Namespace) -> None:
    """Raise SubmissionError for the first option that has no effect on the command's work."""
    unused = [] if args.upload else [(name, "without --upload") for name in SENDING]
    if args.list:
        unused += [(name, "with --list") for name in (*MAKING, "competition", "score", "upload", "wait")]
    elif args.blend:
        unused += [(name, "with --blend") for name in PREDICTING]
    elif args.target and args.target.suffix == ".csv":
        unused += [(name, "on a finished CSV") for name in MAKING]
        unused += [] if args.upload else [("competition", "on a finished CSV without --upload")]
    if not (args.list or args.upload or (args.target and args.target.suffix == ".csv")):
        unused.append(("wait", "on a new submission without --upload"))
    options = parser()
    for name, where in unused:
        if getattr(args, name) != options.get_default(name):
            raise SubmissionError(f"--{name.replace('_', '-')}: has no effect {where}; leave it out")


def write(args: argparse.Namespace) -> WrittenSubmission:
    """Write a submission from a run, from the runs of a cross-validation, or from other submissions."""
    settings = read_settings(args.temperature, args.clip, args.weights)
    if args.blend:
        from paddlecnn.kaggle.blend import blend_files

        return blend_files(args.blend, settings, args.out, args.competition)
    if settings.weights is not None:
        raise SubmissionError("--weights: is for --blend; the runs of --folds have equal weights")
    runs = [run for name in args.folds or [args.target] for run in find_runs(name, args.data_root)]
    choose_device(args.device)
    from paddlecnn.kaggle.submit import submit_runs

    names = ("out", "split", "tta", "module", "data_changed", "engine", "precision")
    return submit_runs(runs, settings, slug=args.competition, **{name: getattr(args, name) for name in names})


def send(path: Path, args: argparse.Namespace, seconds: float | None) -> None:
    """Upload a file and wait for its score, each if asked for."""
    from paddlecnn.kaggle.upload import score_report, upload, wait_for_score

    started = time.monotonic()
    if args.upload:
        entry = upload(path, args.message, args.competition, args.again, seconds)
        show(f"{path}: uploaded to {entry.competition} as number {entry.ref}")
    if seconds is not None:
        show("\n".join(score_report(wait_for_score(path, seconds, started))))


def read_settings(temperature: str, clip: str, weights: str) -> Settings:
    """Settings from text: `auto` or a number; `auto`, a number or `none`; `auto` or numbers separated by commas.

    Raises SubmissionError for anything else.
    """
    from paddlecnn.kaggle.build_submission import Settings  # scikit-learn takes a second that --list need not wait for

    share = None if weights == "auto" else [read_number("--weights", part, 0, math.inf) for part in weights.split(",")]
    if share is not None and sum(share) == 0:
        raise SubmissionError(f"--weights {weights}: one of them must be above 0")
    return Settings(
        None if temperature == "auto" else read_number("--temperature", temperature, 1e-3, 1e3),
        None if clip == "auto" else 0.0 if clip == "none" else read_number("--clip", clip, 0, 0.499),
        None if share is None else tuple(one / sum(share) for one in share),
    )


def read_number(option: str, text: str, low: float, high: float, otherwise: str = "auto or ") -> float:
    """The number in an option's text. Raises SubmissionError if it is not a number or out of range."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high or math.isinf(value):
        limits = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of {low:g} or more"
        raise SubmissionError(f"{option} {text}: must be {otherwise}a number {limits}")
    return value
