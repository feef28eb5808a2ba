"""A checkpoint is whole or refused by name."""

import os
import subprocess
import threading

import numpy as np
import pytest

from paddlecnn.data.datasets import defaults
from paddlecnn.errors import CheckpointError
from paddlecnn.runs.checkpoint import FILES, SUMS, Checkpoint, latest_valid, load_checkpoint, save_checkpoint
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.runs.state import RunState


def checkpoint(step):
    state = RunState(
        step=step,
        epoch=step // 10,
        model={"name": "lenet5", "num_classes": 1},
        preprocess=defaults("digits"),
        classes=("a",),
        data={"name": "digits", "train": "1", "val": "2"},
        config_hash="0",
        lr=1 / 3,
    )
    return Checkpoint({"w": np.full((2, 3), step, np.float32)}, {"w/velocity": np.zeros(3, np.float32)}, state)


def test_a_checkpoint_is_read_back_bit_for_bit(tmp_path):
    save_checkpoint(tmp_path, checkpoint(7), best=True)
    for name in ("last", "best"):
        loaded = load_checkpoint(tmp_path / name)
        assert loaded.state == checkpoint(7).state
        np.testing.assert_array_equal(loaded.model["w"], checkpoint(7).model["w"])
        np.testing.assert_array_equal(loaded.optimizer["w/velocity"], np.zeros(3))


def test_the_last_k_and_the_best_are_kept(tmp_path):
    for step in (10, 20, 30, 40):
        save_checkpoint(tmp_path, checkpoint(step), keep=3, best=step == 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last", "step-00000020", "step-00000030"]
    assert load_checkpoint(tmp_path / "best").state.step == 20
    assert load_checkpoint(tmp_path / "last").state.step == 40


@pytest.mark.parametrize("name", [*FILES, SUMS])
def test_one_flipped_bit_in_any_file_is_refused_by_name(tmp_path, name):
    save_checkpoint(tmp_path, checkpoint(10), keep=2)
    save_checkpoint(tmp_path, checkpoint(20), keep=2)
    path = tmp_path / "last" / name
    for position in {0, path.stat().st_size // 2, path.stat().st_size - 2}:
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{tmp_path}/last: "):
            load_checkpoint(tmp_path / "last")
        found, folder, refused = latest_valid(tmp_path)
        assert (found.state.step, folder.name, len(refused)) == (10, "step-00000010", 1)
        content[position] ^= 1
        path.write_bytes(content)
    load_checkpoint(tmp_path / "last")


@pytest.mark.parametrize(("best", "expected"), [(20, "step-00000030"), (30, "best"), (40, "best")])
def test_the_newest_whole_checkpoint_counts_whatever_its_name(tmp_path, best, expected):
    for step in (10, 20, 30, 40):
        save_checkpoint(tmp_path, checkpoint(step), keep=3, best=step == best)
    damaged = ["last", *(["step-00000030"] if best == 30 else [])]
    for name in damaged:
        (tmp_path / name / "model.safetensors").write_bytes(b"")
    found, folder, refused = latest_valid(tmp_path)
    assert (found.state.step, folder.name, len(refused)) == (max(best, 30), expected, len(damaged))


@pytest.mark.parametrize("name", [*FILES, SUMS])
def test_a_torn_or_missing_file_is_refused(tmp_path, name):
    save_checkpoint(tmp_path, checkpoint(10))
    path = tmp_path / "last" / name
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "last")
    path.unlink()
    with pytest.raises(CheckpointError, match=r"missing|has no sum"):
        load_checkpoint(tmp_path / "last")


def test_a_foreign_checkpoint_with_right_sums_is_refused(tmp_path):
    save_checkpoint(tmp_path, checkpoint(10))
    (tmp_path / "last" / "state.json").write_text('{"step": 10}')
    sums = subprocess.run(["sha256sum", *FILES], cwd=tmp_path / "last", capture_output=True, text=True, check=True)
    (tmp_path / "last" / SUMS).write_text(sums.stdout)
    with pytest.raises(CheckpointError, match="not a checkpoint of paddlecnn"):
        load_checkpoint(tmp_path / "last")


def test_sha256sum_reads_the_sums(tmp_path):
    save_checkpoint(tmp_path, checkpoint(10))
    subprocess.run(["sha256sum", "-c", "--strict", SUMS], cwd=tmp_path / "last", check=True, capture_output=True)


def test_an_older_sound_checkpoint_outlives_a_failed_write(tmp_path):
    save_checkpoint(tmp_path, checkpoint(10), best=True)
    broken = checkpoint(20)
    broken.state.lr = float("nan")  # JSON has no NaN, so writing fails half way
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(tmp_path, broken, best=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last"]
    assert load_checkpoint(tmp_path / "last").state.step == 10
    assert load_checkpoint(tmp_path / "best").state.step == 10


def test_the_best_can_be_read_while_it_is_replaced(tool, tiny, tmp_path):
    """A thread replaces `best` again and again; each read gets one of the checkpoints, whole."""
    run = tmp_path / "run"
    assert tool("train", "-c", tiny, "--run", run, "-o", "train.epochs=1") == 0
    done = threading.Event()

    def replace() -> None:
        step = 0
        while not done.is_set():
            step += 1
            save_checkpoint(run / "checkpoints", checkpoint(step), best=True)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        steps: set[int] = set()
        while len(steps) < 8:
            steps.add(RunDir(run).load_checkpoint("best")[0].state.step)
    finally:
        done.set()
        writer.join()
