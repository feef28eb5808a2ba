"""The initial scale of layers that published weights leave at random values.

Random layers are made for inputs of unit scale. Features of published weights are not: VGG16's last ones, from pixels
0..255, reach hundreds, and the first loss of new layers on them was 7.8; guessing between two classes costs 0.69.
"""

from __future__ import annotations

import contextlib
import copy
import logging

import paddle
from paddle import nn

from paddlecnn.data.pipeline.loader import Loader
from paddlecnn.models.freezing import named_chain
from paddlecnn.models.network import ConvClassifier
from paddlecnn.training.setup import TrainingSetup

logger = logging.getLogger(__name__)

IMAGES = 32  # training images that the scale of layers is fitted to
MANY_IMAGES = 1024  # with cached features, or for a mean and a variance of each feature: 32 are too few
LOGITS = 0.1  # root mean square of the first logits: a cross-entropy within 0.02 of ln(classes)


@paddle.no_grad()
def scale_fresh_layers(setup: TrainingSetup) -> None:
    """Scale each random layer so that its outputs for the first training images have root mean square 1, logits 0.1.

    This is layer-sequential unit variance (Mishkin and Matas 2016, "All you need is a good init", algorithm 1, without
    the orthogonal start) for the layers that have no published weights. A fresh normalisation of statistics
    (`pooled`) takes their mean and variance and keeps them. A user's own network, whose layers need not follow one
    another, is left unchanged.
    """
    if not isinstance(setup.model, ConvClassifier):
        return
    layers = list(setup.trained) if setup.features else [layer for _, layer in named_chain(setup.model)]
    many = setup.features or any(isinstance(layer, nn.BatchNorm1D) for layer in setup.fresh)
    setup.model.eval()
    batches = first_inputs(setup.train, MANY_IMAGES if many else IMAGES)
    last = [layer for layer in layers if isinstance(layer, nn.Linear)][-1]
    known: list[nn.Layer] = []  # layers that stay as they are, which the engine runs together
    for layer in layers:
        if not any(layer is fresh for fresh in setup.fresh):
            known.append(layer)
            continue
        if known:
            batches = list(map(setup.engine.apply(nn.Sequential(*known)), batches))
            known = []
        if isinstance(layer, nn.BatchNorm1D):
            values = paddle.concat(batches)
            layer._mean.set_value(values.mean(axis=0))
            layer._variance.set_value(values.var(axis=0, unbiased=False))
        elif isinstance(layer, (nn.Conv2D, nn.Linear)):
            squares = paddle.concat([layer(batch).square().flatten() for batch in batches])
            size = squares.mean().sqrt().item()
            for parameter in layer.parameters() if size else ():  # zeros have no scale
                parameter.set_value(parameter * ((LOGITS if layer is last else 1.0) / size))
        batches = list(map(layer, batches))
    logger.info("initial scale of %d new layers fitted to %d training images", len(setup.fresh), sum(map(len, batches)))


def first_inputs(loader: Loader, count: int) -> list[paddle.Tensor]:
    """The first `count` images of the first epoch, or their features, in batches: the same in every process."""
    loader = copy.copy(loader)
    loader.shard = (0, 1)
    sizes = range(count, 0, -loader.batch_size)
    with contextlib.closing(loader.epoch(0)) as batches:
        return [batch.images[:size] for size, batch in zip(sizes, batches, strict=False)]
