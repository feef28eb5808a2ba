"""report.html: one file that explains a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from paddlecnn.config import Config
from paddlecnn.configfile import differences, flat
from paddlecnn.errors import DataError
from paddlecnn.evaluation.blending import Blend, fit_blend
from paddlecnn.evaluation.calibration import (
    chance_calibration_error,
    cross_fitted,
    expected_calibration_error,
    image_losses,
    worst_loss,
)
from paddlecnn.evaluation.evaluate import stored_predictions
from paddlecnn.evaluation.intervals import Estimate, accuracy_estimate, log_loss_estimate
from paddlecnn.fonts import labels_of
from paddlecnn.models.layers import LocalResponseNorm
from paddlecnn.models.registry import default_options
from paddlecnn.reporting.activations import feature_maps, first_filters, record, suppressions
from paddlecnn.reporting.evidence import Evidence, gather
from paddlecnn.reporting.figures import (
    anchor_figure,
    confusion_figure,
    history_figure,
    reliability_figure,
    speed_figure,
    suppression_figure,
)
from paddlecnn.reporting.mistakes import mistakes, picture
from paddlecnn.reporting.page import data_uri, write_page
from paddlecnn.reporting.published import published_for
from paddlecnn.reporting.theme import svg
from paddlecnn.runs.run_dir import RunDir, reservations
from paddlecnn.training.profile import read_phases

LRN_IMAGES = 32  # whose activations are examined


def write_report(
    run: RunDir,
    module: str | None = None,
    device: str = "auto",
    data_changed: bool = False,
    reference_losses: Sequence[tuple[float, str]] = (),
) -> Path:
    """Write RUN/report.html, for the best epoch, and return its path.

    Validation images are predicted unless `evaluate_run` has already stored their predictions. Without the images, the
    sections that show some are left out; the page and a warning say so.

    module: the file with the run's own networks or data sets, if it was trained with one
    data_changed: use the validation images that are there, even if they are not those of the training
    reference_losses: log losses of the competition on the same data, each with its meaning
    """
    evidence = gather(run, module, device, data_changed)
    path = run.path / "report.html"
    write_page(
        path,
        "report.html",
        run=run.path,
        title=f"{evidence.config.model.name} on {evidence.config.data.name}",
        state=evidence.loaded.state,
        config=evidence.config,
        **outcome(evidence),
        reference_losses=reference_losses,
        changes=config_changes(evidence.config),
        **curves(evidence),
        **classes_section(evidence),
        **calibration_section(evidence),
        **network_section(evidence),
        **pictures_section(evidence),
        **time_section(evidence),
        environment=flat({key: value for key, value in evidence.environment.items() if key != "config"}),
        missing=evidence.missing,
    )
    return path


def outcome(evidence: Evidence) -> dict[str, Any]:
    """The first screen: accuracy and log loss with their intervals, published results beside them."""
    losses = image_losses(evidence.probabilities, evidence.labels)
    worst = worst_loss(0, len(evidence.loaded.classes))
    accuracy = accuracy_estimate(evidence.predicted == evidence.labels)
    test = tested(evidence)
    published = published_for(evidence.config.data.name, evidence.config.model.name)
    own = [("validation", accuracy), *([("test", test)] if test else [])]
    return {
        "accuracy": accuracy,
        "log_loss": log_loss_estimate(losses, worst, evidence.config.seed),
        "top5": evidence.figures["top5"],
        "images": len(losses),
        "test": test,
        "reservations": list(
            dict.fromkeys([*reservations([evidence.loaded.run]), *evidence.figures.get("reservations", ())])
        ),
        "test_reservations": reservations([evidence.loaded.run], "test") if test else [],
        "published": published,
        "most_frequent": np.bincount(evidence.labels).max() / len(losses),
        "anchor_chart": svg(
            anchor_figure(own, [(one.network, one.top1) for one in published]),
            "anchors",
            "Top-1 accuracy of this run with its 95 % interval beside published results, as in the table",
        ),
    }


def tested(evidence: Evidence) -> Estimate | None:
    """The accuracy on the test images, if `paddlecnn eval --split test` has measured this checkpoint."""
    stored = stored_predictions(evidence.loaded.run, "test", evidence.loaded.state)
    if stored is None:
        return None
    _, predictions = stored
    return accuracy_estimate(predictions.logits.argmax(axis=1) == predictions.labels)


def config_changes(config: Config) -> list[tuple[str, Any, Any]]:
    """(key, value, default) for each key that differs from its default; keys without a default have None there."""
    plain = Config.model_validate(
        {
            "data": {"name": config.data.name},
            "model": {"name": config.model.name, "options": default_options(config.model.name)},
            "train": {"epochs": config.train.epochs, "engine": "auto"},
        }
    )
    required = [(key, flat(config.model_dump())[key], None) for key in ("data.name", "model.name", "train.epochs")]
    options = {"options": default_options(config.model.name) | config.model.options}
    complete = config.model_copy(update={"model": config.model.model_copy(update=options)})
    return [*required, *((key, new, old) for key, old, new in differences(plain, complete))]


def curves(evidence: Evidence) -> dict[str, Any]:
    """Loss and accuracy over the epochs."""
    history, best = evidence.history.history, evidence.loaded.state.epoch
    train, val = history[-1].train, history[-1].val
    assert val is not None  # of a run with validation images
    described = (
        f"Training ends at loss {train.loss:.3f} and accuracy {train.top1:.1%}, validation at {val.loss:.3f} and "
        f"{val.top1:.1%}; the network shown is that of epoch {best} of {len(history)}."
    )
    return {
        "curves": [svg(history_figure(history, best, name), name, described) for name in ("loss", "top1")],
        "epochs": len(history),
    }


def classes_section(evidence: Evidence) -> dict[str, Any]:
    """Precision and recall of each class, the confusion matrix, and the most frequent confusions."""
    classes, confusion = evidence.loaded.classes, np.array(evidence.figures["confusion"])
    wrong = confusion * ~np.eye(len(classes), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:5]
    pairs = [
        (classes[row], classes[column], int(wrong[row, column]))
        for row, column in zip(*np.unravel_index(order, wrong.shape), strict=True)
    ]
    described = f"Confusion matrix of {len(classes)} classes; " + "; ".join(
        f"{count} images of {label} predicted as {other}" for label, other, count in pairs if count
    )
    return {
        "per_class": evidence.figures["per_class"],
        "confusion": svg(confusion_figure(confusion, classes), "confusion", described),
        "numbered": [(number, classes[number - 1]) for number in labels_of(classes).numbered],
        "pairs": [pair for pair in pairs if pair[2]],
    }


def calibration_section(evidence: Evidence) -> dict[str, Any]:
    """Reliability and ECE before and after calibration; each image is calibrated by a fit on other images."""
    try:
        after = calibrated(evidence)
    except DataError:
        return {"reliability": None}
    before, truth = evidence.probabilities, evidence.labels
    errors = [expected_calibration_error(one, truth) for one in (before, after)]
    figure = calibration_figure(evidence, after)
    described = f"Expected calibration error {errors[0]:.2%} before and {errors[1]:.2%} after calibration"
    return {
        "reliability": svg(figure, "reliability", described),
        "calibration_errors": errors,
        "chance_error": chance_calibration_error(after, evidence.config.seed),
        "temperature": fit_temperature(evidence.predictions.logits[:, None, :], truth).calibration.temperature,
        "calibrated_loss": float(image_losses(after, truth).mean()),
    }


def calibrated(evidence: Evidence) -> np.ndarray:
    """Probabilities [N, C], each image's from a temperature fitted on other images. Raises DataError for too few."""
    logits = evidence.predictions.logits[:, None, :]
    return cross_fitted(fit_temperature, logits, evidence.labels, evidence.config.seed)[0]


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> Blend:
    return fit_blend(logits, labels, eps=0.0)


