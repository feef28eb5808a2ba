"""Several processes, one a GPU (or, on a CPU, as many as `paddle.distributed.launch` started).

With one process every function here gives its argument back, so the training loop has no second form.
"""
from __future__ import annotations

import os

import numpy as np
import paddle
import paddle.distributed as dist


def start() -> None:
    """Join the processes that `python -m paddle.distributed.launch` started; nothing with one process."""
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) > 1 and not dist.is_initialized():
        dist.init_parallel_env()


def rank() -> int:
    """This process's number; 0 writes the run folder."""
    return dist.get_rank()


def world_size() -> int:
    """How many processes there are."""
    return dist.get_world_size()


def wrap(model: paddle.nn.Layer) -> paddle.nn.Layer:
    """The model to call in training: it averages gradients over the processes."""
    return paddle.DataParallel(model) if world_size() > 1 else model


def all_reduce_sum(values: np.ndarray) -> np.ndarray:
    """The element-wise sum of an array over all processes, the same in each."""
    if world_size() == 1:
        return values
    tensor = paddle.to_tensor(values)
    dist.all_reduce(tensor)
    return tensor.numpy()


def wait_for_all() -> None:
    """Return when every process has come this far."""
    all_reduce_sum(np.zeros(1, np.float32))
