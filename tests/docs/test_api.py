"""The examples of docs/api.md run as they are, one after the other."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import paddlecnn as pc
from helpers.docs import ROOT, code_blocks
from paddlecnn.errors import ConfigError, DataError, RunError


def test_the_examples_run(tmp_path, monkeypatch, capsys):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in code_blocks(ROOT / "docs/api.md", "python"):
        exec(compile(block, "docs/api.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "'vgg16_bn_cifar'" in printed
    assert "Run('runs/a': alexnet_tf_cifar on digits, checkpoint best of epoch" in printed
    assert "overrides: optim.learning_rate: unknown key; did you mean optim.lr?" in printed


def test_the_readmes_example_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    (block,) = code_blocks(ROOT / "README.md", "python")
    exec(compile(block, "README.md", "exec"), {})
    assert 0 < float(capsys.readouterr().out.splitlines()[-1]) < 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pc.train(5), "config 5: must be a YAML file, a nested mapping or a Config"),
        (lambda: pc.train({}, overrides=["train.epochs=2"]), r"overrides \['train.epochs=2'\]: must be a mapping"),
        (lambda: pc.train({}, run=0), "run 0: must be the path of a folder"),
        (lambda: pc.load_run(None), "run None: must be the path of a folder, a config or latest"),
        (lambda: pc.load_folds(["a"]), r"job \['a'\]: must be the path"),
    ],
)
def test_an_argument_of_another_type_is_named(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


def test_the_package_imports_without_paddle():
    code = "import sys, paddlecnn as pc; pc.list_models; assert 'paddle' in sys.modules"
    light = "import sys, paddlecnn; print(any(name.split('.')[0] in ('paddle', 'pandas') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", light], capture_output=True, text=True, check=True).stdout == "False\n"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> pc.TrainingResult:
    config = {
        "data": {"name": "digits", "limit": 200},
        "model": {"name": "lenet5"},
        "optim": {"name": "adam", "lr": 0.003},
        "train": {"epochs": 2, "batch_size": 32},
    }
    return pc.train(config, run=tmp_path_factory.mktemp("api") / "run")


def test_a_result_has_its_history(result):
    history = result.history
    assert history["epoch"].tolist() == [1, 2]
    assert history.loc[history["epoch"] == result.best_epoch, "val_top1"].item() == history["val_top1"].max()
    metrics = result.run.metrics
    val = metrics[metrics["kind"] == "val"]
    assert val["loss"].tolist() == history["val_loss"].tolist()


def test_the_history_of_a_run_has_the_epochs_after_the_best_one(tmp_path):
    config = {"data": {"name": "digits", "limit": 64}, "model": {"name": "lenet5"}, "optim": {"lr": 1e-12}}
    run = pc.train({**config, "train": {"epochs": 2}}, run=tmp_path / "run").run
    assert run.evaluate()["epoch"] == 1  # nothing improved after it
    assert run.history["epoch"].tolist() == [1, 2]


def test_images_of_every_kind_get_the_same_answer(result, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    table = result.run.predict([tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(pixels), pixels])
    assert list(table.columns) == ["class", *result.run.classes]
    for row in range(1, 4):
        pd.testing.assert_series_equal(table.loc[row], table.loc[0], check_names=False)
    assert table.drop(columns="class").sum(axis=1).tolist() == pytest.approx([1] * 4)
    assert table["class"][0] == table.drop(columns="class").loc[0].astype(float).idxmax()
    with pytest.raises(DataError, match="float64"):
        result.run.predict(pixels / 255)


def test_a_run_is_found_by_folder_config_or_latest(result, tmp_path, monkeypatch):
    assert pc.load_run(str(result.run.path)).path == result.run.path
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="contains no run yet"):
        pc.load_run("latest")
    (tmp_path / "small.yaml").write_text(
        "data: {name: digits, limit: 100}\nmodel: {name: lenet5}\ntrain: {epochs: 1}\n"
    )
    first = pc.train("small.yaml", run="runs/small/1").run.path
    assert pc.load_run("small.yaml").path == pc.load_run("latest").path == first


def test_evaluation_agrees_with_the_history(result):
    figures = result.run.evaluate("val")
    best = result.history.loc[result.history["epoch"] == result.best_epoch].iloc[0]
    assert (figures["loss"], figures["top1"]) == (best["val_loss"], best["val_top1"])


def test_several_views_are_evaluated_as_on_the_command_line(result, tool, capsys):
    figures = result.run.evaluate(tta="flip")
    assert tool("eval", result.run.path, "--tta", "flip", "--json") == 0
    assert json.loads(capsys.readouterr().out) == figures
    with pytest.raises(ConfigError, match="tta 'mirror': must be one of none, flip, shift, crops, scales"):
        result.run.evaluate(tta="mirror")
