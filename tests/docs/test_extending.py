"""docs/extending.md, followed step by step in an empty folder."""

from __future__ import annotations

import itertools
import re
import shlex

import pytest

from helpers.docs import ROOT, code_blocks
from paddlecnn.runs.metrics_log import read_metrics

PAGE = ROOT / "docs/extending.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder with the files of the page."""
    monkeypatch.chdir(tmp_path)
    for name, text in re.findall(r"^```\w+ file=(\S+)\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S):
        (tmp_path / name).write_text(text)
    return tmp_path


def test_every_command_of_the_page_works(tool, folder, capsys):
    for block in code_blocks(PAGE, "sh"):
        for line in block.splitlines():
            program, command, *arguments = shlex.split(line)
            assert program == "paddlecnn"
            assert tool(command, *arguments) == 0, capsys.readouterr().err
    assert "top-1" in capsys.readouterr().out
    rates = [float(row["lr"]) for row in read_metrics(folder / "runs/restarts/metrics.csv") if row["lr"]]
    assert rates[0] < 0.003
    assert any(later > earlier for earlier, later in itertools.pairwise(rates))  # it restarts


def test_an_unknown_schedule_is_named(tool, folder, capsys):
    assert (
        tool(
            "train",
            "-c",
            "small_net.yaml",
            "-o",
            "model.module=my_schedules.py",
            "-o",
            "model.name=lenet5",
            "-o",
            "model.options={}",
            "-o",
            "optim.schedule={name: custom, function: warm_restart}",
            "--run",
            "run",
        )
        == 2
    )
    assert "warm_restart is not registered by model.module; did you mean warm_restarts?" in capsys.readouterr().err
