"""metrics.csv after a resume: cut back to the checkpoint, or rebuilt from it if the file is damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers.runs import metrics_without_clock, weights_sha
from paddlecnn.errors import RunError
from paddlecnn.runs.metrics_log import read_metrics
from paddlecnn.runs.run_dir import RunDir


@pytest.fixture
def run(tool, tiny, tmp_path) -> Path:
    """A run of three epochs, with one row for every second of eight steps and one for each validation."""
    path = tmp_path / "run"
    assert tool("train", "-c", tiny, "--run", path) == 0
    return path


def extend(tool, run: Path) -> int:
    return tool("train", "--resume", run, "--extend", "train.epochs=4")


def test_a_sound_log_is_continued(tool, run, capsys):
    before = metrics_without_clock(run)
    assert extend(tool, run) == 0
    assert capsys.readouterr().err == ""
    assert metrics_without_clock(run)[: len(before)] == before
    assert len(metrics_without_clock(run)) == len(before) + 5


def test_rows_after_the_checkpoint_are_removed(tool, run):
    before = metrics_without_clock(run)
    with open(run / "metrics.csv", "a") as file:
        file.write("train,4,26,1.0,0.1,0.9,0.01,1.0,100\ntrain,4,28,1.0,0.")
    assert extend(tool, run) == 0
    rows = metrics_without_clock(run)
    assert len(rows) == len(before) + 5
    assert len({row[:3] for row in rows}) == len(rows)


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "not text"])
def test_a_damaged_log_is_rebuilt_with_one_row_per_epoch(tool, run, tiny, tmp_path, capsys, damage):
    path = run / "metrics.csv"
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        os.truncate(path, len(content) // 2)
    else:
        content[len(content) // 2] = 0xFF if damage == "not text" else content[len(content) // 2] ^ 1
        path.write_bytes(content)
    capsys.readouterr()
    assert extend(tool, run) == 0
    error = capsys.readouterr().err.splitlines()
    assert error == [f"{path}: missing or damaged; rebuilt from the checkpoint, with one row per epoch"]
    rows = list(read_metrics(path))
    assert [(row["kind"], row["epoch"], row["step"]) for row in rows[:6]] == [
        (kind, str(epoch), str(8 * epoch)) for epoch in (1, 2, 3) for kind in ("train", "val")
    ]
    assert [(row["kind"], row["step"]) for row in rows[6:]] == [
        *(("train", str(step)) for step in (26, 28, 30, 32)),
        ("val", "32"),
    ]
    whole = tmp_path / "whole"
    assert tool("train", "-c", tiny, "--run", whole) == 0
    assert extend(tool, whole) == 0
    assert weights_sha(run) == weights_sha(whole)


def test_reading_a_damaged_log_is_one_line(run):
    path = RunDir(run).metrics
    path.write_text(path.read_text().replace("train,1,2,", "train,one,2,"))
    with pytest.raises(RunError, match=r"metrics.csv: damaged \(invalid literal for int\(\) with base 10: 'one'\)"):
        list(read_metrics(path))
