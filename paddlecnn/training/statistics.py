"""The running statistics of batch normalisation, which no gradient moves."""

from __future__ import annotations

import paddle
from paddle.nn.layer.norm import _BatchNormBase

from paddlecnn import distributed


def running_statistics(layers: paddle.nn.Layer) -> list[tuple[_BatchNormBase, paddle.Tensor]]:
    """Each running mean and variance that a step of training changes, with its layer."""
    norms = [layer for layer in layers.sublayers(include_self=True) if isinstance(layer, _BatchNormBase)]
    changing = [layer for layer in norms if layer.training and not layer._use_global_stats]
    return [(layer, each) for layer in changing for each in (layer._mean, layer._variance)]


@paddle.no_grad()
def share_statistics(layers: paddle.nn.Layer) -> None:
    """Replace running statistics by their means over processes, in one collective; does nothing in a single process.

    Called after every step, since a checkpoint inside an epoch must have those that the run itself continues with.
    """
    running = [statistic for _, statistic in running_statistics(layers)]
    if distributed.world_size() == 1 or not running:
        return
    means = distributed.all_reduce_sum(paddle.concat(running)) / distributed.world_size()
    for statistic, mean in zip(running, means.split([each.shape[0] for each in running]), strict=True):
        paddle.assign(mean, statistic)
