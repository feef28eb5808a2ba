"""Data sets by name: `open_dataset(config.data, seed)` returns the three parts, `register_source` adds a data set."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from paddlecnn.config import DataConfig, Preprocess
from paddlecnn.data.base import Dataset, PublishedSplits, Splits
from paddlecnn.data.exclusion import leave_out
from paddlecnn.data.sources import cifar, digits, dogs_vs_cats, folder, kaggle_cifar, table
from paddlecnn.data.splits import Pair, read_split, read_test, sample, split_by_fold, split_by_fraction, write_split
from paddlecnn.errors import ConfigError, DataError, did_you_mean
from paddlecnn.text_tables import counted

logger = logging.getLogger(__name__)

Load = Callable[[DataConfig], PublishedSplits]


@dataclass(frozen=True)
class Source:
    """A data set's loader and preprocessing, and the facts that its publisher states."""

    load: Load
    preprocess: Preprocess  # its own preprocessing, every key filled
    counts: Mapping[str, int] = field(default_factory=dict)  # images of each part, if published
    unofficial_files: Callable[[DataConfig], list[str]] | None = None  # files without their published checksum


SOURCES: dict[str, Source] = {
    "digits": Source(digits.load, digits.PREPROCESS, digits.COUNTS),
    **{
        name: Source(cifar.load, edition.preprocess, cifar.COUNTS, cifar.unofficial_files)
        for name, edition in cifar.EDITIONS.items()
    },
    "kaggle_cifar10": Source(kaggle_cifar.load, kaggle_cifar.PREPROCESS, kaggle_cifar.COUNTS),
    "dogs_vs_cats": Source(dogs_vs_cats.load, dogs_vs_cats.PREPROCESS, dogs_vs_cats.COUNTS),
    "folder": Source(folder.load, folder.PREPROCESS),
    "table": Source(table.load, table.PREPROCESS),
}
BUILT_IN = frozenset(SOURCES)


def register_source(name: str, load: Load, preprocess: Preprocess) -> None:
    """Make a data set available as `data.name: NAME`.

    load        takes the `data` section of a config and returns PublishedSplits of ArrayDataset or FileDataset
    preprocess  its own preprocessing, for keys that neither the config nor weights set; `resize` and `fit` are optional
    Raises ConfigError for the name of a built-in data set and for an incomplete preprocessing. A name registered
    before is replaced, so that a notebook cell can be run again.
    """
    if name in BUILT_IN:
        raise ConfigError(f"register_source: {name} is a built-in data set; choose another name")
    missing = [key for key, value in preprocess if value is None and key not in ("resize", "fit")]
    if missing:
        raise ConfigError(f"register_source: {name}: preprocess.{missing[0]} is missing")
    SOURCES[name] = Source(load, preprocess)


def defaults(name: str) -> Preprocess:
    """The data set's own preprocessing, every key filled."""
    return SOURCES[name].preprocess


def open_dataset(config: DataConfig, seed: int) -> Splits:
    """The training, validation and test parts of the data set that a config names.

    The training part is split by config.split (a folder) or config.folds, which leave a published validation part
    unused; with both, the images of the folder are divided into folds. Otherwise a published validation part is used,
    or, without one, config.val_fraction. The folder may also name the test part. Images that config.exclude names are
    then left out. Nothing is written. Raises DataError.
    """
    parts = split_parts(open_parts(config), config, seed)
    if config.exclude is not None:
        parts = leave_out(parts, Path(config.exclude))
    test = parts.test and sample(parts.test, config.limit, seed)
    return Splits(sample(parts.train, config.limit, seed), sample(parts.val, config.limit, seed), test)


