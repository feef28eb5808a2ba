"""A submission file from one trained run, or from the runs of a cross-validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from paddlecnn.data.base import Splits
from paddlecnn.data.datasets import open_dataset
from paddlecnn.errors import SubmissionError
from paddlecnn.evaluation.load_run import LoadedRun, load_run
from paddlecnn.evaluation.predict import Predictions, check_same_data, has_images, merge, predict_split
from paddlecnn.kaggle.build_submission import (
    Images,
    Labelled,
    Settings,
    SubmissionInputs,
    WrittenSubmission,
    write_candidate,
)
from paddlecnn.kaggle.competitions import Competition, competition_named, competition_of, not_uploaded
from paddlecnn.kaggle.submission import check_writable, sample_ids
from paddlecnn.runs.fold_job import is_job
from paddlecnn.runs.provenance import git_state
from paddlecnn.runs.run_dir import RunDir, reservations, seeds_in


def submit_runs(
    runs: Sequence[RunDir],
    settings: Settings | None = None,
    out: Path | None = None,
    split: str = "test",
    tta: str = "none",
    slug: str | None = None,
    module: str | None = None,
    data_changed: bool = False,
    engine: str | None = None,
    precision: str | None = None,
) -> WrittenSubmission:
    """Predict a split with each run's best checkpoint, average the logits, and write a submission.

    The calibration is fitted on the runs' validation images, predicted in the same way: one run's own validation
    part, or the out-of-fold predictions of a cross-validation. Of runs that trained on all images the expected score
    is unknown, and if it is a log loss, `settings` must give the temperature and the clip.

    out: the CSV; submissions/FAMILY-RUN.csv if not given
    tta: views at test time: none, flip, shift, crops or scales
    slug: Kaggle's name of the competition; the data set's own if not given
    module: the file with the runs' own networks or data sets, if they were trained with one
    data_changed: predict even if the data are not those that the runs were trained with
    engine, precision: used in place of those that the runs were trained with
    Raises a UserError if the runs cannot be combined or the submission breaks a rule.
    """
    path = out or default_path(runs)
    check_writable(path)
    check_same_kind(runs)
    config = runs[0].config
    competition = competition_named(slug) if slug else competition_of(config.data)
    settings = settings or Settings()
    check_settings(settings, competition)
    if split == "val":  # no competition asks for it: it keeps the data set's ids and is never uploaded
        competition = not_uploaded(competition)
    expected_ids = sample_ids(Path(config.data.root), competition)
    targets: list[Predictions] = []
    validations: list[Predictions] = []
    origins, changed = [], []
    known: dict[tuple[str, str], bytes] = {}
    for folder in runs:  # one network in memory at a time
        run = load_run(folder, module=module, engine=engine, precision=precision)
        splits = open_dataset(run.config.data, run.config.seed)
        changed += check_same_data(run, splits, data_changed)
        if split != "val":
            check_calibration(run, splits, settings, competition)
        if targets and has_images(splits.val) != bool(validations):
            raise SubmissionError("some of the runs have no validation images: use runs that all have some, or none")
        parts = dict.fromkeys(("val", split) if has_images(splits.val) else (split,))
        if len(runs) > 1:
            check_same_content(known, splits, parts, folder)
        predicted = {part: predict_split(run, splits, part, tta) for part in parts}
        check_finite(run, *predicted.values())
        targets.append(predicted[split])
        validations += [predicted["val"]] if "val" in predicted else []
        origins.append(origin(run, tta))
    if split != "val":
        check_same_images(targets)
    notes = (*reservations(runs), *changed)
    inputs = inputs_of(competition, targets, validations, expected_ids, origins, config.seed, notes)
    return write_candidate(inputs, settings, path)


def check_same_kind(runs: Sequence[RunDir]) -> None:
    """Raise SubmissionError if the runs are of different data sets, or if one is given twice."""
    names = [run.config.data.name for run in runs]
    if len(set(names)) > 1:
        raise SubmissionError(f"the runs are of different data sets ({', '.join(names)})")
    places = [run.path.resolve() for run in runs]
    twice = [run.path for run, place in zip(runs, places, strict=True) if places.count(place) > 1]
    if twice:
        raise SubmissionError(f"--folds: {twice[-1]} is given more than once; it would count twice")


def check_settings(settings: Settings, competition: Competition) -> None:
    """Raise SubmissionError for a temperature or clip if the metric is accuracy: they do not change it."""
    for option, value in (("--temperature", settings.temperature), ("--clip", settings.eps)):
        if competition.metric == "accuracy" and value is not None:
            raise SubmissionError(f"{option}: has no effect where the metric is accuracy; leave it out")


def check_calibration(run: LoadedRun, splits: Splits, settings: Settings, competition: Competition) -> None:
    """Raise SubmissionError if a temperature or clip would have to be fitted and there are no validation images."""
    given = competition.metric == "accuracy" or None not in (settings.temperature, settings.eps)
    if given or has_images(splits.val):
        return
    raise SubmissionError(
        f"{run.config.data.name}: no validation images to fit temperature and clip on; give --temperature and --clip, "
        "for example those that `submit` reports for the same config with validation images"
    )


def check_same_content(known: dict[tuple[str, str], bytes], splits: Splits, parts: Iterable[str], run: RunDir) -> None:
    """Raise SubmissionError for an id that names another image in an earlier run; their logits would be averaged.

    known: the content hashes of the images of all runs by part and id; those of `parts` are added
    """
    for part in parts:
        dataset = getattr(splits, part)
        if dataset is None:  # predict_split reports that there is none
            continue
        for name, content in zip(dataset.ids, dataset.content_hashes, strict=True):
            if known.setdefault((part, name), content) != content:
                raise SubmissionError(
                    f"{run.path}: {name} in {run.config.data.root} is not the same image as in the earlier runs; use "
                    "runs of the same data"
                )


def check_finite(run: LoadedRun, *predictions: Predictions) -> None:
    """Raise SubmissionError if a run has NaN or infinite logits, which argmax would hide."""
    for predicted in predictions:
        wrong = ~np.isfinite(predicted.logits).all(axis=1)
        if wrong.any():
            raise SubmissionError(
                f"{run.run.path}: predicts NaN or infinity for {wrong.sum():,} images "
                f"(the first: {predicted.ids[wrong.argmax()]}); its training has diverged"
            )


def check_same_images(targets: Sequence[Predictions]) -> None:
    """Raise SubmissionError if the runs do not predict the same images."""
    for target in targets[1:]:
        if set(target.ids) != set(targets[0].ids):
            raise SubmissionError(
                f"the runs predict different images ({len(targets[0].ids):,} and "
                f"{len(target.ids):,}); use runs of the same data"
            )


def labelled(predictions: Predictions) -> Labelled:
    """Predictions of validation images as a blend of one member."""
    assert predictions.labels is not None  # validation images are a part of the labelled ones
    return Labelled(predictions.ids, predictions.logits[:, None], predictions.labels, predictions.parts)


def inputs_of(
    competition: Competition,
    targets: Sequence[Predictions],
    validations: Sequence[Predictions],
    expected_ids: list[str] | None,
    origins: Sequence[Mapping[str, str]],
    seed: int,
    notes: tuple[str, ...],
) -> SubmissionInputs:
    """The predictions of all runs, averaged, with what is known of them; `validations` may be empty."""
    target = merge(targets)
    images = Images(target.ids, target.logits[:, None]), labelled(merge(validations)) if validations else None
    columns = {column: ";".join(one[column] for one in origins) for column in origins[0]}
    return SubmissionInputs(competition, target.classes, *images, expected_ids, columns, seed, notes=notes)


def origin(run: LoadedRun, tta: str) -> dict[str, str]:
    """The origin of a run's predictions, as columns of the ledger."""
    git = git_state()
    return {
        "runs": str(run.run.path),
        "checkpoint": f"best, epoch {run.state.epoch}" + (f", {tta} at test time" if tta != "none" else ""),
        "config_hash": run.state.config_hash,
        "git_commit": f"{git['commit']}{' with changes' if git['dirty'] else ''}" if git else "",
    }


def default_path(runs: Sequence[RunDir]) -> Path:
    """The default CSV of a run, or of all folds or seeds.

    It is submissions/alexnet_lrn-2026-11-22.csv for runs/cifar10/alexnet_lrn/2026-11-22.
    """
    run = runs[0].path
    if len(runs) > 1 and (is_job(run.parent) or all(one.path in seeds_in(run.parent) for one in runs)):
        run = run.parent
    return Path("submissions") / f"{'-'.join(run.resolve().parts[-2:])}.csv"
