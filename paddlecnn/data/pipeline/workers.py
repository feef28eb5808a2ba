"""Worker processes that read images, with `paddle.io.DataLoader` as the engine."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from paddlecnn.errors import DataError

logger = logging.getLogger(__name__)

SHARED_MEMORY = "/dev/shm"
PREFETCH = 2  # batches that each worker reads ahead
SEMAPHORES = 1 << 20  # bytes of shared memory that queues between processes may take
SHUTDOWN = 10  # seconds that a worker has to finish its current batch at the end
PARENT_CHECK = 0.5  # seconds between two looks at the parent process
NO_PIXELS = np.zeros(1, np.uint8)  # stands for an empty share: shared memory of 0 bytes cannot be had

ReadStep = Callable[[int], np.ndarray]  # a step of the epoch to its pixels, uint8 [n, 3, S, S]


class Steps:
    """Steps from `start` on as a map-style data set: one item is the pixels of a whole batch.

    Items are NumPy arrays: Paddle tensors in a worker process crash. An error crosses the process border as text, so
    that it reaches the user as one line and not as a worker's traceback.
    """

    def __init__(self, read_step: ReadStep, start: int, count: int):
        self.read_step, self.start, self.count = read_step, start, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, str]:
        try:
            pixels = self.read_step(self.start + index)
        except DataError as error:
            return NO_PIXELS, str(error)
        return (pixels, "") if pixels.size else (NO_PIXELS, "")


def read_in_workers(
    read_step: ReadStep, start: int, count: int, side: int, workers: int, use_shared_memory: bool
) -> Iterator[np.ndarray]:
    """The pixels of `count` steps from `start` on, uint8 [n, 3, side, side], in order, read by worker processes.

    The processes end with the iterator, also if it is closed early, and with this process, also if it is killed.
    """
    import paddle

    parent = os.getpid()
    data_loader: Any = paddle.io.DataLoader  # its annotations leave out batch_size=None and data sets of other classes
    engine = data_loader(
        Steps(read_step, start, count),
        batch_size=None,
        collate_fn=unchanged,
        num_workers=min(workers, count),
        places=paddle.CPUPlace(),
        prefetch_factor=PREFETCH,
        use_buffer_reader=False,
        use_shared_memory=use_shared_memory,
        worker_init_fn=lambda _: end_with(parent),
    )
    batches = iter(engine)
    try:
        for pixels, error in batches:
            if error:
                raise DataError(error)
            pixels = pixels.numpy() if hasattr(pixels, "numpy") else pixels  # arrays came through a pipe
            yield pixels if pixels.ndim == 4 else np.empty((0, 3, side, side), np.uint8)
    finally:
        # Paddle does this when the iterator is deleted, which its own thread's reference to it prevents.
        batches._try_shutdown_all(SHUTDOWN)


def unchanged(item: tuple[np.ndarray, str]) -> tuple[np.ndarray, str]:
    """In place of collating: an item is a batch already."""
    return item


def end_with(parent: int) -> None:
    """End this worker soon after its parent, which may be killed: an orphan would wait for its queue for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def shared_memory_needed(batch_bytes: int, workers: int) -> int:
    """Bytes of the batches that may be in shared memory at one time."""
    return batch_bytes * (workers * PREFETCH + 2)


def allowed_workers(wanted: int, folder: str = SHARED_MEMORY) -> int:
    """`wanted`, or 0 with a warning if shared memory has no room for the semaphores of the workers' queues."""
    if wanted and shared_memory_free(folder) < SEMAPHORES:
        logger.warning(
            "%s: less than %.0f MiB free, too little for worker processes; images are read in this process "
            "(docker: --shm-size)",
            folder,
            SEMAPHORES / 2**20,
        )
        return 0
    return wanted


def has_room(needed: int, folder: str = SHARED_MEMORY) -> bool:
    """Whether shared memory has room, with a warning if not. Without room a worker would die of a bus error."""
    free = shared_memory_free(folder)
    if free >= needed:
        return True
    logger.warning(
        "%s: %s MiB free and the loader's workers need %s; batches go through pipes, which is slower "
        "(docker: --shm-size)",
        folder,
        f"{free / 2**20:,.0f}",
        f"{needed / 2**20:,.0f}",
    )
    return False


def shared_memory_free(folder: str = SHARED_MEMORY) -> int:
    """Bytes free in the folder of shared memory; 0 if it does not exist."""
    try:
        stat = os.statvfs(folder)
    except OSError:
        return 0
    return stat.f_bavail * stat.f_frsize
