"""The initial scale of layers that published weights leave at random values."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import safetensors.numpy

import paddlecnn as pc
from helpers.images import photos
from helpers.weight_files import convolutions_of
from paddlecnn.configfile import load_config
from paddlecnn.models import create_model
from paddlecnn.runs.metrics_log import read_metrics
from paddlecnn.training.setup import build_training
from paddlecnn.training.train import prepared

COUNT = 24  # photographs


def first_loss(run: Path) -> float:
    return float(next(iter(read_metrics(run / "metrics.csv")))["loss"])


def test_first_loss_of_new_layers_is_that_of_guessing(tool, tmp_path):
    """Features of pixels 0..255 are of that magnitude, which new layers are not made for."""
    convolutions_of("vgg11_cifar", tmp_path / "weights.npz")
    config = {
        "data": {"name": "folder", "root": str(photos(tmp_path / "photos", COUNT))},
        "model": {"name": "vgg11_cifar", "weights": str(tmp_path / "weights.npz"), "strict": False},
        "optim": {"lr": 1e-9},
        "train": {"epochs": 1, "batch_size": 16, "log_every": 1},
    }
    for name, freezing in (
        ("plain", "none"),
        ("frozen", "features"),
        ("cached", "features"),
        ("block5", "pool4"),
        ("pooled", "features"),
    ):
        config["model"] |= {"freeze": freezing, "options": {"pooled": name == "pooled"}}
        config["train"]["feature_cache"] = "off" if name in ("plain", "frozen") else str(tmp_path / "cache")
        pc.train(config, run=tmp_path / name)
        assert first_loss(tmp_path / name) == pytest.approx(math.log(2), abs=0.1), name


def test_new_layers_on_features_that_are_all_zero_train(tool, tiny, tmp_path):
    network = create_model("alexnet_cifar", hidden=[8], num_classes=10)
    zeros = {name: 0 * value.numpy() for name, value in network.features.state_dict().items()}
    file = tmp_path / "zeros.safetensors"
    safetensors.numpy.save_file({f"features.{name}": value for name, value in zeros.items()}, file)
    model = f"{{name: alexnet_cifar, options: {{hidden: [8]}}, strict: false, weights: {file}}}"
    options = ["-o", f"model={model}", "-o", "data.limit=32", "-o", "train.epochs=1"]
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", *options) == 0


def test_a_new_hidden_layer_has_outputs_of_unit_scale_and_logits_are_small(tmp_path):
    convolutions_of("vgg11_cifar", tmp_path / "weights.npz")
    model = {
        "name": "vgg11_cifar",
        "weights": str(tmp_path / "weights.npz"),
        "strict": False,
        "options": {"hidden": [16]},
    }
    data = {"name": "folder", "root": str(photos(tmp_path / "photos", COUNT)), "val_fraction": 0.0}
    setup = build_training(load_config({"data": data, "model": model, "train": {"epochs": 1, "batch_size": COUNT}}))
    prepared(setup)
    network = setup.model
    network.eval()
    [batch] = setup.train.epoch(0)
    hidden = network.classifier.fc6(network.features(batch.images).flatten(1))
    for outputs, scale in ((hidden, 1.0), (network(batch.images), 0.1)):
        assert outputs.square().mean().sqrt().item() == pytest.approx(scale, rel=1e-3)
