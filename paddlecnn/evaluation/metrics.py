"""Measure a model: the same few lines in validation during training and in tools/eval.py, so they cannot disagree."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from scipy.special import log_softmax, softmax
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support, top_k_accuracy_score
from tqdm import tqdm

from paddlecnn import distributed
from paddlecnn.data.pipeline.loader import Loader


@dataclass(frozen=True)
class Scores:
    """The two numbers that choose an epoch."""

    n: int
    loss: float  # mean cross-entropy of the labels, in nats, without label smoothing
    top1: float  # share of images whose most probable class is the label, 0..1

    def __str__(self) -> str:
        return f"loss {self.loss:.6f}  top-1 {self.top1:.4%}  ({self.n:,} images)"


def predict_logits(model: paddle.nn.Layer, loader: Loader, progress: str | None = None) -> np.ndarray:
    """The model's logits [N, C], float32, in the order of the loader's data set.

    The model is put into evaluation mode and left in the mode it was in. With several processes each computes its
    share and all get the whole.
    """
    was_training = model.training
    model.eval()
    logits = np.zeros((len(loader.dataset), model.num_classes), np.float32)
    batches = tqdm(loader.epoch(0), total=len(loader), desc=progress, unit="batch", leave=False,
                   disable=None if progress else True)
    with paddle.no_grad():
        for batch in batches:
            if len(batch.indices):
                logits[batch.indices] = model(batch.images).numpy()
    if was_training:
        model.train()
    return distributed.all_reduce_sum(logits)


def score(logits: np.ndarray, labels: np.ndarray) -> Scores:
    """Loss and top-1 of logits [N, C] against labels [N]."""
    losses = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]
    return Scores(len(labels), float(losses.mean()), float((logits.argmax(axis=1) == labels).mean()))


def report(logits: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    """Everything tools/eval.py tells of a split, as plain values.

    Keys: n, loss, log_loss, top1, top5 (None with five classes or fewer), per_class (precision, recall, f1, support),
    confusion (rows: labels, columns: predictions). The metrics are scikit-learn's.
    """
    every = np.arange(len(classes))
    probabilities = softmax(logits.astype(np.float64), axis=1)
    scores = score(logits, labels)
    table = precision_recall_fscore_support(labels, logits.argmax(axis=1), labels=every, zero_division=0)
    names = ("precision", "recall", "f1", "support")
    return {
        "n": scores.n,
        "loss": scores.loss,
        "log_loss": float(log_loss(labels, probabilities, labels=every)),
        "top1": scores.top1,
        "top5": float(top_k_accuracy_score(labels, logits, k=5, labels=every)) if len(classes) > 5 else None,
        "per_class": {name: dict(zip(names, map(float, column), strict=True))
                      for name, column in zip(classes, zip(*table, strict=True), strict=True)},
        "confusion": confusion_matrix(labels, logits.argmax(axis=1), labels=every).tolist(),
    }
