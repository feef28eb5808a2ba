"""tools/benchmark.py lrn runs and reports both times; the times themselves are not tested."""

from __future__ import annotations

import json

import pytest


def test_it_measures_ours_beside_paddles(tool, capsys):
    assert tool("benchmark", "lrn", "--rounds", "2", "--shape", 2, 8, 4, 4, "--json") == 0
    results = json.loads(capsys.readouterr().out)
    assert [result["what"] for result in results] == ["forward", "both"]
    for result in results:
        assert result["ours"] > 0
        assert result["ratio"] == result["paddle"] / result["ours"]


@pytest.mark.parametrize("options", [("--rounds", 0), ("--shape", 0, 0, 0, 0)])
def test_numbers_below_1_are_refused(tool, capsys, options):
    assert tool("benchmark", "lrn", *options) == 2
    assert "0: must be 1 or more" in capsys.readouterr().err


def test_the_file_is_checked_before_anything_is_measured(tool, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    options = ("--rounds", 1, "--shape", 2, 8, 4, 4, "--json")
    assert tool("benchmark", "lrn", *options, tmp_path / "file" / "x.json") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "--json" in said.err
    assert "cannot be written there (" in said.err
    assert tool("benchmark", "lrn", *options, tmp_path / "new" / "x.json") == 0
    assert len(json.loads((tmp_path / "new" / "x.json").read_text())) == 2


def test_an_unknown_benchmark_is_named(tool, capsys):
    assert tool("benchmark", "speed") == 2
    assert "invalid choice: 'speed'" in capsys.readouterr().err
