"""The training loss: cross-entropy, with weights of the classes if `train.class_weights` has some."""

from __future__ import annotations

import numpy as np
import paddle
import paddle.nn.functional as F

from paddlecnn.config import TrainConfig
from paddlecnn.data.base import Dataset
from paddlecnn.data.pipeline.loader import Batch
from paddlecnn.errors import ConfigError
from paddlecnn.text_tables import counted


def class_weights(config: TrainConfig, train: Dataset) -> np.ndarray | None:
    """The weight w_c of each class in the loss, float32 [C]; None without `train.class_weights`.

    balanced  w_c = n / (C n_c), with n_c of the n training images in class c (scikit-learn's `compute_class_weight`)
    a list    its numbers, divided by their mean over the training images

    Either way the mean over the training images is 1, so only the ratios of the numbers count and the learning rate
    keeps its meaning. Raises ConfigError for a list of another length than C, and for a class that nothing can balance.
    """
    if config.class_weights is None:
        return None
    assert train.labels is not None
    counts = np.bincount(train.labels, minlength=len(train.classes))
    if config.class_weights == "balanced":
        if not counts.all():
            name = train.classes[counts.argmin()]
            raise ConfigError(f"train.class_weights: balanced: no training image is of class {name}; write a list")
        weights = 1 / counts
    else:
        weights = np.array(config.class_weights)
        if len(weights) != len(counts):
            raise ConfigError(
                f"train.class_weights: {counted(len(weights), 'number')} for {len(counts)} classes; write one "
                f"for each, in the order {', '.join(train.classes[:5])}{', ...' if len(counts) > 5 else ''}"
            )
    return (weights * counts.sum() / (weights @ counts)).astype(np.float32)


def summed_cross_entropy(
    logits: paddle.Tensor, batch: Batch, smoothing: float, weights: paddle.Tensor | None = None
) -> paddle.Tensor:
    """The sum of the cross-entropy over the batch, in nats; float32 even in mixed precision.

    With weights it is the sum of -w_c t_ic log p_ic over images i and classes c, t being the targets after mixing and
    smoothing: what PyTorch's CrossEntropyLoss(weight, label_smoothing, reduction="sum") computes. A step divides it by
    the number of images, not by their weights as PyTorch's "mean" does for plain labels: the gradient is then the same
    for any number of parts and processes, and on average over the batches of an epoch that of the weighted mean.
    """
    assert batch.labels is not None  # training images have labels
    logits = logits.astype("float32")
    if batch.soft_labels is None and not smoothing and weights is None:
        return F.cross_entropy(logits, batch.labels, reduction="sum")
    targets = batch.soft_labels
    if targets is None:
        targets = F.one_hot(batch.labels, logits.shape[1])
    if smoothing:
        targets = F.label_smooth(targets, epsilon=smoothing)
    if weights is not None:  # Paddle's own weights are those of whole images, and its gradient needs targets of sum 1
        return -(weights * targets * F.log_softmax(logits)).sum()
    return F.cross_entropy(logits, targets, soft_label=True, reduction="sum")
