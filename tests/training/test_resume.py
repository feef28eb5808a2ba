"""Stopping and resuming: to the same weights, or refused with the reason."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time

import pytest
import safetensors.numpy
from PIL import Image

from helpers.images import write_levels
from helpers.processes import training
from helpers.runs import metrics_without_clock, weights_sha
from helpers.signals import interrupt_after
from paddlecnn.runs.checkpoint import FILES, SUMS, load_checkpoint


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


INTERRUPTED = """
import os, pathlib, signal, paddlecnn as pc

@pc.register_schedule
def interrupted(epoch, epochs):
    if os.path.exists("RUN/config.yaml") and os.path.exists("ask"):
        os.remove("ask")
        os.kill(os.getpid(), signal.SIGINT)
    return 1.0
"""


def test_an_interruption_before_the_first_step_names_the_run_and_how_it_starts(tool, tiny, tmp_path, capsys):
    run, ask, module = tmp_path / "run", tmp_path / "ask", tmp_path / "my_schedule.py"
    module.write_text(INTERRUPTED.replace("RUN", str(run)).replace('"ask"', f'"{ask}"'))
    ask.touch()
    options = ["-o", f"model.module={module}", "-o", "optim.schedule={name: custom, function: interrupted}"]
    assert tool("train", "-c", tiny, "--run", run, *options) == 130
    error = capsys.readouterr().err.splitlines()[-1]
    again = f"--resume {run} continues from there (in Python: resume=True)"
    assert error == f"interrupted; {run} is at its beginning; {again}"
    assert tool("train", "--resume", run, "--module", module) == 0
    assert (run / "checkpoints" / "best").is_dir()


def test_seeds_continue_by_their_folder_if_one_was_not_begun(tool, tiny, tmp_path, capsys):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert tool("train", "-c", tiny, "--run", whole, "--seeds", 2, "-o", "train.epochs=1", "-o", "seed=5") == 0
    shutil.copytree(whole / "seed-5", killed / "seed-5")
    assert tool("train", "--resume", killed) == 0
    assert weights_sha(killed / "seed-6") == weights_sha(whole / "seed-6")
    assert json.loads((killed / "seeds.json").read_text()) == json.loads((whole / "seeds.json").read_text())
    environment = killed / "seed-6" / "environment.json"
    environment.write_text(environment.read_text().replace('"seeds"', '"other"'))  # as before version 0.2
    assert tool("train", "--resume", killed) == 2
    assert f"-c CONFIG --seeds N --resume {killed}" in capsys.readouterr().err


def test_stopped_seeds_continue_with_the_options_that_are_named(tool, tiny, tmp_path, capsys):
    seeds = tmp_path / "two seeds"
    thread = interrupt_after(seeds / "seed-0", 1, signal.SIGINT)
    assert tool("train", "-c", tiny, "--run", seeds, "-o", "train.epochs=9", "--seeds", 2) == 130
    thread.join()
    (again,) = re.findall(r"with a checkpoint; (.*) continues from there", capsys.readouterr().err)
    assert tool("train", *shlex.split(again)) == 0
    assert json.loads((seeds / "seeds.json").read_text())["seeds"] == [0, 1]


@pytest.mark.parametrize(
    "extra",
    [
        ["optim.name=adam", "optim.lr=0.001", "train.accumulate=2"],
        ["optim.name=adamw", "train.ema=0.9", "optim.schedule={name: onecycle}", "train.label_smoothing=0.1"],
        ["train.class_weights=balanced", "data.augment.cutmix=1.0"],
        ["optim.lr_scale={features.conv1: 0}", "optim.clip_norm=1"],
        [
            "model={name: alexnet_cifar, options: {norm: batch, hidden: []}}",
            "data.limit=128",
            "data.augment.mixup=0.2",
            "optim.decay_biases_and_norms=false",
        ],
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


def test_resuming_a_run_that_was_killed_after_its_last_checkpoint_completes_it(tool, whole):
    path = whole / "environment.json"
    expected = json.loads(path.read_text())
    shutil.copytree(whole / "checkpoints/best", whole / "initial")
    for recorded in (None, 0.01):  # the latter of a run that was extended
        path.write_text(json.dumps({**expected, "training_seconds": recorded}))
        assert tool("train", "--resume", whole) == 0
        assert json.loads(path.read_text()) == expected
        assert not (whole / "initial").exists()


def test_a_best_checkpoint_whose_replacement_was_killed_is_put_in_place(tool, whole):
    folder = whole / "checkpoints"
    (folder / "best").rename(folder / "best.new")  # as between the two renames; the next best would remove it
    assert tool("train", "--resume", whole) == 0
    assert (folder / "best/model.safetensors").is_file()
    assert not (folder / "best.new").exists()


def test_resuming_with_another_config_lists_the_keys(tool, tiny, whole, capsys):
    before = (whole / "config.yaml").read_bytes()
    assert tool("train", "-c", tiny, "--run", whole, "--resume", "-o", "optim.lr=0.5", "-o", "train.epochs=9") == 2
    error = capsys.readouterr().err
    assert "optim.lr (0.01 in the run, 0.5 now); train.epochs (3 in the run, 9 now)" in error
    assert tool("train", "-c", tiny, "--run", whole, "--resume", "--extend", "optim.lr=0.5") == 2
    assert "--extend optim.lr: only train.epochs" in capsys.readouterr().err
    assert (whole / "config.yaml").read_bytes() == before


def test_an_extension_stopped_before_its_first_checkpoint_is_not_finished(tool, tiny, whole, tmp_path, capsys):
    straight = tmp_path / "straight"
    shutil.copytree(whole, straight)
    assert tool("train", "--resume", straight, "--extend", "train.epochs=5") == 0
    process = training("--resume", whole, "--extend", "train.epochs=5")
    while "extensions" not in json.loads((whole / "environment.json").read_text()):  # written when it begins
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert load_checkpoint(whole / "checkpoints/last").state.epoch == 3
    assert tool("results", tmp_path, "--add", whole, "--out", tmp_path / "x.json") == 2
    assert "not finished (epoch 3 of 5); resume it first" in capsys.readouterr().err
    assert tool("train", "--resume", whole) == 0
    assert weights_sha(whole) == weights_sha(straight)


@pytest.mark.parametrize("augment", ["{random_resized_crop: {}}", "{crop: true, scale: [33, 40]}"])
def test_a_cache_that_changes_the_images_is_no_matter_of_speed(tool, tiny, tmp_path, capsys, augment):
    run, crop = tmp_path / "run", ["-o", f"data.augment={augment}"]
    assert tool("train", "-c", tiny, "--run", run, *crop, "-o", "train.epochs=1") == 0
    cache = f"data.cache={tmp_path / 'cache'}"
    assert tool("train", "--resume", run, "-o", cache, "--extend", "train.epochs=2") == 2
    assert "the config differs from the run's in data.cache (None in the run, " in capsys.readouterr().err
    assert tool("train", "--resume", run, "--extend", cache, "--extend", "train.epochs=2") == 0


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
    advice = "; restore the files from a copy of the run, or use checkpoint last of the run instead"
    assert f"checkpoints/best: model.safetensors does not match its SHA-256{advice}" in capsys.readouterr().err
    (whole / "checkpoints/best/SHA256SUMS").unlink()
    assert tool("eval", whole) == 2
    assert f"checkpoints/best: SHA256SUMS is missing{advice}" in capsys.readouterr().err


def test_a_resume_on_other_data_is_refused(tool, tmp_path, capsys):
    images = tmp_path / "images"
    write_levels(images, 20)
    config = tmp_path / "folder.yaml"
    config.write_text(f"data: {{name: folder, root: {images}}}\nmodel: {{name: lenet5}}\ntrain: {{epochs: 1}}\n")
    run = tmp_path / "run"
    assert tool("train", "-c", config, "--run", run) == 0
    Image.new("RGB", (32, 32), (255, 0, 0)).save(images / "dark" / "new.png")
    assert tool("train", "-c", config, "--run", run, "--resume", "--extend", "train.epochs=2") == 2
    assert "are not those that the run was trained on" in capsys.readouterr().err
    assert "epochs: 1" in (run / "config.yaml").read_text()


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


@pytest.mark.parametrize("content", ["{", "[]", "[" * 100_000])
def test_a_damaged_environment_is_found_before_training_resumes(tool, tiny, whole, capsys, content):
    before = weights_sha(whole)
    (whole / "environment.json").write_text(content)
    assert tool("train", "--resume", whole, "--extend", "train.epochs=4") == 2
    assert f"{whole}/environment.json: cannot be read" in capsys.readouterr().err
    assert weights_sha(whole) == before


def test_a_run_resumes_by_its_folder_alone_and_lists_what_an_override_changes(tool, tiny, whole, capsys):
    assert tool("train", "--resume", whole, "--extend", "train.epochs=4") == 0
    assert load_checkpoint(whole / "checkpoints/last").state.epoch == 4
    assert tool("train", "--resume", whole, "-o", "optim.lr=0.5") == 2
    assert "optim.lr (0.01 in the run, 0.5 now)" in capsys.readouterr().err
    assert tool("train", "--resume") == 2
    assert "--resume: name a run" in capsys.readouterr().err


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_run_is_not_shortened(tool, whole, capsys, epochs):
    assert tool("train", "--resume", whole, "--extend", f"train.epochs={epochs}") == 2
    steps = f"has trained 24 steps already, but train.epochs={epochs} has {8 * epochs}; set more epochs"
    assert f"{whole}: {steps}" in capsys.readouterr().err
    assert "epochs: 3" in (whole / "config.yaml").read_text()


def test_incomplete_weights_are_refused(tool, whole, capsys):
    for folder in (whole / "checkpoints").iterdir():
        path = folder / "model.safetensors"
        weights = safetensors.numpy.load_file(path)
        del weights["classifier.fc5.bias"]
        safetensors.numpy.save_file(weights, path)
        sums = subprocess.run(["sha256sum", *FILES], cwd=folder, capture_output=True, text=True, check=True)
        (folder / SUMS).write_text(sums.stdout)
    assert tool("train", "--resume", whole, "--extend", "train.epochs=4") == 2
    assert "does not fit lenet5 of this version (layers classifier.fc5.bias)" in capsys.readouterr().err
    assert "epochs: 3" in (whole / "config.yaml").read_text()


def test_the_seconds_of_an_epoch_are_those_of_all_its_images(tool, tiny, tmp_path):
    run, options = tmp_path / "run", ["-o", "train.checkpoint.every_steps=1", "-o", "train.checkpoint.keep=99"]
    assert tool("train", "-c", tiny, "--run", run, *options) == 0
    for path in (run / "checkpoints").iterdir():  # as if it had been killed after step 15, in the second epoch
        if path.name != "step-00000015":
            shutil.rmtree(path)
    assert tool("train", "-c", tiny, "--run", run, *options, "--resume") == 0
    history = load_checkpoint(run / "checkpoints/last").state.history
    assert [one.seconds * one.images_per_second for one in history] == pytest.approx([256] * 3)


def test_a_run_is_not_shortened_to_the_epochs_it_has(tool, tiny, tmp_path, capsys):
    run = tmp_path / "run"
    assert tool("train", "-c", tiny, "--run", run, "-o", "train.checkpoint.keep=9") == 0
    for path in (run / "checkpoints").iterdir():  # as if it had been stopped after the second epoch
        if path.name != "step-00000016":
            shutil.rmtree(path)
    assert tool("train", "--resume", run, "--extend", "train.epochs=2") == 2
    assert "has trained 16 steps already, but train.epochs=2 has 16; set more epochs" in capsys.readouterr().err
    assert tool("train", "--resume", run) == 0
    assert load_checkpoint(run / "checkpoints/last").state.epoch == 3
