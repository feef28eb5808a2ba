"""The creation of a run's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from paddlecnn.config import Config
from paddlecnn.configfile import load_config
from paddlecnn.errors import RunError
from paddlecnn.runs.run_dir import RunDir


class CreatesItFirst(dict):
    """The facts of environment.json; creates the same run when they are written, as another process would then."""

    def __init__(self, path: Path, config: Config):
        super().__init__()
        self.create = lambda: RunDir.create(path, config, {"by": "another process"})

    def __ror__(self, other):
        self.create()
        return other


def test_of_two_creations_at_once_the_later_one_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_text("data: {name: digits}\nmodel: {name: lenet5}\ntrain: {epochs: 1}\n")
    config, path = load_config(tmp_path / "c.yaml"), tmp_path / "run"
    with pytest.raises(RunError, match=r"run: already exists; continue it with --resume"):
        RunDir.create(path, config, CreatesItFirst(path, config))
    assert RunDir(path).read_environment()["by"] == "another process"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["c.yaml", "run"]
