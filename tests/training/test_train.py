"""Training, as a user runs it."""

from __future__ import annotations

import json
import os
import pickletools
import platform
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.images import encoded, photo
from helpers.runs import curves, metrics_without_clock, weights_sha
from paddlecnn.runs.checkpoint import load_checkpoint
from paddlecnn.runs.metrics_log import read_metrics
from paddlecnn.runs.state import EpochRecord, Means, Progress, Scores
from paddlecnn.runtime import denormals_are_zero


def test_a_run_leaves_weights_curves_and_metrics(whole, capsys):
    for name in ("best", "last"):
        assert (whole / "checkpoints" / name / "model.safetensors").is_file()
    rows = metrics_without_clock(whole)
    assert [row[0] for row in rows].count("val") == 3
    assert curves(whole).keys() == {
        "learning/accuracy_train",
        "learning/accuracy_val",
        "learning/loss_train",
        "learning/loss_val",
        "optimizer/gradient_norm",
        "optimizer/learning_rate",
        "speed/images_per_second",
    }
    environment = json.loads((whole / "environment.json").read_text())
    assert environment["config_hash"] == load_checkpoint(whole / "checkpoints/best").state.config_hash
    assert environment["packages"]["paddlepaddle"]
    assert environment["peak_memory_mib"]["process"] > 0
    assert environment["cores"] == os.cpu_count()
    assert re.search(r"\d", environment["device_name"])  # a bare `AMD EPYC` names five generations
    if sys.platform == "linux" and platform.machine() == "x86_64":
        assert environment["modes"] == {"denormals_are_zero": True}
        assert not denormals_are_zero()  # after training: a notebook continues with other work


def test_curves_and_metrics_hold_the_same_numbers(whole):
    by_tag = {}
    for kind, _, step, loss, *_ in metrics_without_clock(whole):
        by_tag.setdefault(f"learning/loss_{kind}", []).append((int(step), float(loss)))
    for tag, points in by_tag.items():
        assert [(step, pytest.approx(value)) for step, value in curves(whole)[tag]] == points


