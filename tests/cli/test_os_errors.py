"""Errors of the operating system, caused for real, are one line with advice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.docs import ROOT


def paddlecnn(*arguments: object, before: str = "") -> subprocess.Popen[str]:
    """Start a command in a process of its own, after a line of shell."""
    command = f'{before}\nexec "$@"'
    return subprocess.Popen(
        ["bash", "-c", command, "bash", sys.executable, "-m", "paddlecnn", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def assert_one_line(process: subprocess.Popen[str], *words: str) -> None:
    _, error = process.communicate(timeout=300)
    assert process.returncode == 2, error
    assert len(error.splitlines()) == 1, error
    for word in words:
        assert word in error


@pytest.mark.parametrize(
    ("option", "path", "reason"),
    [
        ("--run", "x" * 300, "File name too long"),
        ("--run", "file/run", "File exists"),
        ("-c", "file/x.yaml", "Not a directory"),
        ("-c", "loop/x.yaml", "Too many levels of symbolic links"),
        ("-c", "x" * 300, "File name too long"),
    ],
)
def test_an_impossible_path(tool, tiny, tmp_path, capsys, option, path, reason):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert tool("train", "-c", tiny, option, tmp_path / path) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert reason in error


def test_a_file_in_the_place_of_a_folder(tool, tiny, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert tool("split", "-c", tiny, "--out", tmp_path / "file") == 2
    advice = "File exists; a file is in the place of a folder; choose another path"
    assert capsys.readouterr().err == f"{tmp_path / 'file'}: {advice}\n"


def test_an_error_without_advice_of_its_own(tool, tiny, tmp_path, capsys):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert tool("split", "-c", tiny, "--out", tmp_path / "loop" / "x") == 2
    reason = "Too many levels of symbolic links; check the path and the disk, then run the command again"
    assert capsys.readouterr().err == f"{tmp_path / 'loop' / 'x'}: {reason}\n"


def test_a_limit_on_the_size_of_files(tiny, tmp_path):
    run = tmp_path / "run"
    options = ("-o", "train.epochs=1", "-o", "train.engine=paddle")
    process = paddlecnn("train", "-c", tiny, "--run", run, *options, before="ulimit -f 60")
    assert_one_line(process, "File too large; choose a disk and a limit (ulimit -f)")
    assert not list((run / "checkpoints").glob("last"))


def test_a_run_on_an_empty_volume_that_is_mounted_there(tool, tiny, tmp_path, capsys):
    volume = tmp_path / "volume"
    volume.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", volume], capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here (needs root)")
    try:
        assert tool("train", "-c", tiny, "--run", volume) == 2
    finally:
        subprocess.run(["umount", volume], check=True)
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "busy" in error


def test_only_one_of_two_trainings_that_create_the_same_run_trains(tiny, tmp_path):
    run = tmp_path / "run"
    processes = [paddlecnn("train", "-c", tiny, "--run", run, "-o", "train.epochs=1") for _ in range(2)]
    done = [process.communicate(timeout=300) for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 2], done
    (error,) = [error for process, (_, error) in zip(processes, done, strict=True) if process.returncode]
    assert len(error.splitlines()) == 1
    assert str(run) in error
    assert Path(run / "checkpoints/last/model.safetensors").is_file()
