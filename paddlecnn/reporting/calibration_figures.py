"""Two pictures of a calibration: do the probabilities mean what they say, and what does a clip cost."""
from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve

from paddlecnn.files import written_aside

BEFORE, AFTER = "#c2571a", "#1f6f8b"
BINS = 10


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically."""
    with written_aside(path) as aside:
        FigureCanvasAgg(figure).print_png(aside)


def reliability_diagram(before: np.ndarray, after: np.ndarray, truth: np.ndarray, name: str, path: Path) -> None:
    """How often images were of the class `name`, against the probability given to it, before and after calibration.

    before, after: [N] probabilities of the class; truth: [N], 1 where it is the class. Ten bins with as many
    images each; below, how many images got which probability, on a logarithmic scale.
    """
    figure = Figure(figsize=(6, 7), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    upper.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="what the probability says")
    for values, color, label in ((before, BEFORE, "before"), (after, AFTER, "after, cross-fitted")):
        observed, said = calibration_curve(truth, values, n_bins=BINS, strategy="quantile")
        upper.plot(said, observed, "o-", color=color, label=label, markersize=5)
        lower.hist(values, bins=np.linspace(0, 1, 21), histtype="step", color=color, linewidth=1.5)
    upper.set(ylabel=f"share of images whose label is {name}", title=f"Reliability on {len(truth):,} validation images")
    upper.legend(loc="upper left")
    lower.set(xlabel=f"probability given to {name}", ylabel="images", yscale="symlog", ylim=(0, None))
    save(figure, path)


def clip_curve(clips: np.ndarray, losses: dict[str, np.ndarray], chosen: float, path: Path) -> None:
    """Log loss on validation against the clip, one curve for each name in `losses`; the chosen clip is marked."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for (label, values), color in zip(losses.items(), (BEFORE, AFTER), strict=False):
        axes.plot(clips, values, color=color, label=label)
    if chosen > 0:
        axes.axvline(chosen, color="0.4", linestyle="--", linewidth=1, label=f"chosen: {chosen:.3g}")
    axes.set(xscale="log", xlabel="clip: no probability nearer to 0 or 1", ylabel="log loss on validation",
             title="What a clip saves and costs")
    axes.legend()
    save(figure, path)
