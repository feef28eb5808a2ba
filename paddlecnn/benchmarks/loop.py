"""The whole training loop and its bare step, measured in turn in one process.

The loop: random 32x32 images from the loader with crop and flip, momentum with clipping, metrics, metrics.csv, curves.
The bare step: the same network on one batch in memory, `paddle.optimizer.Momentum` without clipping, reading the loss.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from paddlecnn.benchmarks.workloads import Workload
from paddlecnn.config import Preprocess
from paddlecnn.configfile import load_config
from paddlecnn.data.base import ArrayDataset, PublishedSplits
from paddlecnn.data.datasets import register_source
from paddlecnn.models import register
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.training.checkpointer import Checkpointer
from paddlecnn.training.fit import train_epoch
from paddlecnn.training.logger import MetricLogger
from paddlecnn.training.setup import build_training
from paddlecnn.training.state import TrainState

STEPS = 10  # of an epoch of the loop; one log entry covers as many
NAME = "measured"


def measure_loop(
    network: paddle.nn.Layer, bare_step: Callable[[], object], workload: Workload, precision: str, seconds: float
) -> dict[str, float]:
    """Images per second of the loop and of the bare step, and the median ratio of neighbouring measurements."""
    register_source(NAME, lambda _: random_images(workload), Preprocess(
        size=workload.size, resize=workload.size, channels="rgb", scale=255.0, mean=[0.5] * 3, std=[0.25] * 3
    ))  # fmt: skip

    def measured(num_classes: int) -> paddle.nn.Layer:
        return network

    register(measured)
    config = load_config(
        {
            "data": {"name": NAME, "augment": {"pad": 4, "flip": True}},
            "model": {"name": NAME},
            "optim": {"name": "momentum", "lr": 1e-3, "momentum": 0.9, "weight_decay": 5e-4, "clip_norm": 5.0},
            "train": {"epochs": 10**6, "batch_size": workload.batch, "engine": "onednn", "precision": precision},
        }
    )
    setup = build_training(config)
    rates: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir.create(Path(folder) / "run", config, {})
        state = TrainState(setup.model, config, len(setup.train), engine=setup.engine)
        logger = MetricLogger(run, config.train, state.progress, None)
        checkpointer = Checkpointer(run, config.train.checkpoint, setup.identity)

        def epoch() -> None:
            train_epoch(state, setup.train, logger, checkpointer)
            state.progress.step_in_epoch = 0
            state.progress.epoch += 1

        def bare() -> None:
            for _ in range(STEPS):
                bare_step()

        with contextlib.closing(logger):
            epoch()
            bare()
            end = time.perf_counter() + seconds
            while time.perf_counter() < end or len(rates) < 3:
                rates.append((STEPS * workload.batch / timed(epoch), STEPS * workload.batch / timed(bare)))
    return {
        "images_per_second": round(statistics.median(loop for loop, _ in rates), 2),
        "bare_step": round(statistics.median(bare for _, bare in rates), 2),
        "to_bare_step": round(statistics.median(loop / bare for loop, bare in rates), 4),
    }


def random_images(workload: Workload) -> PublishedSplits:
    """As many images as STEPS batches hold, for training and for validation."""
    random, count = np.random.default_rng(0), STEPS * workload.batch

    def part(name: str) -> ArrayDataset:
        pixels = random.integers(0, 256, (count, 3, workload.size, workload.size), np.uint8).transpose(0, 2, 3, 1)
        labels = random.integers(0, workload.classes, count)
        return ArrayDataset(
            name, tuple(map(str, range(workload.classes))), list(map(str, range(count))), labels, pixels
        )

    return PublishedSplits(train=part("train"), test=part("test"))


def timed(function: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin
