"""The memory of a training step, and the advice when a GPU runs out of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import paddle

from paddlecnn import distributed
from paddlecnn.errors import UserError
from paddlecnn.models.summary import Summary, summarize
from paddlecnn.training.setup import TrainingSetup

# Numbers that an optimizer keeps for each weight.
SLOTS = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2}
USABLE = 0.9  # of a device's memory; the rest is the driver's or lost to fragmentation


class OutOfMemory(UserError):
    """A training step needs more memory than the GPU has."""


@contextlib.contextmanager
def out_of_memory_explained(setup: TrainingSetup) -> Iterator[None]:
    """Turn Paddle's out-of-memory error on a GPU into one that names a batch size that would fit."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if "ResourceExhausted" not in str(error) and "Out of memory" not in str(error):
            raise
        if not paddle.get_device().startswith("gpu"):
            raise
        memory = paddle.device.cuda.get_device_properties().total_memory
        train = setup.config.train
        share = -(-train.batch_size // distributed.world_size())
        summary, slots = summarize(setup.model, setup.preprocess.size), SLOTS[setup.config.optim.name]
        raise OutOfMemory(advice(summary, share, train.accumulate, slots, memory)) from None


def advice(summary: Summary, batch_size: int, accumulate: int, slots: int, memory: int) -> str:
    """One line of advice. batch_size: of one process, in `accumulate` parts; memory: bytes of the device."""
    part = -(-batch_size // accumulate)
    fits = largest_batch(summary, slots, memory)
    while fits >= part:  # the estimate is too low
        fits //= 2
    parts = f" in parts of {part}" if accumulate > 1 else ""
    text = (
        f"train.batch_size: a batch of {batch_size}{parts} does not fit into the GPU's {memory / 2**30:.1f} GiB; "
        f"an estimated {fits} images would"
    )
    if not fits:
        return f"{text}: use a smaller model or input size"
    return f"{text}: train.accumulate={-(-batch_size // fits)} computes the same batch in parts"


def largest_batch(summary: Summary, slots: int, memory: int) -> int:
    """The largest power of two whose training step should fit into `memory` bytes; 0 if not even one image does."""
    fixed, one = (summary.training_bytes(images, slots) for images in (0, 1))
    fits = int((USABLE * memory - fixed) // (one - fixed))
    return 1 << fits.bit_length() - 1 if fits > 0 else 0
