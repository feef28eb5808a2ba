"""The learning-rate range test, as `paddlecnn find-lr` runs it."""

from __future__ import annotations

import json
import math

import pytest
from PIL import Image

CONFIG = """
data: {name: digits, limit: 512}
model: {name: lenet5}
optim: {name: momentum, lr: 123, schedule: {name: cosine, warmup: 1}}
train: {epochs: 1, batch_size: 64}
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(CONFIG)
    return tmp_path / "small.yaml"


def result(tool, capsys, config, *arguments: object) -> dict:
    assert tool("find-lr", "-c", config, "--json", *arguments) == 0
    return json.loads(capsys.readouterr().out)


def test_the_rate_grows_by_one_factor_and_the_suggestion_follows_its_rule(tool, capsys, config, tmp_path):
    found = result(tool, capsys, config, "--start", "1e-5", "--end", "1", "--steps", "51")
    rates, smoothed = found["rates"], found["smoothed"]
    assert rates == pytest.approx([1e-5 * 10 ** (5 * step / 50) for step in range(len(rates))], rel=1e-6)
    lowest = rates[smoothed.index(min(smoothed))]
    assert found["suggestion"] == pytest.approx(lowest / 10)
    assert 1e-4 < found["suggestion"] < 0.1
    average = 0.0
    for step, loss in enumerate(found["losses"], start=1):
        average = 0.95 * average + 0.05 * loss
        assert smoothed[step - 1] == pytest.approx(average / (1 - 0.95**step))
    assert found["losses"][0] == pytest.approx(math.log(10), rel=0.1)  # untrained, whatever optim.lr says
    with Image.open(tmp_path / "find_lr_small.png") as image:
        assert image.size[0] > 500
    assert {path.name for path in tmp_path.iterdir()} == {"small.yaml", "find_lr_small.png"}  # no run


def test_the_suggested_rate_trains_better_than_much_smaller_and_much_larger_ones(tool, capsys, config, tmp_path):
    rate = result(tool, capsys, config)["suggestion"]
    losses = {}
    for factor in (0.01, 1, 100):
        run = tmp_path / f"run-{factor}"
        tool("train", "-c", config, "--run", run, "-o", "optim.schedule.name=constant", "-o",
             "optim.schedule.warmup=0", "-o", f"optim.lr={factor * rate}", "-o", "train.epochs=6")  # fmt: skip
        checkpoint = run / "checkpoints/best/state.json"  # none if the loss became infinite
        losses[factor] = json.loads(checkpoint.read_text())["best"]["loss"] if checkpoint.exists() else math.inf
    assert losses[1] < min(losses[0.01], losses[100])


def test_it_stops_when_the_loss_diverges(tool, capsys, config):
    found = result(tool, capsys, config, "--end", "1e9", "-o", "optim.name=sgd")
    assert found["diverged"]
    assert len(found["rates"]) < 100
    assert all(math.isfinite(value) for value in found["losses"])


def test_the_same_config_gives_the_same_curve(tool, capsys, config):
    curves = [result(tool, capsys, config, "--steps", 12)["losses"] for _ in range(2)]
    assert curves[0] == curves[1]


def test_from_a_run_the_test_begins_at_the_loss_of_its_weights(tool, capsys, config, tmp_path):
    run = tmp_path / "run"
    schedule = ["-o", "optim.schedule.name=constant", "-o", "optim.schedule.warmup=0", "-o", "optim.lr=0.02"]
    assert tool("train", "-c", config, "--run", run, *schedule, "-o", "train.epochs=6") == 0
    capsys.readouterr()
    fresh, going_on = (result(tool, capsys, config, "--steps", 12, *more) for more in ([], ["--init-from", run]))
    assert going_on["losses"][0] < 0.7 * fresh["losses"][0]


def test_a_rate_that_was_not_tested_is_not_suggested(tool, capsys, config):
    found = result(tool, capsys, config, "--start", "0.05", "--end", "1e3")
    assert found["rates"][found["smoothed"].index(min(found["smoothed"]))] < 0.5
    assert found["suggestion"] is None
    assert tool("find-lr", "-c", config, "--start", "0.05", "--end", "1e3") == 0
    assert "is less than the first rate; a smaller --start shows more" in capsys.readouterr().out


def test_frozen_layers_are_computed_once_here_too(tool, capsys, config, tmp_path):
    options = ["-o", "model.freeze=pool2", "--steps", "12"]
    curves = [
        result(tool, capsys, config, *options, "-o", f"train.feature_cache={cache}")["losses"]
        for cache in ("off", tmp_path / "cache")
    ]
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)  # features are float16
    assert list((tmp_path / "cache").iterdir())


def test_a_loss_that_is_not_finite_at_the_start_is_one_line(tool, capsys, config, tmp_path):
    (tmp_path / "linear.py").write_text(
        "from paddle import nn\nfrom paddlecnn.models import register\n\n@register\ndef linear(num_classes: int):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, num_classes))\n"
    )
    infinite = "data.preprocess={size: 32, mean: [-1.0e30, 1.0e30, 1.0e30], std: [1.0e-9, 1.0e-9, 1.0e-9]}"
    assert tool("find-lr", "-c", config, "-o", "model={name: linear, module: linear.py}", "-o", infinite) == 2
    assert "--start 1e-06: the loss of the first step is not finite, before any update" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--start", "1", "--end", "0.1"], "below a finite last one"),
        (["--start", "0"], "above 0"),
        (["--end", "inf"], "--start 1e-06 --end inf: the first rate must be above 0 and below a finite last one"),
        (["--steps", "3"], "at least 10"),
        (["-o", "model.name=lenet6"], "no such model"),
        (["--init-from", "absent"], "absent: "),
        (["--out", "small.yaml"], "--out small.yaml: must be the name of a file that ends in .png"),
    ],
)
def test_a_wrong_call_is_one_line(tool, capsys, config, arguments, message):
    assert tool("find-lr", "-c", config, *arguments) == 2
    *_, line = capsys.readouterr().err.splitlines()  # after the one that says why Paddle runs, if it does
    assert message in line
