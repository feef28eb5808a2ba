"""Figures of an evaluation and of its calibration, written as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve

from paddlecnn.files import save_png

BEFORE, AFTER = "#c2571a", "#1f6f8b"
BINS = 10


def draw_confusion(path: Path, confusion: Sequence[Sequence[int]] | np.ndarray, classes: Sequence[str]) -> None:
    """The confusion matrix [C, C]: rows are labels, columns predictions; coloured by the share of the row."""
    counts = np.asarray(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(3.5, 0.62 * len(classes)), 24)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="label", xticks=range(len(classes)), yticks=range(len(classes)))
    axes.set_xticklabels(classes, rotation=90)
    axes.set_yticklabels(classes)
    if len(classes) <= 25:  # more would not be legible
        for row, column in np.ndindex(*counts.shape):
            if counts[row, column]:
                axes.text(
                    column,
                    row,
                    f"{counts[row, column]:,}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if shares[row, column] > 0.5 else "black",
                )
    figure.colorbar(image, label="share of the label's images", fraction=0.046, pad=0.04)
    save_png(figure, path, dpi=120)


def reliability_diagram(before: np.ndarray, after: np.ndarray, truth: np.ndarray, name: str, path: Path) -> None:
    """The share of images of the class `name` against its predicted probability, before and after calibration.

    before, after: [N] probabilities of the class; truth: [N], 1 for images of the class. Ten bins of equal
    numbers of images; below, a histogram of the probabilities on a logarithmic scale.
    """
    figure = Figure(figsize=(6, 7), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    upper.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="perfectly calibrated")
    for values, color, label in ((before, BEFORE, "before"), (after, AFTER, "after, cross-fitted")):
        observed, said = calibration_curve(truth, values, n_bins=BINS, strategy="quantile")
        upper.plot(said, observed, "o-", color=color, label=label, markersize=5)
        lower.hist(values, bins=np.linspace(0, 1, 21), histtype="step", color=color, linewidth=1.5)
    upper.set(ylabel=f"share of images whose label is {name}", title=f"Reliability on {len(truth):,} validation images")
    upper.legend(loc="upper left")
    lower.set(xlabel=f"predicted probability of {name}", ylabel="images", yscale="symlog", ylim=(0, None))
    save_png(figure, path)


def clip_curve(clips: np.ndarray, losses: dict[str, np.ndarray], chosen: float, path: Path) -> None:
    """Log loss on validation against the clip, one curve per name in `losses`; the chosen clip is marked."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for (label, values), color in zip(losses.items(), (BEFORE, AFTER), strict=False):
        axes.plot(clips, values, color=color, label=label)
    if chosen > 0:
        axes.axvline(chosen, color="0.4", linestyle="--", linewidth=1, label=f"chosen: {chosen:.3g}")
    axes.set(
        xscale="log",
        xlabel="clip: least distance of a probability from 0 and 1",
        ylabel="log loss on validation",
        title="Log loss against the clip",
    )
    axes.legend()
    save_png(figure, path)
