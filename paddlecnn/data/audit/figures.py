"""Two figures of a data set: a sheet of random samples with their labels, and its image sizes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from paddlecnn.data.base import Dataset
from paddlecnn.data.pipeline.transforms import square
from paddlecnn.files import save_png
from paddlecnn.fonts import drawable, fonts_for
from paddlecnn.randomness import generator

ROWS, COLUMNS = 6, 10
TILE, GAP = 96, 34  # pixels: an image, and the space below it for two lines


def contact_sheet(dataset: Dataset, positions: np.ndarray, path: Path, seed: int = 0) -> None:
    """Up to 60 random images of `positions` with label and id, as a PNG."""
    from matplotlib.figure import Figure

    chosen = np.sort(generator(seed, "contact sheet").permutation(positions)[: ROWS * COLUMNS])
    rows = -(-len(chosen) // COLUMNS)
    step = TILE + 8, TILE + GAP
    sheet = np.full((rows * step[1], COLUMNS * step[0], 3), 255, np.uint8)
    figure = Figure(figsize=(sheet.shape[1] / 100, sheet.shape[0] / 100 + 0.4))
    axis = figure.add_axes((0, 0, 1, sheet.shape[0] / (sheet.shape[0] + 40)))
    axis.axis("off")
    labels = ["" if dataset.labels is None else dataset.classes[dataset.labels[i]] for i in chosen]
    texts = [f"{label}\n{dataset.ids[i][-20:]}" for label, i in zip(labels, chosen, strict=True)]
    fonts = list(fonts_for(texts)[0])
    for number, (position, text) in enumerate(zip(chosen, texts, strict=True)):
        left, top = number % COLUMNS * step[0] + 4, number // COLUMNS * step[1]
        sheet[top : top + TILE, left : left + TILE] = tile_of(dataset.image(position))
        axis.text(
            left + TILE / 2,
            top + TILE + 4,
            drawable(text),
            family=fonts,
            fontsize=6,
            ha="center",
            va="top",
            parse_math=False,  # a file may be named $x$
        )
    axis.imshow(sheet)
    figure.suptitle(f"{dataset.name}: {len(chosen)} of {len(dataset):,} images", fontsize=10)
    save_png(figure, path)


def tile_of(image: np.ndarray) -> np.ndarray:
    """The central square as [TILE, TILE, 3]; a small image is enlarged without smoothing, pixel by pixel."""
    side = min(image.shape[:2])
    if side >= TILE:
        return square(image, TILE)
    return cv2.resize(square(image, side), (TILE, TILE), interpolation=cv2.INTER_NEAREST)


def size_histogram(name: str, widths: np.ndarray, heights: np.ndarray, path: Path) -> None:
    """Widths, heights and aspect ratios of the images, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.2))
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.16, top=0.82)
    axes = figure.subplots(1, 3)
    ratios = widths / heights
    for axis, values, title in zip(axes, (widths, heights, ratios), ("width", "height", "width / height"), strict=True):
        axis.hist(values, bins=1 if values.min() == values.max() else 40, color="#3b6ea5")
        unit = "" if values is ratios else " px"
        span = f"{values.min():.3g} to {values.max():.4g}{unit}"
        axis.set_title(f"{title}: {span}, median {np.median(values):.3g}", fontsize=8)
        axis.set_xlabel(title if values is ratios else f"{title} [px]")
    axes[0].set_ylabel("images")
    figure.suptitle(f"{name}: sizes of {len(widths):,} images", fontsize=10)
    save_png(figure, path)
