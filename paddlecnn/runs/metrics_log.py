"""metrics.csv: every number that a run logs, once, in order."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from paddlecnn.errors import RunError
from paddlecnn.files import written_aside
from paddlecnn.runs.state import LogPosition, Progress

logger = logging.getLogger(__name__)

# One row for each logged training step and one for each validation; columns that do not apply are empty.
COLUMNS = ("kind", "epoch", "step", "time", "loss", "top1", "lr", "grad_norm", "images_per_second")
Row = dict[str, str]


class MetricsLog:
    """Appends rows to metrics.csv; each is handed to the operating system when `add` returns."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes() if path.exists() else b""
        self.file = open(path, "ab")  # noqa: SIM115 (open for the whole run)
        self.digest, self.bytes = hashlib.sha256(content), len(content)
        if not content:
            self.write(",".join(COLUMNS) + "\n")

    def add(self, kind: str, epoch: int, step: int, **values: float) -> Row:
        """Add a row of kind train or val; returns it as `read_metrics` would."""
        row = {
            "kind": kind,
            "epoch": str(epoch),
            "step": str(step),
            "time": f"{time.time():.3f}",
            **{name: repr(float(value)) for name, value in values.items()},
        }
        self.write(",".join(row.get(name, "") for name in COLUMNS) + "\n")
        return row

    def write(self, text: str) -> None:
        data = text.encode()
        self.file.write(data)
        self.file.flush()
        self.digest.update(data)
        self.bytes += len(data)

    def position(self) -> LogPosition:
        """The length and the digest of the log so far, once on disk, for a checkpoint to keep."""
        os.fsync(self.file.fileno())
        return LogPosition(bytes=self.bytes, sha256=self.digest.hexdigest())

    def close(self) -> None:
        os.fsync(self.file.fileno())
        self.file.close()


def read_metrics(path: Path) -> Iterator[Row]:
    """The rows of metrics.csv, without a last line cut off by a kill. Raises RunError if the file is damaged."""
    try:
        complete = path.read_text(encoding="utf-8").rpartition("\n")[0] if path.exists() else ""
        reader = csv.DictReader(io.StringIO(complete), strict=True)
        for row in reader:
            if tuple(row) != COLUMNS or None in row.values():
                raise ValueError(f"line {reader.line_num} does not have {len(COLUMNS)} columns")
            int(row["epoch"]), int(row["step"]), float(row["time"]), float(row["loss"])
            yield row
    except (ValueError, csv.Error) as error:
        raise RunError(f"{path}: damaged ({error}); `paddlecnn train --resume RUN` rebuilds it") from None


def rewind_metrics(path: Path, position: LogPosition | None, progress: Progress) -> list[Row]:
    """Cut the log back to a checkpoint's position, removing what training is about to write again.

    Returns the rows that remain. If the file is missing or damaged, one row per epoch is rebuilt from the
    checkpoint's history, with a warning.
    """
    kept = None if progress.step else b""
    if progress.step and position is None:  # a checkpoint of version 0.1
        with contextlib.suppress(RunError):
            rows = [row for row in read_metrics(path) if int(row["step"]) <= progress.step]
            kept = as_csv(rows) if rows else None
    elif progress.step and position:
        content = path.read_bytes()[: position.bytes] if path.exists() else b""
        kept = content if hashlib.sha256(content).hexdigest() == position.sha256 else None
    if kept is None:
        logger.warning("%s: missing or damaged; rebuilt from the checkpoint, with one row per epoch", path)
        kept = rebuilt(progress)
    with written_aside(path) as aside:
        aside.write_bytes(kept)
    return list(read_metrics(path))


def rebuilt(progress: Progress) -> bytes:
    """The log with a row for the training and one for the validation of each finished epoch. The times are unknown."""
    rows = []
    for record in progress.history:
        shared = {"epoch": str(record.epoch), "step": str(record.step), "time": "0"}
        known = {"lr": record.lr, "images_per_second": record.images_per_second}
        rest = {name: repr(value) for name, value in known.items() if value is not None}
        for kind, scores, more in (("train", record.train, rest), ("val", record.val, {})):
            if scores is not None:
                values = {"loss": repr(scores.loss), "top1": repr(scores.top1)}
                rows.append({"kind": kind, **shared, **values, **more})
    return as_csv(rows)


def as_csv(rows: list[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
