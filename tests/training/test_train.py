"""Training, resuming and stopping, as a user runs them."""

from __future__ import annotations

import json
import os
import pickletools
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from helpers.runs import curves, metrics_without_clock, weights_sha
from paddlecnn.runs.checkpoint import load_checkpoint
from paddlecnn.runtime import denormals_are_zero


@pytest.fixture
def whole(tool, tiny, tmp_path) -> Path:
    """A finished run."""
    run = tmp_path / "whole"
    assert tool("train", "-c", tiny, "--run", run) == 0
    return run


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


def interrupt_after(run: Path, rows: int, number: int) -> threading.Thread:
    """Send this process a signal once metrics.csv has so many rows."""

    def wait() -> None:
        path = run / "metrics.csv"
        while not path.exists() or path.read_text().count("\n") <= rows:
            time.sleep(0.001)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_cleanly_and_the_run_resumes_to_the_same_weights(tool, tiny, tmp_path, capsys, number, code):
    long = ["-o", "train.epochs=12"]
    assert tool("train", "-c", tiny, "--run", tmp_path / "whole", *long) == 0
    run = tmp_path / "cut"
    thread = interrupt_after(run, 9, number)
    assert tool("train", "-c", tiny, "--run", run, *long) == code
    thread.join()
    error = capsys.readouterr().err.strip()
    assert error.splitlines()[-1].startswith("stopped at step")
    assert "--resume" in error
    assert tool("train", "-c", tiny, "--run", run, *long, "--resume") == 0
    assert weights_sha(run) == weights_sha(tmp_path / "whole")
    assert metrics_without_clock(run) == metrics_without_clock(tmp_path / "whole")


@pytest.mark.parametrize(
    "extra",
    [
        ["optim.name=adam", "optim.lr=0.001", "train.accumulate=2"],
        ["optim.name=adamw", "train.ema=0.9", "optim.schedule={name: onecycle}", "train.label_smoothing=0.1"],
        ["model.name=vgg11_bn_cifar", "data.limit=64", "data.augment.mixup=0.2", "optim.decay_biases_and_norms=false"],
    ],
)
def test_all_state_is_restored_at_a_resume(tool, tiny, tmp_path, extra):
    options = [word for item in extra for word in ("-o", item)]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert tool("train", "-c", tiny, "--run", whole, *options) == 0
    thread = interrupt_after(cut, 1, signal.SIGINT)
    assert tool("train", "-c", tiny, "--run", cut, *options) in (0, 130)
    thread.join()
    assert tool("train", "-c", tiny, "--run", cut, *options, "--resume") == 0
    assert weights_sha(cut) == weights_sha(whole)
    assert weights_sha(cut, "best") == weights_sha(whole, "best")


@pytest.mark.parametrize("rule", ["every_steps=3", "every_minutes=1e-6"])
def test_checkpoints_inside_an_epoch_are_written_and_the_last_k_kept(tool, tiny, tmp_path, rule):
    run = tmp_path / "run"
    assert (
        tool(
            "train",
            "-c",
            tiny,
            "--run",
            run,
            "-o",
            "train.epochs=1",
            "-o",
            f"train.checkpoint.{rule}",
            "-o",
            "train.checkpoint.keep=3",
        )
        == 0
    )
    earlier = [3, 6] if rule == "every_steps=3" else [6, 7]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [
        "best",
        "last",
        *(f"step-{step:08d}" for step in earlier),
    ]
    state = load_checkpoint(run / "checkpoints" / f"step-{earlier[0]:08d}").state
    assert (state.epoch, state.step, state.step_in_epoch) == (0, earlier[0], earlier[0])


def test_resuming_a_finished_run_says_so_and_succeeds(tool, tiny, whole, capsys):
    before = weights_sha(whole)
    assert tool("train", "-c", tiny, "--run", whole, "--resume") == 0
    assert "already finished, after 3 epochs" in capsys.readouterr().out
    assert weights_sha(whole) == before


def test_resuming_with_another_config_lists_the_keys(tool, tiny, whole, capsys):
    before = (whole / "config.yaml").read_bytes()
    assert tool("train", "-c", tiny, "--run", whole, "--resume", "-o", "optim.lr=0.5", "-o", "train.epochs=9") == 2
    error = capsys.readouterr().err
    assert "optim.lr (0.01 in the run, 0.5 now); train.epochs (3 in the run, 9 now)" in error
    assert tool("train", "-c", tiny, "--run", whole, "--resume", "--extend", "optim.lr=0.5") == 2
    assert "--extend optim.lr: only train.epochs" in capsys.readouterr().err
    assert (whole / "config.yaml").read_bytes() == before


def test_a_run_is_extended_on_purpose(tool, tiny, whole):
    assert tool("train", "-c", tiny, "--run", whole, "--resume", "--extend", "train.epochs=4") == 0
    assert load_checkpoint(whole / "checkpoints/last").state.epoch == 4
    assert "epochs: 4" in (whole / "config.yaml").read_text()


