"""A deep network without batch normalisation starts to learn on real CIFAR-10 images."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import paddle
import pytest

from paddlecnn.config import DataConfig
from paddlecnn.data.datasets import defaults, open_dataset
from paddlecnn.data.pipeline.loader import Loader
from paddlecnn.models import create_model

pytestmark = pytest.mark.real


def test_vgg19_without_batch_normalisation_leaves_ln_10_in_50_steps(real_data, tmp_path):
    restore = [sys.executable, real_data / "restore_cifar10.py", tmp_path]
    subprocess.run(restore, check=True, capture_output=True)
    images = open_dataset(DataConfig(name="cifar10", root=str(tmp_path), limit=1600), 0).train
    paddle.seed(0)
    network = create_model("vgg19_cifar", dropout=0.0)
    optimizer = paddle.optimizer.Adam(1e-4, parameters=network.parameters())
    losses = []
    for batch in Loader(images, defaults("cifar10"), 32, shuffle=True).epoch(0):
        loss = paddle.nn.functional.cross_entropy(network(batch.images), batch.labels)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(loss.item())
    assert len(losses) == 50
    assert np.mean(losses[-10:]) < math.log(10) - 0.05
