"""A run folder of version 0.1 can be evaluated, read and resumed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from helpers.runs import weights_sha
from paddlecnn.runs.checkpoint import FILES, SUMS, load_checkpoint

ADDED = ("metrics", "module", "run")  # keys of state.json since 0.2
OLD_KEYS = {"step_size": "every", "gamma": "factor"}


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "old.yaml"
    path.write_text(
        "data: {name: digits, limit: 256, augment: {pad: 2}}\nmodel: {name: lenet5}\n"
        "optim: {lr: 0.01, schedule: {name: step, step_size: 1}}\n"
        "train: {epochs: 2, batch_size: 32, log_every: 2}\n"
    )
    return path


def make_old(run: Path) -> None:
    """Rewrite a run folder as version 0.1 wrote it."""
    text = (run / "config.yaml").read_text().replace("  module: null\n", "")
    for new, old in OLD_KEYS.items():
        text = text.replace(f"{new}:", f"{old}:")
    (run / "config.yaml").write_text(text)
    environment = json.loads((run / "environment.json").read_text())
    del environment["id"], environment["config"]
    (run / "environment.json").write_text(json.dumps(environment))
    for folder in (run / "checkpoints").iterdir():
        state = json.loads((folder / "state.json").read_text())
        for key in ADDED:
            del state[key]
        for record in state["history"]:
            for key in ("lr", "seconds", "images_per_second"):
                del record[key]
        (folder / "state.json").write_text(json.dumps(state))
        sums = subprocess.run(["sha256sum", *FILES], cwd=folder, capture_output=True, text=True, check=True)
        (folder / SUMS).write_text(sums.stdout)


def test_a_run_of_version_0_1_is_evaluated_and_resumed(tool, config, tmp_path, capsys):
    old, new = tmp_path / "old", tmp_path / "new"
    for run in (old, new):
        assert tool("train", "-c", config, "--run", run) == 0
    make_old(old)
    assert "every:" in (old / "config.yaml").read_text()
    capsys.readouterr()
    for run in (old, new):
        assert tool("eval", run, "--json") == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == second
    for run in (old, new):
        assert tool("train", "--resume", run, "--extend", "train.epochs=3") == 0
    assert load_checkpoint(old / "checkpoints/last").state.epoch == 3
    assert weights_sha(old) == weights_sha(new)


def test_a_state_that_is_not_ours_is_one_line(tool, config, tmp_path, capsys):
    run = tmp_path / "run"
    assert tool("train", "-c", config, "--run", run) == 0
    folder = run / "checkpoints/best"
    for key, value, message in (
        ("step", 10**30, "step: "),
        ("classes", [], "classes: "),
        ("history", 3, "history: "),
        ("preprocess", {}, "preprocess: "),
        ("model", {"name": "lenet5", "num_classes": "x"}, "model.num_classes: "),
    ):
        content = (folder / "state.json").read_text()
        (folder / "state.json").write_text(json.dumps({**json.loads(content), key: value}))
        sums = subprocess.run(["sha256sum", *FILES], cwd=folder, capture_output=True, text=True, check=True)
        (folder / SUMS).write_text(sums.stdout)
        capsys.readouterr()
        assert tool("eval", run) == 2
        assert f"{folder}: not a checkpoint of paddlecnn (state.json: {message}" in capsys.readouterr().err
        (folder / "state.json").write_text(content)
