"""The members of a comparison: runs and cross-validations with their figures and stored predictions."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from paddlecnn.errors import RunError
from paddlecnn.evaluation.evaluate import evaluate_run, stored_predictions
from paddlecnn.evaluation.out_of_fold import stored_folds
from paddlecnn.evaluation.predict import Predictions
from paddlecnn.runs.fold_job import FoldJob, is_job
from paddlecnn.runs.run_dir import RunDir, begun_in, find_path
from paddlecnn.runs.state import RunState

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Member:
    """One run, or all folds of a cross-validation: its figures and its stored predictions."""

    source: RunDir | FoldJob
    runs: list[RunDir]  # the run, or that of each fold
    best: RunState  # of the first run
    histories: list[RunState]  # of the last checkpoint of each run
    predictions: Predictions | None  # those of a cross-validation are out of fold
    top1: float
    loss: float
    images: int
    measured_on: tuple[str, ...]  # what identifies the images of the figures; equal for equal images

    @property
    def seed(self) -> int:
        return self.source.config.seed

    @property
    def started_from(self) -> list[str]:
        """The SHA-256 of the weights that each run started from: of another run, or of its export."""
        return [source["sha256"] for run in self.runs for source in run.sources[:1]]

    @property
    def seconds(self) -> float:
        """Duration of the training, all folds together."""
        return sum(one.seconds for one in self.histories)

    def curve(self, quantity: str) -> list[float]:
        """`loss` or `top1` on validation over the epochs, the mean over the folds."""
        curves = [[getattr(e.val, quantity) for e in one.history if e.val] for one in self.histories]
        return [statistics.fmean(values) for values in zip(*curves, strict=False)]

    @cached_property
    def correct(self) -> dict[str, bool]:
        """Whether each image is predicted correctly, by its id; empty without stored predictions."""
        if self.predictions is None:
            return {}
        right = self.predictions.logits.argmax(axis=1) == self.predictions.labels
        return dict(zip(self.predictions.ids, right.tolist(), strict=True))


def found_under(name: str) -> Iterator[tuple[RunDir | FoldJob, bool]]:
    """The runs and cross-validations under a name, and whether the name is that of a single one."""
    folder = find_path(name)
    is_named = is_job(folder) or not folder.is_dir() or (folder / "config.yaml").is_file()
    found = [folder] if is_named else [path.parent for path in begun_in(folder)]
    if not found:
        raise RunError(f"{folder}: contains no run")
    for path in found:
        yield FoldJob(path) if is_job(path) else RunDir(path), is_named


def read_member(source: RunDir | FoldJob, split: str, is_named: bool, evaluate: bool) -> Member | None:
    """The figures to compare; None, with a warning, for a run found in a folder that does not have them yet."""
    try:
        return read_job(source, split) if isinstance(source, FoldJob) else read_run(source, split, evaluate)
    except RunError as error:
        if is_named:
            raise
        logger.warning("%s; left out", error)
        return None


def read_job(job: FoldJob, split: str) -> Member:
    """A cross-validation with its out-of-fold figures."""
    if split == "test":
        raise RunError(
            f"{job.path}: is a cross-validation, measured out of fold; name one of its runs with --split test"
        )
    table, predictions = stored_folds(job)
    figures, runs = table["all"], job.runs
    top1, loss = figures["accuracy"]["mean"], figures["log_loss"]["mean"]
    histories, best = [run.load_state("last") for run in runs], [run.load_state("best") for run in runs]
    folds = tuple(state.data.val for state in best)
    return Member(job, runs, best[0], histories, predictions, top1, loss, figures["n"], folds)


def read_run(run: RunDir, split: str, evaluate: bool) -> Member:
    """A run with its figures on a split."""
    best, histories = run.load_state("best"), [run.load_state("last")]
    if split == "val" and best.best is not None and not best.best.n:
        raise RunError(f"{run.path}: was trained without validation images; compare with --split test")
    stored = stored_predictions(run, split, best)
    if stored is None and evaluate:
        logger.info("%s: predicting the %s images", run.path, split)
        evaluate_run(run, split)
        stored = stored_predictions(run, split, best)
    if split == "test" and stored is None:
        raise RunError(f"{run.path}: not measured on test images; run `paddlecnn eval {run.path} --split test`")
    measured_on: tuple[str, ...] = (best.data.val,)
    if stored is not None:
        figures, predictions = stored
        if split == "test":  # a run keeps no fingerprint of its test images
            measured_on = (*predictions.ids, *map(str, np.asarray(predictions.labels)))
        scores = figures["top1"], figures["loss"], figures["n"]
        return Member(run, [run], best, histories, predictions, *scores, measured_on)
    assert best.best is not None  # of a checkpoint that was written because it was the best
    return Member(run, [run], best, histories, None, best.best.top1, best.best.loss, best.best.n, measured_on)
