"""Several processes train as one: real processes that talk over loopback.

Three tests use Paddle's launcher, as a user does; the others start two processes with the variables that it sets.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import paddle
import pytest

from helpers.processes import training
from helpers.runs import metrics_without_clock, weights_sha
from helpers.weight_files import convolutions_of
from paddlecnn.runs.checkpoint import load_checkpoint
from paddlecnn.runs.metrics_log import read_metrics

ROOT = Path(__file__).resolve().parents[2]
TRAIN = [str(ROOT / "tools" / "train.py")]
STEPS = ["-o", "train.log_every=1", "-o", "data.augment.pad=2"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def train_by_two(*arguments: object, code: int = 0) -> list[str]:
    """Trains with two processes, which both end with `code`, and returns the output of each."""
    endpoints = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    job = {"PADDLE_TRAINERS_NUM": "2", "PADDLE_TRAINER_ENDPOINTS": ",".join(endpoints), "PADDLE_MASTER": endpoints[0]}
    processes = []
    for rank, endpoint in enumerate(endpoints):
        own = {"PADDLE_TRAINER_ID": str(rank), "PADDLE_CURRENT_ENDPOINT": endpoint, "OMP_NUM_THREADS": "1"}
        own["PADDLE_DISTRI_BACKEND"] = "gloo"
        processes.append(training(*arguments, env={**os.environ, **job, **own}))
    try:
        outputs = [process.communicate(timeout=180)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [code, code], outputs
    return outputs


def launch(folder: Path, *arguments: object, nodes: int = 1, port: int | None = None) -> subprocess.Popen:
    """One launcher with two processes, or one of two launchers with a process each."""
    # Threads change the last bits of a sum; one per process keeps the machine free for the others.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    shape = ["--nproc_per_node", str(2 // nodes), "--log_dir", str(folder)]
    shape += ["--nnodes", str(nodes), "--master", f"127.0.0.1:{port or free_port()}"]
    return subprocess.Popen(
        [sys.executable, "-m", "paddle.distributed.launch", *shape, *TRAIN, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def wait(process: subprocess.Popen, folder: Path) -> str:
    try:
        output = process.communicate(timeout=180)[0].decode()
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail("the job hangs")
    return output + "".join(path.read_text(errors="replace") for path in sorted(folder.glob("workerlog.*")))


def losses(run: Path) -> np.ndarray:
    return np.array([float(row["loss"]) for row in read_metrics(run / "metrics.csv")])


@pytest.fixture
def engine(request, monkeypatch) -> None:
    """The engine of all processes: auto, which is oneDNN if available, unless a test asks for another."""
    monkeypatch.setenv("PADDLECNN_ENGINE", getattr(request, "param", "auto"))


@pytest.fixture
def single(engine, tool, tiny, tmp_path) -> Path:
    run = tmp_path / "single"
    assert tool("train", "-c", tiny, "--run", run, *STEPS) == 0
    return run


def assert_trained_alike(single: Path, run: Path) -> None:
    assert len(losses(single)) > 20
    np.testing.assert_allclose(losses(run), losses(single), rtol=0, atol=1e-5)
    assert [row[:3] for row in metrics_without_clock(run)] == [row[:3] for row in metrics_without_clock(single)]


def test_two_processes_see_the_losses_of_one_and_write_one_report(single, tiny, tmp_path):
    run, log = tmp_path / "double", tmp_path / "log"
    job = launch(log, "-c", tiny, "--run", run, *STEPS, "-o", "train.report=true")
    output = wait(job, log)
    assert job.returncode == 0, output
    assert_trained_alike(single, run)
    logs = [(log / f"workerlog.{rank}").read_text() for rank in (0, 1)]
    assert [text.count(f"report: {run / 'report.html'}") for text in logs] == [1, 0]
    assert "no report" not in output
    state = json.loads((run / "checkpoints" / "best" / "state.json").read_text())
    figures = json.loads((run / "evaluation_val.json").read_text())  # of one process, as in the training by both
    assert (figures["n"], figures["top1"]) == (state["best"]["n"], state["best"]["top1"])
    assert f"{100 * state['best']['top1']:.1f}" in (run / "report.html").read_text()


@pytest.mark.parametrize("engine", ["paddle"], indirect=True)
def test_two_machines_see_the_losses_of_one(single, tiny, tmp_path):
    """A launcher with one process each."""
    run, logs, port = tmp_path / "double", [tmp_path / "log-0", tmp_path / "log-1"], free_port()
    jobs = [launch(log, "-c", tiny, "--run", run, *STEPS, nodes=2, port=port) for log in logs]
    for job, log in zip(jobs, logs, strict=True):
        output = wait(job, log)
        assert job.returncode == 0, output
    assert_trained_alike(single, run)


def runs_empty_batches() -> bool:
    try:
        paddle.nn.functional.conv2d(paddle.zeros([0, 3, 8, 8]), paddle.ones([4, 3, 3, 3]))
    except ValueError:
        return False
    return True


def test_a_last_batch_smaller_than_the_number_of_processes_counts(engine, tool, tiny, tmp_path):
    """65 images in batches of 32: one process gets nothing of the last batch's single image."""
    short = [*STEPS, "-o", "data.limit=65", "-o", "data.val_fraction=0", "-o", "train.accumulate=2"]
    runs = [tmp_path / "one", tmp_path / "two"]
    if not runs_empty_batches():
        for output in train_by_two("-c", tiny, "--run", runs[1], *short, code=2):
            assert "train.batch_size: 32: of 65 images, a batch of 1 remains for 2 processes, and Paddle" in output
        return
    assert tool("train", "-c", tiny, "--run", runs[0], *short) == 0
    train_by_two("-c", tiny, "--run", runs[1], *short)
    assert len(losses(runs[0])) == 9
    np.testing.assert_allclose(losses(runs[1]), losses(runs[0]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", ["paddle"], indirect=True)
def test_weights_of_classes_and_a_plateau_are_those_of_one_process(engine, tool, tiny, tmp_path):
    """Gradients, and with them the losses; 65 training images, so the last batch has a single one."""
    options = [*STEPS, "-o", "data.limit=77", "-o", "train.accumulate=2", "-o", "train.epochs=4"]
    options += ["-o", "train.class_weights=balanced", "-o", "train.label_smoothing=0.1", "-o", "data.augment.cutmix=1"]
    options += ["-o", "optim.schedule={name: plateau, patience: 1, metric: top1}"]
    runs = [tmp_path / "one", tmp_path / "two"]
    assert tool("train", "-c", tiny, "--run", runs[0], *options) == 0
    train_by_two("-c", tiny, "--run", runs[1], *options)
    one, two = (list(read_metrics(run / "metrics.csv")) for run in runs)
    assert len({row["lr"] for row in one}) > 2  # "" of the validations
    assert [row["lr"] for row in two] == [row["lr"] for row in one]
    for column in ("loss", "grad_norm"):
        values = [[float(row[column] or 0) for row in rows] for rows in (one, two)]
        np.testing.assert_allclose(values[1], values[0], rtol=1e-4, atol=1e-5)


def train_with_batch_norm(tiny: Path, folder: Path, *options: str) -> tuple[Path, list[object]]:
    """The run, trained for an epoch by two processes, and the arguments that trained it."""
    run = folder / "run"
    arguments = ["-c", tiny, "--run", run, "-o", "data.limit=160", "-o", "train.epochs=1", *options]
    arguments += ["-o", "model={name: alexnet_cifar, options: {norm: batch, hidden: [16]}}"]
    train_by_two(*arguments)
    return run, arguments


def assert_recorded_validation_is_that_of_the_weights(tool, run: Path) -> None:
    best = load_checkpoint(run / "checkpoints" / "best").state.best
    assert tool("eval", run) == 0
    figures = json.loads((run / "evaluation_val.json").read_text())
    assert figures["top1"] == best.top1
    assert figures["loss"] == pytest.approx(best.loss, rel=1e-5)


@pytest.mark.parametrize("engine", ["paddle"], indirect=True)
def test_statistics_of_batch_normalisation_are_those_of_all_processes(engine, tool, tiny, tmp_path):
    run, _ = train_with_batch_norm(tiny, tmp_path)
    assert_recorded_validation_is_that_of_the_weights(tool, run)


def test_a_job_resumes_inside_an_epoch_to_the_same_statistics(engine, tool, tiny, tmp_path):
    options = ["-o", "train.ema=0.9", "-o", "train.checkpoint={every_steps: 2, keep: 9}"]
    run, arguments = train_with_batch_norm(tiny, tmp_path, *options)
    assert_recorded_validation_is_that_of_the_weights(tool, run)
    whole = weights_sha(run)
    for folder in (run / "checkpoints").iterdir():
        if folder.name != "step-00000002":
            shutil.rmtree(folder)
    train_by_two(*arguments, "--resume")
    assert weights_sha(run) == whole


def test_new_layers_have_the_same_scale_in_two_processes_as_in_one(tool, tmp_path):
    convolutions_of("lenet5", tmp_path / "weights.npz")
    config, runs = tmp_path / "new.yaml", [tmp_path / "one", tmp_path / "two"]
    config.write_text(
        "data: {name: digits, limit: 64}\n"
        f"model: {{name: lenet5, weights: {tmp_path / 'weights.npz'}, strict: false}}\n"
        "train: {epochs: 1, batch_size: 24, log_every: 1}\n"
    )
    assert tool("train", "-c", config, "--run", runs[0]) == 0
    train_by_two("-c", config, "--run", runs[1])
    np.testing.assert_allclose(losses(runs[1])[0], losses(runs[0])[0], rtol=0, atol=1e-5)


def test_process_0_alone_writes_and_prints_the_result_of_seeds(tiny, tmp_path):
    outputs = train_by_two("-c", tiny, "--run", tmp_path / "run", "--seeds", 2, "-o", "train.epochs=1")
    assert [text.count("val top-1 of 2 seeds: mean") for text in outputs] == [1, 0]


def test_several_processes_name_their_folder(tool, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    assert tool("train", "-c", tiny) == 2
    assert capsys.readouterr().err == "--run: several processes train in one folder; name it\n"
    assert not Path("runs").exists()


def test_a_run_resumes_with_another_number_of_processes(engine, tool, tiny, tmp_path):
    run = tmp_path / "changed"
    short = [*STEPS, "-o", "optim.schedule={name: constant}"]
    train_by_two("-c", tiny, "--run", run, *short, "-o", "train.epochs=2")
    assert tool("train", "-c", tiny, "--run", run, *short, "--resume", "--extend", "train.epochs=3") == 0
    whole = tmp_path / "whole"
    assert tool("train", "-c", tiny, "--run", whole, *short) == 0
    np.testing.assert_allclose(losses(run), losses(whole), rtol=0, atol=1e-4)


def test_a_process_that_dies_ends_the_job(tiny, tmp_path):
    run, log = tmp_path / "run", tmp_path / "log"
    job = launch(log, "-c", tiny, "--run", run, "-o", "train.epochs=100000")
    while not (run / "metrics.csv").exists() or (run / "metrics.csv").stat().st_size < 500:
        assert job.poll() is None, wait(job, log)
        time.sleep(0.05)
    children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    ranks = [int(child) for child in children if b"train.py" in Path(f"/proc/{child}/cmdline").read_bytes()]
    os.kill(ranks[-1], signal.SIGKILL)
    output = wait(job, log)
    assert job.returncode != 0
    assert "exit code" in output.lower() or "failed" in output.lower(), output
