"""Several processes, one per GPU (on a CPU, as many as `paddle.distributed.launch` started).

With a single process every function here returns its argument, so the training loop needs no second form.
"""

from __future__ import annotations

import os

import paddle
import paddle.distributed as dist

_ended = False  # whether the work that the processes share is done


def start() -> None:
    """Join the processes that `python -m paddle.distributed.launch` started; does nothing in a single process."""
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) > 1 and not dist.is_initialized():
        dist.init_parallel_env()


def rank() -> int:
    """The number of this process; process 0 writes the run folder."""
    return dist.get_rank()


def world_size() -> int:
    """The number of processes; 1 after `end`."""
    return 1 if _ended else dist.get_world_size()


def wrap(model: paddle.nn.Layer) -> paddle.nn.Layer:
    """The model to call in training: it averages gradients over the processes."""
    return paddle.DataParallel(model) if world_size() > 1 else model


def all_reduce_sum(values: paddle.Tensor) -> paddle.Tensor:
    """The element-wise sum of a tensor over all processes, equal in each of them."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def end() -> bool:
    """Wait for all processes, then let process 0 continue by itself; False in the others, which have nothing to do."""
    global _ended
    wait_for_all()
    _ended = True
    return rank() == 0


def wait_for_all() -> None:
    """Return when every process has called this."""
    all_reduce_sum(paddle.zeros([1])).numpy()
