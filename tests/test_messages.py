"""The library's messages as a Python user sees them, each in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

EPOCH = "epoch 1/1  train loss"
WARNING = "train.batch_size: 128 is more than"
TRAIN = """
import paddlecnn as pc
config = {"data": {"name": "digits", "limit": 64}, "model": {"name": "lenet5"}, "train": {"epochs": 1}}
pc.train(config, run="run"%s)
"""


@pytest.fixture
def script(tmp_path):
    """`script(code)` runs code in an interpreter of its own, and returns its stdout and stderr."""

    def call(code: str) -> tuple[str, str]:
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    return call


def test_a_script_shows_the_epochs_and_the_warnings_and_leaves_logging_as_it_was(script):
    check = "import logging; print(logging.getLogger().handlers, logging.getLogger('paddlecnn').handlers)"
    stdout, stderr = script(f"{TRAIN % ''}\n{check}\nlogging.error('mine'); logging.info('unseen')")
    assert stdout.count(EPOCH) == 1
    assert stdout.splitlines()[-1] == "[] []"
    assert stderr.count(WARNING) == 1
    assert stderr.splitlines()[-1] == "ERROR:root:mine"


def test_without_verbose_or_with_a_level_of_the_users_only_warnings_are_seen(script):
    level = "import logging; logging.getLogger('paddlecnn').setLevel('WARNING')"
    stdout, stderr = script(f"{TRAIN % ', verbose=False'}\n{level}\n{TRAIN.replace('run=', 'run=2*') % ''}")
    assert stdout == ""
    assert stderr.count(WARNING) == 2


SET_UP = "import logging; logging.basicConfig(level=logging.{}, format='{}:%(message)s', force=False)\n"


@pytest.mark.parametrize("first_use", ["", "import paddlecnn; paddlecnn.train\n"])
def test_a_users_logging_shows_the_epochs_once_whenever_it_was_set_up(first_use, script):
    stdout, stderr = script(first_use + SET_UP.format("INFO", "mine") + TRAIN % "")
    assert stdout == ""
    assert stderr.count(f"mine:{EPOCH}") == stderr.count(EPOCH) == 1
    assert stderr.count(f"mine:{WARNING}") == 1


def test_a_users_logging_of_warnings_gets_no_epochs(script):
    stdout, stderr = script(SET_UP.format("WARNING", "mine") + TRAIN % "")
    assert stdout.count(EPOCH) == 1
    assert EPOCH not in stderr
    assert stderr.count(f"mine:{WARNING}") == stderr.count(WARNING) == 1
