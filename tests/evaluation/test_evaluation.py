"""What tools/eval.py tells, and keeps."""
from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, log_loss

CONFIG = """
data: {name: digits, limit: 200}
model: {name: lenet5}
optim: {lr: 0.05}
train: {epochs: 2, batch_size: 32}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("evaluation") / "small.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def run(tool, config):
    run = config.parent / "run"
    if not run.exists():
        assert tool("train", "-c", config, "--run", run) == 0
    return run


def test_the_figures_are_those_of_the_predictions_in_the_file(tool, run, capsys):
    assert tool("eval", run, "--split", "test", "--json") == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"split", "n", "loss", "log_loss", "top1", "top5", "per_class"} <= figures.keys()
    table = pd.read_csv(run / "predictions_test.csv", dtype={"label": str, "predicted": str})
    probabilities = table[[str(digit) for digit in range(10)]]
    assert list(table.columns[:3]) == ["id", "label", "predicted"]
    assert (len(table), figures["split"]) == (figures["n"], "test")
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    assert figures["top1"] == accuracy_score(table["label"], table["predicted"])
    assert figures["log_loss"] == pytest.approx(log_loss(table["label"], probabilities), abs=1e-9)
    assert figures["loss"] == pytest.approx(figures["log_loss"], abs=1e-9)
    in_five = [label in row.nlargest(5).index for label, (_, row) in
               zip(table["label"], probabilities.iterrows(), strict=True)]
    assert figures["top5"] == pytest.approx(np.mean(in_five))
    assert sum(row["support"] for row in figures["per_class"].values()) == figures["n"]
    assert np.array(figures["confusion"]).sum() == figures["n"]
    assert json.loads((run / "evaluation_test.json").read_text()) == figures
    assert min(Image.open(run / "confusion_test.png").size) > 300


def test_every_look_at_the_test_data_is_on_record(tool, run):
    path = run / "evaluations.jsonl"
    before = len(path.read_text().splitlines()) if path.exists() else 0
    assert tool("eval", run, "--split", "test") == 0
    assert tool("eval", run, "--split", "val", "--checkpoint", "last") == 0
    entries = [json.loads(line) for line in path.read_text().splitlines()][before:]
    assert [(entry["split"], entry["checkpoint"]) for entry in entries] == [("test", "best"), ("val", "last")]


def test_a_folder_that_is_no_run_is_named(tool, tmp_path, capsys):
    assert tool("eval", tmp_path) == 2
    assert capsys.readouterr().err == f"{tmp_path}: not a run folder (it has no config.yaml)\n"


def test_a_run_without_a_checkpoint_is_named(tool, run, tmp_path, capsys):
    (tmp_path / "config.yaml").write_text((run / "config.yaml").read_text())
    assert tool("eval", tmp_path) == 2
    assert "has no checkpoint best yet" in capsys.readouterr().err
