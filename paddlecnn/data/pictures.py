"""Two pictures of a data set: a sheet of random samples with their labels, and its image sizes."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from paddlecnn.data.base import Dataset
from paddlecnn.data.transforms import square
from paddlecnn.files import written_aside
from paddlecnn.randomness import generator

ROWS, COLUMNS = 6, 10


def contact_sheet(dataset: Dataset, positions: np.ndarray, path: Path, seed: int = 0) -> None:
    """60 random images of `positions` with id and label, as a PNG."""
    from matplotlib.figure import Figure

    chosen = np.sort(generator(seed, "contact sheet").permutation(positions)[:ROWS * COLUMNS])
    rows = -(-len(chosen) // COLUMNS)
    figure = Figure(figsize=(COLUMNS * 1.25, rows * 1.55 + 0.4), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, position in zip(axes, chosen, strict=False):
        image = dataset.image(position)
        axis.imshow(square(image, 96) if min(image.shape[:2]) > 96 else image, interpolation="nearest")
        label = "" if dataset.labels is None else dataset.classes[dataset.labels[position]]
        axis.set_title(f"{label}\n{dataset.ids[position][-22:]}", fontsize=6)
    figure.suptitle(f"{dataset.name}: {len(chosen)} of {len(dataset):,} images", fontsize=10)
    save(figure, path)


def size_histogram(name: str, widths: np.ndarray, heights: np.ndarray, path: Path) -> None:
    """Widths, heights and aspect ratios of the images, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes = figure.subplots(1, 3)
    ratios = widths / heights
    for axis, values, title in zip(axes, (widths, heights, ratios), ("width", "height", "width / height"), strict=True):
        axis.hist(values, bins=1 if values.min() == values.max() else 40, color="#3b6ea5")
        unit = "" if values is ratios else " px"
        axis.set_title(f"{title}: {values.min():.3g} to {values.max():.4g}{unit}, median {np.median(values):.3g}",
                       fontsize=8)
        axis.set_xlabel(title + (f" [{unit.strip()}]" if unit else ""))
    axes[0].set_ylabel("images")
    figure.suptitle(f"{name}: sizes of {len(widths):,} images", fontsize=10)
    save(figure, path)


def save(figure: object, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        figure.savefig(aside, dpi=110, format="png")
