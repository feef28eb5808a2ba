"""Runs whose figures the pages of results are made from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from helpers.results import CONFIG, NETWORKS, README, READMES
from paddlecnn import api, configfile

COMMITTED = {"commit": 40 * "a", "dirty": False}


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    """A project with two networks, each trained with two seeds and measured on test."""
    project = tmp_path_factory.mktemp("project")
    for name in NETWORKS:
        (project / f"configs/{name}.yaml").parent.mkdir(exist_ok=True)
        constants = ", lrn: [5, 2.0e-5, 0.75, 1.0]" if name.endswith("_lrn") else ""
        text = CONFIG.replace("MODEL", name).replace("[16]", f"[16]{constants}")
        (project / f"configs/{name}.yaml").write_text(text)
        for seed in (0, 1):
            config = configfile.load_config(project / f"configs/{name}.yaml", [f"seed={seed}", "train.epochs=1"])
            result = api.train(config, run=project / f"runs/{name}-{seed}")
            result.run.evaluate("test")
            path = result.run.path / "environment.json"
            command = f"paddlecnn train -c {project}/configs/{name}.yaml -o train.epochs=1 -o seed={seed}"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"command": command, "git": COMMITTED}))
    return project


@pytest.fixture
def project(runs, tmp_path, monkeypatch) -> Path:
    """A copy of it, with an empty page."""
    shutil.copytree(runs, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    Path("docs/results").mkdir(parents=True)
    for name in READMES:
        Path(name).write_text(README)
    return tmp_path / "project"


@pytest.fixture
def add(tool):
    def call(name: str, seed: int) -> int:
        out = f"docs/results/{name}_seed{seed}.json"
        return tool("results", "docs/results", "--add", f"runs/{name}-{seed}", "--out", out)

    return call
