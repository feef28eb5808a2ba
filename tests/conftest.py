"""Fixtures for every test: the commands, run as on the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ["PADDLECNN_REPORT"] = "false"  # a report takes longer than most trainings here; tests/reporting writes some

from paddlecnn.__main__ import main
from paddlecnn.cli.common import EXIT_BUG

# A run that takes a second: LeNet-5 on a part of the digits.
TINY = """
data: {name: digits, limit: 256, augment: {pad: 2}}
model: {name: lenet5}
optim: {name: momentum, lr: 0.01, schedule: {name: cosine, warmup: 1}}
train: {epochs: 3, batch_size: 32, log_every: 2}
"""


@pytest.fixture
def tool() -> Callable[..., int]:
    """`tool("train", "-c", "x.yaml")` runs `paddlecnn train -c x.yaml` in this process and returns its exit code."""

    def call(name: str, *arguments: object) -> int:
        with pytest.raises(SystemExit) as leaving:
            main([name.replace("_", "-"), *map(str, arguments)])
        assert leaving.value.code != EXIT_BUG, "an unexpected error: see the log file named on stderr"
        return leaving.value.code

    return call


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real data; skips the test, saying how to name the folder, if there is none."""
    folder = os.environ.get("PADDLECNN_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("PADDLECNN_REAL_DATA does not point at a folder with the real data")
    return Path(folder)


@pytest.fixture
def long_test() -> None:
    """Skips the test unless tests that take minutes are requested."""
    if not os.environ.get("PADDLECNN_LONG"):
        pytest.skip("takes minutes; PADDLECNN_LONG=1 runs it, as `make chaos` does")


@pytest.fixture
def python() -> str:
    """The interpreter that runs the tests, for tests that need a process of its own."""
    return sys.executable


@pytest.fixture
def tiny(tmp_path):
    """The path of a config for a tiny run."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path
