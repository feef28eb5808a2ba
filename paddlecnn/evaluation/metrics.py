"""The measures of a model, shared by validation during training and by `paddlecnn eval`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import paddle
from scipy.special import log_softmax, softmax

from paddlecnn import distributed
from paddlecnn.data.pipeline.loader import Loader
from paddlecnn.evaluation.calibration import image_losses
from paddlecnn.models.mode import evaluation_mode
from paddlecnn.progress_bar import ProgressBar
from paddlecnn.runs.state import Scores


def predict_logits(
    model: paddle.nn.Layer,
    loader: Loader,
    progress: str | None = None,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> np.ndarray:
    """The model's logits [N, C], float32, in the order of the loader's data set.

    The model is put into evaluation mode and returned to its previous mode. The host waits for the device once,
    at the end. With several processes each computes its share and all receive the whole.

    progress: the label of the progress bar; None for no bar
    autocast: the context of the forward pass, for mixed precision
    """
    hidden = not progress or distributed.rank() != 0
    options = {"desc": progress, "total": len(loader), "unit": "batch", "leave": False}
    batches = ProgressBar(loader.epoch(0), hidden=hidden, **options)
    indices, outputs = [], []
    with paddle.no_grad(), evaluation_mode(model):
        for batch in batches:
            if len(batch.indices):
                with autocast():
                    outputs.append(model(batch.images))
                indices.append(batch.indices)
    classes = len(loader.dataset.classes)
    logits = np.zeros((len(loader.dataset), outputs[0].shape[1] if outputs else classes), np.float32)
    if outputs:
        logits[np.concatenate(indices)] = paddle.concat(outputs).astype("float32").numpy()
    return logits if distributed.world_size() == 1 else distributed.all_reduce_sum(paddle.to_tensor(logits)).numpy()


def score(logits: np.ndarray, labels: np.ndarray) -> Scores:
    """Loss, top-1 and its mean over the classes of logits [N, C] against labels [N]."""
    with np.errstate(invalid="ignore"):  # of infinite logits the loss is NaN, which training reports
        losses = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]
    is_right = logits.argmax(axis=1) == labels
    balanced = np.mean([is_right[labels == label].mean() for label in np.unique(labels)])
    return Scores(n=len(labels), loss=float(losses.mean()), top1=float(is_right.mean()), balanced=float(balanced))


def report(logits: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    """Everything that `paddlecnn eval` reports for a split, as plain values.

    Keys: n, loss, log_loss, top1, top5 (None with five classes or fewer), per_class (precision, recall, f1, support),
    confusion (rows: labels, columns: predictions). log_loss clips probabilities at 1e-15, as Kaggle does; the other
    metrics are scikit-learn's.
    """
    # Slow to import, and not needed by validation during training.
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, top_k_accuracy_score

    every = np.arange(len(classes))
    probabilities = softmax(logits.astype(np.float64), axis=1)
    scores = score(logits, labels)
    table = precision_recall_fscore_support(labels, logits.argmax(axis=1), labels=every, zero_division=0)
    names = ("precision", "recall", "f1", "support")
    return {
        "n": scores.n,
        "loss": scores.loss,
        "log_loss": float(image_losses(probabilities, labels).mean()),
        "top1": scores.top1,
        "top5": float(top_k_accuracy_score(labels, logits, k=5, labels=every)) if len(classes) > 5 else None,
        "per_class": {
            name: dict(zip(names, map(float, column), strict=True))
            for name, column in zip(classes, zip(*table, strict=True), strict=True)
        },
        "confusion": confusion_matrix(labels, logits.argmax(axis=1), labels=every).tolist(),
    }
