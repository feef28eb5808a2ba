"""Pictures, drawn by matplotlib and written as PNG."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no window, also where there is a screen
from matplotlib import pyplot as plt

from paddlecnn.files import written_aside


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure as PNG, atomically, and free it."""
    with written_aside(path) as aside:
        figure.savefig(aside, format="png", dpi=120, bbox_inches="tight")
    plt.close(figure)


def draw_confusion(path: Path, counts: np.ndarray, classes: Sequence[str]) -> None:
    """The confusion matrix [C, C]: rows are labels, columns predictions; coloured by the share of the row."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(3.5, 0.62 * len(classes)), 24)
    figure, axes = plt.subplots(figsize=(side + 1, side))
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
    save(figure, path)