def test_a_torn_checkpoint_is_named_and_the_one_before_is_used(tool, tiny, whole, capsys):
    path = whole / "checkpoints/last/model.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    assert tool("train", "-c", tiny, "--run", whole, "--resume") == 0
    out = capsys.readouterr().err
    assert f"{whole}/checkpoints/last: model.safetensors does not match its SHA-256; resuming from" in out


def test_evaluation_refuses_a_damaged_checkpoint_by_name(tool, whole, capsys):
    os.truncate(whole / "checkpoints/best/model.safetensors", 1000)
    assert tool("eval", whole) == 2
    assert "checkpoints/best: model.safetensors does not match its SHA-256" in capsys.readouterr().err


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
    assert "digits: has no val split" in capsys.readouterr().err
    assert tool("train", *options, "--resume", "--extend", "train.epochs=4") == 0
    assert "best epoch 4" in capsys.readouterr().out
    assert tool("train", *options[:-1], tmp_path / "other", "-o", "train.early_stop={patience: 1}") == 2
    assert "train.early_stop: needs validation images" in capsys.readouterr().err


def test_early_stopping_ends_the_run(tool, tiny, tmp_path):
    run = tmp_path / "run"
    frozen = ["-o", "optim.lr=1e-12", "-o", "train.epochs=20", "-o", "train.early_stop.patience=2"]
    assert tool("train", "-c", tiny, "--run", run, *frozen) == 0
    state = load_checkpoint(run / "checkpoints/last").state
    assert (state.epoch, state.finished, state.best.epoch) == (3, True, 1)
    assert tool("train", "-c", tiny, "--run", run, *frozen, "--resume") == 0


def test_an_exploding_loss_names_step_rate_and_checkpoint(tool, tiny, tmp_path, capsys):
    run = tmp_path / "exploding"
    assert tool("train", "-c", tiny, "--run", run, "-o", "optim.lr=1e30", "-o", "optim.schedule={name: constant}") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"exploding: the loss is (nan|inf) at step \d+ \(epoch 1\), learning rate 1e\+30; lower", error)
    assert error.endswith("No checkpoint was written yet")


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


def test_a_resume_on_other_data_is_refused(tool, tmp_path, capsys):
    images = tmp_path / "images"
    for number in range(20):
        for name, level in (("dark", 40), ("light", 200)):
            (images / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 40), (level + number,) * 3).save(images / name / f"{number}.png")
    config = tmp_path / "folder.yaml"
    config.write_text(f"data: {{name: folder, root: {images}}}\nmodel: {{name: lenet5}}\ntrain: {{epochs: 1}}\n")
    run = tmp_path / "run"
    assert tool("train", "-c", config, "--run", run) == 0
    Image.new("RGB", (40, 40), (255, 0, 0)).save(images / "dark" / "new.png")
    assert tool("train", "-c", config, "--run", run, "--resume", "--extend", "train.epochs=2") == 2
    assert "are not those that the run was trained on" in capsys.readouterr().err
    assert "epochs: 1" in (run / "config.yaml").read_text()


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


def test_an_input_size_that_the_model_does_not_take_is_found_before_a_run_is_made(tool, tiny, tmp_path, capsys):
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", "-o", "data.preprocess.size=48") == 2
    assert "data.preprocess.size: 48, but lenet5 takes images of 32" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_gpu_that_is_not_there_is_named(tool, tiny, tmp_path, capsys):
    import paddle

    if paddle.device.is_compiled_with_cuda():
        pytest.skip("this PaddlePaddle is a GPU build")
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", "--device", "gpu") == 2
    assert "CPU build" in capsys.readouterr().err
    assert tool("train", "-c", tiny, "--device", "tpu") == 2
    assert "not a device" in capsys.readouterr().err


def test_an_unwritable_run_folder_is_one_line(tool, tiny, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert tool("train", "-c", tiny, "--run", tmp_path / "file" / "run") == 2
    assert "the run folder cannot be created " in capsys.readouterr().err


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder: Path, leave: int) -> Path:
    """Fill the disk but for `leave` bytes; returns the file that does."""
    filler = folder / "filler"
    statistics = os.statvfs(folder)
    filler.write_bytes(bytes(statistics.f_bavail * statistics.f_frsize - leave))
    return filler


@pytest.mark.parametrize("leave", [0, 100_000])  # not even a row fits; the metrics fit and no checkpoint does
def test_a_full_disk_is_one_line_and_the_run_resumes_once_there_is_space(tool, tiny, small_disk, capsys, leave):
    run = small_disk / "run"
    assert tool("train", "-c", tiny, "--run", run, "-o", "train.epochs=2") == 0
    before = weights_sha(run)
    filler = fill(small_disk, leave)
    extend = ["-c", tiny, "--run", run, "-o", "train.epochs=2", "--resume", "--extend", "train.epochs=3"]
    assert tool("train", *extend) == 2
    assert "No space left on device; free some space" in capsys.readouterr().err
    assert weights_sha(run) == before
    filler.unlink()
    assert tool("train", *extend) == 0
    assert load_checkpoint(run / "checkpoints/last").state.epoch == 3


