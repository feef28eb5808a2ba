"""A deep network without batch normalisation starts to learn on real CIFAR-10 images."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

import paddlecnn as pc
from helpers.docs import ROOT

pytestmark = pytest.mark.real


def test_vgg19_without_batch_normalisation_leaves_ln_10_in_50_steps(long_test, real_data, tmp_path):
    restore = [sys.executable, real_data / "restore_cifar10.py", tmp_path]
    subprocess.run(restore, check=True, capture_output=True)
    overrides = {
        "data": {"name": "cifar10", "root": str(tmp_path), "limit": 1600, "val_fraction": 0.1},
        "model.options": {"dropout": 0.0},
        "optim": {"name": "adam", "lr": 1e-4},
        "train": {"epochs": 1, "batch_size": 32, "log_every": 10},
    }
    result = pc.train(ROOT / "configs" / "cifar10" / "vgg19.yaml", overrides=overrides, run=tmp_path / "run")
    metrics = result.run.metrics
    steps = metrics[metrics["kind"] == "train"]
    assert steps["step"].iloc[-1] == 50
    assert steps["loss"].iloc[-1] < math.log(10) - 0.05
    assert result.history["val_loss"].iloc[-1] < math.log(10) - 0.05
