"""JOB/report.html: a cross-validation on one page, measured out of fold, with links to the pages of its folds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from paddlecnn.data.datasets import open_parts
from paddlecnn.errors import DataError, UserError
from paddlecnn.evaluation.intervals import Estimate
from paddlecnn.evaluation.metrics import report
from paddlecnn.evaluation.out_of_fold import measured_views, stored_folds
from paddlecnn.evaluation.predict import Predictions
from paddlecnn.reporting.evidence import PredictedImages
from paddlecnn.reporting.figures import confusion_figure, history_figure
from paddlecnn.reporting.mistakes import hardest, picture
from paddlecnn.reporting.page import write_page
from paddlecnn.reporting.report import config_changes
from paddlecnn.reporting.theme import svg
from paddlecnn.runs.fold_job import FoldJob
from paddlecnn.runs.state import EpochRecord, Means, RunState, Scores

logger = logging.getLogger(__name__)


def write_job_report(job: FoldJob, standing: Callable[[Estimate], list[str]]) -> Path:
    """Write JOB/report.html from what `evaluate_folds` kept, and return its path.

    standing: what a log loss would reach in the job's competition, in lines

    Raises RunError if the job is not finished, or has not been measured since it was trained.
    """
    table, predictions = stored_folds(job)
    assert predictions.labels is not None  # the images were trained on
    views = {tta: stored_folds(job, tta)[0]["all"] for tta in measured_views(job)[1:]}
    histories = [run.load_state("last") for run in job.runs]
    figures = report(predictions.logits, predictions.labels, predictions.classes)
    mean = mean_history(histories)
    path = job.path / "report.html"
    write_page(
        path,
        "job_report.html",
        job=job.path,
        title=f"{job.config.model.name} on {job.config.data.name}, {len(histories)} folds",
        everything=table["all"],
        folds=[(row, (job.folds[row["fold"]] / "report.html").is_file()) for row in table["folds"]],
        views=views,
        standing=standing(Estimate(**table["all"]["log_loss_calibrated"])),
        notes=table["notes"],
        seconds=sum(state.seconds for state in histories),
        changes=config_changes(job.config),
        curves=[
            svg(history_figure(mean, 0, name), name, f"{name} over the epochs, mean of the folds")
            for name in ("loss", "top1")
        ],
        mistakes=mistakes_out_of_fold(job, table, predictions),
        per_class=figures["per_class"],
        confusion=svg(
            confusion_figure(np.array(figures["confusion"]), predictions.classes), "confusion", "Confusion matrix"
        ),
    )
    return path


def mistakes_out_of_fold(
    job: FoldJob, table: dict[str, Any], predictions: Predictions
) -> list[tuple[str, list[dict[str, Any]]]]:
    """The pictures of `hardest` over all folds, where wrong labels show first; without the images none, with a warning.

    table, predictions: as `stored_folds` gives them; the images of fold 0 are the first, and so on
    """
    try:
        everything = open_parts(job.config.data).train
        images = everything.subset(np.array([everything.position_of[name] for name in predictions.ids]))
        ends = np.cumsum([row["n"] for row in table["folds"]])
        states = [run.load_state("best") for run in job.runs]
        for state, positions in zip(states, np.split(np.arange(len(images)), ends[:-1]), strict=True):
            if images.subset(positions).fingerprint != state.data.val:
                raise DataError("the images have changed since the training")
    except (UserError, KeyError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        logger.warning("%s: no pictures in the report: %s", job.path, reason)
        return []
    predicted = PredictedImages(predictions, images, states[0].preprocess)
    return [(name, [picture(predicted, position) for position in found]) for name, found in hardest(predicted)]


def mean_history(histories: Sequence[RunState]) -> list[EpochRecord]:
    """The mean over the folds of each epoch that all of them have."""
    epochs = zip(*(state.history for state in histories), strict=False)
    return [
        EpochRecord(
            epoch=records[0].epoch,
            step=records[0].step,
            train=Means(loss=fmean(one.train.loss for one in records), top1=fmean(one.train.top1 for one in records)),
            val=Scores(
                n=sum(one.val.n for one in records if one.val),
                loss=fmean(one.val.loss for one in records if one.val),
                top1=fmean(one.val.top1 for one in records if one.val),
            ),
        )
        for records in epochs
    ]
