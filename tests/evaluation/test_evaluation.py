"""The figures that `paddlecnn eval` reports and stores."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, log_loss

import paddlecnn as pc
from helpers.images import write_levels
from paddlecnn.errors import CheckpointError
from paddlecnn.evaluation.metrics import report

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
    in_five = [
        label in row.nlargest(5).index for label, (_, row) in zip(table["label"], probabilities.iterrows(), strict=True)
    ]
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


def test_only_the_best_epoch_was_selected(tool, run, capsys):
    for checkpoint, selected in (("best", True), ("last", False)):
        assert tool("eval", run, "--checkpoint", checkpoint) == 0
        assert ("the epoch was selected on the same images" in capsys.readouterr().out) == selected


def test_data_that_moved_are_named_and_must_be_the_same(tool, tmp_path, capsys):
    images = tmp_path / "images"
    write_levels(images, 20)
    (tmp_path / "small.yaml").write_text(CONFIG.replace("digits, limit: 200", f"folder, root: {images}"))
    run = tmp_path / "run"
    assert tool("train", "-c", tmp_path / "small.yaml", "--run", run) == 0
    moved = images.rename(tmp_path / "moved")
    assert tool("eval", run) == 2
    assert tool("eval", run, "--data-root", moved) == 0
    assert tool("submit", run, "--data-root", moved, "--split", "val", "--out", tmp_path / "a.csv") == 0
    assert pc.load_run(run, data_root=moved).evaluate()["n"] > 0
    Image.new("RGB", (32, 32)).save(moved / "dark" / "more.png")
    capsys.readouterr()
    assert tool("eval", run, "--data-root", moved) == 2
    assert f"images are not those of the run: the files in {moved}" in capsys.readouterr().err


def test_a_run_of_one_epoch_selected_none(tool, tiny, tmp_path, capsys):
    assert tool("train", "-c", tiny, "--run", tmp_path / "one", "-o", "train.epochs=1") == 0
    said = capsys.readouterr().out
    assert "denormal" not in said  # for -v
    assert tool("eval", tmp_path / "one") == 0
    assert "the epoch was selected" not in capsys.readouterr().out


def test_a_folder_that_is_not_a_run_is_named(tool, tmp_path, capsys):
    assert tool("eval", tmp_path) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{tmp_path}: not a run folder (it has no config.yaml); name the folder of a run, a config")
    assert error.count("\n") == 1


def test_a_wrong_checkpoint_name_is_an_error(run):
    with pytest.raises(CheckpointError, match=r"checkpoints: no checkpoint is called 'lst'; did you mean last\?"):
        pc.load_run(run, checkpoint="lst").model  # noqa: B018 (loads the weights)


def test_a_run_without_a_checkpoint_is_named(tool, run, tmp_path, capsys):
    (tmp_path / "config.yaml").write_text((run / "config.yaml").read_text())
    assert tool("eval", tmp_path) == 2
    assert "has no checkpoint best yet" in capsys.readouterr().err
    (tmp_path / "checkpoints" / "last").mkdir(parents=True)
    (tmp_path / "x.png").touch()
    assert tool("predict", tmp_path, tmp_path / "x.png") == 2
    assert f"; `paddlecnn eval {tmp_path} --checkpoint last` measures the unfinished one" in capsys.readouterr().err


def test_log_loss_clips_where_kaggle_does():
    logits = np.array([[200.0, 0.0], [0.0, 200.0]])
    figures = report(logits, np.array([0, 0]), ("cat", "dog"))
    assert figures["log_loss"] == pytest.approx(-np.log(1e-15) / 2)  # 17.27; scikit-learn's clip gives 18.02
    assert figures["loss"] == pytest.approx(100)


FOLDER = """
data: {{name: folder, root: {root}, val_fraction: 0.3, preprocess: {{size: 32, resize: 32}}}}
model: {{name: simple_cnn}}
train: {{epochs: 1, batch_size: 8}}
"""


def save_images(folder, classes, start, stop):
    for number in range(start, stop):
        for name in classes:
            path = folder / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number + 1000 * classes.index(name)).integers(256, size=(32, 32, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def folder_run(tool, tmp_path):
    """A run on a folder of images whose classes have the names of columns."""
    save_images(tmp_path / "data" / "train", ("id", "label"), 0, 14)
    (tmp_path / "net.yaml").write_text(FOLDER.format(root=tmp_path / "data"))
    assert tool("train", "-c", tmp_path / "net.yaml", "--run", tmp_path / "run") == 0
    return tmp_path / "run"


def test_classes_called_id_and_label_do_not_collide_with_the_columns(tool, folder_run):
    assert tool("eval", folder_run) == 0
    table = pd.read_csv(folder_run / "predictions_val.csv")
    assert list(table.columns) == ["id", "label", "predicted", "p(id)", "p(label)"]
    assert set(table["label"]) == {"id", "label"}
    assert table["predicted"].tolist() == ["id" if row["p(id)"] > 0.5 else "label" for _, row in table.iterrows()]


@pytest.mark.parametrize("change", ["more images", "another seed", "another image"])
def test_data_that_changed_since_training_are_refused_unless_the_user_knows(tool, folder_run, tmp_path, capsys, change):
    if change == "more images":
        save_images(tmp_path / "data" / "train", ("id", "label"), 14, 20)
    elif change == "another image":
        (tmp_path / "data" / "train" / "id" / "0.png").write_bytes(
            (tmp_path / "data" / "train" / "label" / "1.png").read_bytes()
        )
    else:
        config = folder_run / "config.yaml"
        config.write_text(config.read_text().replace("seed: 0", "seed: 1"))
    capsys.readouterr()
    assert tool("eval", folder_run) == 2
    error = capsys.readouterr().err
    assert "images are not those of the run" in error
    assert error.count("\n") == 1
    own = {name: folder_run / name for name in ("predictions_val.csv", "evaluation_val.json")}
    assert not any(path.exists() for path in own.values())
    for path in own.values():
        path.write_text("of the run's own data")
    assert tool("eval", folder_run, "--data-changed") == 0
    assert {path.read_text() for path in own.values()} == {"of the run's own data"}
    said = capsys.readouterr()
    assert "may count as unseen" in said.err
    assert "may count as unseen" in said.out  # beside the figures, too
    assert pc.load_run(folder_run).evaluate(data_changed=True)["data_changed"]
    assert tool("report", folder_run) == 2  # those figures are not the run's
    assert "images are not those of the run" in capsys.readouterr().err
    assert tool("report", folder_run, "--data-changed") == 0
    assert "may count as unseen" in (folder_run / "report.html").read_text()