def test_evaluation_agrees_with_the_last_line_of_training_to_the_last_digit(tool, tiny, tmp_path, capsys):
    assert tool("train", "-c", tiny, "--run", tmp_path / "run") == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert tool("eval", tmp_path / "run", "--split", "val") == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert last.partition("val ")[2] == first.partition("): ")[2] != ""
    assert tool("eval", tmp_path / "run", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    best = load_checkpoint(tmp_path / "run/checkpoints/best").state.best
    assert (figures["loss"], figures["top1"], figures["n"]) == (best.loss, best.top1, best.n)


def test_two_runs_of_a_config_are_equal_and_another_seed_is_not(tool, tiny, whole, tmp_path):
    assert tool("train", "-c", tiny, "--run", tmp_path / "again") == 0
    assert weights_sha(tmp_path / "again") == weights_sha(whole)
    assert tool("train", "-c", tiny, "--run", tmp_path / "other", "-o", "seed=1") == 0
    assert weights_sha(tmp_path / "other") != weights_sha(whole)


def test_an_existing_run_is_not_touched(tool, tiny, whole, capsys):
    before = weights_sha(whole), (whole / "metrics.csv").read_bytes()
    assert tool("train", "-c", tiny, "--run", whole) == 2
    assert "already exists; continue it with --resume" in capsys.readouterr().err
    assert (weights_sha(whole), (whole / "metrics.csv").read_bytes()) == before
    for path in (tiny, tiny.parent):  # a file, and a folder with other files
        assert tool("train", "-c", tiny, "--run", path) == 2
        assert f"{path}: already exists and is not a run; choose another folder" in capsys.readouterr().err


def test_an_option_of_a_layer_that_the_network_lacks_is_a_warning(tool, tiny, capsys):
    """So that a comparison with LRN does not train two networks without it unnoticed."""
    for options, warned in (
        ("norm: none, lrn: [5, 1.0e-4, 0.75, 2.0]", "options.lrn: has no effect"),
        ("norm: lrn, lrn: [5, 1.0e-4, 0.75, 2.0]", ""),
        ("hidden: [], dropout: 0.5", "options.dropout: has no effect"),
        ("hidden: [], dropout: 0.0", ""),
    ):
        assert (
            tool("train", "-c", tiny, "--dry-run", "-o", f"model={{name: alexnet_cifar, options: {{{options}}}}}") == 0
        )
        lines = [line for line in capsys.readouterr().err.splitlines() if "has no effect" in line]
        assert len(lines) == bool(warned)
        assert all(warned in line for line in lines)


def test_no_file_of_a_checkpoint_is_a_pickle(whole):
    files = [path for path in (whole / "checkpoints").rglob("*") if path.is_file()]
    assert len(files) >= 8
    for path in files:
        with pytest.raises((ValueError, IndexError)):
            list(pickletools.genops(path.read_bytes()))


def test_without_validation_images_the_last_epoch_counts(tool, tiny, tmp_path, capsys):
    options = ("-c", tiny, "-o", "data.val_fraction=0", "--run", tmp_path / "run")
    assert tool("train", *options) == 0
    out = capsys.readouterr().out
    assert "best epoch 3: val without validation images; the last epoch counts" in out
    state = load_checkpoint(tmp_path / "run" / "checkpoints" / "best").state
    assert state.epoch == 3
    assert weights_sha(tmp_path / "run", "best") == weights_sha(tmp_path / "run")
    assert tool("eval", tmp_path / "run", "--split", "test") == 0
    assert tool("eval", tmp_path / "run", "--split", "val") == 2
    assert "digits: no validation images; train with data.val_fraction above 0" in capsys.readouterr().err
    assert tool("train", *options, "--resume", "--extend", "train.epochs=4") == 0
    assert "best epoch 4" in capsys.readouterr().out
    assert tool("train", *options[:-1], tmp_path / "other", "-o", "train.early_stop={patience: 1}") == 2
    assert "train.early_stop: needs validation images" in capsys.readouterr().err


def test_a_published_validation_part_selects_the_epoch_whatever_val_fraction_says(tool, tiny, tmp_path, capsys):
    for number in range(36):
        path = tmp_path / "images" / ("train", "train", "val")[number % 3] / ("dark", "light")[number % 2]
        path.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((28, 28, 3), 40 + 150 * (number % 2) + number, np.uint8)).save(path / f"{number}.png")
    options = ["-o", "data.name=folder", "-o", f"data.root={tmp_path / 'images'}", "-o", "data.val_fraction=0"]
    options += ["-o", "optim.lr=1e-12", "-o", "train.early_stop={patience: 1}"]
    assert tool("train", "-c", tiny, *options, "--run", tmp_path / "run") == 0
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last").state.epoch == 2
    capsys.readouterr()
    assert tool("eval", tmp_path / "run") == 0
    assert "the epoch was selected on the same images" in capsys.readouterr().out


def test_early_stopping_ends_the_run(tool, tiny, tmp_path):
    run = tmp_path / "run"
    frozen = ["-o", "optim.lr=1e-12", "-o", "train.epochs=20", "-o", "train.early_stop.patience=2"]
    assert tool("train", "-c", tiny, "--run", run, *frozen) == 0
    state = load_checkpoint(run / "checkpoints/last").state
    assert (state.epoch, state.finished, state.best.epoch) == (3, True, 1)
    assert tool("train", "-c", tiny, "--run", run, *frozen, "--resume") == 0