def test_a_new_run_on_a_full_disk_leaves_nothing_behind(tool, tiny, small_disk, capsys):
    fill(small_disk, 0)
    assert tool("train", "-c", tiny, "--run", small_disk / "run") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_disk_made_read_only_is_one_line_and_harms_nothing(tool, tiny, small_disk, capsys):
    run = small_disk / "run"
    assert tool("train", "-c", tiny, "--run", run, "-o", "train.epochs=2") == 0
    before = weights_sha(run)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    extend = ["-c", tiny, "--run", run, "-o", "train.epochs=2", "--resume", "--extend", "train.epochs=3"]
    assert tool("train", *extend) == 2
    assert "Read-only file system; choose a folder on a disk that is not read-only" in capsys.readouterr().err
    assert tool("train", "-c", tiny, "--run", small_disk / "new") == 2
    assert "Read-only file system" in capsys.readouterr().err
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert weights_sha(run) == before
    assert tool("train", *extend) == 0


@pytest.mark.parametrize("name", ["best", "last"])
def test_a_checkpoint_of_another_run_is_refused(tool, tiny, whole, tmp_path, capsys, name):
    other = tmp_path / "other"
    assert tool("train", "-c", tiny, "--run", other, "-o", "train.epochs=1") == 0
    shutil.rmtree(whole / "checkpoints" / name)
    shutil.copytree(other / "checkpoints" / name, whole / "checkpoints" / name)
    assert tool("eval", whole, "--checkpoint", name) == 2
    assert f"{whole}/checkpoints/{name}: was written by another run" in capsys.readouterr().err
    for folder in (whole / "checkpoints").iterdir():  # the resume falls back to this one
        if folder.name != name:
            shutil.rmtree(folder)
    assert tool("train", "--resume", whole, "--extend", "train.epochs=4") == 2
    assert f"{whole}/checkpoints/{name}: was written by another run" in capsys.readouterr().err


def test_a_copied_or_renamed_run_is_still_the_run(tool, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy")
    (tmp_path / "copy").rename(tmp_path / "renamed")
    assert tool("eval", tmp_path / "renamed") == 0
    assert tool("train", "--resume", tmp_path / "renamed", "--extend", "train.epochs=4") == 0


def test_a_config_edited_by_hand_is_refused_with_the_difference(tool, whole, capsys):
    path, before = whole / "config.yaml", weights_sha(whole)
    original = path.read_text()
    path.write_text(original.replace("epochs: 3", "epochs: 4").replace("lr: 0.01", "lr: 0.5"))
    assert tool("train", "--resume", whole) == 2
    assert (
        f"{path}: edited since the run was trained, in optim.lr (0.01 in the run, 0.5 now); "
        "train.epochs (3 in the run, 4 now)" in capsys.readouterr().err
    )
    assert tool("train", "--resume", whole, "--extend", "train.epochs=4") == 2
    assert "in optim.lr (0.01 in the run, 0.5 now); undo" in capsys.readouterr().err
    assert weights_sha(whole) == before
    path.write_text(original.replace("epochs: 3", "epochs: 4").replace("workers: 0", "workers: 1"))
    assert tool("train", "--resume", whole, "--extend", "train.epochs=4") == 0  # named on purpose; workers may change
    assert tool("train", "--resume", whole) == 0
    assert load_checkpoint(whole / "checkpoints/last").state.epoch == 4


def test_a_damaged_environment_is_found_before_training_resumes(tool, tiny, whole, capsys):
    before = weights_sha(whole)
    (whole / "environment.json").write_text("{")
    assert tool("train", "--resume", whole, "--extend", "train.epochs=4") == 2
    assert f"{whole}/environment.json: cannot be read" in capsys.readouterr().err
    assert weights_sha(whole) == before


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
    ],
)
def test_an_option_out_of_range_is_refused(tool, tiny, tmp_path, capsys, options, message):
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_resumes_by_its_folder_alone_and_lists_what_an_override_changes(tool, tiny, whole, capsys):
    assert tool("train", "--resume", whole, "--extend", "train.epochs=4") == 0
    assert load_checkpoint(whole / "checkpoints/last").state.epoch == 4
    assert tool("train", "--resume", whole, "-o", "optim.lr=0.5") == 2
    assert "optim.lr (0.01 in the run, 0.5 now)" in capsys.readouterr().err
    assert tool("train", "--resume") == 2
    assert "--resume: name a run" in capsys.readouterr().err
