"""The scores of a cross-validation: each image is predicted by the run that was not trained on it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from paddlecnn import distributed
from paddlecnn.config import TEST_VIEWS
from paddlecnn.data.datasets import open_dataset
from paddlecnn.errors import RunError
from paddlecnn.evaluation.blending import fit_blend
from paddlecnn.evaluation.calibration import FEWEST, KAGGLE_EPS, Calibration, cross_fitted, image_losses, worst_loss
from paddlecnn.evaluation.evaluate import data_suffix, engine_suffix, read_predictions, suffix, write_predictions
from paddlecnn.evaluation.intervals import Estimate, accuracy_estimate, log_loss_estimate
from paddlecnn.evaluation.load_run import load_run
from paddlecnn.evaluation.predict import Predictions, check_same_data, merge, predict_split
from paddlecnn.files import write_json
from paddlecnn.runs.fold_job import FoldJob
from paddlecnn.runs.run_dir import reservations
from paddlecnn.text_tables import text_table


def evaluate_folds(
    job: FoldJob,
    module: str | None = None,
    data_changed: bool = False,
    engine: str | None = None,
    precision: str | None = None,
    tta: str = "none",
) -> dict[str, Any]:
    """The table of a cross-validation whose runs are trained, kept as out_of_fold.json and out_of_fold.csv.

    With an engine other than the runs' own, the files are out_of_fold_ENGINE_PRECISION.json and .csv; with several
    views of each image, out_of_fold_TTA.json and .csv; with other data, out_of_fold_data_changed.json and .csv.

    `folds` has one row per fold, `all` is the row of all images: n, accuracy, log_loss as trained and calibrated, each
    with its 95 % interval. An image is calibrated by a fit on the other folds; with too few images to calibrate on, the
    calibrated figures are those as trained, and `notes` says so.

    data_changed: evaluate even if the data are not those that the runs were trained with
    engine, precision: used in place of those that the runs were trained with
    tta: the views of each image, as in `prediction_views`
    """
    validations, epochs, changed, engines = [], [], [], []
    for folder in job.runs:  # one network in memory at a time
        run = load_run(folder, module=module, engine=engine, precision=precision)
        splits = open_dataset(run.config.data, run.config.seed)
        changed += check_same_data(run, splits, data_changed)
        validations.append(predict_split(run, splits, "val", tta))
        epochs.append(run.state.epoch)
        engines.append(engine_suffix(run.engine.name, run.engine.precision) if run.by_another_engine else "")
    merged = merge(validations)
    assert merged.labels is not None  # the images were trained on
    assert merged.parts is not None  # folds have no image in common
    seed = job.config.seed
    notes = [*reservations(job.runs), *changed]
    if (images := len(merged.ids)) < FEWEST:
        notes.append(f"{images} images are too few to calibrate on; the calibrated figures are those as trained")
        calibrated, eps = Calibration(eps=KAGGLE_EPS)(merged.logits), KAGGLE_EPS
    else:
        calibrated, eps = cross_fitted(fit_blend, merged.logits[:, None, :], merged.labels, seed, merged.parts)
    worst = worst_loss(eps, len(merged.classes))
    rows = [
        {"fold": fold, "epoch": epoch, **scores(merged, calibrated, worst, seed, np.flatnonzero(merged.parts == fold))}
        for fold, epoch in enumerate(epochs)
    ]
    everything = scores(merged, calibrated, worst, seed, np.arange(len(merged.ids)))
    table = {"tta": tta, "folds": rows, "all": everything, "notes": notes, "data_changed": bool(changed)}
    if distributed.rank() == 0:
        # Predictions consist of logits: here the logarithms of the calibrated probabilities.
        # The engines are all the same, except if runs changed theirs.
        path = predictions_path(job, tta, max(engines), bool(changed))
        write_predictions(path, dataclasses.replace(merged, logits=np.log(calibrated)))
        write_json(path.with_suffix(".json"), table)
    return table


def predictions_path(job: FoldJob, tta: str, engine: str = "", data_changed: bool = False) -> Path:
    """The file with the calibrated predictions of a job; the table is beside it as .json."""
    return job.path / f"out_of_fold{engine}{suffix(tta)}{data_suffix(data_changed)}.csv"


def measured_views(job: FoldJob) -> list[str]:
    """The kinds of views (`--tta`) that `evaluate_folds` measured a job with; `none`, the central crop, comes first."""
    return [tta for tta in TEST_VIEWS if tta == "none" or predictions_path(job, tta).exists()]


def stored_folds(job: FoldJob, tta: str = "none") -> tuple[dict[str, Any], Predictions]:
    """The table and the calibrated predictions that `evaluate_folds` kept.

    Raises RunError if the job is not finished, has been trained further since, or was measured on other data.
    """
    best = [run.load_state("best") for run in job.runs]
    path = predictions_path(job, tta)
    try:
        table = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if [row["epoch"] for row in table["folds"]] != [state.epoch for state in best]:
            raise ValueError("its folds were trained further")
        if table.get("data_changed"):
            raise ValueError("they are of data other than the job's (--data-changed)")
        return table, read_predictions(path, best[0].classes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"{path}: no current predictions ({reason}); run `paddlecnn eval {job.path}`") from None


def scores(
    predicted: Predictions, calibrated: np.ndarray, worst: float, seed: int, chosen: np.ndarray
) -> dict[str, Any]:
    """The row of the table for the images at the chosen positions."""
    logits, labels = predicted.logits[chosen], np.asarray(predicted.labels)[chosen]
    plain = image_losses(softmax(logits, axis=1), labels)
    estimates = {
        "accuracy": accuracy_estimate(logits.argmax(axis=1) == labels),
        "log_loss": log_loss_estimate(plain, worst_loss(0, len(predicted.classes)), seed),
        "log_loss_calibrated": log_loss_estimate(image_losses(calibrated[chosen], labels), worst, seed),
    }
    return {"n": len(chosen), **{name: dataclasses.asdict(one) for name, one in estimates.items()}}


def as_text(table: dict[str, Any]) -> str:
    """The table with a line per fold."""
    title = [] if table["tta"] == "none" else [f"{table['tta']} at test time"]
    lines = [["fold", "epoch", "images", "accuracy", "log loss as trained", "log loss calibrated on the other folds"]]
    for row in [*table["folds"], {"fold": "all", "epoch": "", **table["all"]}]:
        estimates = [str(Estimate(**row[name])) for name in ("accuracy", "log_loss", "log_loss_calibrated")]
        lines.append([str(row["fold"]), str(row["epoch"]), f"{row['n']:,}", *estimates])
    return "\n".join([*title, text_table(lines), *table["notes"]])
