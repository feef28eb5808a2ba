"""A cross-validation as one job: trained, killed, resumed, and started from other runs."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import time

import pandas as pd
import pytest

import paddlecnn as pc
from helpers.processes import training
from helpers.runs import metrics_without_clock, weights_sha
from helpers.signals import interrupt_after


def test_a_job_in_python(job, config, tmp_path):
    folds = pc.train_folds(
        config, overrides={"train.epochs": 1, "data.folds": 2}, run=tmp_path / "job", init_from=job / "fold-0"
    )
    assert [run.config.data.fold for run in folds.runs] == [0, 1]
    table = pc.load_folds(folds.path).evaluate()
    assert table == json.loads((folds.path / "out_of_fold.json").read_text())
    assert table["all"]["n"] == 400
    assert folds.evaluate(tta="flip", data_changed=True)["tta"] == "flip"


def test_a_job_killed_inside_a_fold_ends_like_one_that_was_not(job, config, tmp_path, tool):
    killed = tmp_path / "killed"
    process = training("-c", config, "--all-folds", "--run", killed)
    while not list(killed.glob("fold-1/checkpoints/step-*")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "fold-2").exists()
    done = (killed / "fold-0" / "checkpoints" / "last").stat().st_ino
    assert tool("train", "--resume", killed) == 0
    assert (killed / "fold-0" / "checkpoints" / "last").stat().st_ino == done
    for fold in ("fold-0", "fold-1", "fold-2"):
        assert weights_sha(killed / fold) == weights_sha(job / fold)
        assert metrics_without_clock(killed / fold) == metrics_without_clock(job / fold)
    for name in ("out_of_fold.json", "out_of_fold.csv"):
        assert (killed / name).read_bytes() == (job / name).read_bytes()


def test_a_stopped_job_names_the_options_that_continue_it(config, tmp_path):
    job = tmp_path / "job"
    process = training("-c", config, "--all-folds", "--run", job, "-o", "train.epochs=1000")
    while not list(job.glob("fold-0/checkpoints/step-*")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    again = f"--resume {job} continues from there (in Python: resume=True)"
    assert process.communicate()[0].endswith(f" with a checkpoint; {again}\n")


def test_a_stopped_extension_of_a_job_names_the_options_that_continue_it(tool, trained, tmp_path, capsys):
    job = shutil.copytree(trained[0], tmp_path / "the job")
    rows = (job / "fold-0/metrics.csv").read_text().count("\n")
    thread = interrupt_after(job / "fold-0", rows, signal.SIGINT)
    assert tool("train", "--resume", job, "--extend", "train.epochs=6") == 130
    thread.join()
    (again,) = re.findall(r"with a checkpoint; (.*) continues from there", capsys.readouterr().err)
    assert tool("train", *shlex.split(again)) == 0
    histories = [json.loads((job / f"fold-{fold}/checkpoints/last/state.json").read_text()) for fold in range(3)]
    assert [one["epoch"] for one in histories] == [6, 6, 6]
    assert tool("train", "--resume", job) == 0


def test_an_error_before_the_first_fold_leaves_nothing(tool, config, tmp_path, capsys):
    assert tool("train", "-c", config, "--all-folds", "-o", "model.weights=no.npz", "--run", tmp_path / "job") == 2
    assert "no.npz: no such file" in capsys.readouterr().err
    assert not (tmp_path / "job").exists()


def test_folds_start_from_the_folds_of_another_job(tool, job, config, tmp_path, capsys):
    started, moved = tmp_path / "started", tmp_path / "source"
    shutil.copytree(job, moved)
    options = ["--all-folds", "--run", started, "--init-from", moved]
    assert tool("train", "-c", config, *options, "-o", "train.epochs=1") == 0
    for fold in range(3):
        record = json.loads((started / f"fold-{fold}" / "environment.json").read_text())["init_from"]
        assert record["run"] == str(moved / f"fold-{fold}")
        assert record["trained_on_other_images"] is False
    shutil.rmtree(moved)
    assert tool("train", "--resume", started) == 0  # every fold has begun: the source is not needed
    four = ["--all-folds", "--run", tmp_path / "four", "--init-from", job, "-o", "data.folds=4"]
    assert tool("train", "-c", config, *four) == 2
    assert "--init-from: 3 runs for 4 folds" in capsys.readouterr().err


def test_a_job_whose_source_is_gone_is_not_removed(tool, job, config, tmp_path, capsys):
    started, moved = tmp_path / "started", tmp_path / "source"
    shutil.copytree(job, moved)
    options = ["--all-folds", "--run", started, "--init-from", moved, "-o", "train.epochs=1"]
    assert tool("train", "-c", config, *options) == 0
    for fold in range(3):  # as if it had been killed before the first fold began
        shutil.rmtree(started / f"fold-{fold}")
    shutil.rmtree(moved)
    assert tool("train", "--resume", started) == 2
    assert f"{moved / 'fold-0'}: no such run folder" in capsys.readouterr().err
    assert (started / "job.yaml").exists()


def test_folds_do_not_start_from_a_source_that_was_trained_further(tool, job, config, tmp_path, capsys):
    source, started = shutil.copytree(job / "fold-0", tmp_path / "source"), tmp_path / "started"
    options = ["--all-folds", "--run", started, "--init-from", source, "-o", "train.epochs=1"]
    assert tool("train", "-c", config, *options) == 0
    shutil.rmtree(started / "fold-2")  # as if it had been killed before
    shutil.rmtree(source / "checkpoints" / "best")
    shutil.copytree(started / "fold-0" / "checkpoints" / "best", source / "checkpoints" / "best")
    assert tool("train", "--resume", started) == 2
    assert f"{source}: its best weights are no longer those that {started} started from" in capsys.readouterr().err
    assert not (started / "fold-2").exists()


def test_a_job_on_too_few_images_to_calibrate_has_its_table_and_says_so(tool, config, tmp_path, capsys):
    job, few = tmp_path / "job", ["-o", "data.limit=4", "-o", "data.folds=2", "-o", "train.report=true"]
    assert tool("train", "-c", config, "--all-folds", *few, "--run", job) == 0
    note = "8 images are too few to calibrate on; the calibrated figures are those as trained"
    assert note in capsys.readouterr().out
    table = json.loads((job / "out_of_fold.json").read_text())
    assert note in table["notes"]
    for row in (*table["folds"], table["all"]):
        assert row["log_loss_calibrated"]["mean"] == pytest.approx(row["log_loss"]["mean"])
    assert len(pd.read_csv(job / "out_of_fold.csv")) == table["all"]["n"] == 8
    assert note in (job / "report.html").read_text()
