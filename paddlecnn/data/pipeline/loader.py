"""Batches: which images, in which order, with which changes. One loader for arrays and for files.

A batch is made in three steps, each a pure function of (seed, epoch, step):
    plan    which positions of the data set this process needs
    read    their pixels, augmented in training: uint8; threads do this for files
    finish  normalise on the device, mix, attach labels
So the batch of (seed, epoch, step) is the same, byte for byte, for any number of threads.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator
from contextlib import closing
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from paddlecnn.config import Augment, Preprocess
from paddlecnn.data.base import ArrayDataset, Dataset
from paddlecnn.data.pipeline.augment import EpochRandom, resized_reader, training_pixels
from paddlecnn.data.pipeline.cache import cached
from paddlecnn.data.pipeline.mixup import Mix, draw_mix, soft_labels
from paddlecnn.data.pipeline.prefetch import map_ahead
from paddlecnn.data.pipeline.transforms import to_input
from paddlecnn.data.pipeline.views import View, centre
from paddlecnn.errors import ConfigError
from paddlecnn.randomness import generator

if TYPE_CHECKING:
    import paddle

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """This process's share of one step."""

    images: paddle.Tensor  # float32 [n, 3, S, S]
    labels: paddle.Tensor | None  # int64 [n]; None if the data set has none
    indices: np.ndarray  # int64 [n], positions in the data set
    soft_labels: paddle.Tensor | None = None  # float32 [n, C], with mixup or CutMix


@dataclass(frozen=True)
class Plan:
    """The positions of one step for one process."""

    own: np.ndarray  # the images of the batch
    needed: np.ndarray  # the images to read: the same, or, sorted, with the partners of a mix
    partners: np.ndarray | None  # the image mixed into each of `own`
    mix: Mix | None


@dataclass(eq=False)
class Loader:
    """Epochs of batches. `len` is the number of steps; the last batch may be short."""

    dataset: Dataset
    preprocess: Preprocess  # every key filled (transforms.resolve)
    batch_size: int  # over all processes together
    _: KW_ONLY
    augment: Augment | None = None  # None for evaluation
    seed: int = 0
    shuffle: bool = False
    workers: int = 0  # threads that read files; images in memory are faster without threads and ignore this
    shard: tuple[int, int] = (0, 1)  # (rank, number of processes): this process's part of each batch
    cache: str | None = None  # folder for the resized images of files in one memory-mapped file
    view: View | None = None  # the part of an image that evaluation sees; None: the central crop

    def __post_init__(self) -> None:
        self.view = self.view or centre(self.preprocess.resize, self.preprocess.size)
        if self.cache is not None and not isinstance(self.dataset, ArrayDataset):
            self.dataset = cached(self.dataset, self.view.resize, self.cache, self.preprocess.fit)
        self.read_squares = resized_reader(self.dataset, self.view.resize, self.preprocess.fit)
        self.workers = 0 if self.is_in_memory else self.workers
        if self.augment and self.augment.cutout > self.preprocess.size:
            raise ConfigError(
                f"data.augment.cutout: {self.augment.cutout} is larger than the input of {self.preprocess.size}"
            )
        if self.augment and self.augment.pad > self.preprocess.resize:
            raise ConfigError(
                f"data.augment.pad: {self.augment.pad} is larger than the image of {self.preprocess.resize}"
            )
        scale = self.augment and self.augment.scale
        if scale and scale[0] < self.preprocess.size:
            raise ConfigError(
                f"data.augment.scale: {scale[0]} is less than the input of {self.preprocess.size}; the crop would not "
                "fit into the image"
            )
        is_crop = self.augment and self.augment.crop and not self.augment.pad and not scale
        if is_crop and self.view.resize == self.preprocess.size:
            logger.warning(
                "data.augment.crop: has no effect, because the image and the input are both of %d pixels; set "
                "data.preprocess.resize above that, or data.augment.pad",
                self.preprocess.size,
            )

    @property
    def is_in_memory(self) -> bool:
        """Whether a batch is one indexing of an array, with no image to decode or resize."""
        return (
            isinstance(self.dataset, ArrayDataset)
            and not (self.augment and (self.augment.random_resized_crop or self.augment.scale))
            and self.dataset.images.shape[1:3] == (self.view.resize,) * 2
        )

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.batch_size)

    def epoch(self, number: int, start: int = 0) -> Generator[Batch, None, None]:
        """The batches of an epoch from step `start` on. Those before it cost nothing."""
        steps = range(start, len(self))

        def read_step(step: int) -> np.ndarray:
            return self.read(self.plan(number, step), number)

        with closing(map_ahead(read_step, steps, self.workers)) as pixels:
            for step, images in zip(steps, pixels, strict=True):
                yield self.finish(self.plan(number, step), images)

    def plan(self, epoch: int, step: int) -> Plan:
        """This process's share of a step. The shares of all processes together are the batch of a single process."""
        order = epoch_order(self.seed, epoch, len(self.dataset), self.shuffle)
        batch = order[step * self.batch_size : (step + 1) * self.batch_size]
        rank, world = self.shard
        share = slice(len(batch) * rank // world, len(batch) * (rank + 1) // world)
        own = batch[share]
        mix = self.augment and draw_mix(self.augment, self.preprocess.size, len(batch), self.seed, epoch, step)
        if not mix:
            return Plan(own, own, None, None)
        partners = batch[mix.partners][share]
        return Plan(own, np.unique(np.concatenate([own, partners])), partners, mix)

    def read(self, plan: Plan, epoch: int) -> np.ndarray:
        """The needed images: uint8 [n, 3, S, S]. Raises DataError naming a file that cannot be read."""
        if not len(plan.needed):
            return np.empty((0, 3, self.preprocess.size, self.preprocess.size), np.uint8)
        if self.augment is None:
            return self.view.cut(self.read_squares(plan.needed), self.preprocess.size)
        draws = EpochRandom(self.seed, epoch, len(self.dataset))
        return training_pixels(plan.needed, draws, self.augment, self.preprocess, self.read_squares, self.dataset.image)

    def finish(self, plan: Plan, pixels: np.ndarray) -> Batch:
        """From bytes to a batch on the device."""
        import paddle

        own_labels = None if self.dataset.labels is None else self.dataset.labels[plan.own]
        labels = None if own_labels is None else paddle.to_tensor(own_labels)
        if plan.mix is None:
            return Batch(to_input(pixels, self.preprocess), labels, plan.own)
        share = plan.mix.share
        images, others = (pixels[np.searchsorted(plan.needed, positions)] for positions in (plan.own, plan.partners))
        if plan.mix.box is not None:
            top, bottom, left, right = plan.mix.box
            images[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
            inputs = to_input(images, self.preprocess)
        else:
            inputs = to_input(images, self.preprocess) * share + to_input(others, self.preprocess) * (1 - share)
        soft = soft_labels(own_labels, self.dataset.labels[plan.partners], share, len(self.dataset.classes))
        return Batch(inputs, labels, plan.own, paddle.to_tensor(soft))


@lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, count: int, shuffle: bool) -> np.ndarray:
    """int64 [count]: the positions in the order of an epoch."""
    order = generator(seed, "order", epoch).permutation(count) if shuffle else np.arange(count)
    order.flags.writeable = False
    return order
