"""From logits to a checked submission with an entry in the ledger, for single runs and for blends.

The folder NAME beside NAME.csv contains the evidence: calibration.json, validation.csv (the probabilities of the
validation images, on which a later blend fits its weights), reliability.png and clip.png.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paddlecnn.evaluation.blending import Blend, fit_blend, mean_logits, plain_mean
from paddlecnn.evaluation.calibration import (
    TEMPERATURES,
    Calibration,
    clip,
    clips,
    cross_fitted,
    image_losses,
    probability_columns,
    worst_loss,
)
from paddlecnn.evaluation.intervals import Estimate, accuracy_estimate, log_loss_estimate
from paddlecnn.files import file_digest, save_png, write_csv, write_json, written_aside
from paddlecnn.kaggle.competitions import Competition
from paddlecnn.kaggle.ledger import Entry, Ledger, now
from paddlecnn.kaggle.submission import check_submission, in_order_of, submission_table
from paddlecnn.reporting.figures import clip_figure, reliability_figure


@dataclass(frozen=True)
class Settings:
    """A temperature above 0, a clip in [0, 1/2), weights with sum 1. Those that are None are fitted on validation."""

    temperature: float | None = None
    eps: float | None = None
    weights: tuple[float, ...] | None = None

    def free(self, members: int) -> bool:
        """Whether anything has to be fitted."""
        return None in (self.temperature, self.eps) or (self.weights is None and members > 1)

    def fit(self, logits: np.ndarray, labels: np.ndarray) -> Blend:
        """Fit the settings that are None on logits [N, M, C] and labels [N]."""
        return fit_blend(logits, labels, self.weights, self.temperature, self.eps)


@dataclass(frozen=True)
class Images:
    """The logits [N, M, C] of N images by M members."""

    ids: Sequence[str]
    logits: np.ndarray


@dataclass(frozen=True)
class Labelled(Images):
    """Images with their labels [N] and, in a cross-validation, their folds [N]."""

    labels: np.ndarray
    folds: np.ndarray | None = None


@dataclass(frozen=True)
class SubmissionInputs:
    """The inputs of a submission."""

    competition: Competition
    classes: tuple[str, ...]
    target: Images  # the images to submit
    validation: Labelled | None  # the images for calibration and for the expected score
    expected_ids: Sequence[str] | None  # ids and order of the sample submission, if there is one
    origin: dict[str, str]  # columns of the ledger: runs, checkpoint, config_hash, git_commit
    seed: int = 0
    calibrated_members: bool = False  # the members were calibrated on the validation images
    notes: tuple[str, ...] = ()  # caveats about the validation images


@dataclass(frozen=True)
class ExpectedScore:
    """The competition's metric, estimated on validation images."""

    images: int
    before: Estimate  # of the members' unweighted mean
    after: Estimate  # of the fitted blend; each image is scored by a fit that did not use it
    held_out: np.ndarray  # the probabilities behind `after`, [N, C]


@dataclass(frozen=True, repr=False)
class WrittenSubmission:
    """A submission that was written."""

    path: Path
    rows: int
    competition: Competition
    blend: Blend
    expected: ExpectedScore | None
    cross_fitted: bool = False  # the cross-fit covers everything that was fitted on the validation images
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "\n".join(self.report())

    def report(self) -> list[str]:
        """Lines for the user: the file, the expected score, the calibration, and caveats about them."""
        lines = [f"{self.path}: {self.rows:,} rows{f' for {self.competition.slug}' if self.competition.slug else ''}"]
        if self.expected is None:
            fitted = f"{self.blend}; " if self.competition.metric == "log_loss" else ""
            common = " in common" if len(self.blend.weights) > 1 else ""
            return [*lines, f"{fitted}expected score unknown: no validation images{common}", *self.notes]
        count = f"{self.expected.images:,} validation images"
        if self.competition.metric == "accuracy":
            return [*lines, f"expected accuracy {self.expected.after}, from {count}", *self.notes]
        plain = "as trained" if len(self.blend.weights) == 1 else "plain mean"
        return [
            *lines,
            f"expected log loss {plain}   {self.expected.before}",
            f"expected log loss calibrated   {self.expected.after}{', cross-fitted' if self.cross_fitted else ''}",
            *self.competition.standing(self.expected.after),
            f"{self.blend}, fitted on {count}",
            *self.notes,
            f"figures: {self.path.with_suffix('')}/reliability.png and clip.png",
        ]


def write_candidate(inputs: SubmissionInputs, settings: Settings, path: Path) -> WrittenSubmission:
    """Fit on validation images, write the CSV if it passes its checks, and list it in the ledger beside it."""
    competition = inputs.competition
    blend, expected = fit_and_estimate(inputs, settings)
    table = submission_table(competition, inputs.target.ids, inputs.classes, blend(inputs.target.logits))
    if inputs.expected_ids is not None:
        table = in_order_of(table, inputs.expected_ids, "the sample submission")
    check_submission(table, competition, str(path), inputs.expected_ids)
    fitted = settings.free(len(blend.weights)) and not inputs.calibrated_members
    notes = tuple(limits_of(inputs, settings, blend)) if expected else inputs.notes
    written = WrittenSubmission(path, len(table), competition, blend, expected, fitted, notes)
    with written_aside(path) as aside:
        write_csv(aside, table)
        digest = file_digest(aside)
        if competition.metric == "log_loss" and expected is not None and inputs.validation is not None:
            write_evidence(inputs, written, inputs.validation, expected, digest)
        # Before the file has its name: no later `submit` would replace a file that the ledger does not list.
        Ledger(path.parent).add(ledger_entry(inputs, written, digest))
    return written


