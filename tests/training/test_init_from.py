"""A run that starts from the weights of another one."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.processes import training
from helpers.runs import metrics_without_clock, weights_sha
from helpers.signals import interrupt_after
from paddlecnn.files import file_digest
from paddlecnn.models import create_model
from paddlecnn.runs.checkpoint import load_checkpoint
from paddlecnn.training.init_from import take_over

ROOT = Path(__file__).resolve().parents[2]

OWN_NETWORK = """
import paddle
from paddle import nn
from paddlecnn.models import register

@register
class branches(nn.Layer):
    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.left, self.right = nn.Conv2D(3, 6, 3), nn.Conv2D(3, 6, 3)
        self.pool, self.out = nn.AdaptiveMaxPool2D(2), nn.Linear(48, num_classes)

    def forward(self, images):
        both = paddle.concat([self.pool(self.left(images)), self.pool(self.right(images))], axis=1)
        return self.out(paddle.flatten(both, 1))
"""


@pytest.fixture
def source(tool, tiny, tmp_path) -> Path:
    """A finished run."""
    assert tool("train", "-c", tiny, "--run", tmp_path / "source") == 0
    return tmp_path / "source"


def test_training_continues_from_the_best_weights_and_names_their_run(tool, tiny, source, tmp_path, capsys):
    capsys.readouterr()
    run = tmp_path / "run"
    assert tool("train", "-c", tiny, "--run", run, "--init-from", source, "-o", "optim.lr=1e-12") == 0
    best = load_checkpoint(source / "checkpoints" / "best")
    assert f"starting from {source}, checkpoint best of epoch {best.state.epoch}" in capsys.readouterr().out
    last = load_checkpoint(run / "checkpoints" / "last")
    for name, value in best.model.items():
        np.testing.assert_allclose(last.model[name], value, atol=1e-7)
    assert json.loads((run / "environment.json").read_text())["init_from"] == {
        "run": str(source),
        "epoch": best.state.epoch,
        "config_hash": best.state.config_hash,
        "experiment": f"lenet5 on digits, config {best.state.config_hash}",
        "sha256": file_digest(source / "checkpoints" / "best" / "model.safetensors"),
        "data": best.state.data.model_dump(),
        "reservations": ["the epoch was selected on the same images, so these figures are slightly optimistic"],
        "same_data": True,
        "trained_on_other_images": False,
        "ancestors": [],
    }


def test_a_layer_initialised_from_images_is_taken_over_and_not_initialised_again(tool, tiny, tmp_path):
    """`vgg_fast` whitens its own first images; after that layer are the weights that learned with it."""
    own = ["-o", "model.name=vgg_fast", "-o", "train.epochs=1", "-o", "data.preprocess={size: 32, resize: 32}"]
    own += ["-o", "optim.lr_scale={features.whiten.weight: 0}"]
    assert tool("train", "-c", tiny, *own, "--run", tmp_path / "source") == 0
    other = [*own, "-o", "seed=5", "-o", "data.limit=100"]
    assert tool("train", "-c", tiny, *other, "--run", tmp_path / "fresh") == 0
    assert tool("train", "-c", tiny, *other, "--run", tmp_path / "run", "--init-from", tmp_path / "source") == 0
    source, fresh, run = (
        load_checkpoint(tmp_path / name / "checkpoints" / "last").model["features.whiten.weight"]
        for name in ("source", "fresh", "run")
    )
    assert not np.array_equal(fresh, source)
    assert np.array_equal(run, source)


@pytest.fixture
def two_classes(tmp_path) -> list[str]:
    """Options that train on a folder of dark and light pictures."""
    for number in range(40):
        path = tmp_path / "images" / ("dark", "light")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((28, 28, 3), 40 + 150 * (number % 2) + number, np.uint8)).save(path)
    return ["-o", "data.name=folder", "-o", f"data.root={tmp_path / 'images'}", "-o", "data.augment.pad=0"]


def test_layers_that_do_not_fit_are_listed_in_one_line(tool, tiny, source, two_classes, tmp_path, capsys):
    capsys.readouterr()
    other = [*two_classes, "-o", "optim.lr=1e-12"]
    assert tool("train", "-c", tiny, *other, "--run", tmp_path / "run", "--init-from", source) == 0
    said = capsys.readouterr().out
    names = load_checkpoint(source / "checkpoints" / "best").model
    last = "classifier.fc5"
    assert f"{len(names) - 2} arrays taken over; new layers: {last}; left out: {last}\n" in said
    started = load_checkpoint(tmp_path / "run" / "checkpoints" / "last")
    assert started.model[f"{last}.weight"].shape[1] == 2
    # The source's preprocessing goes with its weights.
    assert started.state.preprocess == load_checkpoint(source / "checkpoints" / "best").state.preprocess


@pytest.mark.parametrize("order", [sorted, lambda names: sorted(names, reverse=True)])
def test_the_layers_left_out_are_listed_in_the_same_order_each_time(caplog, order):
    arrays = {name: value.numpy() for name, value in create_model("lenet5").state_dict().items()}
    with caplog.at_level("INFO", "paddlecnn"):
        take_over(create_model("lenet5", hidden=(7, 5)), {name: arrays[name] for name in order(arrays)})
    assert caplog.messages[-1].endswith("left out: classifier.fc3, classifier.fc4, classifier.fc5")


@pytest.mark.parametrize("start", ["--init-from", "model.weights"])
def test_as_many_other_classes_are_a_warning(tool, tiny, two_classes, tmp_path, capsys, start):
    source, other = tmp_path / "source", tmp_path / "other"
    assert tool("train", "-c", tiny, *two_classes, "--run", source) == 0
    shutil.copytree(tmp_path / "images", other)
    (other / "light").rename(other / "bright")  # now the first of the two
    options = (
        ["--init-from", source]
        if start == "--init-from"
        else ["-o", f"{start}={source}/checkpoints/best/model.safetensors"]
    )
    for root, said in ((tmp_path / "images", False), (other, True)):
        capsys.readouterr()
        run = tmp_path / f"run_{said}"
        assert tool("train", "-c", tiny, *two_classes, "-o", f"data.root={root}", "--run", run, *options) == 0
        line = "were trained for the classes dark, light, but the data have bright, dark; a last layer that fits"
        assert (line in capsys.readouterr().err) is said


def test_a_users_own_network_starts_from_a_run_with_other_classes(tool, tiny, two_classes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN_NETWORK)
    own = ["-o", "model={name: branches, module: own.py}"]
    assert tool("train", "-c", tiny, *own, "-o", "data.preprocess={size: 20, resize: 24}", "--run", "source") == 0
    assert (
        tool("train", "-c", tiny, *own, *two_classes, "-o", "optim.lr=1e-12", "--run", "run", "--init-from", "source")
        == 0
    )
    source, run = (load_checkpoint(Path(name) / "checkpoints" / "best") for name in ("source", "run"))
    np.testing.assert_allclose(run.model["left.weight"], source.model["left.weight"], atol=1e-7)
    assert run.model["out.weight"].shape == (48, 2)
    assert run.state.preprocess == source.state.preprocess  # its size, too: the network has none of its own


def test_a_run_killed_before_its_first_checkpoint_resumes_without_the_source(tool, tiny, source, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert tool("train", "-c", tiny, "--run", whole, "--init-from", source) == 0
    process = training("-c", tiny, "--run", killed, "--init-from", source)
    while not killed.exists():
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    shutil.rmtree(source)
    assert tool("train", "--resume", killed) == 0
    assert weights_sha(killed) == weights_sha(whole)
    assert metrics_without_clock(killed) == metrics_without_clock(whole)
    assert not (killed / "initial").exists()


def test_the_weights_it_started_from_are_removed_at_the_first_checkpoint(tool, tiny, source, tmp_path):
    run = tmp_path / "run"
    thread = interrupt_after(run, 1, signal.SIGINT)
    assert tool("train", "-c", tiny, "--run", run, "--init-from", source, "-o", "train.epochs=50") == 130
    thread.join()
    assert (run / "checkpoints/last").exists()
    assert not (run / "initial").exists()


def test_a_source_trained_on_other_images_of_the_data_is_a_warning(tool, tiny, source, tmp_path, capsys):
    run = tmp_path / "run"
    assert tool("train", "-c", tiny, "--run", run, "--init-from", source, "-o", "seed=1") == 0
    assert f"{source} was trained on other images of digits, perhaps on validation images" in capsys.readouterr().err
    assert json.loads((run / "environment.json").read_text())["init_from"]["trained_on_other_images"] is True
    for checkpoint in ("best", "last"):
        capsys.readouterr()
        assert tool("eval", run, "--checkpoint", checkpoint) == 0
        said = capsys.readouterr().out
        assert f"{run} started from {source}, which may have been trained on its validation" in said
        assert said.count("the epoch was selected on the same images") == 1  # the source's, too
    assert tool("submit", run, "--out", tmp_path / "x.csv") == 0
    assert f"{run} started from {source}, which may have been trained on its validation" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["x.safetensors", "source/checkpoints/best/model.safetensors"])
def test_a_runs_weights_as_a_file_bring_what_they_were_trained_on(tool, tiny, source, tmp_path, capsys, name):
    assert tool("export", source, "--format", "safetensors", "--out", tmp_path / "x.safetensors") == 0
    weights = ["-o", f"model.weights={tmp_path / name}"]
    for seed, others in ((0, False), (1, True)):
        capsys.readouterr()
        run = tmp_path / f"run{seed}"
        assert tool("train", "-c", tiny, "--run", run, *weights, "-o", f"seed={seed}", "-o", "train.monitor=last") == 0
        assert (f"{name} was trained on other images of digits" in capsys.readouterr().err) is others
        assert tool("eval", run) == 0
        assert (f"{name}, which may have been trained on its validation" in capsys.readouterr().out) is others
    assert tool("train", "-c", tiny, "--run", tmp_path / "next", "--init-from", run, *weights, "-o", "seed=2") == 0
    assert f"{name} was trained on other images of digits" in capsys.readouterr().err


def test_test_images_split_off_the_training_part_may_be_those_of_the_source(tool, tiny, tmp_path, capsys):
    """The published test images are unseen by every source; those of a split's test.csv may be its training images."""
    assert tool("split", "-c", tiny, "--out", tmp_path / "published") == 0
    own = shutil.copytree(tmp_path / "published", tmp_path / "own")
    first, *rest = (own / "train.txt").read_text().splitlines(keepends=True)
    (own / "train.txt").write_text("".join(rest))
    (own / "test.csv").write_text(f"id,path,label\n1,{first.replace(' ', ',')}")
    (own / "split.json").unlink()
    source = tmp_path / "source"
    assert tool("train", "-c", tiny, "-o", "data.val_fraction=0", "--run", source) == 0
    for split in ("published", "own"):
        run, note = tmp_path / f"run_{split}", f"started from {source}, which may have been trained on its test images"
        options = ["-o", f"data.split={tmp_path / split}", "--run", run, "--init-from", source]
        assert tool("train", "-c", tiny, *options) == 0
        capsys.readouterr()
        assert tool("eval", run, "--split", "test") == 0
        notes = [] if split == "published" else [f"{run} {note}"]
        assert (note in capsys.readouterr().out) == bool(notes)
        assert json.loads((run / "evaluation_test.json").read_text())["reservations"] == notes
    assert tool("train", "-c", tiny, *options[:2], "-o", "seed=1", "--run", tmp_path / "scratch") == 0
    assert tool("eval", tmp_path / "scratch", "--split", "test") == 0
    assert tool("compare", run, tmp_path / "scratch", "--split", "test") == 0
    assert f"{run} {note}" in capsys.readouterr().out
    assert tool("report", run) == 0
    assert f"Test images: {run} {note}." in (run / "report.html").read_text()


