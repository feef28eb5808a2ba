"""A run in Python writes and shows the same as the commands."""

from __future__ import annotations

import json

import numpy as np
import paddle
import pytest
from PIL import Image

import paddlecnn as pc
from paddlecnn.config import DataConfig
from paddlecnn.data.datasets import open_dataset
from paddlecnn.errors import ConfigError, ExportError

CONFIG = {"data": {"name": "digits", "limit": 200}, "model": {"name": "lenet5"}, "train": {"epochs": 1}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return pc.train(CONFIG, run=tmp_path_factory.mktemp("run") / "run", verbose=False).run


def test_an_export_predicts_as_the_run(run, tmp_path, tool, capsys):
    path = run.export("safetensors", out=tmp_path / "net.safetensors", check=True)
    Image.fromarray(np.full((20, 20, 3), 90, np.uint8)).save(tmp_path / "a.png")
    assert tool("predict", path, tmp_path / "a.png", "--json") == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["top"][0]["class"] == run.predict(tmp_path / "a.png")["class"][0]
    with pytest.raises(ExportError, match="already exists"):
        run.export("safetensors", out=str(path))
    with pytest.raises(ConfigError, match="form 'torch': must be one of paddle, onnx, safetensors"):
        run.export("torch")


def test_a_network_in_training_mode_predicts_without_dropout_and_stays_in_that_mode(tmp_path):
    dropout = {"model.options": {"dropout": 0.5}, "data.limit": 80}
    run = pc.train(CONFIG, overrides=dropout, run=tmp_path / "run", verbose=False).run
    image = np.arange(768, dtype=np.uint8).reshape(16, 16, 3)

    def found() -> list[np.ndarray]:
        with paddle.no_grad():  # as in a script that only predicts
            return [
                run.predict(image).iloc[0, 2:].to_numpy(float),
                run.features(image, "drop4"),
                run.explain(image).heat,
            ]

    before = found()
    run.model.train()
    for one, other in zip(before, found(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert run.model.training


def test_a_submission_is_that_of_the_command(run, tmp_path, tool, capsys):
    written = run.submit(out=tmp_path / "python.csv", tta="flip")
    assert tool("submit", run.path, "--out", tmp_path / "command.csv", "--tta", "flip") == 0
    assert written.path.read_bytes() == (tmp_path / "command.csv").read_bytes()
    assert repr(written).replace("python", "command") == capsys.readouterr().out.strip()


def test_a_cross_validation_is_submitted_as_the_mean_of_its_runs(tmp_path, tool):
    folds = pc.train_folds(CONFIG, overrides={"data.folds": 2, "data.limit": 80}, run=tmp_path / "job", verbose=False)
    assert tool("submit", folds.path, "--out", tmp_path / "command.csv") == 0
    assert folds.submit(tmp_path / "python.csv").path.read_bytes() == (tmp_path / "command.csv").read_bytes()
    assert repr(folds.evaluate()).startswith("fold  epoch  images")


def test_an_evaluation_shows_itself_as_the_command_prints_it(run, tool, capsys):
    figures = run.evaluate("test")
    assert json.loads(json.dumps(figures))["top1"] == figures["top1"]
    assert tool("eval", run.path, "--split", "test") == 0
    assert repr(figures) == capsys.readouterr().out.strip()


def test_a_range_test_has_a_table_and_a_picture(run, tmp_path, tool, capsys):
    (tmp_path / "small.yaml").write_text(json.dumps(CONFIG))
    search = pc.find_lr(CONFIG, steps=15, end=1.0)
    options = ["--steps", 15, "--end", 1.0, "--out", tmp_path / "out.png"]
    assert tool("find-lr", "-c", tmp_path / "small.yaml", *options) == 0
    assert capsys.readouterr().out.splitlines()[-3:-1] == repr(search).splitlines()
    assert search.table["rate"].tolist()[:1] == [1e-6]
    assert search.suggestion == search.table["rate"][search.table["smoothed"].idxmin()] / 10
    assert pc.find_lr(CONFIG, steps=10, init_from=run.path).table["loss"][0] != search.table["loss"][0]
    assert search._repr_png_().startswith(b"\x89PNG")


def test_a_data_set_shows_its_size():
    splits = open_dataset(DataConfig(name="digits", limit=50), seed=0)
    assert repr(splits.train).startswith("ArrayDataset('digits")
    assert "50 images, 10 classes)" in repr(splits)
