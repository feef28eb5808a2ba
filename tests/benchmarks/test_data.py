"""tools/benchmark.py data runs and reports both speeds; the speeds themselves are not tested."""

from __future__ import annotations

import json

from paddlecnn.benchmarks.data import Result


def test_each_pipeline_is_measured_beside_the_plain_one(tool, capsys):
    assert tool("benchmark", "data", "--rounds", 1, "--seconds", 0.01, "--json") == 0
    results = json.loads(capsys.readouterr().out)
    assert [result["name"] for result in results] == ["memory", "jpeg", "cache"]
    for result in results:
        assert result["ratio"] == result["ours"][0] / result["plain"][0]


def test_a_line_says_both_speeds_and_the_ratio_of_medians():
    line = str(Result("memory", "50,000 random images", [90000.0, 60000.0, 30000.0], [2000.0, 3000.0, 9000.0]))
    assert line.split("  ")[-1].strip() == "50,000 random images"
    assert "60,000 images/s" in line
    assert "plain    3,000" in line
    assert "20.0 times (goal 20)" in line
