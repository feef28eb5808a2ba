"""A training step waits for the device only where the host needs the numbers."""

from __future__ import annotations

from collections import Counter

import paddle
import pytest

from paddlecnn.configfile import load_config
from paddlecnn.training.train import train_run

READS = ("numpy", "item", "tolist", "__float__", "__int__", "__bool__", "__len__")


@pytest.fixture
def reads(monkeypatch) -> Counter:
    """Counts the reads of a tensor's values by the host, by kind. The reads themselves are unchanged."""
    count: Counter = Counter()

    def counted(name: str):
        original = getattr(paddle.Tensor, name)

        def read(tensor, *arguments):
            count[name] += 1
            return original(tensor, *arguments)

        return read

    for name in READS:
        monkeypatch.setattr(paddle.Tensor, name, counted(name))
    return count


def steps_and_reads(tmp_path, reads: Counter, log_every: int, batch_size: int) -> tuple[int, int]:
    """An epoch of 200 images with clipping, accumulation and label smoothing: its steps, and the reads."""
    reads.clear()  # the batch sizes divide evenly: the engine checks itself, and reads, once per shape of a batch
    config = load_config(
        {
            "data": {"name": "digits", "val_fraction": 0.5, "limit": 200},
            "model": {"name": "lenet5"},
            "optim": {"name": "momentum", "clip_norm": 1.0},
            "train": {
                "epochs": 1,
                "batch_size": batch_size,
                "accumulate": 2,
                "log_every": log_every,
                "label_smoothing": 0.1,
            },
        }
    )
    train_run(config, tmp_path / f"{log_every}-{batch_size}", device="cpu")
    return -(-200 // batch_size), sum(reads.values())


def test_the_host_reads_twice_per_logged_step_and_not_otherwise(tmp_path, reads):
    steps, without_logging = steps_and_reads(tmp_path, reads, log_every=1000, batch_size=20)
    more_steps, without_logging_either = steps_and_reads(tmp_path, reads, log_every=1000, batch_size=10)
    assert (steps, more_steps) == (10, 20)
    assert without_logging == without_logging_either
    _, with_logging = steps_and_reads(tmp_path, reads, log_every=2, batch_size=10)
    assert with_logging - without_logging <= 2 * 10 + 2  # the sums and the gradient norm of each logged step