def test_a_run_on_other_data_in_between_does_not_hide_what_the_first_was_trained_on(
    tool, tiny, source, two_classes, tmp_path, capsys
):
    last = ["-o", "train.monitor=last", "-o", "train.epochs=1"]
    assert tool("train", "-c", tiny, *two_classes, *last, "--run", tmp_path / "b", "--init-from", source) == 0
    selected = "the epoch was selected on the same images"
    for seed in (0, 1):  # of the source, and another one
        run = tmp_path / f"c{seed}"
        capsys.readouterr()
        start = ["train", "-c", tiny, *last, "-o", f"seed={seed}", "--run", run, "--init-from", tmp_path / "b"]
        assert tool(*start) == 0
        assert ("perhaps on validation images of this run" in capsys.readouterr().err) == bool(seed)
        assert tool("eval", run) == 0
        said = capsys.readouterr().out
        assert (f"{run} started from {source}, which may have been trained on its validation" in said) == bool(seed)
        assert selected in said
        [first] = json.loads((run / "environment.json").read_text())["init_from"]["ancestors"]
        assert (first["run"], first["data"]["name"]) == (str(source), "digits")


def test_the_selected_epoch_of_a_source_on_other_data_says_nothing_about_this_run(
    tool, tiny, source, two_classes, tmp_path, capsys
):
    run, other = tmp_path / "run", [*two_classes, "-o", "train.monitor=last"]
    assert tool("train", "-c", tiny, *other, "--run", run, "--init-from", source) == 0
    assert json.loads((run / "environment.json").read_text())["init_from"]["same_data"] is False
    for options in ((), ("--checkpoint", "last")):
        capsys.readouterr()
        assert tool("eval", run, *options) == 0
        assert "the epoch was selected" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "model.name=simple_cnn"], "no layer of the run to start from matches one of this network"),
        (["--init-from", "nowhere"], "nowhere: no such run folder"),
        (["--resume"], "--init-from: is for a new run"),
    ],
)
def test_what_cannot_start_leaves_nothing(tool, tiny, source, tmp_path, capsys, options, message):
    run = tmp_path / "run"
    assert tool("train", "-c", tiny, "--run", run, "--init-from", source, *options, "-o", "train.engine=paddle") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not run.exists()


