"""From logits to a written, checked and remembered submission; what a run and a blend have in common.

Beside NAME.csv lies the folder NAME with what the file rests on: calibration.json, validation.csv (the
validation images' probabilities, which a later blend fits its weights on), reliability.png and clip.png.
"""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from paddlecnn.evaluation.blending import Blend, mean_logits, plain_mean
from paddlecnn.evaluation.calibration import Calibration, Estimate, clip, cross_fitted, estimate, image_losses
from paddlecnn.files import file_digest, write_json, written_aside
from paddlecnn.kaggle.competitions import Competition
from paddlecnn.kaggle.ledger import Entry, Ledger, now
from paddlecnn.kaggle.settings import Settings
from paddlecnn.kaggle.submission import check_submission, in_order_of, submission_table, write_submission
from paddlecnn.reporting.calibration_figures import clip_curve, reliability_diagram


@dataclass(frozen=True)
class Images:
    """The logits [N, M, C] that M members give N images; labels [N] where they are known."""

    ids: Sequence[str]
    logits: np.ndarray
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class SubmissionInputs:
    """A submission before it is written."""

    competition: Competition
    classes: tuple[str, ...]
    target: Images  # what is submitted
    validation: Images | None  # what tells how good that is
    expected_ids: Sequence[str] | None  # ids and order of the sample submission, where there is one
    origin: dict[str, str]  # columns of the ledger: runs, checkpoint, config_hash, git_commit
    seed: int = 0


@dataclass(frozen=True)
class ExpectedScore:
    """What validation lets one expect of the competition's metric."""

    images: int
    before: Estimate  # of the members' plain mean
    after: Estimate  # of the fitted blend; each image is scored by a fit that did not see it
    held_out: np.ndarray  # the probabilities that `after` is made of, [N, C]


@dataclass(frozen=True)
class WrittenSubmission:
    """A submission that was written."""

    path: Path
    rows: int
    competition: Competition
    blend: Blend
    outlook: ExpectedScore | None

    def report(self) -> list[str]:
        """What to tell a person."""
        lines = [f"{self.path}: {self.rows:,} rows{f' for {self.competition.slug}' if self.competition.slug else ''}"]
        if self.outlook is None:
            return [*lines, f"{self.blend}; nothing is known of what to expect: no validation images in common"]
        count = f"{self.outlook.images:,} validation images"
        if self.competition.metric == "accuracy":
            return [*lines, f"expected accuracy {self.outlook.after}, from {count}"]
        plain = "as trained" if len(self.blend.weights) == 1 else "plain mean"
        return [*lines, f"expected log loss {plain}   {self.outlook.before}",
                f"expected log loss calibrated   {self.outlook.after}, cross-fitted",
                f"{self.blend}, fitted on {count}",
                f"pictures: {self.path.with_suffix('')}/reliability.png and clip.png"]


def write_candidate(candidate: SubmissionInputs, settings: Settings, path: Path) -> WrittenSubmission:
    """Fit on validation, write the CSV when it passes its checks, and enter it in the ledger beside it."""
    competition = candidate.competition
    blend, outlook = fit_and_judge(candidate, settings)
    table = submission_table(competition, candidate.target.ids, candidate.classes, blend(candidate.target.logits))
    if candidate.expected_ids is not None:
        table = in_order_of(table, candidate.expected_ids, "the sample submission")
    check_submission(table, competition, str(path), candidate.expected_ids)
    made = WrittenSubmission(path, len(table), competition, blend, outlook)
    if competition.metric == "log_loss" and outlook is not None:
        write_evidence(candidate, made)
    write_submission(table, path)
    Ledger(path.parent).add(ledger_entry(candidate, made))
    return made


