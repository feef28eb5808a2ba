"""`paddlecnn benchmark train|infer|start` measures every contender in a process of its own and keeps the figures."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from paddlecnn import onednn
from paddlecnn.benchmarks.workloads import TRAINING
from paddlecnn.models import create_model


@pytest.mark.parametrize(("what", "key"), [("train", "images_per_second"), ("start", "seconds")])
def test_the_engine_beside_paddle(tool, request, tmp_path, capsys, what, key):
    if what == "start":
        request.getfixturevalue("long_test")
    if not onednn.available():
        pytest.skip("this PaddlePaddle contains no oneDNN 3")
    path = tmp_path / "result.json"
    assert (
        tool(
            "benchmark",
            what,
            "--rounds",
            "1",
            "--seconds",
            "0.1",
            "--only",
            "small_alexnet",
            "--contenders",
            "paddle",
            "onednn_float32",
            "--json",
            path,
        )
        == 0
    )
    said = capsys.readouterr()
    assert "PyTorch: not measured" in said.err
    assert "small_alexnet" in said.out
    machine, result = json.loads(path.read_text())
    rows = result["contenders"]
    assert set(rows) == {"paddle", "onednn_float32"}
    assert all(len(row[key]) == 1 and row["median"] > 0 for row in rows.values())
    assert rows["onednn_float32"]["ratio_to"] == "paddle"
    assert machine["cpu"]
    assert machine["matmul_gflops"]["float32"] > 0


def test_a_broken_peer_is_reported_and_the_rest_measured(tool, tmp_path):
    path = tmp_path / "result.json"
    assert (
        tool(
            "benchmark",
            "train",
            "--rounds",
            "1",
            "--seconds",
            "0.1",
            "--only",
            "small_alexnet",
            "--contenders",
            "paddle",
            "torch eager",
            "--peers-python",
            "/bin/false",
            "--json",
            path,
        )
        == 0
    )
    rows = json.loads(path.read_text())[1]["contenders"]
    assert rows["torch eager"] == {"error": "exit code 1"}
    assert rows["paddle"]["median"] > 0


@pytest.mark.parametrize(
    ("what", "options", "message"),
    [
        ("train", ("--rounds", "0"), "0: must be 1 or more"),
        ("train", ("--only", "nosuch"), "invalid choice: 'nosuch'; valid: "),
        ("infer", ("--only", "small_alexnet"), "invalid choice: 'small_alexnet'; "),
        ("start", ("--contenders", "torch eager"), "invalid choice: 'torch eager'; "),
    ],
)
def test_what_cannot_be_measured_is_refused(tool, capsys, what, options, message):
    assert tool("benchmark", what, *options) == 2
    said = capsys.readouterr()
    assert (said.out, message in said.err) == ("", True)


def test_a_result_is_in_the_file_before_the_next_one_is_measured(tmp_path, python):
    path = tmp_path / "result.json"
    options = ["--only", "small_alexnet", "vgg16_bn_cifar", "--contenders", "paddle", "--rounds", "1", "--seconds", "1"]
    process = subprocess.Popen(
        [python, "-m", "paddlecnn", "benchmark", "train", *options, "--json", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    next(line for line in process.stdout if line.startswith("small_alexnet"))
    process.send_signal(signal.SIGINT)  # which ends the measurement in progress, too
    process.wait()
    assert [part.get("workload") for part in json.loads(path.read_text())] == [None, "small_alexnet"]


def test_the_measured_network_is_the_packages_own():
    from paddlecnn.benchmarks.paddle_worker import build

    measured, own = build(TRAINING["alexnet_cifar_lrn"], plain=False), create_model("alexnet_cifar_lrn")
    shapes = [[list(p.shape) for p in network.parameters()] for network in (measured, own)]
    assert shapes[0] == shapes[1]


def test_the_whole_loop_beside_its_bare_step(long_test, tool, tmp_path):
    if not onednn.available():
        pytest.skip("this PaddlePaddle contains no oneDNN 3")
    path = tmp_path / "result.json"
    options = ["--rounds", "1", "--seconds", "0.1", "--only", "small_alexnet", "--contenders", "onednn_float32"]
    assert tool("benchmark", "loop", *options, "--json", path) == 0
    row = json.loads(path.read_text())[1]["contenders"]["onednn_float32"]
    assert row["ratio"] == row["to_bare_step"] > 0
    assert row["ratio_to"] == "bare step"
    assert row["bare_step"] > 0
