"""The figures of docs/results.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from paddlecnn.reporting.theme import SERIES, drawing

MARKERS = "osD^v"  # one more each time the colours begin again


def accuracy_time(points: Sequence[tuple[str, float, Sequence[float]]]) -> Figure:
    """Test accuracy against training time; points: (label, minutes, the accuracy of each seed)."""
    with drawing(3.0 + 0.2 * len(points)) as (figure, axes):
        for number, (label, minutes, values) in enumerate(points):
            colour, marker = SERIES[number % len(SERIES)], MARKERS[number // len(SERIES) % len(MARKERS)]
            axes.plot([minutes] * len(values), values, "_", color=colour, markersize=9)
            axes.plot(minutes, fmean(values), marker, color=colour, label=label)
        axes.set(xscale="log", xlabel="minutes of training", ylabel="test accuracy")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        figure.legend(loc="outside lower left")  # below: the points leave no place for long names
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
