"""The figures of docs/results.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from textwrap import fill
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from paddlecnn.reporting.theme import SERIES, drawing

MARKERS = "osD^v"  # the next one each time the colours start again
OURS = "ours: standard deviation over seeds, or 95 % interval of a single one"


class Measured(NamedTuple):
    """A row of a panel of `published_beside_ours`."""

    label: str
    series: str  # its line in the legend
    text: str
    value: float
    low: float
    high: float


Panel = tuple[str, list[Measured]]  # its title and its rows


def accuracy_time(points: Sequence[tuple[str, float, Sequence[float]]], name: str) -> Figure:
    """Accuracy against training time; points: (label, minutes, the accuracy of each seed); name: that of the y axis."""
    with drawing(3.0 + 0.2 * len(points)) as (figure, axes):
        for number, (label, minutes, values) in enumerate(points):
            colour, marker = SERIES[number % len(SERIES)], MARKERS[number // len(SERIES) % len(MARKERS)]
            axes.plot([minutes] * len(values), values, "_", color=colour, markersize=9)
            axes.plot(minutes, fmean(values), marker, color=colour, label=label)
        axes.set(xscale="log", xlabel="minutes of training", ylabel=name)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        figure.legend(loc="outside lower left")  # below: the points leave no room for long names
    return figure


def published_beside_ours(panels: Sequence[Panel]) -> Figure:
    """A panel for each published accuracy, with ours below it. All have the same scale, each its own section of it."""
    names = dict.fromkeys([OURS, *(row.series for _, rows in panels for row in rows)])
    looks = dict(zip(names, zip(SERIES, MARKERS, strict=False), strict=False))
    ends = [(min(row.low for row in rows), max(row.high for row in rows)) for _, rows in panels]
    half = 0.65 * max(0.01, *(high - low for low, high in ends))
    sizes = [len(rows) for _, rows in panels]
    height = 0.5 + 0.75 * len(panels) + 0.22 * sum(sizes)
    with drawing(height, nrows=len(panels), squeeze=False, height_ratios=sizes) as (figure, all_axes):
        for axes, (title, rows), (low, high) in zip(all_axes[:, 0], panels, ends, strict=True):
            for y, row in enumerate(rows):
                colour, marker = looks[row.series]
                axes.plot([row.low, row.high], [y, y], color=colour)
                axes.plot(row.value, y, marker, color=colour)
                axes.text(1.02, y, row.text, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
            axes.set(xlim=((low + high) / 2 - half, (low + high) / 2 + half), ylim=(len(rows) - 0.5, -0.5))
            axes.set_yticks(range(len(rows)), [row.label for row in rows])
            axes.set_title("\n".join(fill(line, 55) for line in title.splitlines()))
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        for label, (colour, marker) in looks.items():
            all_axes[0, 0].plot([], [], marker, color=colour, label=fill(label, 70))
        figure.legend(loc="outside lower left")
    return figure


def curves(runs: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Validation accuracy by epoch: for each network its seeds, thin, and their mean."""
    with drawing(3.0) as (figure, axes):
        for colour, (label, seeds) in zip(SERIES, runs.items(), strict=False):
            length = min(map(len, seeds))
            for values in seeds:
                axes.plot(range(1, len(values) + 1), values, color=colour, alpha=0.35, linewidth=0.8)
            mean = [fmean(values[epoch] for values in seeds) for epoch in range(length)]
            axes.plot(range(1, length + 1), mean, color=colour, label=label)
        axes.set(xlabel="epoch", ylabel="validation accuracy")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(loc="lower right")
    return figure
