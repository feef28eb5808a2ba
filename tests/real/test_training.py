"""The CIFAR-10 config on real images: the official batches, restored from the real data folder."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from paddlecnn.runs.metrics_log import read_metrics

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def cifar10(real_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cifar")
    subprocess.run([sys.executable, real_data / "restore_cifar10.py", folder], check=True, capture_output=True)
    return folder


def test_alexnet_learns_on_a_part_of_cifar10_and_evaluation_agrees(long_test, tool, cifar10, tmp_path, capsys):
    run = tmp_path / "run"
    options = [
        f"data.root={cifar10}",
        "data.limit=3000",
        "train.epochs=3",
        "train.batch_size=32",
        "optim.schedule={name: constant}",
        "optim.name=adam",
        "optim.lr=0.0005",
        "model.options.dropout=0",
        "model.options.hidden=[256, 256]",
    ]  # what learns most in a minute
    assert (
        tool(
            "train",
            "-c",
            "configs/cifar10/alexnet_lrn.yaml",
            "--run",
            run,
            *(word for option in options for word in ("-o", option)),
        )
        == 0
    )
    last = capsys.readouterr().out.strip().splitlines()[-1]
    accuracies = [float(row["top1"]) for row in read_metrics(run / "metrics.csv") if row["kind"] == "val"]
    assert accuracies[-1] > accuracies[0]
    assert accuracies[-1] > 0.2
    assert tool("eval", run, "--split", "val") == 0
    assert capsys.readouterr().out.splitlines()[0].partition("): ")[2] == last.partition("val ")[2] != ""
    assert tool("eval", run, "--split", "test", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["n"] == 3000
    assert figures["top1"] == pytest.approx(max(accuracies), abs=0.06)
