"""tools/submit.py on runs of ours: one, the folds of a cross-validation, and what cannot be submitted."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from helpers.images import encoded, photo
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
        (["RUN", "--temperature", "5"], "--temperature: has no effect where the metric is accuracy; leave it out"),
        (["RUN", "--clip", "none"], "--clip: has no effect where the metric is accuracy; leave it out"),
        (["RUN", "--device", "tpu"], "--device tpu: not a device"),
        (["--folds", "RUN", "RUN"], "is given more than once; it would count twice"),
        (["RUN", "--upload", "--wait", "nan"], "--wait nan: must be a number from 0 to"),
        (["RUN", "--upload", "--wait", "-1"], "--wait -1: must be a number from 0 to"),
        (["RUN", "--wait"], "--wait: has no effect on a new submission without --upload"),
        (["x.csv"], "x.csv: add --upload to upload it"),
        (["nowhere.csv"], "nowhere.csv: no such file; write one with `paddlecnn submit RUN`"),
        (["net.onnx"], "net.onnx: is a file, not a run folder"),
        (["--list", "nowhere"], "--list nowhere: no such folder"),
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
    for name in ("x.csv", "net.onnx"):
        Path(name).touch()
    assert tool("submit", *[folds[0] if word == "RUN" else word for word in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.rglob("*.csv")] == ["x.csv"]


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


def write_photos(root, first: int):
    """A folder data set of two classes with a test part without labels; the names do not depend on `first`."""
    for number in range(12):
        kind = ("cat", "dog")[number % 2]
        for name, content in ((f"train/{kind}/{number}.png", number), (f"test/{number}.png", 100 + number)):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(encoded(photo(first + content, (32, 32)), "PNG"))
    return root


@pytest.fixture
def photo_run(tool, tmp_path):
    """`photo_run(root)` trains a run on the folder and returns its path."""

    def train(root, *options):
        config = tmp_path / "photos.yaml"
        config.write_text(
            f"data: {{name: folder, root: {root}, val_fraction: 0.3, preprocess: {{size: 32}}}}\n"
            "model: {name: lenet5}\ntrain: {epochs: 1, batch_size: 4}\n"
        )
        assert tool("train", "-c", config, "--run", tmp_path / f"run-{root.name}", *options) == 0
        return tmp_path / f"run-{root.name}"

    return train


@pytest.mark.parametrize("part", ["test", "train"])
def test_runs_that_call_different_images_by_one_name_are_not_averaged(tool, photo_run, tmp_path, capsys, part):
    """The names are equal; either the test images are others, or those of training and validation."""
    first, second = write_photos(tmp_path / "first", 0), write_photos(tmp_path / "second", 0)
    shutil.rmtree(second / part)
    shutil.copytree(write_photos(tmp_path / "others", 1000) / part, second / part)
    runs = [photo_run(first), photo_run(second)]
    capsys.readouterr()  # where oneDNN is too old, training says so
    assert tool("submit", "--folds", *runs, "--out", tmp_path / "x.csv") == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert f"{part}/" in error
    assert error.endswith(f"in {second} is not the same image as in the earlier runs; use runs of the same data")
    assert not (tmp_path / "x.csv").exists()


def test_one_folder_in_two_places_is_the_same_data(tool, photo_run, tmp_path):
    runs = [photo_run(write_photos(tmp_path / name, 0)) for name in ("first", "second")]
    assert tool("submit", "--folds", *runs, "--out", tmp_path / "x.csv") == 0
    assert len(read_submission(tmp_path / "x.csv")) == 12


def test_a_run_trained_on_all_images_is_submitted_with_a_given_calibration(tool, photo_run, tmp_path, capsys):
    run = photo_run(write_photos(tmp_path / "photos", 0), "-o", "data.val_fraction=0")
    by_accuracy, by_log_loss = tmp_path / "classes.csv", tmp_path / "probabilities.csv"
    capsys.readouterr()
    assert tool("submit", run, "--out", by_accuracy) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["expected score unknown: no validation images"]
    arguments = [run, "--competition", "dogs-vs-cats-redux-kernels-edition", "--out", by_log_loss]
    for calibration in ([], ["--temperature", "1.5"], ["--clip", "0.45"]):
        assert tool("submit", *arguments, *calibration) == 2
        assert "no validation images to fit temperature and clip on; give --temperature and" in capsys.readouterr().err
    assert tool("submit", *arguments, "--temperature", "1.5", "--clip", "0.45") == 0
    assert capsys.readouterr().out.splitlines()[1] == "T=1.5 clip=0.45; expected score unknown: no validation images"
    assert read_submission(by_log_loss)["label"].between(0.45, 0.55).all()
    assert Ledger(tmp_path).find(by_log_loss).expected == ""
    other = photo_run(write_photos(tmp_path / "more", 0))
    assert tool("submit", "--folds", run, other, "--out", tmp_path / "mean.csv") == 2
    assert "some of the runs have no validation images" in capsys.readouterr().err


def test_a_file_in_the_ledger_is_rewritten_and_no_other_is_replaced(tool, folds, tmp_path, capsys):
    out = tmp_path / "x.csv"
    out.write_text("my only copy")
    assert tool("submit", folds[0], "--out", out) == 2
    assert (
        f"--out {out}: would be replaced, and {tmp_path / 'ledger.csv'} does not list it; " in capsys.readouterr().err
    )
    assert out.read_text() == "my only copy"
    out.unlink()
    assert tool("submit", folds[0], "--out", out) == 0
    assert tool("submit", folds[1], "--out", out) == 0
    ledger, content = Ledger(tmp_path), out.read_bytes()
    (entry,) = ledger.entries()
    assert entry.runs == str(folds[1])
    ledger.replace(entry, dataclasses.replace(entry, ref="123", status="uploaded"))
    assert tool("submit", folds[0], "--out", out) == 2
    assert "was uploaded as number 123; name another file, or move it away" in capsys.readouterr().err
    assert out.read_bytes() == content


def test_a_damaged_ledger_is_found_before_anything_is_predicted(tool, folds, tmp_path, capsys):
    (tmp_path / "ledger.csv").write_text("damaged")
    assert tool("submit", folds[0], "--out", tmp_path / "x.csv") == 2
    said = capsys.readouterr()
    assert f"{tmp_path / 'ledger.csv'}: line 1 is not a line of a ledger" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.csv"]


def test_a_wrong_sample_submission_is_found_before_anything_is_predicted(tool, photo_run, tmp_path, capsys):
    root = write_photos(tmp_path / "photos", 0)
    run = photo_run(root)
    (root / "sample_submission.csv").write_text("Id,Label\n0,0.5\n")
    (run / "checkpoints" / "best" / "model.safetensors").unlink()  # so that a prediction would be the first to fail
    capsys.readouterr()
    redux = "dogs-vs-cats-redux-kernels-edition"
    assert tool("submit", run, "--competition", redux, "--out", tmp_path / "x.csv") == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"{root / 'sample_submission.csv'}: the columns are Id,Label; those of a sample")
