"""A run that is killed at any moment and resumed ends like one that was never stopped.

A few kills here; `make chaos` sets PADDLECNN_KILLS=100 and prints the figures in docs/reliability.md.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.forked import ForkedScript
from helpers.processes import training
from helpers.runs import curves, metrics_without_clock, weights_sha
from paddlecnn import onednn
from paddlecnn.runs.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("PADDLECNN_KILLS", "3"))
CHECKPOINTING = ["-o", "train.checkpoint.every_steps=3", "-o", "train.epochs=12"]


@pytest.fixture(params=["memory", "bfloat16", "files"])
def config(request, tiny, tmp_path) -> Path:
    """A tiny run on images in memory by oneDNN, in float32 or bfloat16, or by Paddle on files that two threads read."""
    if request.param == "memory":
        return tiny
    if request.param == "bfloat16":
        if not onednn.available("bfloat16"):
            pytest.skip("no oneDNN engine in bfloat16 here")
        path = tmp_path / "bfloat16.yaml"
        path.write_text(tiny.read_text().replace("train: {", "train: {engine: onednn, precision: bfloat16, "))
        return path
    for number in range(160):
        path = tmp_path / "images" / ("dark", "light")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 128, (32, 32, 3)) + 100 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    path = tmp_path / "files.yaml"
    path.write_text(
        f"data: {{name: folder, root: {tmp_path / 'images'}, preprocess: {{size: 32, resize: 32}}, workers: 2}}\n"
        "model: {name: lenet5}\noptim: {name: momentum, lr: 0.01}\n"
        "train: {engine: paddle, epochs: 3, batch_size: 16, log_every: 2}\n"
    )
    return path


def start(config: Path, run: Path) -> ForkedScript:
    """Start training, or resume it if the run exists."""
    return training("-c", config, "--run", run, *CHECKPOINTING, *(["--resume"] if run.exists() else []))


def kill_somewhere(process: ForkedScript, run: Path, in_writing: bool, chance: random.Random) -> str | None:
    """SIGKILL the process at a random moment of its training, or while a checkpoint is being written.

    Returns where it was hit; None where it had ended before.
    """
    step_rows = run / "metrics.csv"
    before = step_rows.stat().st_size if step_rows.exists() else 0
    while process.poll() is None and (not step_rows.exists() or step_rows.stat().st_size == before):
        time.sleep(0.002)  # importing Paddle takes seconds; training begins with the first new row
    deadline = time.monotonic() + chance.uniform(0.0, 0.6)
    skip = chance.randrange(4)
    while process.poll() is None:
        writing = any((run / "checkpoints").glob(".writing-*"))
        if in_writing and writing:
            if skip == 0:
                break
            skip -= 1
            while any((run / "checkpoints").glob(".writing-*")) and process.poll() is None:
                pass
        if not in_writing and time.monotonic() > deadline:
            break
    if process.poll() is not None:
        return None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return "in a checkpoint" if any((run / "checkpoints").glob(".writing-*")) else "elsewhere"


def finish(config: Path, run: Path) -> None:
    process = start(config, run)
    output = process.communicate()[0]
    assert process.returncode == 0, output


def test_a_run_killed_again_and_again_ends_as_one_never_stopped(config, tmp_path, capsys):
    whole = tmp_path / "whole"
    kills = KILLS if config.name == "tiny.yaml" else KILLS // 2
    finish(config, whole)
    chance = random.Random(2012)
    hits, rounds = {"in a checkpoint": 0, "elsewhere": 0}, 0
    while sum(hits.values()) < kills:
        run = tmp_path / f"killed-{rounds}"
        rounds += 1
        for _ in range(min(10, kills)):
            where = kill_somewhere(process := start(config, run), run, bool(sum(hits.values()) % 2), chance)
            output = process.stdout.read()
            if where is None:
                assert process.returncode == 0, output
                break
            hits[where] += 1
            if sum(hits.values()) >= kills:
                break
        finish(config, run)
        assert_same(run, whole)
    with capsys.disabled():
        print(
            f"\n{sum(hits.values())} kills, {hits['in a checkpoint']} of them inside a checkpoint's writing, "
            f"in {rounds} runs, each equal to the one never stopped"
        )


def assert_same(run: Path, whole: Path) -> None:
    """Weights and optimizer bit for bit, the same rows, the same best epoch, one curve of rising steps."""
    assert weights_sha(run) == weights_sha(whole)
    assert weights_sha(run, "best") == weights_sha(whole, "best")
    assert (
        load_checkpoint(run / "checkpoints/best").state.step == load_checkpoint(whole / "checkpoints/best").state.step
    )
    assert metrics_without_clock(run) == metrics_without_clock(whole)
    assert not list((run / "checkpoints").glob(".*"))
    found, expected = curves(run), curves(whole)
    assert found.keys() == expected.keys()
    for tag, points in found.items():
        steps = [step for step, _ in points]
        assert steps == sorted(set(steps)), tag
        if not tag.endswith("images_per_second"):
            assert points == expected[tag], tag
