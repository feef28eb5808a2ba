"""Figures of an evaluation, written as PNG."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from paddlecnn.files import save_png


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
                axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", fontsize=8,
                          color="white" if shares[row, column] > 0.5 else "black")
    figure.colorbar(image, label="share of the label's images", fraction=0.046, pad=0.04)
    save_png(figure, path, dpi=120)