def fit_and_judge(candidate: SubmissionInputs, settings: Settings) -> tuple[Blend, ExpectedScore | None]:
    """The blend to submit with, and what validation says of it.

    Where accuracy counts nothing is fitted: no temperature or clip changes which class is the most probable.
    """
    members = candidate.target.logits.shape[1]
    plain = plain_mean(members)
    if candidate.validation is None:
        return Blend(settings.weights, Calibration(settings.temperature or 1.0, settings.eps or 0.0)), None
    logits, labels = candidate.validation.logits, candidate.validation.labels
    if candidate.competition.metric == "accuracy":
        blend, value_of = plain, is_right
        held_out = plain(logits)
    else:
        blend, value_of = settings.fit(logits, labels), image_losses
        held_out = (cross_fitted(settings.fit, logits, labels, candidate.seed) if settings.free(members)
                    else blend(logits))
    before, after = (estimate(value_of(p, labels), candidate.seed) for p in (plain(logits), held_out))
    return blend, ExpectedScore(len(labels), before, after, held_out)


def is_right(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """1 where the most probable class is the label, 0 elsewhere; [N, C], [N] to [N]."""
    return (probabilities.argmax(axis=1) == labels).astype(float)


def ledger_entry(candidate: SubmissionInputs, made: WrittenSubmission) -> Entry:
    """The line of the ledger for a file that was written."""
    expected = dataclasses.astuple(made.outlook.after) if made.outlook else ()
    numbers = dict(zip(("expected", "low", "high"), (f"{number:.5f}" for number in expected), strict=False))
    return Entry(file=made.path.name, sha256=file_digest(made.path), written=now(),
                 competition=made.competition.slug or "", metric=made.competition.metric,
                 calibration=str(made.blend) if made.competition.metric == "log_loss" else "",
                 **numbers, **candidate.origin)


def write_evidence(candidate: SubmissionInputs, made: WrittenSubmission) -> None:
    """The folder beside the CSV. Its probabilities are those of the fit that the CSV was made with."""
    folder, validation, outlook = made.path.with_suffix(""), candidate.validation, made.outlook
    folder.mkdir(exist_ok=True)
    write_json(folder / "calibration.json", {
        "competition": made.competition.slug, "validation_images": outlook.images, "weights": made.blend.weights,
        "temperature": made.blend.calibration.temperature, "clip": made.blend.calibration.eps,
        "log_loss_before": dataclasses.asdict(outlook.before),
        "log_loss_after_cross_fitted": dataclasses.asdict(outlook.after), **candidate.origin})
    with written_aside(folder / "validation.csv") as aside:
        validation_table(candidate, made.blend).to_csv(aside, index=False, lineterminator="\n")
    name = made.competition.positive
    column = candidate.classes.index(name)
    plain = plain_mean(validation.logits.shape[1])(validation.logits)
    reliability_diagram(plain[:, column], outlook.held_out[:, column], (validation.labels == column).astype(int), name,
                        folder / "reliability.png")
    draw_clip_curve(validation, made.blend, folder / "clip.png")


def validation_table(candidate: SubmissionInputs, blend: Blend) -> pd.DataFrame:
    """id, label (the class's name), and the calibrated probability of each class."""
    names = np.asarray(candidate.classes, dtype=object)[candidate.validation.labels]
    columns = dict(zip(candidate.classes, blend(candidate.validation.logits).T, strict=True))
    return pd.DataFrame({"id": candidate.validation.ids, "label": names} | columns)


def draw_clip_curve(validation: Images, blend: Blend, path: Path) -> None:
    """The log loss for clips from one in a million to 0.4, without and with the fitted temperature."""
    clips = np.geomspace(1e-6, 0.4, 80)
    logits, fitted = mean_logits(validation.logits, blend.weights), blend.calibration
    curves = {}
    for label, calibration in (("without a temperature", Calibration()),
                               (f"with T = {fitted.temperature:.3g}", Calibration(fitted.temperature))):
        probabilities = calibration(logits)
        curves[label] = np.array([image_losses(clip(probabilities, eps), validation.labels).mean() for eps in clips])
    clip_curve(clips, curves, fitted.eps, path)
