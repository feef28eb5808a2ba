"""Images that a config leaves out of training and validation, by a text file (data.exclude) with an id per line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from paddlecnn.data.base import Dataset, Splits
from paddlecnn.data.storage.file_storage import read_text
from paddlecnn.errors import DataError


def leave_out(splits: Splits, file: Path) -> Splits:
    """The parts without the images that the file names. The sides of all others stay as they were.

    Raises DataError for an id that is not among the images for training and validation, and if none of these is left.
    """
    left_out = excluded_ids(file)
    for name, line in left_out.items():
        if name not in splits.train.position_of and name not in splits.val.position_of:
            raise DataError(
                f"{file}, line {line}: {name} is not an image for training or validation, which are named like "
                f"{splits.train.ids[0]}"
            )
    train, val = (without(part, left_out) for part in (splits.train, splits.val))
    if not len(train) or len(val) < min(1, len(splits.val)):
        raise DataError(f"{file}: leaves {len(train):,} images for training and {len(val):,} for validation")
    return Splits(train, val, splits.test)


def without(part: Dataset, left_out: dict[str, int]) -> Dataset:
    return part.subset(np.flatnonzero([name not in left_out for name in part.ids]))


def excluded_ids(file: Path) -> dict[str, int]:
    """The line of each id in the file, without empty lines and those that begin with #."""
    text = read_text(file, "data.exclude is a text file with an id per line")
    lines = {number: line.strip() for number, line in enumerate(text.split("\n"), start=1)}
    return {line: number for number, line in lines.items() if line and not line.startswith("#")}
