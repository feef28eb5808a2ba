"""The logits of one run, or of several together, for a split, in the data set's order."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from paddlecnn.data.datasets import Splits, require_classes
from paddlecnn.data.pipeline.loader import make_loader
from paddlecnn.errors import DataError
from paddlecnn.evaluation.load_run import LoadedRun
from paddlecnn.evaluation.metrics import predict_logits
from paddlecnn.evaluation.tta import with_views


@dataclass(frozen=True)
class Predictions:
    """logits [N, C] float64, ids [N], classes [C], labels [N] int64 or None where nobody tells them."""

    ids: Sequence[str]
    classes: tuple[str, ...]
    logits: np.ndarray
    labels: np.ndarray | None = None


def predict_split(run: LoadedRun, splits: Splits, split: str, tta: str = "none") -> Predictions:
    """Predict the val or test split of a run's data. Raises DataError where the data set has no such split."""
    dataset = getattr(splits, split)
    if dataset is None:
        raise DataError(f"{run.config.data.name}: has no {split} split; nothing to predict")
    require_classes(dataset, run.classes, run.run.path.name)
    model, preprocess = with_views(tta, run.model, run.preprocess)
    data = run.config.data
    loader = make_loader(dataset, preprocess, run.config.train.batch_size, workers=data.workers, cache=data.cache)
    logits = predict_logits(model, loader, progress=f"{run.run.path.name} {split}").astype(np.float64)
    return Predictions(dataset.ids, run.classes, logits, dataset.labels)


def merge(parts: Sequence[Predictions]) -> Predictions:
    """One prediction for each id: the mean of the logits of all parts that hold it, ids in order of appearance.

    For the validation parts of k folds that is the out-of-fold prediction of every image; for several runs on
    the same images it is their ensemble. Raises DataError where the parts know other classes.
    """
    for part in parts[1:]:
        if part.classes != parts[0].classes:
            raise DataError(f"the runs know different classes ({', '.join(parts[0].classes)} and "
                            f"{', '.join(part.classes)}); they cannot be taken together")
    place = {name: row for row, name in enumerate(dict.fromkeys(name for part in parts for name in part.ids))}
    total, count = np.zeros((len(place), len(parts[0].classes))), np.zeros(len(place))
    labels = None if parts[0].labels is None else np.zeros(len(place), np.int64)
    for part in parts:
        rows = [place[name] for name in part.ids]
        total[rows] += part.logits
        count[rows] += 1
        if labels is not None:
            labels[rows] = part.labels
    return Predictions(list(place), parts[0].classes, total / count[:, None], labels)
