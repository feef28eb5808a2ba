"""A run's logits for one split, in the data set's order."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from paddlecnn.data.datasets import open_dataset
from paddlecnn.data.loader import make_loader
from paddlecnn.errors import DataError
from paddlecnn.inference.predictor import LoadedRun
from paddlecnn.training.evaluate import predict_logits


@dataclass(frozen=True)
class Predictions:
    """logits [N, C] float64, ids [N], classes [C], labels [N] int64 or None where nobody tells them."""

    ids: Sequence[str]
    classes: tuple[str, ...]
    logits: np.ndarray
    labels: np.ndarray | None = None


def predict_split(run: LoadedRun, split: str) -> Predictions:
    """Predict a run's own train, val or test split. Raises DataError where the data set has no such split."""
    dataset = getattr(open_dataset(run.config.data, run.config.seed), split)
    if dataset is None:
        raise DataError(f"{run.config.data.name}: has no {split} split; nothing to predict")
    loader = make_loader(dataset, run.preprocess, run.config.train.batch_size)
    logits = np.asarray(predict_logits(run.model, loader), dtype=np.float64)
    return Predictions(dataset.ids, tuple(run.classes), logits, dataset.labels)


def softmax(logits: np.ndarray) -> np.ndarray:
    """p_c = exp(z_c - max z) / sum_d exp(z_d - max z), over the last axis; [N, C] to [N, C]."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
