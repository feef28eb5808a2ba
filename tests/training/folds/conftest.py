"""A finished cross-validation on the digits."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.processes import training

DIGITS = """
data: {name: digits, limit: 200, folds: 3}
model: {name: lenet5}
optim: {name: adam, lr: 0.003}
train: {epochs: 4, batch_size: 32, checkpoint: {every_steps: 5}}
"""


@pytest.fixture(scope="session")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("config") / "folds.yaml"
    path.write_text(DIGITS)
    return path


@pytest.fixture(scope="session")
def trained(config, tmp_path_factory) -> tuple[Path, str]:
    """A finished job and what its training printed; not to be changed."""
    job = tmp_path_factory.mktemp("trained") / "job"
    process = training("-c", config, "--all-folds", "--run", job)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    return job, output


@pytest.fixture
def job(trained) -> Path:
    return trained[0]
