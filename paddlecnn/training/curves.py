"""The numbers of metrics.csv as curves for VisualDL.

VisualDL shows only one record file of a folder and loses what is not flushed, so a run has exactly one file,
flushed at every epoch. metrics.csv is the record; on a resume the file is written anew from it, which makes one
continuous curve however often the run was killed.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from visualdl import LogWriter

from paddlecnn.runs.metrics_log import Row

FILE_NAME = "vdlrecords.paddlecnn.log"
CURVES = ("loss", "top1", "lr", "grad_norm", "images_per_second")


class CurveWriter:
    """Write rows of metrics.csv to RUN/vdl: train/* by step, val/* by epoch."""

    def __init__(self, folder: Path, rows: Iterable[Row] = ()) -> None:
        """Start with `rows`, which replace the folder's record."""
        aside = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(aside, ignore_errors=True)
        with contextlib.closing(LogWriter(str(aside), file_name=FILE_NAME)) as writer:
            for row in rows:
                add_row(writer, row)
        folder.mkdir(exist_ok=True)
        os.replace(aside / FILE_NAME, folder / FILE_NAME)
        aside.rmdir()
        with contextlib.redirect_stdout(io.StringIO()):  # it announces that the file is there: it is meant to be
            self.writer = LogWriter(str(folder), file_name=FILE_NAME)  # appends

    def add(self, row: Row) -> None:
        """Add the curves' next points."""
        add_row(self.writer, row)

    def flush(self) -> None:
        """Hand everything to the operating system: from here on a kill loses nothing."""
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


def add_row(writer: LogWriter, row: Row) -> None:
    x = int(row["epoch"] if row["kind"] == "val" else row["step"])
    for name in CURVES:
        if row.get(name):
            writer.add_scalar(f"{row['kind']}/{name}", float(row[name]), x, walltime=round(float(row["time"]) * 1000))
