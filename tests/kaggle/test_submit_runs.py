"""tools/submit.py on runs of ours: one, the folds of a cross-validation, and what cannot be submitted."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy

from paddlecnn.configfile import load_config
from paddlecnn.data.datasets import open_dataset
from paddlecnn.files import file_digest
from paddlecnn.kaggle.ledger import Ledger
from paddlecnn.kaggle.submission import read_submission
from paddlecnn.runtime import load_paddle

FOLD = """
data: {{name: digits, limit: 200, folds: 2, fold: {fold}}}
model: {{name: lenet5}}
optim: {{name: adam, lr: 0.003}}
train: {{epochs: 6, batch_size: 32}}
"""


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """Two runs of a cross-validation on a part of the digits, trained once for all tests here."""
    load_paddle()
    from paddlecnn.training.train import train_run

    folder = tmp_path_factory.mktemp("folds")
    for fold in (0, 1):
        config = folder / f"fold{fold}.yaml"
        config.write_text(FOLD.format(fold=fold))
        train_run(load_config(config), folder / f"run{fold}", device="cpu")
    return [folder / "run0", folder / "run1"]


def true_accuracy(run, submission) -> float:
    """The share of test images that a submission names rightly."""
    test = open_dataset(load_config(run / "config.yaml").data, 0).test
    table = read_submission(submission)
    assert table["id"].tolist() == test.ids
    return float(np.mean(table["label"].astype(str) == np.asarray(test.classes, dtype=object)[test.labels]))


def test_a_run_becomes_a_submission_with_an_honest_expectation(tool, folds, tmp_path, capsys):
    out = tmp_path / "submissions" / "digits.csv"
    assert tool("submit", folds[0], "--out", out) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{out}: 200 rows"
    (entry,) = Ledger(out.parent).entries()
    assert said[1] == (
        f"expected accuracy {entry.expected} (95 %: {entry.low} to {entry.high}), from 200 validation images"
    )
    assert "the epoch was selected on the same images" in said[2]
    assert float(entry.low) - 0.05 < true_accuracy(folds[0], out) < float(entry.high) + 0.05
    state = json.loads((folds[0] / "checkpoints" / "best" / "state.json").read_text())
    assert (entry.runs, entry.checkpoint) == (str(folds[0]), f"best, epoch {state['epoch']}")
    assert entry.config_hash == state["config_hash"]
    assert entry.sha256 == file_digest(out)


def test_folds_are_judged_on_every_image_and_flip_is_remembered(tool, folds, tmp_path, capsys):
    out = tmp_path / "folds.csv"
    assert tool("submit", "--folds", *folds, "--tta", "flip", "--out", out) == 0
    assert "from 400 validation images" in capsys.readouterr().out
    entry = Ledger(tmp_path).find(out)
    assert entry.runs == f"{folds[0]};{folds[1]}"
    assert entry.checkpoint.endswith(", flip at test time")


def test_the_validation_part_can_be_written_too(tool, folds, tmp_path):
    assert tool("submit", folds[0], "--split", "val", "--out", tmp_path / "val.csv") == 0
    assert len(read_submission(tmp_path / "val.csv")) == 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such run folder"),
        (["RUN", "--out", "x.txt"], "--out x.txt: must be the name of a file that ends in .csv"),
        (["RUN", "--competition", "cats"], "--competition cats: unknown"),
        (["RUN", "--competition", "dogs-vs-cats"], "dogs-vs-cats requires the class dog"),
        (["RUN", "--weights", "1,2"], "--weights: is for --blend"),
        (["RUN", "--device", "tpu"], "--device tpu: not a device"),
        (["--folds", "RUN", "RUN"], "is given more than once; it would count double"),
        (["RUN", "--wait", "nan"], "--wait nan: must be a number from 0 to"),
        (["RUN", "--wait", "-1"], "--wait -1: must be a number from 0 to"),
        (["x.csv"], "x.csv: add --upload to upload it"),
        (["x.csv", "--score", "y.csv", "--tta", "flip"], "--tta: has no effect on a finished CSV; leave it out"),
        (["x.csv", "--upload", "--out", "y.csv"], "--out: has no effect on a finished CSV"),
        (["x.csv", "--score", "y.csv", "--competition", "x"], "--competition: has no effect on a finished CSV without"),
        (["--blend", "x.csv", "y.csv", "--split", "val"], "--split: has no effect with --blend"),
        (["--blend", "x.csv", "y.csv", "--data-changed"], "--data-changed: has no effect with --blend"),
        (["RUN", "-m", "first"], "--message: has no effect without --upload"),
        (["RUN", "--again"], "--again: has no effect without --upload"),
        (["--list", "--upload"], "--upload: has no effect with --list"),
    ],
)
def test_what_makes_no_sense_is_one_line(tool, folds, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert tool("submit", *[folds[0] if word == "RUN" else word for word in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("*.csv"))


def test_a_run_that_predicts_nan_is_refused(tool, folds, tmp_path, capsys):
    run = shutil.copytree(folds[0], tmp_path / "run")
    best = run / "checkpoints" / "best"
    weights = safetensors.numpy.load_file(best / "model.safetensors")
    for values in weights.values():  # in one layer alone ReLU would hide it
        values[:] = np.nan
    safetensors.numpy.save_file(weights, best / "model.safetensors")
    sums = (best / "SHA256SUMS").read_text().splitlines()
    (best / "SHA256SUMS").write_text(
        "".join(f"{file_digest(best / line.split()[1])}  {line.split()[1]}\n" for line in sums)
    )
    assert tool("submit", run, "--out", tmp_path / "x.csv") == 2
    assert f"{run}: predicts NaN or infinity for 200 images" in capsys.readouterr().err
    assert not (tmp_path / "x.csv").exists()


def test_a_seed_changed_by_hand_is_refused_unless_the_user_knows(tool, folds, tmp_path, capsys):
    run = shutil.copytree(folds[0], tmp_path / "run")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("seed: 0", "seed: 7"))
    assert tool("submit", run, "--out", tmp_path / "x.csv") == 2
    assert "the validation images are not those of the run" in capsys.readouterr().err
    assert not (tmp_path / "x.csv").exists()
    assert tool("submit", run, "--out", tmp_path / "x.csv", "--data-changed") == 0
