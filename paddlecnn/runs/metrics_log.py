"""metrics.csv: every number that a run logs, once, in order."""
from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

from paddlecnn.files import write_text

# One row for each logged training step and one for each validation; a row leaves empty what it does not have.
COLUMNS = ("kind", "epoch", "step", "time", "loss", "top1", "lr", "grad_norm", "images_per_second")
Row = dict[str, str]


class MetricsLog:
    """Append rows to metrics.csv; each is on its way to disk when `add` returns."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "a", newline="", encoding="utf-8")  # noqa: SIM115 (open for the whole run)
        self.writer = csv.DictWriter(self.file, COLUMNS, restval="", lineterminator="\n")
        if self.file.tell() == 0:
            self.writer.writeheader()

    def add(self, kind: str, epoch: int, step: int, **values: float) -> Row:
        """Add a row of kind train or val; returns it as `read_metrics` will."""
        row = {"kind": kind, "epoch": str(epoch), "step": str(step), "time": f"{time.time():.3f}",
               **{name: repr(float(value)) for name, value in values.items()}}
        self.writer.writerow(row)
        self.file.flush()
        return row

    def close(self) -> None:
        """Flush to disk and close."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()


def read_metrics(path: Path) -> Iterator[Row]:
    """The rows of metrics.csv. A last line cut off by a kill is left out."""
    if path.exists():
        whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
        yield from csv.DictReader(io.StringIO(whole))


def rewind_metrics(path: Path, step: int) -> list[Row]:
    """Take back every row after `step`, which training is about to write again. Returns the rows that stay."""
    rows = [row for row in read_metrics(path) if int(row["step"]) <= step]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
    return rows
