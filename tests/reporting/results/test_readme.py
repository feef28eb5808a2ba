"""The table of the READMEs: which results stand there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.docs import ROOT
from helpers.results import NETWORKS, README, READMES, fold, rows


@pytest.mark.parametrize("mark", ["<!-- results -->", "<!-- /results -->"])
@pytest.mark.parametrize("name", READMES)
def test_a_readme_without_the_marks_of_its_table_is_named(project, add, tool, capsys, name, mark):
    assert add(NETWORKS[0], 0) == 0
    Path(name).write_text(Path(name).read_text().replace(mark, ""))
    assert tool("results", "docs/results", "--verify") == 2
    assert capsys.readouterr().err.startswith(f"{name}: has no line {mark}")


def test_a_config_is_not_represented_by_its_best_experiment_but_by_the_longest(project, add, tool):
    name = NETWORKS[0]
    assert add(name, 0) == 0
    machine, record = json.loads(Path(f"docs/results/{name}_seed0.json").read_text())
    record["test"]["top1"] = 0.5
    Path(f"docs/results/{name}_seed0.json").write_text(json.dumps([machine, record]))
    record["config"]["train"]["epochs"], record["test"]["top1"] = 2, 0.25
    Path("docs/results/longer.json").write_text(json.dumps([machine, record]))
    assert tool("results", "docs/results") == 0
    page, readme = (Path(path).read_text() for path in ("docs/results.md", "README.md"))
    assert all(f"| {accuracy} (" in page for accuracy in ("50.00%", "25.00%"))
    assert "| 25.00% (" in readme
    assert "50.00%" not in readme
    record["notes"] = ["its validation images may have been trained on"]
    Path("docs/results/longer.json").write_text(json.dumps([machine, record]))
    assert tool("results", "docs/results") == 0
    assert "| 50.00% (" in Path("README.md").read_text()
    assert "25.00%" not in Path("README.md").read_text()


def test_no_score_chooses_a_row_of_the_readme(project, add, tool):
    assert add(NETWORKS[0], 0) == 0
    source = Path(f"docs/results/{NETWORKS[0]}_seed0.json")
    machine, record = json.loads(source.read_text())

    def write(name: str, **changes) -> None:
        Path(f"docs/results/{name}.json").write_text(
            json.dumps([machine, record | {"config_file": f"configs/{name}.yaml"} | changes])
        )

    for number in range(6):
        config = json.loads(json.dumps(record["config"]))
        config["optim"]["lr"] = 0.1 + number
        score = record["test"] | {"top1": 0.9 if number == 5 else 0.1}
        write(f"network{number}", epochs=1 if number == 5 else 2, config=config, test=score)
    for number, tta, accuracy, n, seconds in (
        (0, "none", 0.95, 60, 9),
        (0, "flip", 0.81, 60, 9),
        (0, "crops", 0.96, 60, 9),
        (1, "flip", 0.97, 30, 99),
        (2, "flip", 0.98, 60, 8),
    ):
        write(
            f"folds{number}_{tta}", **fold(accuracy, n=n, tta=tta, seconds=seconds, config_file=f"folds{number}.yaml")
        )
    source.unlink()
    assert tool("results", "docs/results") == 0
    shown = [(row["config"], row["accuracy"]) for row in rows("README.md", "| digits |")]
    assert shown[0] == (
        "folds0",
        "81.00% (80.00% to 82.00%) out of fold, flip at test time; log loss 0.8100 (0.8000 to 0.8200)",
    )
    assert [(name, text[:7]) for name, text in shown[1:]] == [(f"network{number}", "10.00% ") for number in range(4)]


def test_a_closed_pipe_does_not_end_the_writing(project, add):
    assert add(NETWORKS[0], 0) == 0
    Path("README.zh-CN.md").write_text(README)  # the last page
    command = f"{sys.executable} {ROOT / 'tools/results.py'} docs/results | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "| 准确率 |" in Path("README.zh-CN.md").read_text()
