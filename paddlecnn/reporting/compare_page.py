"""A comparison as a page: choose a row to see its curve, its difference and its confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from paddlecnn.fonts import fonts_for
from paddlecnn.reporting.compare import Comparison, Row, own_interval
from paddlecnn.reporting.figures import confusion_figure, epoch_axis, name_rows
from paddlecnn.reporting.page import write_page
from paddlecnn.reporting.theme import MUTED, SERIES, drawing, svg

DASHES = ("-", "--", ":", "-.")  # each further round of the colours has another dash


def write_comparison(comparison: Comparison, path: Path) -> None:
    rows = comparison.rows
    numbers = range(len(rows))
    write_page(
        path,
        "compare.html",
        title=f"{len(rows)} configurations on {rows[0].members[0].best.data.name}",
        comparison=comparison,
        rows=[row_values(comparison, number) for number in numbers],
        runs=sum(len(row.members) for row in rows),
        answers=[comparison.answer(number) for number in numbers[1:]],
        settings=[(key, [row.settings.get(key) for row in rows]) for key in comparison.keys],
        charts=[
            svg(curves_figure(rows, comparison.names, quantity), f"curves-{quantity}", described)
            for quantity, described in (
                ("top1", "Validation accuracy of each configuration over the epochs"),
                ("loss", "Validation loss of each configuration over the epochs"),
            )
        ],
        difference_chart=svg(difference_figure(comparison), "differences", "Differences with their intervals")
        if any(comparison.differences)
        else None,
    )


def row_values(comparison: Comparison, number: int) -> dict[str, Any]:
    row, name = comparison.rows[number], comparison.names[number]
    confusion = row.confusion
    chart = None
    if confusion is not None:
        figure = confusion_figure(confusion, row.members[0].best.classes)
        chart = svg(figure, f"confusion-{number}", f"Confusion matrix of {name}")
    return {
        "name": name,
        "row": row,
        "difference": comparison.differences[number],
        "answer": comparison.answer(number) if number else "",
        "color": f"var(--s{number % len(SERIES) + 1})",
        "dash": DASHES[number // len(SERIES) % len(DASHES)],
        "interval": own_interval(row.members[0]) if len(row.members) == 1 else None,
        "confusion": chart,
        "is_wide": len(row.members[0].best.classes) > 25,
    }


def curves_figure(rows: Sequence[Row], names: Sequence[str], quantity: str) -> Figure:
    """Validation over the epochs: the mean of each row's seeds, with a band from the lowest to the highest."""
    with drawing(3.4, fonts_for(names)[0]) as (figure, axes):
        for number, (row, name) in enumerate(zip(rows, names, strict=True)):
            histories = [one.curve(quantity) for one in row.members]
            length = min(map(len, histories))
            values = np.array([history[:length] for history in histories])
            epochs = np.arange(1, length + 1)
            color, dash = SERIES[number % len(SERIES)], DASHES[number // len(SERIES) % len(DASHES)]
            (line,) = axes.plot(epochs, values.mean(axis=0), color=color, linestyle=dash, label=name)
            line.set_gid(f"line-{number}")
            if length == 1:
                line.set_marker("o")
            if len(values) > 1:
                low, high = values.min(axis=0), values.max(axis=0)
                band = axes.fill_between(epochs, low, high, color=color, alpha=0.18, linewidth=0)
                band.set_gid(f"band-{number}")
        epoch_axis(axes)
        axes.set_ylabel({"loss": "validation loss, nats", "top1": "validation accuracy"}[quantity])
        if quantity == "top1":
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        if len(rows) <= 6:
            axes.legend()
    return figure


def difference_figure(comparison: Comparison) -> Figure:
    """The difference of each row from the reference in percentage points: thick over seeds, thin over images."""
    numbers = [number for number, one in enumerate(comparison.differences) if one is not None]
    names = [comparison.names[number] for number in numbers]
    with drawing(0.8 + 0.34 * len(numbers), fonts_for(names)[0]) as (figure, axes):
        axes.axvline(0, color=MUTED, linewidth=0.8)
        for place, number in enumerate(numbers):
            one, color = comparison.differences[number], SERIES[number % len(SERIES)]
            assert one is not None
            for estimate, width, shift in ((one.images, 1.2, 0.16), (one.seeds, 3.5, 0.0)):
                if estimate:
                    ends = [100 * estimate.low, 100 * estimate.high]
                    axes.plot(ends, [place + shift] * 2, color=color, linewidth=width, solid_capstyle="butt", alpha=0.6)
            axes.plot(100 * one.mean, place, "o", color=color, markersize=6)
        axes.set_xlabel(f"difference from {comparison.names[0]}, percentage points", wrap=True)
        name_rows(axes, names)
    return figure
