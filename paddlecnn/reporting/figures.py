"""Figures of an evaluation, of its calibration and of a training; `theme.svg` or `files.save_png` writes them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from paddlecnn.evaluation.calibration import reliability_bins
from paddlecnn.evaluation.intervals import Estimate
from paddlecnn.fonts import drawable, fonts_for, labels_of
from paddlecnn.reporting.theme import AFTER, BEFORE, INK, MUTED, SERIES, TRAIN, VAL, WIDTH, drawing, style

if TYPE_CHECKING:  # these import Paddle, which an upload does without
    from paddlecnn.config import Config
    from paddlecnn.reporting.activations import Suppression
    from paddlecnn.runs.state import EpochRecord
    from paddlecnn.training.find_lr import RangeTest

ON_COLOUR = "#fdfdfd"  # text on an opaque cell, in both themes
LONGEST = 40  # characters of a class name in a figure
SHOWN_CURVES = 12  # in one figure
FEW_CLASSES = 25  # with at most as many, each cell of a confusion matrix shows its count


def confusion_figure(
    confusion: Sequence[Sequence[int]] | np.ndarray, classes: Sequence[str], title: str = ""
) -> Figure:
    """The confusion matrix [C, C]: rows are labels, columns predictions.

    Correct predictions are blue, errors orange; the more opaque, the larger the share of the label's images. Errors
    are scaled to the largest of them, or to 10 % if all are smaller.
    """
    counts, few = np.asarray(confusion), len(classes) <= FEW_CLASSES
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    correct = np.eye(len(counts), dtype=bool)
    worst = max(shares[~correct].max(initial=0), 0.1)
    pixels = np.zeros((*counts.shape, 4))
    pixels[..., :3] = np.where(correct[..., None], to_rgb(VAL), to_rgb(TRAIN))
    pixels[..., 3] = np.where(correct, shares, 0.85 * shares / worst)
    names = labels_of([shortened(name) for name in classes])
    size = max(2.4, 0.36 * len(classes) if few else 0.155 * len(classes))
    margin = 0.7 + 0.075 * max(map(len, names.texts))
    with drawing(size + margin, [*names.fonts, *fonts_for([title])[0]], size + margin) as (figure, axes):
        axes.imshow(pixels, interpolation="none")
        axes.set(xticks=range(len(classes)), yticks=range(len(classes)), ylabel="label")
        axes.set_xlabel(
            "predicted" if few else f"predicted (blue: correct; orange: errors, opaque at {worst:.0%} of the label)"
        )
        axes.set_xticklabels(names.texts, rotation=90)
        axes.set_yticklabels(names.texts)
        axes.tick_params(length=0, labelsize=8.5 if few else 7, labelcolor=INK)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        if not few:  # names on every side: a row can be read from both ends
            axes.tick_params(labelright=True, labeltop=True)
        for row, column in np.argwhere(counts) if few else ():
            strong = pixels[row, column, 3] > (0.55 if row == column else 0.7)
            look: dict[str, Any] = {
                "fontsize": 7.5 if counts.max() < 10_000 else 6,
                "color": ON_COLOUR if strong else INK,
            }
            axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", **look)
        set_title(figure, title, names.note)
    return figure


def reliability_figure(
    before: np.ndarray,
    after: np.ndarray,
    truth: np.ndarray,
    title: str,
    event: str,
    said: str,
    cross_fitted: bool = True,
) -> Figure:
    """The share of images for which something is true against its predicted probability, before and after calibration.

    before, after: [N] probabilities; truth: [N], 1 where it is true. Ten bins of equal numbers of images, which
    spread over the probabilities that an overconfident network gives; below, a histogram on a logarithmic scale.
    event, said: the axes in words, e.g. "share of correct predictions", "probability of the predicted class"
    cross_fitted: whether `after` is of fits on other images
    """
    fonts = fonts_for([title, event, said])[0]
    grid: dict[str, Any] = {"nrows": 2, "height_ratios": (3, 1), "sharex": True}
    with drawing(5.2, fonts, **grid) as (figure, (upper, lower)):
        upper.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle="--", label="perfectly calibrated")
        for values, color, marker, label in (
            (before, BEFORE, "s", "before calibration"),
            (after, AFTER, "o", "after, cross-fitted" if cross_fitted else "after calibration"),
        ):
            mean, share, _ = reliability_bins(values, truth)
            upper.plot(mean, share, marker=marker, color=color, label=label, markersize=4.5)
            lower.hist(values, bins=np.linspace(0, 1, 21).tolist(), histtype="step", color=color, linewidth=1.4)
        upper.set(ylabel=drawable(event), ylim=(-0.03, 1.03), xlim=(-0.02, 1.02))
        upper.legend(loc="upper left")
        for axis in (upper.yaxis, upper.xaxis):
            axis.set_major_formatter(PercentFormatter(1))
        lower.set(xlabel=drawable(said), ylabel="images", yscale="symlog", ylim=(0, None))
        lower.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        set_title(figure, title)
    return figure


def clip_figure(clips: np.ndarray, losses: Mapping[str, np.ndarray], chosen: float, title: str) -> Figure:
    """Log loss on validation against the clip, one curve per name in `losses`; the chosen clip is marked.

    The axis ends a little above the losses at the smallest clip, so that the curves can be told apart near the minimum.
    """
    lowest, top = min(values.min() for values in losses.values()), max(values[0] for values in losses.values())
    with drawing(3.6, fonts_for([title])[0]) as (figure, axes):
        for (label, values), color in zip(losses.items(), SERIES, strict=False):
            axes.plot(clips, values, color=color, label=label)
        if chosen > 0:
            axes.axvline(chosen, color=MUTED, linestyle="--", linewidth=1, label=f"chosen: {chosen:.3g}")
        axes.set_ylim(0.95 * lowest, 1.15 * top)
        axes.set(xscale="log", xlabel="clip: smallest distance of a probability from 0 and 1", ylabel="log loss, nats")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.legend()
        set_title(figure, title)
    return figure


def range_test_figure(test: RangeTest, config: Config) -> Figure:
    """The loss of a learning-rate range test of a config against the rate, with the suggested rate."""
    low, high = min(test.losses), test.smoothed[0]
    with drawing(3.6) as (figure, axes):
        axes.plot(test.rates, test.losses, ".", color=MUTED, markersize=3, alpha=0.6, label="each batch")
        axes.plot(test.rates, test.smoothed, color=VAL, label="smoothed")
        if test.suggestion:
            axes.axvline(test.suggestion, color=TRAIN, linestyle="--", label=f"suggested: {test.suggestion:.2g}")
        margin = 0.1 * high + 0.3 * (high - low)  # a diverging loss leaves the figure
        axes.set(xscale="log", xlabel="learning rate", ylabel="training loss, nats", ylim=(low - margin, high + margin))
        axes.legend(loc="upper left")
        set_title(figure, f"Range test of {config.model.name} on {config.data.name} with {config.optim.name}")
    return figure


def history_figure(history: Sequence[EpochRecord], best: int, quantity: str) -> Figure:
    """Training and validation over the epochs: `loss` (in nats) or `top1` (in percent); the best epoch is marked."""
    epochs = [one.epoch for one in history]
    with drawing(3.1) as (figure, axes):
        for part, color, line in (("train", TRAIN, "--"), ("val", VAL, "-")):
            values = [getattr(getattr(one, part), quantity) for one in history]
            name = {"train": "training", "val": "validation"}[part]
            axes.plot(epochs, values, color=color, linestyle=line, label=name, marker="." if len(epochs) < 30 else "")
            if part == "val" and best in epochs:
                axes.plot(best, values[epochs.index(best)], "o", color=color, markersize=7, fillstyle="none")
        epoch_axis(axes)
        axes.set_ylabel({"loss": "loss, nats", "top1": "top-1 accuracy"}[quantity])
        if quantity == "top1":
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.legend()
    return figure


def speed_figure(history: Sequence[EpochRecord]) -> Figure:
    with drawing(2.2) as (figure, axes):
        speeds = [one.images_per_second or 0.0 for one in history]
        axes.plot([one.epoch for one in history], speeds, color=VAL, marker=".")
        axes.set(ylabel="images/s", ylim=(0, None))
        epoch_axis(axes)
    return figure


def anchor_figure(own: Sequence[tuple[str, Estimate]], published: Sequence[tuple[str, float]]) -> Figure:
    """Accuracies of this run with their intervals above published ones, on one axis."""
    names = [f"this run, {name}" for name, _ in own] + [textwrap.fill(name, 26) for name, _ in published]
    inches = max(0.27, 0.16 * (1 + max(name.count("\n") for name in names)))  # of a row
    with drawing(0.6 + inches * len(names), fonts_for(names)[0]) as (figure, axes):
        for row, (_, estimate) in enumerate(own):
            ends = [estimate.low, estimate.high]
            axes.plot(ends, [row, row], color=VAL, linewidth=3, solid_capstyle="butt", alpha=0.4)
            axes.plot(estimate.mean, row, "o", color=VAL, markersize=6)
        for row, (_, value) in enumerate(published, start=len(own)):
            axes.plot(value, row, "D", color=MUTED, markersize=4.5, fillstyle="none")
        axes.set_xlabel("top-1 accuracy")
        name_rows(axes, names)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    return figure


def suppression_figure(layer: Suppression) -> Figure:
    """One LRN layer: how much the neighbours add to the denominators, and all channels where they add most."""
    with drawing(4.2, nrows=2) as (figure, (upper, lower)):
        upper.hist(layer.extra, bins=40, color=VAL, log=True)
        upper.set(xlabel="added to the denominator by the neighbours, share of the constant", ylabel="activations")
        upper.xaxis.set_major_locator(MaxNLocator(5))
        upper.xaxis.set_major_formatter(PercentFormatter(1))
        upper.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        channels = np.arange(len(layer.before))
        lower.bar(channels, layer.before, width=1, color=TRAIN, alpha=0.45, label="divided by the constant alone")
        lower.bar(channels, layer.after, width=1, color=VAL, label="divided by the denominator")
        lower.axvspan(layer.channel - 2, layer.channel + 2, color=MUTED, alpha=0.15, linewidth=0)
        lower.set(xlabel=f"channel, at the place where channel {layer.channel} loses most", ylabel="activation")
        lower.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


def class_curves_figure(probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str], kind: str) -> Figure:
    """Precision against recall (`pr`) or the true against the false positive rate (`roc`) of each class against the
    others; with many classes, of those with the smallest areas. Classes without images are left out."""
    curve, area, x, y = {
        "pr": (precision_recall_curve, average_precision_score, "recall", "precision"),
        "roc": (roc_curve, roc_auc_score, "false positive rate", "true positive rate"),
    }[kind]
    present = [number for number in range(len(classes)) if 0 < (labels == number).sum() < len(labels)]
    areas = {number: area(labels == number, probabilities[:, number]) for number in present}
    shown = sorted(sorted(areas, key=areas.__getitem__)[:SHOWN_CURVES])
    names = labels_of([shortened(name) for name in classes])
    with drawing(4, names.fonts, WIDTH + 1.6 + 0.06 * max(map(len, names.texts))) as (figure, axes):
        for place, number in enumerate(shown):
            first, second = curve(labels == number, probabilities[:, number])[:2]
            points = (second, first) if kind == "pr" else (first, second)
            line = ("-", "--", ":")[place // len(SERIES)]
            axes.plot(*points, line, label=f"{names.texts[number]}  {areas[number]:.4f}")
        axes.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        title = "area under the curve" if kind == "roc" else "average precision"
        if shown:
            axes.legend(title=title, loc="center left", bbox_to_anchor=(1, 0.5))
        left_out = len(shown) < len(present)
        note = f"{len(shown)} of {len(present)} classes, those with the smallest values" if left_out else ""
        set_title(figure, note, names.note)
    return figure


def pictures_figure(pictures: Sequence[np.ndarray], captions: Sequence[str]) -> Figure:
    """Images uint8 [S, S, 3] with a caption below each, four in a row."""
    rows = -(-len(pictures) // 4)
    with style(fonts_for(captions)[0]):
        figure = Figure(figsize=(7.2, 2.2 * rows), layout="constrained")
        for number, (pixels, caption) in enumerate(zip(pictures, captions, strict=True), start=1):
            show_picture(figure.add_subplot(rows, 4, number), pixels, drawable(caption), fontsize=8)
    return figure


def show_picture(axes: Axes, pixels: np.ndarray, title: str, **font: Any) -> None:
    axes.imshow(pixels)
    axes.set_axis_off()
    axes.set_title(title, **font)


def explanation_figure(pixels: np.ndarray, heat: np.ndarray, top: Sequence[tuple[str, float]], title: str) -> Figure:
    """An image and its heat map, uint8 [H, W, 3], and the probabilities of its most probable classes as bars."""
    names = labels_of([shortened(name) for name, _ in top])
    fonts, widths = [*names.fonts, *fonts_for([title])[0]], (1, 1, 1.3)
    with drawing(3.2, fonts, 9, ncols=3, width_ratios=widths) as (figure, (left, middle, right)):
        show_picture(left, pixels, "the network's input")
        show_picture(middle, heat, "Grad-CAM of the first class")
        bars = right.barh(range(len(top)), [value for _, value in top], color=VAL)
        right.bar_label(bars, [f"{value:.1%}" for _, value in top], padding=3)
        right.set_yticks(range(len(top)), names.texts, color=INK)
        right.invert_yaxis()
        right.set(xlim=(0, 1.18), xlabel="probability")
        right.xaxis.set_major_formatter(PercentFormatter(1))
        right.set_xticks([0, 0.5, 1])
        right.grid(axis="y", visible=False)
        set_title(figure, title, names.note)
    return figure


def shortened(name: str, longest: int = LONGEST) -> str:
    """A class name cut to the length that a figure has room for."""
    return name if len(name) <= longest else f"{name[: longest - 3]}..."


def epoch_axis(axes: Axes) -> None:
    """Whole epochs on the horizontal axis."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """The names of rows on the vertical axis, the first at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)


def set_title(figure: Figure, title: str, note: str = "") -> None:
    """A title above the axes that fits the width of the figure, with a note in ordinary weight below it."""
    lines = textwrap.wrap(drawable(title), int(figure.get_figwidth() * 13)) + textwrap.wrap(
        note, int(figure.get_figwidth() * 14)
    )
    if lines:
        figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=9.5)
