"""Disks that are full, small or read-only: one line, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from helpers.runs import weights_sha
from paddlecnn.runs.checkpoint import load_checkpoint


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
    """Fill the disk except for `leave` bytes; returns the file that fills it."""
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
