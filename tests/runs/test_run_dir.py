"""The creation of a run's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from paddlecnn.configfile import load_config
from paddlecnn.errors import RunError
from paddlecnn.runs.run_dir import RunDir


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
    with pytest.raises(RunError, match=r"run: already exists; continue it with --resume"):
        RunDir.create(tmp_path / "run", load_config(tmp_path / "c.yaml"), Late(tmp_path / "run"))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "c.yaml",
        "run",
        "run/checkpoints",
    ]