def test_small_improvements_add_up_for_early_stopping():
    """One of 0.001 in each epoch is none of 0.002, but two of them are."""
    progress, stopped = Progress(), []
    for epoch in range(1, 7):
        scores = Scores(n=100, loss=1 - 0.001 * epoch, top1=0.5)
        record = EpochRecord(epoch=epoch, step=epoch, train=Means(loss=1, top1=0.5), val=scores)
        assert progress.end_epoch(record, "loss", 0.0015)
        stopped.append(progress.epochs_since_best)
    assert stopped == [0, 1, 0, 1, 0, 1]


@pytest.mark.filterwarnings("error::RuntimeWarning")  # of NumPy, which would precede the line
def test_an_exploding_loss_names_step_rate_and_checkpoint(tool, tiny, tmp_path, capsys):
    run = tmp_path / "exploding"
    assert tool("train", "-c", tiny, "--run", run, "-o", "optim.lr=1e30", "-o", "optim.schedule={name: constant}") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"exploding: the loss is (nan|inf) at step \d+ \(epoch 1\), learning rate 1e\+30; lower", error)
    assert error.endswith("No checkpoint has been written yet")


@pytest.mark.filterwarnings("error::RuntimeWarning")  # of NumPy, which would precede the line
def test_an_update_that_explodes_at_an_epochs_end_is_found_before_it_is_saved(tool, tiny, tmp_path, capsys):
    run = tmp_path / "run"
    assert (
        tool(
            "train",
            "-c",
            tiny,
            "--run",
            run,
            "-o",
            "optim.lr=1e30",
            "-o",
            "optim.schedule={name: constant}",
            "-o",
            "train.batch_size=256",
            "-o",
            "train.epochs=1",
        )
        == 2
    )  # an epoch of one step: its loss is finite
    assert re.search(r"the validation loss is (nan|inf) at step 1 ", capsys.readouterr().err)
    assert not list((run / "checkpoints").iterdir())


def test_weights_that_a_relu_hides_from_the_loss_are_found_before_they_are_saved(tool, tiny, tmp_path, capsys):
    """ReLU turns NaN into 0: without the first convolution, loss and validation stay finite."""
    run, first = tmp_path / "run", "{features.conv2: 0, classifier: 0}"
    options = ["name=sgd", "lr=1e30", "weight_decay=1e30", f"lr_scale={first}", "schedule={name: constant}"]
    words = [word for one in options for word in ("-o", f"optim.{one}")]
    assert tool("train", "-c", tiny, "--run", run, *words, "-o", "train.batch_size=256", "-o", "train.epochs=1") == 2
    assert re.search(r"the largest weight is (nan|inf) at step 1 ", capsys.readouterr().err)
    assert not list((run / "checkpoints").iterdir())


def test_an_update_that_explodes_inside_an_epoch_is_found_before_it_is_saved(tool, tiny, tmp_path, capsys):
    run, options = tmp_path / "run", ["optim.lr=1e30", "optim.weight_decay=1e30", "train.checkpoint.every_steps=1"]
    schedule = ["-o", "optim.schedule={name: constant}"]
    assert tool("train", "-c", tiny, "--run", run, *schedule, *(word for one in options for word in ("-o", one))) == 2
    assert re.search(r"the largest weight is (nan|inf) at step 1 ", capsys.readouterr().err)
    assert not list((run / "checkpoints").iterdir())


def test_logged_means_are_those_of_the_images_since_the_last_logged_step(tool, tiny, tmp_path):
    run, size = tmp_path / "run", 32
    logged = ["-o", "train.log_every=3", "-o", "train.epochs=1", "-o", f"train.batch_size={size}"]
    assert tool("train", "-c", tiny, "--run", run, *logged, "-o", f"data.limit={9 * size}") == 0
    rows = [row for row in read_metrics(run / "metrics.csv") if row["kind"] == "train"]
    epoch = load_checkpoint(run / "checkpoints/last").state.history[0].train
    assert len(rows) == 3
    for name in ("loss", "top1"):
        assert np.mean([float(row[name]) for row in rows]) == pytest.approx(getattr(epoch, name), rel=1e-9)


