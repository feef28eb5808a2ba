"""train.engine and train.precision: what a run records, how it resumes, and how its predictions move."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from helpers.runs import metrics_without_clock, weights_sha
from paddlecnn import onednn
from paddlecnn.runs.checkpoint import load_checkpoint


@pytest.fixture(params=["float32", "bfloat16"])
def precision(request) -> str:
    if not onednn.available(request.param):
        pytest.skip(f"no oneDNN engine in {request.param} here")
    return request.param


def options(precision: str) -> list[str]:
    return ["-o", "train.engine=onednn", "-o", f"train.precision={precision}", "-o", "optim.schedule={name: constant}"]


def test_a_run_records_its_engine_and_resumes_to_the_same_bits(tool, tiny, tmp_path, precision):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert tool("train", "-c", tiny, "--run", whole, *options(precision), "-o", "train.epochs=4") == 0
    assert tool("train", "-c", tiny, "--run", cut, *options(precision), "-o", "train.epochs=2") == 0
    assert tool("train", "--resume", cut, "--extend", "train.epochs=4") == 0
    assert weights_sha(cut) == weights_sha(whole)
    assert metrics_without_clock(cut) == metrics_without_clock(whole)
    state = load_checkpoint(whole / "checkpoints" / "last").state
    assert (state.engine, state.precision) == ("onednn", precision)
    environment = json.loads((whole / "environment.json").read_text())
    assert environment["engine"].startswith("oneDNN 3.")
    assert environment["engine"].endswith(precision)


def test_a_layer_that_paddle_runs_is_named_once_by_a_command_that_trains_twice(tool, tiny, tmp_path, capsys):
    if not onednn.available():
        pytest.skip("no oneDNN engine here")
    pooled = "model={name: alexnet_cifar, options: {pooled: true, hidden: []}}"
    once = ["-o", "train.epochs=1", "-o", "data.limit=64", "-o", "train.engine=onednn"]
    for folder in ("first", "second"):  # each command says it, although this process has said it already
        assert tool("train", "-c", tiny, "--run", tmp_path / folder, "--seeds", 2, *once, "-o", pooled) == 0
        assert capsys.readouterr().err.count("(MapStatistics), not oneDNN") == 1


def test_layers_that_a_self_check_left_to_paddle_stay_there_after_a_resume(tool, tiny, tmp_path):
    """The digits are grey: whitening magnifies their differences between channels, which are rounding errors.

    A check in the middle of the run, with other weights and another batch, passes.
    """
    if not onednn.available():
        pytest.skip("no oneDNN engine here")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    small = ["-o", "model={name: vgg_fast, options: {widths: [8, 16, 16]}}", "-o", "data.limit=96"]
    small += options("float32")
    assert tool("train", "-c", tiny, "--run", whole, *small) == 0
    failed = load_checkpoint(whole / "checkpoints/last").state.failed_checks
    if not failed:
        pytest.skip("the self-check passes on this CPU")
    assert tool("train", "-c", tiny, "--run", cut, *small, "-o", "train.epochs=1") == 0
    assert tool("train", "--resume", cut, "--extend", "train.epochs=3") == 0
    assert load_checkpoint(cut / "checkpoints/last").state.failed_checks == failed
    assert weights_sha(cut) == weights_sha(whole)


def test_an_epoch_ends_near_paddles_weights(tool, tiny, tmp_path, precision):
    schedule = options(precision)[4:]
    for name, engine in (("paddle", ["-o", "train.engine=paddle", *schedule]), ("onednn", options(precision))):
        assert tool("train", "-c", tiny, "--run", tmp_path / name, *engine, "-o", "train.epochs=1") == 0
    paddle, ours = (load_checkpoint(tmp_path / name / "checkpoints" / "last").model for name in ("paddle", "onednn"))
    bound = 1e-4 if precision == "float32" else 5e-2
    for name, value in paddle.items():
        assert np.linalg.norm(ours[name] - value) <= bound * (np.linalg.norm(value) + 0.1), name


def test_another_engine_resumes_only_on_purpose(tool, tiny, tmp_path, capsys, precision):
    run = tmp_path / "run"
    assert tool("train", "-c", tiny, "--run", run, *options(precision), "-o", "train.epochs=1") == 0
    assert tool("train", "-c", tiny, "--run", run, "--resume", "-o", "train.engine=paddle", "-o", "train.epochs=1") == 2
    assert "train.engine" in capsys.readouterr().err
    assert (
        tool(
            "train",
            "--resume",
            run,
            "--extend",
            "train.engine=paddle",
            "--extend",
            "train.precision=float32",
            "--extend",
            "train.epochs=2",
        )
        == 0
    )
    assert load_checkpoint(run / "checkpoints" / "last").state.engine == "paddle"


def test_a_run_from_before_the_engines_resumes_with_paddle(tool, tiny, tmp_path, monkeypatch):
    monkeypatch.delenv("PADDLECNN_ENGINE", raising=False)
    whole, run = tmp_path / "whole", tmp_path / "run"
    schedule = ["-o", "optim.schedule={name: constant}"]
    for path, epochs in ((whole, 4), (run, 2)):
        engine = ["-o", "train.engine=paddle", "-o", f"train.epochs={epochs}"]
        assert tool("train", "-c", tiny, "--run", path, *schedule, *engine) == 0
    written = yaml.safe_load((run / "config.yaml").read_text())
    del written["train"]["engine"], written["train"]["precision"]
    (run / "config.yaml").write_text(yaml.safe_dump(written))
    assert tool("train", "-c", tiny, "--run", run, *schedule, "--resume", "--extend", "train.epochs=3") == 0
    assert tool("train", "--resume", run, "--extend", "train.epochs=4") == 0
    assert weights_sha(run) == weights_sha(whole)
    assert load_checkpoint(run / "checkpoints" / "last").state.engine == "paddle"


def test_evaluation_by_the_other_engine_stays_within_the_tolerance(tool, tiny, tmp_path, capsys, precision):
    run = tmp_path / "run"
    assert tool("train", "-c", tiny, "--run", run, *options(precision), "-o", "train.epochs=1") == 0
    losses = []
    for engine in ([], ["--engine", "paddle"], ["--engine", "onednn", "--precision", precision]):
        capsys.readouterr()
        assert tool("eval", run, "--json", *engine) == 0
        losses.append(json.loads(capsys.readouterr().out)["loss"])
    assert losses[0] == losses[2]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5 if precision == "float32" else 2e-2)


def test_a_run_predicts_on_a_machine_that_lacks_its_engine(tool, tiny, tmp_path, capfd, precision, python):
    import os
    import subprocess

    run = tmp_path / "run"
    assert tool("train", "-c", tiny, "--run", run, *options(precision), "-o", "train.epochs=1") == 0
    hidden = os.environ | {"PADDLECNN_ONEDNN_LIBRARY": str(tmp_path / "absent.so"), "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [python, "-m", "paddlecnn", "eval", run], env=hidden, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "predicting with Paddle in float32" in done.stderr
    done = subprocess.run(
        [python, "-m", "paddlecnn", "train", "--resume", run, "--extend", "train.epochs=2"],
        env=hidden,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "does not exist" in done.stderr


def test_a_batch_norm_that_only_shifts_learns_by_onednn_and_is_named_with_paddle(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("shifting.py").write_text(
        "from paddle import nn\nfrom paddlecnn.models import register\n\n\n@register\n"
        "def shifting(num_classes):\n    norm = nn.BatchNorm2D(8, weight_attr=False)\n"
        "    return nn.Sequential(nn.Conv2D(3, 8, 3), norm, nn.GELU(), nn.Flatten(), nn.Linear(288, num_classes))\n"
    )
    Path("own.yaml").write_text(
        "data: {name: digits, limit: 200, preprocess: {size: 8}}\n"
        "model: {name: shifting, module: shifting.py}\ntrain: {epochs: 1, batch_size: 32}\n"
    )
    for engine in ("onednn", "paddle"):
        if engine == "onednn" and not onednn.available():
            continue
        assert tool("train", "-c", "own.yaml", "--run", engine, "-o", f"train.engine={engine}") == 0
        learned = load_checkpoint(Path(engine, "checkpoints/last")).model["1.bias"].any()
        named = "1 will not learn; engine onednn trains them" in capsys.readouterr().err
        assert (learned, named) == ((True, False) if engine == "onednn" else (False, True))


def test_the_environment_variable_is_another_default(tool, tiny, tmp_path, monkeypatch, precision):
    monkeypatch.setenv("PADDLECNN_ENGINE", "onednn")
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", "-o", "train.epochs=1") == 0
    assert "engine: onednn" in (tmp_path / "run" / "config.yaml").read_text()


def test_a_wrong_value_of_the_environment_variable_is_named(tool, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PADDLECNN_ENGINE", "fast")
    assert tool("train", "-c", tiny, "--run", tmp_path / "run") == 2
    assert "train.engine" in capsys.readouterr().err
