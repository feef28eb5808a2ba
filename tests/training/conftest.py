"""A run that takes a second: LeNet-5 on a part of the digits."""
from __future__ import annotations

import pytest

TINY = """
data: {name: digits, limit: 256, augment: {pad: 2}}
model: {name: lenet5}
optim: {name: momentum, lr: 0.01, schedule: {name: cosine, warmup: 1}}
train: {epochs: 3, batch_size: 32, log_every: 2}
"""


@pytest.fixture
def tiny(tmp_path):
    """The path of a config for a tiny run."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path