def calibration_figure(evidence: Evidence, after: np.ndarray, title: str = "") -> Figure:
    """The reliability of the predicted class before and after calibration."""
    return reliability_figure(
        evidence.probabilities.max(axis=1),
        after.max(axis=1),
        (evidence.predicted == evidence.labels).astype(int),
        title,
        "share of correct predictions",
        "probability of the predicted class",
    )


def network_section(evidence: Evidence) -> dict[str, Any]:
    """Layers with their costs, and the first filters."""
    filters = first_filters(evidence.loaded.model, evidence.loaded.preprocess.channels)
    return {"summary": evidence.summary, "filters": None if filters is None else data_uri(filters)}


def pictures_section(evidence: Evidence) -> dict[str, Any]:
    """The parts that need images: feature maps of one, the effect of LRN, and the mistakes."""
    if evidence.images is None:
        return {"sample": None, "maps": [], "lrn": [], "mistakes": [], "has_heat": False}
    model, correct = evidence.loaded.model, np.flatnonzero(evidence.predicted == evidence.labels)
    first = int(correct[0]) if len(correct) else 0
    maps = feature_maps(record(model, evidence.inputs(np.array([first]))))
    several = np.array([first, *(i for i in range(min(LRN_IMAGES, len(evidence.labels))) if i != first)])
    suppressed = suppressions(record(model, evidence.inputs(several), LocalResponseNorm))
    wrong = mistakes(evidence)
    return {
        "sample": picture(evidence, first),
        "maps": [(one, data_uri(one.picture)) for one in maps],
        "lrn_images": len(several),
        "lrn": [
            (one, data_uri(one.picture), svg(suppression_figure(one), f"lrn-{one.name}", f"LRN layer {one.name}"))
            for one in suppressed
        ],
        "mistakes": wrong,
        "has_heat": any("heat" in card for _, cards in wrong for card in cards),
    }


def time_section(evidence: Evidence) -> dict[str, Any]:
    """Duration and speed of the training, and the phases of a step if `train --profile` has measured them."""
    history, phases = evidence.history.history, read_phases(evidence.loaded.run.path / "profile")
    timed = [one for one in history if one.images_per_second is not None and one.seconds is not None]
    training = sum(one.seconds or 0 for one in timed)
    return {
        "seconds": evidence.history.seconds,
        "training_seconds": training,
        "speed": sum((one.seconds or 0) * (one.images_per_second or 0) for one in timed) / training
        if training
        else None,
        "speed_chart": svg(speed_figure(timed), "speed", "Training speed of each epoch") if len(timed) > 1 else None,
        "phases": phases,
    }
