"""The figures of docs/results.md and the numbers that each is drawn from, of which its file keeps a digest."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from matplotlib.figure import Figure

from paddlecnn.files import written_aside
from paddlecnn.reporting import results_figures as figures
from paddlecnn.reporting.experiments import (
    Experiment,
    folds_per_config,
    grouped,
    lrn_pairs,
    mean_accuracy,
    one_per_config,
    scores_by_views,
    spread,
)
from paddlecnn.reporting.published import Published, published_results
from paddlecnn.reporting.result_files import ResultFile, read_results
from paddlecnn.reporting.results_figures import Measured, Panel

Drawing = partial[Figure]
SMALLEST_SHARE = 0.05  # of a recipe's epochs, in a figure against time


class Point(NamedTuple):
    """A config in a figure of accuracy against time."""

    data: str
    label: str
    minutes: float
    values: list[float]


def drawings(folder: Path) -> dict[Path, Drawing]:
    """The figures of the page: their files, and how each is drawn."""
    files = read_results(folder)
    experiments = grouped(files)
    found = time_drawings(experiments, files)
    for number, pair in enumerate(lrn_pairs(experiments)):
        curves = {
            one.first.model: [[epoch.val.top1 for epoch in run.history if epoch.val] for run in one.runs]
            for one in pair
        }
        found[f"lrn_{number}"] = partial(figures.curves, curves)
    if panels := published_panels(experiments):
        found["published"] = partial(figures.published_beside_ours, panels)
    return {folder.parent / f"images/results_{name}.png": drawing for name, drawing in found.items()}


def time_drawings(experiments: list[Experiment], files: list[ResultFile]) -> dict[str, Drawing]:
    """Accuracy against training time for each data set: on test images or, if nothing was measured on these, out of
    fold and on validation images that selected no epoch. One experiment per config, with one view of each image; none
    that has only begun."""
    experiments = [one for one in experiments if one.share >= SMALLEST_SHARE]
    on_test = [
        Point(one.first.data, f"{name}, {one.epochs} epochs", median(one.minutes), [score.top1 for score in one.tested])
        for name, one in one_per_config(experiments).items()
    ]
    otherwise = [
        Point(
            one.first.data,
            f"{name}, {one.epochs} epochs, {one.validated[0].n:,} for validation",
            median(one.minutes),
            [score.top1 for score in one.validated],
        )
        for name, one in one_per_config(experiments, lambda one: one.validated).items()
    ]
    otherwise += [
        Point(
            one.data,
            f"{name}, {one.config['train']['epochs']} epochs, {one.n:,} out of fold",
            one.seconds / 60,
            [one.accuracy.mean],
        )
        for name, (one, _) in folds_per_config(files, "none").items()
    ]
    found = {}
    for points, axis in ((otherwise, "accuracy on images not trained on"), (on_test, "test accuracy")):
        for data in sorted({point.data for point in points}):
            shown = sorted(point[1:] for point in points if point.data == data)
            found[f"{data}_time"] = partial(figures.accuracy_time, shown, axis)
    return found


def published_panels(experiments: list[Experiment]) -> list[Panel]:
    """The published accuracies that have a counterpart among ours."""
    of_config = one_per_config(experiments)
    return [panel(one, of_config[one.config]) for one in published_results() if one.config in of_config]


def panel(published: Published, ours: Experiment) -> Panel:
    """A published accuracy, and ours by the kind of views."""
    series = f"published; epoch chosen on test images: {published.chosen_on_test}"
    rows = [Measured("published", series, f"{published.top1:.2%}", *[published.top1] * 3)]
    kinds = {"none": ours.tested, **scores_by_views([run.test_views for run in ours.runs])}
    for tta, scores in kinds.items():
        row = "ours" if tta == "none" else f"ours, {tta}"
        rows.append(Measured(row, figures.OURS, mean_accuracy(scores), *spread(scores)))
    return f"{published.network}\nours: {ours.first.name}, {ours.epochs} epochs", rows


def save_drawing(drawing: Drawing, path: Path) -> None:
    """Write a figure as PNG, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        drawing().savefig(aside, dpi=150, format="png", metadata={"Inputs": digest(drawing)})


def is_saved(drawing: Drawing, path: Path) -> bool:
    """Whether the file was drawn from the same numbers."""
    return digest(drawing).encode() in path.read_bytes()


def digest(drawing: Drawing) -> str:
    """A hash of the figure's name and of everything that it shows."""
    return hashlib.sha256(f"{drawing.func.__name__}{drawing.args}".encode()).hexdigest()