def test_accumulation_equals_the_large_batch(tool, tiny, tmp_path):
    runs = {}
    for parts in (1, 4):
        runs[parts] = tmp_path / f"parts-{parts}"
        assert tool("train", "-c", tiny, "--run", runs[parts], "-o", f"train.accumulate={parts}") == 0
    losses = {parts: [float(row[3]) for row in metrics_without_clock(run)] for parts, run in runs.items()}
    assert losses[1] == pytest.approx(losses[4], abs=1e-5)


def test_several_seeds_give_mean_deviation_and_range(tool, tiny, tmp_path, capsys):
    run = tmp_path / "seeds"
    assert tool("train", "-c", tiny, "--run", run, "--seeds", "2", "-o", "train.epochs=1") == 0
    figures = json.loads((run / "seeds.json").read_text())
    values = figures["top1"]["values"]
    assert len(values) == 2
    assert figures["top1"]["mean"] == pytest.approx(sum(values) / 2)
    assert figures["top1"]["range"] == [min(values), max(values)]
    assert "standard deviation" in capsys.readouterr().out
    assert tool("train", "-c", tiny, "--seeds", "1") == 2


@pytest.mark.parametrize("steps", [3, 1000])  # the run has eight
def test_a_profile_reports_the_time_of_each_phase(tool, tiny, tmp_path, capsys, steps):
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", "--profile", steps, "-o", "train.epochs=1") == 0
    out = capsys.readouterr().out
    for phase in ("data", "forward", "backward", "optimizer", "logging", "whole step"):
        assert phase in out
    (trace,) = (tmp_path / "run/profile").glob("trace*.json")
    assert json.loads(trace.read_text())["traceEvents"]
    phases = json.loads((tmp_path / "run/profile/phases.json").read_text())  # seconds per step
    assert f"{phases['forward'] * 1e3:.2f}" in out


def test_a_dry_run_shows_everything_and_writes_nothing(tool, tiny, tmp_path, capsys):
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", "--dry-run") == 0
    out = capsys.readouterr().out
    for text in ("batch_size: 32", "parameters", "train 256", "steps per epoch: 8, in total 24", "MiB", "device: cpu"):
        assert text in out
    assert not (tmp_path / "run").exists()


def test_a_dry_run_shows_the_first_training_images(tool, tiny, tmp_path, capsys):
    sheets = []
    for number, change in enumerate(("seed=0", "seed=0", "data.augment.flip=true", "seed=1")):
        target = tmp_path / f"{number}.png"
        assert tool("train", "-c", tiny, "--dry-run", "--images", target, "-o", change) == 0
        assert capsys.readouterr().out.endswith(f"nothing was trained or written but {target} (--dry-run)\n")
        sheets.append(target.read_bytes())
    assert sheets[0] == sheets[1]
    assert len(set(sheets)) == 3
    assert tool("train", "-c", tiny, "--images", tmp_path / "x.png") == 2
    assert "x.png: is for --dry-run; a run shows its images in VisualDL" in capsys.readouterr().err


