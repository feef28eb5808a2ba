"""tools/benchmark.py lrn runs and reports both times; the times themselves are not tested."""

from __future__ import annotations

import json


def test_it_measures_ours_beside_paddles(tool, capsys):
    assert tool("benchmark", "lrn", "--rounds", "2", "--shape", 2, 8, 4, 4, "--json") == 0
    results = json.loads(capsys.readouterr().out)
    assert [result["what"] for result in results] == ["forward", "both"]
    for result in results:
        assert result["ours"] > 0
        assert result["ratio"] == result["paddle"] / result["ours"]


def test_an_unknown_benchmark_is_named(tool, capsys):
    assert tool("benchmark", "speed") == 2
    assert "invalid choice: 'speed'" in capsys.readouterr().err
