"""Predictions of trained runs for the validation or test split of their data, and their mean over several runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from paddlecnn import distributed
from paddlecnn.data.audit.inspection import filter_readable
from paddlecnn.data.base import Dataset, Splits
from paddlecnn.data.datasets import require_classes
from paddlecnn.data.pipeline.features import FeatureLoader, frozen_features
from paddlecnn.data.pipeline.loader import Loader
from paddlecnn.data.pipeline.views import prediction_views
from paddlecnn.errors import DataError
from paddlecnn.evaluation.load_run import LoadedRun
from paddlecnn.evaluation.metrics import predict_logits
from paddlecnn.models import freeze

logger = logging.getLogger(__name__)


WITHOUT = {  # the messages for a split that has no images
    "val": "no validation images; train with data.val_fraction above 0, or with data.folds",
    "test": "no test images; name the split val, or add images (docs/data.md)",
}


@dataclass(frozen=True)
class Predictions:
    """The logits of a data set: ids [N], classes [C], logits [N, C] float64, labels [N] int64 or None if unknown.

    parts: if each image was predicted by one of several runs, the number of that run, int64 [N]
    """

    ids: Sequence[str]
    classes: tuple[str, ...]
    logits: np.ndarray
    labels: np.ndarray | None = None
    parts: np.ndarray | None = None


def has_images(dataset: Dataset | None) -> bool:
    return dataset is not None and len(dataset) > 0


def predict_split(run: LoadedRun, splits: Splits, split: str, tta: str = "none") -> Predictions:
    """The logits for the val or test split of a run's data: the weighted mean over `prediction_views`.

    The features of frozen layers come from the run's cache, and are added to it where it lacks them.
    Raises DataError if the data set has no such split.
    """
    dataset = getattr(splits, split)
    if not has_images(dataset):
        raise DataError(f"{run.config.data.name}: {WITHOUT[split]}")
    require_classes(dataset, run.classes, run.run.path.name)
    freeze(run.model, run.config.model.freeze)
    model, features = frozen_features(run.model, run.config, run.preprocess, run.engine, training=False)
    views = prediction_views(tta, run.preprocess)
    if features:
        features.compute(features.missing([dataset], list(views)))
    logits = np.zeros((len(dataset), len(run.classes)))
    for view, weight in views.items():
        loader = Loader(
            dataset,
            run.preprocess,
            run.config.train.batch_size,
            workers=run.config.data.workers,
            shard=(distributed.rank(), distributed.world_size()),
            cache=None if features else run.config.data.cache,
            view=view,
        )
        loader = FeatureLoader(loader, features) if features else loader
        logits += weight * predict_logits(model, loader, f"{run.run.path.name} {split}", run.engine.autocast)
    return Predictions(dataset.ids, run.classes, logits, dataset.labels)


def check_same_data(run: LoadedRun, splits: Splits, data_changed: bool = False) -> list[str]:
    """Raise DataError if the images or their split are not those that the run was trained and validated with.

    Otherwise images that the run was trained on could be evaluated as validation or test images.

    data_changed: the user knows; log a warning instead, and return it as a caveat about the figures
    """
    trained = run.state.data
    if splits.val.fingerprint != trained.val:
        part = "validation"
    elif trained.train not in (splits.train.fingerprint, filter_readable(splits.train)[0].fingerprint):
        part = "training"
    else:
        return []
    problem = (
        f"{run.run.path}: the {part} images are not those of the run: the files in {run.config.data.root} or "
        "the data keys or seed of its config.yaml have changed since training"
    )
    if not data_changed:
        raise DataError(
            f"{problem}; restore them, or use those that are there with --data-changed (in Python: data_changed=True)"
        )
    warning = f"{problem}; images that the run was trained on may count as unseen"
    logger.warning("%s", warning)
    return [warning]


def merge(parts: Sequence[Predictions]) -> Predictions:
    """One prediction per id: the mean of the logits of all parts that contain it, ids in order of appearance.

    For the validation parts of k folds these are the out-of-fold predictions of every image; for several runs on
    the same images it is their ensemble. Raises DataError if the parts have different classes, or labels for an image.
    """
    for part in parts[1:]:
        if part.classes != parts[0].classes:
            raise DataError(
                f"the runs have different classes ({', '.join(parts[0].classes)} and "
                f"{', '.join(part.classes)}); they cannot be combined"
            )
    place = {name: row for row, name in enumerate(dict.fromkeys(name for part in parts for name in part.ids))}
    total, count = np.zeros((len(place), len(parts[0].classes))), np.zeros(len(place))
    labels = None if parts[0].labels is None else np.full(len(place), -1)
    numbers = np.zeros(len(place), np.int64)
    for number, part in enumerate(parts):
        rows = [place[name] for name in part.ids]
        numbers[rows] = number
        total[rows] += part.logits
        count[rows] += 1
        if labels is not None and part.labels is not None:
            before = labels[rows]
            wrong = np.flatnonzero((before >= 0) & (before != part.labels))
            if len(wrong):
                both = " and ".join(part.classes[some[wrong[0]]] for some in (before, part.labels))
                raise DataError(f"{part.ids[wrong[0]]}: has two labels, {both}; combine runs of the same data")
            labels[rows] = part.labels
    out_of_fold = len(parts) > 1 and bool((count == 1).all())
    return Predictions(list(place), parts[0].classes, total / count[:, None], labels, numbers if out_of_fold else None)
