"""MLE-bench's split of Dogs vs. Cats Redux, for results that can be compared with those of its agents.

github.com/openai/mle-bench, mlebench/competitions/dogs-vs-cats-redux-kernels-edition/prepare.py: the 25,000 labelled
photographs in the order of their names, `train_test_split(test_size=0.1, random_state=0)`, and the 2,500 test images
numbered from 1 in the order in which that returns them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from paddlecnn.config import DataConfig
from paddlecnn.data.datasets import open_parts, origin_of_split, require_sides, split_positions
from paddlecnn.data.sources.dogs_vs_cats import CLASSES, COUNTS
from paddlecnn.data.splits import write_split
from paddlecnn.errors import ConfigError, DataError

TEST_SHARE, SEED = 0.1, 0


def benchmark_names() -> tuple[list[str], list[str]]:
    """The ids of all training and of all test images, the latter in the order of their numbers."""
    names = sorted(f"train/{kind}.{number}.jpg" for kind in CLASSES for number in range(COUNTS["train"] // 2))
    train, test = train_test_split(names, test_size=TEST_SHARE, random_state=SEED)
    return train, test


def save_benchmark_split(config: DataConfig, seed: int, folder: Path) -> tuple[int, int, int]:
    """Write the part of the split whose photographs are there; returns the sizes of training, validation and test.

    The training images are divided into train.txt and val.txt as the config says; test.csv has the test images (id,
    path, label). Raises ConfigError for another data set, DataError if either side is empty or a photograph is not one
    of the competition's.
    """
    if config.name != "dogs_vs_cats":
        raise ConfigError(f"--mle-bench: a split of dogs_vs_cats, but data.name is {config.name}")
    dataset = open_parts(config).train
    where = dataset.position_of
    train, test = benchmark_names()
    unknown = where.keys() - {*train, *test}
    if unknown:
        raise DataError(f"{config.root}: {min(unknown)} is not among the competition's 25,000 labelled photographs")
    rows = [(number, name, dataset.labels[where[name]]) for number, name in enumerate(test, 1) if name in where]
    kept = np.array(sorted(where[name] for name in train if name in where), np.int64)
    if not rows or not len(kept):
        raise DataError(
            f"{config.root}: {len(kept)} training and {len(rows)} test images of MLE-bench's split are there; "
            "each side needs at least one"
        )
    own_train, own_val = split_positions(dataset.subset(kept), config, seed)
    require_sides(dataset, (own_train, own_val))
    table = pd.DataFrame(rows, columns=["id", "path", "label"]).to_csv(index=False, lineterminator="\n")
    made_by = {"mle_bench": True, **origin_of_split(config, seed)}
    write_split(folder, dataset, (kept[own_train], kept[own_val]), made_by, table)
    return len(own_train), len(own_val), len(rows)
