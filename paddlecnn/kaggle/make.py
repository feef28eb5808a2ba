"""From one trained run, or from the runs of a cross-validation, to a submission file."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from paddlecnn.data.datasets import open_dataset
from paddlecnn.errors import SubmissionError
from paddlecnn.inference.predictions import Predictions, merge, predict_split
from paddlecnn.inference.predictor import LoadedRun, load_run
from paddlecnn.kaggle.candidate import Candidate, Images, Made, write_candidate
from paddlecnn.kaggle.competitions import competition_of
from paddlecnn.kaggle.settings import Settings
from paddlecnn.kaggle.submission import refuse_unwritable, sample_ids
from paddlecnn.training.environment import git_state
from paddlecnn.training.rundir import RunDir


def submit_runs(runs: Sequence[Path], settings: Settings, out: Path | None = None, split: str = "test",
                tta: str = "none", slug: str | None = None) -> Made:
    """Predict a split with each run's best checkpoint, take the mean of the logits, and write a submission.

    The calibration is fitted on the runs' validation images, predicted in the same way: for one run those of
    its own validation part, for the runs of a cross-validation the out-of-fold predictions.
    """
    path = out or default_path(runs[0])
    refuse_unwritable(path)
    loaded = [load_run(RunDir(run)) for run in runs]
    data = loaded[0].config.data
    if any(run.config.data.name != data.name for run in loaded):
        raise SubmissionError(f"the runs are of different data sets ({', '.join(r.config.data.name for r in loaded)})")
    competition = competition_of(data.name, slug)
    targets, validations = [], []
    for run in loaded:
        splits = open_dataset(run.config.data, run.config.seed)
        targets.append(predict_split(run, splits, split, tta))
        validations.append(targets[-1] if split == "val" else predict_split(run, splits, "val", tta))
    refuse_nan(zip(runs, targets, strict=True))
    refuse_nan(zip(runs, validations, strict=True))
    if split == "test":
        refuse_other_images(targets)
    target, validation = merge(targets), merge(validations)
    expected_ids = sample_ids(Path(data.root), competition) if split == "test" else None
    candidate = Candidate(competition, target.classes, images(target), images(validation), expected_ids,
                          origin(loaded, tta), loaded[0].config.seed)
    return write_candidate(candidate, settings, path)


def refuse_nan(predictions: Iterable[tuple[Path, Predictions]]) -> None:
    """Raise SubmissionError where a run gives an image no finite logits: argmax would hide that."""
    for run, predicted in predictions:
        wrong = ~np.isfinite(predicted.logits).all(axis=1)
        if wrong.any():
            raise SubmissionError(f"{run}: predicts NaN or infinity for {wrong.sum():,} images "
                                  f"(the first: {predicted.ids[wrong.argmax()]}); its training has diverged")


def refuse_other_images(targets: Sequence[Predictions]) -> None:
    """Raise SubmissionError where the runs do not predict the same images."""
    for target in targets[1:]:
        if set(target.ids) != set(targets[0].ids):
            raise SubmissionError(f"the runs predict different images ({len(targets[0].ids):,} and "
                                  f"{len(target.ids):,}); take runs of the same data")


def images(predictions: Predictions) -> Images:
    """Predictions as a blend of one member."""
    return Images(predictions.ids, predictions.logits[:, None, :], predictions.labels)


def origin(runs: Sequence[LoadedRun], tta: str) -> dict[str, str]:
    """Where a submission comes from, as columns of the ledger; ; between the runs."""
    git = git_state()
    return {
        "runs": ";".join(str(run.run.path) for run in runs),
        "checkpoint": ";".join(f"best, epoch {run.state['epoch']}" for run in runs)
                      + (f", {tta} at test time" if tta != "none" else ""),
        "config_hash": ";".join(run.state["config_hash"] for run in runs),
        "git_commit": f"{git['commit']}{' with changes' if git['dirty'] else ''}" if git else "",
    }


def default_path(run: Path) -> Path:
    """submissions/alexnet_lrn-2026-11-22.csv for runs/cifar10/alexnet_lrn/2026-11-22."""
    return Path("submissions") / f"{'-'.join(Path(run).resolve().parts[-2:])}.csv"