def open_parts(config: DataConfig) -> PublishedSplits:
    """The parts as published, unsplit. Raises DataError, and ConfigError for an unknown name or unsuitable labels."""
    if config.name not in SOURCES:
        raise ConfigError(f"data.name: unknown data set {config.name!r}{did_you_mean(config.name, SOURCES)}")
    if config.labels == "coarse" and config.name in BUILT_IN - {"cifar100"}:
        raise ConfigError(f"data.labels: coarse: {config.name} has no superclasses, only cifar100 does; leave it out")
    if config.name in BUILT_IN - {"table"}:
        for key in ("table", "images", "test"):
            if getattr(config, key) is not None:
                raise ConfigError(f"data.{key}: is for data.name table, not {config.name}; leave it out")
    parts = SOURCES[config.name].load(config)
    if not isinstance(parts, PublishedSplits):
        raise DataError(
            f"data.name: the loader of {config.name} returned {type(parts).__name__}; expected PublishedSplits"
        )
    report_similar(parts.train)
    return parts


def report_similar(dataset: Dataset) -> None:
    """Warn of two classes whose names differ in case or spaces alone, as those of labels typed by hand may."""
    known: dict[str, str] = {}
    for name in dataset.classes:
        other = known.setdefault("".join(name.casefold().split()), name)
        if other != name:
            logger.warning(
                "%s: %r and %r are two classes; if they mean one, spell them alike", dataset.name, other, name
            )
            return


def save_split(config: DataConfig, seed: int, folder: Path) -> tuple[int, int]:
    """Write the split of a config into `folder`; returns the sizes of its two parts."""
    parts = open_parts(config)
    dataset = parts.train
    split = split_positions(dataset, config, seed)
    require_sides(dataset, split)
    if parts.val is not None and config.split is None and config.folds is None:
        logger.warning(
            "%s: has %s for validation of its own, which a run with this split leaves unused",
            *(dataset.name, counted(len(parts.val), "image")),
        )
    write_split(folder, dataset, split, origin_of_split(config, seed))
    return len(split[0]), len(split[1])


def require_classes(dataset: Dataset, classes: Sequence[str], owner: str) -> None:
    """Raise DataError unless a data set has the classes of a run or checkpoint."""
    if tuple(classes) != dataset.classes:
        raise DataError(
            f"{dataset.name}: its classes are {few(dataset.classes)}; {owner} has {len(classes)}: "
            f"{few(classes)}; use the data that it was trained on"
        )


def few(classes: Sequence[str]) -> str:
    return ", ".join(classes[:5]) + (" ..." if len(classes) > 5 else "")


def split_parts(parts: PublishedSplits, config: DataConfig, seed: int) -> Splits:
    if parts.val is not None and config.split is None and config.folds is None:
        return Splits(parts.train, parts.val, parts.test)
    train, val = split_positions(parts.train, config, seed)
    require_sides(parts.train, (train, val), config.validates)
    test = read_test(Path(config.split), parts.train, np.concatenate([train, val])) if config.split else None
    return Splits(parts.train.subset(train), parts.train.subset(val), parts.test if test is None else test)


def require_sides(dataset: Dataset, split: Pair, validates: bool = True) -> None:
    """Raise DataError if there is no image for training or, if it `validates`, none for validation."""
    train, val = map(len, split)
    if not train or (not val and validates):
        raise DataError(
            f"{dataset.name}: {train} images for training and {val} for validation; "
            "change data.val_fraction or data.folds, or add images"
        )


def origin_of_split(config: DataConfig, seed: int) -> dict[str, Any]:
    """The values by which `split_positions` divides the images, for split.json."""
    origin: dict[str, Any] = {"seed": seed} if config.split is None else {"seed": seed, "split": config.split}
    if config.folds is not None:
        return origin | {"folds": config.folds, "fold": config.fold}
    return origin | {"val_fraction": config.val_fraction} if config.split is None else origin


def split_positions(dataset: Dataset, config: DataConfig, seed: int) -> Pair:
    """Positions of the training and the validation images by the config."""
    if config.split is not None:
        pair = read_split(Path(config.split), dataset)
        if config.folds is None:
            return pair
        named = np.sort(np.concatenate(pair))
        train, val = split_by_fold(dataset.subset(named), config.folds, config.fold, seed)
        return named[train], named[val]
    if config.folds is not None:
        return split_by_fold(dataset, config.folds, config.fold, seed)
    return split_by_fraction(dataset, config.val_fraction, seed)