def test_seeds_not_begun_at_a_kill_start_from_the_source_too(tool, tiny, source, tmp_path, capsys):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert tool("train", "-c", tiny, "--run", whole, "--seeds", 2, "--init-from", source) == 0
    shutil.copytree(whole / "seed-0", killed / "seed-0")
    resume = ["train", "-c", tiny, "--run", killed, "--seeds", 2, "--resume"]
    changed = source / "checkpoints" / "best"
    changed.rename(tmp_path / "best")
    shutil.copytree(whole / "seed-1" / "checkpoints" / "best", changed)
    (source / "environment.json").write_text("{}")  # without an id, as in version 0.1
    assert tool(*resume) == 2
    assert f"{source}: its best weights are no longer those that {killed / 'seed-0'} started" in capsys.readouterr().err
    shutil.rmtree(changed)
    (tmp_path / "best").rename(changed)
    assert tool(*resume) == 0
    assert weights_sha(killed / "seed-1") == weights_sha(whole / "seed-1")
    shutil.rmtree(killed / "seed-0")  # an earlier one than those that were begun
    assert tool(*resume) == 0
    assert weights_sha(killed / "seed-0") == weights_sha(whole / "seed-0")
    capsys.readouterr()
    assert tool("train", "-c", tiny, "--run", tmp_path / "none", "--seeds", 2, "--resume") == 2
    assert "contains no seed to resume" in capsys.readouterr().err
