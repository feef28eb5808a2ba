"""The folders of runs: how they are created and found."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from paddlecnn.configfile import load_config
from paddlecnn.errors import RunError
from paddlecnn.runs.run_dir import RunDir, find_run


class Late(dict):
    """The facts of environment.json; when they are written, another process has just created the same run."""

    def __init__(self, run: Path):
        super().__init__()
        self.run = run

    def __ror__(self, other):
        (self.run / "checkpoints").mkdir(parents=True)
        return other


def test_of_two_creations_at_once_the_later_one_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_text("data: {name: digits}\nmodel: {name: lenet5}\ntrain: {epochs: 1}\n")
    with pytest.raises(RunError, match=r"run: already exists and is not a run"):
        RunDir.create(tmp_path / "run", load_config(tmp_path / "c.yaml"), Late(tmp_path / "run"))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "c.yaml",
        "run",
        "run/checkpoints",
    ]


def test_a_new_run_is_on_disk_when_training_begins(tiny, tmp_path, monkeypatch):
    flushed, sync = set(), os.fsync

    def recorded(descriptor: int) -> None:
        flushed.add(os.fstat(descriptor).st_ino)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    run = RunDir.create(tmp_path / "run", load_config(tiny), {})
    for path in (run.path / "config.yaml", run.environment, run.path, run.path.parent):
        assert path.stat().st_ino in flushed, path


def test_an_extended_run_does_not_become_the_newest(tool, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        assert tool("train", "-c", tiny, "--run", f"runs/tiny/{name}", "-o", "train.epochs=1") == 0
        time.sleep(0.02)
    assert tool("train", "--resume", "runs/tiny/first", "--extend", "train.epochs=2") == 0
    assert find_run("latest").path.name == "second"
    for folder in ("runs", "runs/tiny"):
        with pytest.raises(RunError, match=r"name one of the runs in it; the newest is runs/tiny/second$"):
            find_run(folder)
    assert find_run("tiny.yaml").path.name == "second"


def test_seeds_are_folders_with_a_number(tool, tiny, tmp_path, capsys):
    for name in ("seed-0", "seed-1", "seed-lr0.1"):
        assert tool("train", "-c", tiny, "--run", tmp_path / name, "-o", "train.epochs=1") == 0
    capsys.readouterr()
    assert tool("eval", tmp_path, "--json") == 0
    assert list(json.loads(capsys.readouterr().out)) == ["seed-0", "seed-1"]


def test_a_config_whose_newest_training_has_several_seeds_names_them_all(tool, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for lr in ("0.01", "0.02"):
        options = ["-o", "train.epochs=1", "-o", f"optim.lr={lr}"]
        (tmp_path / f"lr{lr[2:]}.yaml").write_text(tiny.read_text())
        assert tool("train", "-c", f"lr{lr[2:]}.yaml", "--seeds", 2, *options) == 0
    capsys.readouterr()
    assert tool("compare", "lr01.yaml", "lr02.yaml", "--json", "table.json") == 0
    assert [row["runs"] for row in json.loads(Path("table.json").read_text())] == [2, 2]
    assert tool("submit", "lr02.yaml", "--split", "val") == 0
    (written,) = Path("submissions").glob("lr02*.csv")
    (folder,) = Path("runs/lr02").iterdir()
    assert written.name == f"lr02-{folder.name}.csv"  # not that of one seed
    for name in ("lr02.yaml", "latest"):
        assert tool("eval", name, "--json") == 0
        assert list(json.loads(capsys.readouterr().out.splitlines()[-1])) == ["seed-0", "seed-1"]
        assert tool("export", name, "--format", "paddle") == 2
        assert "contains several seeds; name one of them, e.g. runs/lr02/" in capsys.readouterr().err


def test_a_run_with_a_folder_named_like_a_seed_is_still_the_run(tool, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("runs/tiny/seed-3", "run", "run/seed-5"):
        assert tool("train", "-c", tiny, "--run", name, "-o", "train.epochs=1") == 0
    assert [find_run(name).path for name in ("tiny.yaml", "run")] == [Path("runs/tiny/seed-3"), Path("run")]
    assert tool("eval", "run") == 0
    assert Path("run/evaluation_val.json").exists()
    assert not Path("run/seed-5/evaluation_val.json").exists()