def test_a_dry_run_fills_no_cache(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number in range(12):
        path = Path("data", "train", "ab"[number % 2], f"{number}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(photo(number)))
    Path("own.yaml").write_text(
        "data: {name: folder, val_fraction: 0.5, preprocess: {size: 32, resize: 32}, cache: squares}\n"
        "model: {name: simple_cnn}\ntrain: {epochs: 1}\n"
    )
    before = sorted(tmp_path.rglob("*"))
    assert tool("train", "-c", "own.yaml", "--dry-run") == 0
    assert sorted(tmp_path.rglob("*")) == before
    out = capsys.readouterr().out
    assert "cache: squares" in out
    assert out.endswith("nothing was trained or written (--dry-run)\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-c", "CONFIG", "--all-folds"], "--all-folds: set data.folds to the number of folds"),
        (["-c", "CONFIG", "--seeds", 1], "--seeds 1: must be at least 2"),
        (["-c", "CONFIG", "--run", "RUN"], "whole: already exists; continue it with --resume"),
        (["-c", "CONFIG", "--run", "RUN", "--all-folds", "-o", "data.folds=3"], "whole: already exists"),
        (["-c", "CONFIG", "--run", "RUN", "--seeds", 2], "whole: is a run of one seed"),
        (["-c", "CONFIG", "--run", "SEEDS", "--seeds", 2], "seed-1: already exists"),
        (["--resume", "RUN", "-o", "optim.lr=1"], "whole: the config differs from the run's in optim.lr"),
        (["--resume", "RUN", "-o", "data.limit=100", "--extend", "train.epochs=4"], "the run's in data.limit"),
        (["--resume", "RUN", "--extend", "train.epochs=2"], "whole: has trained 24 steps already"),
    ],
)
def test_a_dry_run_refuses_what_training_refuses(tool, tiny, whole, tmp_path, capsys, options, message):
    (tmp_path / "seeds" / "seed-1" / "checkpoints").mkdir(parents=True)
    places = {"CONFIG": tiny, "RUN": whole, "SEEDS": tmp_path / "seeds"}
    before = sorted(tmp_path.rglob("*"))
    for end in (["--dry-run"], []):
        capsys.readouterr()
        assert tool("train", *[places.get(option, option) for option in options], *end) == 2
        assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_an_input_size_that_the_model_does_not_take_is_found_before_a_run_is_made(tool, tiny, tmp_path, capsys):
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", "-o", "data.preprocess.size=48") == 2
    assert "data.preprocess.size: 48, but lenet5 takes images of 32" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_missing_gpu_is_named(tool, tiny, tmp_path, capsys):
    import paddle

    if paddle.device.is_compiled_with_cuda():
        pytest.skip("this PaddlePaddle is a GPU build")
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", "--device", "gpu") == 2
    assert "CPU build" in capsys.readouterr().err
    assert tool("train", "-c", tiny, "--device", "tpu") == 2
    assert "not a device" in capsys.readouterr().err


def test_seeds_do_not_train_inside_a_plain_run(tool, tiny, whole, capsys):
    assert tool("train", "-c", tiny, "--run", whole, "--seeds", "2", "--resume") == 2
    assert "is a run of one seed; choose another folder" in capsys.readouterr().err
    assert not list(whole.glob("seed-*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "0"], "--seeds 0: must be at least 2"),
        (["--seeds", "-1"], "--seeds -1: must be at least 2"),
        (["--profile", "-1"], "-1: must be 1 or more"),
        (["--profile", "0"], "0: must be 1 or more"),
        (["--extend", "train.epochs=9"], "--extend: changes the length of an existing run; add --resume"),
        (["--module", "nets.py"], "--module nets.py: is for --resume RUN without -c"),
        (["--module", "nets.py", "--resume"], "--module nets.py: is for --resume RUN without -c"),
        (["--resume", "other"], "--resume other already names a folder; leave one of them out"),
        (["--resume", "--extend", "train.epochs", "--seeds", "2"], "--extend train.epochs: not of the form"),
        (["--resume", "--extend", "train.epochs=x", "--seeds", "2"], "--extend train.epochs=x: train.epochs: input"),
    ],
)
def test_an_option_out_of_range_is_refused(tool, tiny, tmp_path, capsys, options, message):
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("optim.lr_scale={fc9: 2}", "optim.lr_scale: no parameter's name starts with 'fc9'"),
        ("optim.lr_scale={features: 0, classifier: 0}", "nothing is left to train"),
        ("optim.schedule={name: custom, function: wave}", "optim.schedule.function: wave is not registered"),
    ],
)
def test_an_optimizer_that_cannot_be_built_leaves_nothing(tool, tiny, tmp_path, capsys, option, message):
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", "-o", option) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
