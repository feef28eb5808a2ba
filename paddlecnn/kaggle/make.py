"""From one trained run, or from the runs of a cross-validation, to a submission file."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from paddlecnn.data.datasets import open_dataset
from paddlecnn.errors import SubmissionError
from paddlecnn.evaluation.load_run import LoadedRun, load_run
from paddlecnn.evaluation.predict import Predictions, merge, predict_split
from paddlecnn.kaggle.build_submission import Images, SubmissionInputs, WrittenSubmission, write_candidate
from paddlecnn.kaggle.competitions import competition_named, competition_of
from paddlecnn.kaggle.settings import Settings
from paddlecnn.kaggle.submission import refuse_unwritable, sample_ids
from paddlecnn.runs.provenance import git_state
from paddlecnn.runs.run_dir import RunDir


def submit_runs(runs: Sequence[Path], settings: Settings, out: Path | None = None, split: str = "test",
                tta: str = "none", slug: str | None = None, engine: str | None = None,
                precision: str | None = None) -> WrittenSubmission:
    """Predict a split with each run's best checkpoint, take the mean of the logits, and write a submission.

    The calibration is fitted on the runs' validation images, predicted in the same way: for one run those of
    its own validation part, for the runs of a cross-validation the out-of-fold predictions.
    """
    path = out or default_path(runs[0])
    refuse_unwritable(path)
    folders = [RunDir(run) for run in runs]
    names = [folder.config.data.name for folder in folders]
    if len(set(names)) > 1:
        raise SubmissionError(f"the runs are of different data sets ({', '.join(names)})")
    config = folders[0].config
    competition = competition_named(slug) if slug else competition_of(names[0])
    targets, validations, origins = [], [], []
    for folder in folders:  # one network in memory at a time
        run = load_run(folder, engine=engine, precision=precision)
        splits = open_dataset(run.config.data, run.config.seed)
        targets.append(predict_split(run, splits, split, tta))
        validations.append(targets[-1] if split == "val" else predict_split(run, splits, "val", tta))
        refuse_nan(run, targets[-1], validations[-1])
        origins.append(origin(run, tta))
    if split == "val":  # not what a competition asks for: the data set's own ids, and never uploaded
        competition, expected_ids = dataclasses.replace(competition, slug=None), None
    else:
        refuse_other_images(targets)
        expected_ids = sample_ids(Path(config.data.root), competition)
    target = merge(targets)
    candidate = SubmissionInputs(competition, target.classes, images(target), images(merge(validations)), expected_ids,
                          {column: ";".join(one[column] for one in origins) for column in origins[0]}, config.seed)
    return write_candidate(candidate, settings, path)


def refuse_nan(run: LoadedRun, *predictions: Predictions) -> None:
    """Raise SubmissionError where a run gives an image no finite logits: argmax would hide that."""
    for predicted in predictions:
        wrong = ~np.isfinite(predicted.logits).all(axis=1)
        if wrong.any():
            raise SubmissionError(f"{run.run.path}: predicts NaN or infinity for {wrong.sum():,} images "
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


def origin(run: LoadedRun, tta: str) -> dict[str, str]:
    """Where a run's predictions come from, as columns of the ledger."""
    git = git_state()
    return {
        "runs": str(run.run.path),
        "checkpoint": f"best, epoch {run.state.epoch}" + (f", {tta} at test time" if tta != "none" else ""),
        "config_hash": run.state.config_hash,
        "git_commit": f"{git['commit']}{' with changes' if git['dirty'] else ''}" if git else "",
    }


def default_path(run: Path) -> Path:
    """submissions/alexnet_lrn-2026-11-22.csv for runs/cifar10/alexnet_lrn/2026-11-22."""
    return Path("submissions") / f"{'-'.join(Path(run).resolve().parts[-2:])}.csv"