def fit_and_estimate(inputs: SubmissionInputs, settings: Settings) -> tuple[Blend, ExpectedScore | None]:
    """The blend to submit and its expected score, which is None without validation images.

    If the metric is accuracy, nothing is fitted: temperature and clip do not change the most probable class.
    """
    members, classes = inputs.target.logits.shape[1:]
    plain = plain_mean(members)
    if inputs.validation is None:
        weights = settings.weights or plain.weights
        return Blend(weights, Calibration(settings.temperature or 1.0, settings.eps or 0.0)), None
    logits, labels = inputs.validation.logits, inputs.validation.labels
    before = plain(logits)
    if inputs.competition.metric == "accuracy":
        estimate = accuracy_estimate(before.argmax(axis=1) == labels)
        return plain, ExpectedScore(len(labels), estimate, estimate, before)
    blend = settings.fit(logits, labels)
    held_out, eps = blend(logits), blend.eps
    if settings.free(members):
        held_out, eps = cross_fitted(settings.fit, logits, labels, inputs.seed, inputs.validation.folds)
    first, second = (
        log_loss_estimate(image_losses(probabilities, labels), worst_loss(smallest, classes), inputs.seed)
        for probabilities, smallest in ((before, 0.0), (held_out, eps))
    )
    return blend, ExpectedScore(len(labels), first, second, held_out)


def limits_of(inputs: SubmissionInputs, settings: Settings, blend: Blend) -> list[str]:
    """Caveats about the expected score and the fit, one per line."""
    notes = [*inputs.notes]
    if inputs.competition.metric == "accuracy":
        return notes
    if inputs.calibrated_members:
        notes.append("the members were calibrated on the same images; only their blend is cross-fitted")
    if settings.temperature is None and blend.calibration.temperature_at_bound:
        low, high = TEMPERATURES
        notes.append(
            f"T is at the end of its range, {low:g} to {high:g}: these images do not determine it; "
            "--temperature sets it"
        )
    return notes


def ledger_entry(inputs: SubmissionInputs, written: WrittenSubmission, sha256: str) -> Entry:
    """The ledger's entry for a written file."""
    expected = dataclasses.astuple(written.expected.after) if written.expected else ()
    numbers = dict(zip(("expected", "low", "high"), (f"{number:.5f}" for number in expected), strict=False))
    return Entry(
        file=written.path.name,
        sha256=sha256,
        written=now(),
        competition=written.competition.slug,
        metric=written.competition.metric,
        calibration=str(written.blend) if written.competition.metric == "log_loss" else "",
        **numbers,
        **inputs.origin,
    )


def write_evidence(
    inputs: SubmissionInputs, written: WrittenSubmission, validation: Labelled, expected: ExpectedScore, sha256: str
) -> None:
    """Write the folder beside the CSV. Its probabilities are those of the fit that the CSV was written with.

    sha256: of the CSV; a later blend uses it to check that the folder belongs to the same version
    """
    folder = written.path.with_suffix("")
    folder.mkdir(exist_ok=True)
    write_json(
        folder / "calibration.json",
        {
            "sha256": sha256,
            "competition": written.competition.slug,
            "validation_images": expected.images,
            "weights": written.blend.weights,
            "temperature": written.blend.calibration.temperature,
            "clip": written.blend.calibration.eps,
            "log_loss_before": dataclasses.asdict(expected.before),
            "log_loss_after": dataclasses.asdict(expected.after),
            "cross_fitted": written.cross_fitted,
            **inputs.origin,
        },
    )
    write_csv(folder / "validation.csv", validation_table(inputs.classes, validation, written.blend))
    name = written.competition.positive
    column = inputs.classes.index(name)
    plain = plain_mean(validation.logits.shape[1])(validation.logits)
    accuracy = float(np.mean(plain.argmax(axis=1) == validation.labels))
    title = f"{written.path.stem}: {accuracy:.2%} of {expected.images:,} validation images"
    labels = (validation.labels == column).astype(int)
    axes = f"share of images whose label is {name}", f"predicted probability of {name}"
    after = expected.held_out[:, column]
    figure = reliability_figure(plain[:, column], after, labels, title, *axes, written.cross_fitted)
    save_png(figure, folder / "reliability.png")
    save_png(draw_clip_curve(validation, written.blend, title), folder / "clip.png")


def validation_table(classes: Sequence[str], validation: Labelled, blend: Blend) -> pd.DataFrame:
    """id, label (the name of the class), and the calibrated probability of each class."""
    names = np.asarray(classes, dtype=object)[validation.labels]
    table = pd.DataFrame(blend(validation.logits), columns=probability_columns(classes, ("id", "label")))
    return pd.concat([pd.DataFrame({"id": validation.ids, "label": names}), table], axis=1)


def draw_clip_curve(validation: Labelled, blend: Blend, title: str) -> Figure:
    """The log loss for the clips that a fit searches, without and with the fitted temperature."""
    searched = clips(validation.logits.shape[2], 80)
    logits, fitted = mean_logits(validation.logits, blend.weights), blend.calibration

    def losses(calibration: Calibration) -> np.ndarray:
        probabilities = calibration(logits)
        return np.array([image_losses(clip(probabilities, eps), validation.labels).mean() for eps in searched])

    tempered = losses(Calibration(fitted.temperature))
    curves = {"without a temperature": losses(Calibration()), f"with T = {fitted.temperature:.3g}": tempered}
    return clip_figure(searched, curves, fitted.eps, title)
