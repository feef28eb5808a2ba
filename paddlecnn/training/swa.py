"""Stochastic weight averaging (Izmailov et al., 2018, algorithm 1): the mean of the weights at the ends of epochs."""

from __future__ import annotations

import math

import paddle

from paddlecnn import distributed
from paddlecnn.data.pipeline.loader import Loader
from paddlecnn.randomness import random_seed
from paddlecnn.training.state import TrainState, copy_of
from paddlecnn.training.statistics import running_statistics


def average_epoch(state: TrainState, train: Loader) -> None:
    """Add the weights at the end of an epoch to the mean, if `train.swa` includes that epoch.

    The statistics of batch normalisation do not belong to the mean weights, so they are computed for these in a
    forward pass over the training images.
    """
    progress, config = state.progress, state.config.train
    if config.swa is None:
        return
    start = math.floor(round(config.swa * config.epochs, 6))  # 0.29 * 100 is just below 29
    before = progress.epoch - start  # epochs that belong in the mean so far
    if progress.averaged > max(before, 0):  # a shorter run that was extended averaged earlier ones, too
        state.average, progress.averaged = None, 0
    if before < 0:
        return
    if state.average is None:
        state.average = copy_of(state.model)
    state.move_average(state.average, progress.averaged / (progress.averaged + 1))
    progress.averaged += 1
    with state.weights_for_prediction() as layers:
        paddle.seed(random_seed(state.config.seed, "swa", progress.epoch, distributed.rank()))  # of dropout
        recompute_statistics(layers, train, progress.epoch)
        state.average = copy_of(state.model)


def recompute_statistics(layers: paddle.nn.Layer, train: Loader, epoch: int) -> None:
    """Set each running mean and variance to the mean over the batches of an epoch, weighted by their image counts."""
    layers.train()  # frozen layers stay in evaluation mode, and those with use_global_stats keep what they have
    running = running_statistics(layers)
    if not running:
        return
    sums = [paddle.zeros_like(statistic) for _, statistic in running]
    with paddle.no_grad():
        for batch in train.epoch(epoch):
            for _, statistic in running:
                statistic.zero_()  # then a step leaves (1 - momentum) times the batch's own
            layers(batch.images)
            for total, (layer, statistic) in zip(sums, running, strict=True):
                total.add_(statistic * (len(batch.indices) / (1 - layer._momentum)))
        for total, (_, statistic) in zip(sums, running, strict=True):
            statistic.set_value(distributed.all_reduce_sum(total) / len(train.dataset))
