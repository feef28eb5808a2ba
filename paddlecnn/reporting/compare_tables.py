"""A comparison as text, CSV and plain values."""

from __future__ import annotations

from typing import Any

import pandas as pd

from paddlecnn.progress_bar import duration
from paddlecnn.reporting.compare import Comparison
from paddlecnn.reporting.page import points
from paddlecnn.text_tables import text_table


def as_records(comparison: Comparison) -> list[dict[str, Any]]:
    """Plain values, one record per row, for CSV and JSON. Accuracies and differences are shares of 1."""
    return [
        {
            "name": name,
            "runs": len(row.members),
            "seeds": [one.seed for one in row.members],
            "images": row.members[0].images,
            "top1_mean": row.top1,
            "top1_deviation": row.deviation,
            "loss_mean": row.loss,
            "difference": change.mean if change else None,
            "pairs": change.pairs if change else None,
            **{
                f"{end}_over_{kind}": getattr(getattr(change, kind, None), end, None)
                for kind in ("seeds", "images")
                for end in ("low", "high")
            },
            "seconds_mean": row.seconds,
            "images_per_second": row.speed,
            "parameters": row.parameters,
            "multiply_adds": row.multiply_adds,
            **{key: row.settings.get(key) for key in comparison.keys},
            "folders": [str(one.source.path) for one in row.members],
        }
        for name, row, change in zip(comparison.names, comparison.rows, comparison.differences, strict=True)
    ]


def as_csv(comparison: Comparison) -> str:
    """The records as CSV; lists are separated by spaces."""
    rows = [
        {key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in record.items()}
        for record in as_records(comparison)
    ]
    return pd.DataFrame(rows, dtype=object).to_csv(index=False)


def as_text(comparison: Comparison) -> str:
    """A table, and an answer for each row except the reference."""
    rows = [["", "runs", "top-1", "deviation", "difference", "95 % interval", "time", "images/s", "parameters"]]
    for name, row, change in zip(comparison.names, comparison.rows, comparison.differences, strict=True):
        estimate = change.estimate if change else None
        rows.append(
            [
                name,
                str(len(row.members)),
                f"{row.top1:.2%}",
                "" if row.deviation is None else f"{row.deviation:.2%}",
                points(change.mean) if change else "",
                f"{points(estimate.low)} to {points(estimate.high)}" if estimate else "",
                duration(row.seconds),
                f"{row.speed:,.0f}" if row.speed else "",
                f"{row.parameters:,}",
            ]
        )
    answers = [comparison.answer(number) for number in range(1, len(comparison.rows))]
    caveats = filter(None, [comparison.multiplicity, *comparison.reservations])
    return "\n\n".join([text_table(rows), *answers, *caveats])
