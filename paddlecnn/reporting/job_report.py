"""JOB/report.html: a cross-validation on one page, measured out of fold, with links to the pages of its folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np

from paddlecnn.evaluation.intervals import Estimate
from paddlecnn.evaluation.metrics import report
from paddlecnn.evaluation.out_of_fold import measured_views, stored_folds
from paddlecnn.reporting.figures import confusion_figure, history_figure
from paddlecnn.reporting.page import write_page
from paddlecnn.reporting.report import config_changes
from paddlecnn.reporting.theme import svg
from paddlecnn.runs.fold_job import FoldJob
from paddlecnn.runs.state import EpochRecord, Means, RunState, Scores


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
        per_class=figures["per_class"],
        confusion=svg(
            confusion_figure(np.array(figures["confusion"]), predictions.classes), "confusion", "Confusion matrix"
        ),
    )
    return path


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
