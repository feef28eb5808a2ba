"""Worker processes that read images, with `paddle.io.DataLoader` as the engine."""
from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from paddlecnn.errors import DataError

if TYPE_CHECKING:
    from paddlecnn.data.pipeline.loader import Loader

SHARED_MEMORY = "/dev/shm"
PREFETCH = 2  # batches that each worker reads ahead
SEMAPHORES = 1 << 20  # bytes of shared memory that queues between processes may take
PATIENCE = 10  # seconds that a worker has to finish the batch in hand when it is told to end
NO_PIXELS = np.zeros(1, np.uint8)  # stands for none: shared memory of 0 bytes cannot be had


class Steps:
    """The steps of an epoch as a map-style data set: one item is the pixels of a whole batch.

    Items are NumPy arrays: Paddle tensors in a worker process crash. An error crosses the process border
    as text, so that it reaches the user as the one line it is and not as a worker's traceback.
    """

    def __init__(self, loader: Loader, epoch: int, start: int):
        self.loader, self.epoch, self.start = loader, epoch, start

    def __len__(self) -> int:
        return len(self.loader) - self.start

    def __getitem__(self, index: int) -> tuple[np.ndarray, str]:
        try:
            pixels = self.loader.read(self.loader.plan(self.epoch, self.start + index), self.epoch)
        except DataError as error:
            return NO_PIXELS, str(error)
        return (pixels, "") if pixels.size else (NO_PIXELS, "")


def read_in_workers(loader: Loader, epoch: int, start: int, use_shared_memory: bool) -> Iterator[np.ndarray]:
    """The pixels of the steps from `start` on, uint8 [n, 3, S, S], in order, read by loader.workers processes.

    The processes end with the iterator, also with one that is left before its end.
    """
    import paddle

    steps = Steps(loader, epoch, start)
    workers = min(loader.workers, len(steps))
    engine = paddle.io.DataLoader(steps, batch_size=None, collate_fn=as_it_is, num_workers=workers,
                                  places=paddle.CPUPlace(), prefetch_factor=PREFETCH, use_buffer_reader=False,
                                  use_shared_memory=use_shared_memory)
    batches = iter(engine)
    try:
        for pixels, error in batches:
            if error:
                raise DataError(error)
            pixels = pixels.numpy() if hasattr(pixels, "numpy") else pixels  # arrays came through a pipe
            yield pixels if pixels.ndim == 4 else np.empty((0, 3, *[loader.preprocess.size] * 2), np.uint8)
    finally:
        # Paddle does this when the iterator is deleted, which its own thread's reference to it prevents.
        batches._try_shutdown_all(PATIENCE)


def as_it_is(item: tuple[np.ndarray, str]) -> tuple[np.ndarray, str]:
    """In place of collating: an item is a batch already."""
    return item


def shared_memory_needed(loader: Loader, workers: int) -> int:
    """Bytes of the batches that may lie in shared memory at one time, mixing partners counted too."""
    share = -(-loader.batch_size // loader.world)
    images = min(loader.batch_size, 2 * share) if loader.augment and (loader.augment.mixup or loader.augment.cutmix) \
        else share
    return images * 3 * loader.preprocess.size**2 * (workers * PREFETCH + 2)


def allowed_workers(wanted: int, folder: str = SHARED_MEMORY) -> int:
    """`wanted`, or 0 where not even the semaphores of the workers' queues find room in shared memory; says so then."""
    if wanted and shared_memory_free(folder) < SEMAPHORES:
        print(f"{folder}: less than {SEMAPHORES / 2**20:,.0f} MiB free, too little for worker processes; "
              "images are read in this process (docker: --shm-size)", file=sys.stderr)
        return 0
    return wanted


def has_room(needed: int, folder: str = SHARED_MEMORY) -> bool:
    """Whether shared memory has room; says so on stderr where it has not. A worker would die of a bus error then."""
    free = shared_memory_free(folder)
    if free >= needed:
        return True
    print(f"{folder}: {free / 2**20:,.0f} MiB free and the loader's workers need {needed / 2**20:,.0f}; "
          "going on through pipes, which is slower (docker: --shm-size)", file=sys.stderr)
    return False


def shared_memory_free(folder: str = SHARED_MEMORY) -> int:
    """Bytes free in the folder of shared memory; 0 where there is none."""
    try:
        stat = os.statvfs(folder)
    except OSError:
        return 0
    return stat.f_bavail * stat.f_frsize
