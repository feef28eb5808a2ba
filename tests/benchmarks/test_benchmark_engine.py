"""`paddlecnn benchmark growth` and `primitives`: how the engine's speed grows, and where its time goes."""

from __future__ import annotations

import json

import pytest

from paddlecnn import onednn
from paddlecnn.benchmarks.paddle_worker import build
from paddlecnn.benchmarks.workloads import GROWTH, TRAINING
from paddlecnn.models import create_model
from paddlecnn.models.summary import summarize


@pytest.fixture(autouse=True)
def engine():
    if not onednn.available():
        pytest.skip("this PaddlePaddle contains no oneDNN 3")


def test_growth_measures_each_number_of_processes_and_draws_it(long_test, tool, tmp_path):
    path, figure = tmp_path / "growth.json", tmp_path / "growth.png"
    options = ["--rounds", "1", "--seconds", "0.1", "--only", "processes", "--contenders", "onednn_float32"]
    assert tool("benchmark", "growth", *options, "--figure", figure, "--json", path) == 0
    _, result = json.loads(path.read_text())
    assert result["values"] == list(GROWTH["processes"])
    assert len(result["speeds"]["onednn_float32"]) == 2
    assert all(speed > 0 for speed in result["speeds"]["onednn_float32"])
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_profile_names_the_primitives_of_a_step(tool, tmp_path):
    path = tmp_path / "profile.json"
    assert tool("benchmark", "primitives", "--only", "small_alexnet", "--json", path) == 0
    profile = json.loads(path.read_text())[1]
    kinds = {label.partition(":")[0] for label in profile["primitives"]}
    assert {"convolution forward", "convolution backward weights", "pooling backward", "linear forward"} <= kinds
    assert 0 < sum(profile["primitives"].values()) < profile["step_ms"]
    assert profile["share_of_peak"] > 0


@pytest.mark.parametrize("name", ["alexnet_cifar_lrn", "alexnet_lrn"])
def test_a_workload_has_the_multiply_adds_of_the_model_it_is_named_after(name):
    workload = TRAINING[name]
    measured = summarize(build(workload, plain=False), workload.size)
    assert measured.multiply_adds == summarize(create_model(name), workload.size).multiply_adds
