"""The content of two runs to compare: everything but the clock."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

from visualdl import LogReader

from paddlecnn.training.curves import FILE_NAME, TAGS


def weights_sha(run: Path, name: str = "last") -> str:
    """The digest of a checkpoint's weights and optimizer."""
    folder = run / "checkpoints" / name
    return "".join(
        hashlib.sha256((folder / file).read_bytes()).hexdigest()
        for file in ("model.safetensors", "optimizer.safetensors")
    )


def metrics_without_clock(run: Path) -> list[tuple[Any, ...]]:
    """The rows of metrics.csv without the two columns that depend on the clock."""
    with open(run / "metrics.csv", encoding="utf-8") as file:
        return [
            tuple(value for name, value in row.items() if name not in ("time", "images_per_second"))
            for row in csv.DictReader(file)
        ]


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """The points of each curve in the run's VisualDL record."""
    reader = LogReader(file_path=str(run / "vdl" / FILE_NAME))
    return {
        tag: [(point.id, point.value) for point in reader.get_data("scalar", tag)]
        for tag in reader.get_tags()["scalar"]
        if tag in TAGS.values()
    }
