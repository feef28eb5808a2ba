"""The one interface to every data set: `open_dataset(config.data, seed)` gives its three parts."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from paddlecnn.config import DataConfig, Preprocess
from paddlecnn.data.base import ArrayDataset, Dataset, FileDataset, PublishedSplits, Splits
from paddlecnn.data.sources import cifar, digits, dogs_vs_cats, folder, kaggle_cifar
from paddlecnn.data.splits import Pair, read_split, sample, split_by_fold, split_by_fraction, write_split
from paddlecnn.errors import DataError

__all__ = ["ArrayDataset", "Dataset", "FileDataset", "PublishedSplits", "Splits", "defaults", "open_dataset",
           "open_parts", "published_counts", "require_classes", "save_split"]

SOURCES: dict[str, ModuleType] = {
    "digits": digits,
    "cifar10": cifar,
    "cifar100": cifar,
    "kaggle_cifar10": kaggle_cifar,
    "dogs_vs_cats": dogs_vs_cats,
    "folder": folder,
}


def defaults(name: str) -> Preprocess:
    """The data set's own preprocessing, every key filled."""
    return cifar.EDITIONS[name].preprocess if name in cifar.EDITIONS else SOURCES[name].PREPROCESS


def published_counts(name: str) -> dict[str, int]:
    """How many images the publisher states for each part; empty where nobody states any."""
    return cifar.EDITIONS[name].counts if name in cifar.EDITIONS else getattr(SOURCES[name], "COUNTS", {})


def open_dataset(config: DataConfig, seed: int) -> Splits:
    """Training, validation and test part of the data set that a config names.

    The publisher's own validation part is used where there is one; else the training part is split, by
    config.split (a folder), config.folds or config.val_fraction. Nothing is written. Raises DataError.
    """
    parts = open_parts(config)
    train, val = split_parts(parts, config, seed)
    test = parts.test and sample(parts.test, config.limit, seed)
    return Splits(sample(train, config.limit, seed), sample(val, config.limit, seed), test)


def open_parts(config: DataConfig) -> PublishedSplits:
    """What the publisher gives, unsplit."""
    return SOURCES[config.name].load(config)


def save_split(config: DataConfig, seed: int, folder: Path) -> tuple[int, int]:
    """Write the split a config asks for into `folder`; returns the sizes of its two parts."""
    dataset = open_parts(config).train
    split = split_positions(dataset, config, seed)
    made_by = {"seed": seed, "val_fraction": config.val_fraction}
    if config.folds is not None:
        made_by = {"seed": seed, "folds": config.folds, "fold": config.fold}
    write_split(folder, dataset, split, made_by)
    return len(split[0]), len(split[1])


def require_classes(dataset: Dataset, classes: Sequence[str], knower: str) -> None:
    """Raises DataError where a data set's classes are not those that a run or checkpoint knows."""
    if tuple(classes) != dataset.classes:
        raise DataError(f"{dataset.name}: its classes are {few(dataset.classes)}; {knower} knows {len(classes)}: "
                        f"{few(classes)}; take the data that it was trained for")


def few(classes: Sequence[str]) -> str:
    return ", ".join(classes[:5]) + (" ..." if len(classes) > 5 else "")


def split_parts(parts: PublishedSplits, config: DataConfig, seed: int) -> tuple[Dataset, Dataset]:
    if parts.val is not None and config.split is None and config.folds is None:
        return parts.train, parts.val
    train, val = split_positions(parts.train, config, seed)
    if not len(train) or not len(val):
        raise DataError(f"{parts.train.name}: {len(train)} images for training and {len(val)} for validation; "
                        "change data.val_fraction or data.folds, or add images")
    return parts.train.subset(train), parts.train.subset(val)


def split_positions(dataset: Dataset, config: DataConfig, seed: int) -> Pair:
    """Positions of the training and the validation images, as the config asks."""
    if config.split is not None:
        return read_split(Path(config.split), dataset)
    if config.folds is not None:
        return split_by_fold(dataset, config.folds, config.fold, seed)
    return split_by_fraction(dataset, config.val_fraction, seed)
