"""What tools/submit.py does, in its order: make, upload, wait. Yields the lines to print."""
from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from paddlecnn.errors import SubmissionError
from paddlecnn.kaggle.ledger import Ledger, ledger_table
from paddlecnn.kaggle.upload import score_report, upload, wait_for_score
from paddlecnn.runtime import choose_device

if TYPE_CHECKING:
    from paddlecnn.kaggle.build_submission import WrittenSubmission


def submit(args: Namespace) -> Iterator[str]:
    """Carry out the parsed arguments of tools/submit.py. Paddle is loaded only where a run is predicted."""
    if args.list:
        ledger = Ledger(args.list)
        entries = ledger.entries()
        yield ledger_table(entries) if entries else f"{ledger.path}: no submission yet"
        return
    path = args.target
    if args.blend or args.folds or path.suffix != ".csv":
        made = make(args)
        yield from made.report()
        path = made.path
    elif not args.upload and args.wait is None:
        raise SubmissionError(f"{path}: what shall be done with it? Add --upload, or --wait for one that is uploaded")
    if args.upload:
        entry = upload(path, args.message, args.competition, args.again)
        yield f"{path}: uploaded to {entry.competition} as number {entry.ref}"
    if args.wait is not None:
        yield from score_report(wait_for_score(path, args.wait))


def make(args: Namespace) -> WrittenSubmission:
    """Write a submission from a run, from the runs of a cross-validation, or from other submissions."""
    from paddlecnn.kaggle.settings import read_settings  # scikit-learn takes a second that --list need not wait

    settings = read_settings(args.temperature, args.clip, args.weights)
    if args.blend:
        from paddlecnn.kaggle.blend import blend_files

        return blend_files(args.blend, settings, args.out, args.competition)
    if settings.weights is not None:
        raise SubmissionError("--weights: is for --blend; the runs of --folds count the same")
    choose_device(args.device)
    from paddlecnn.kaggle.make import submit_runs

    return submit_runs(args.folds or [Path(args.target)], settings, args.out, args.split, args.tta, args.competition,
                       args.engine, args.precision)
