"""The schedule `plateau`: the rate falls by what the recorded history says, whatever interrupts the run."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from helpers.runs import metrics_without_clock, weights_sha
from helpers.signals import interrupt_after
from paddlecnn.config import OptimConfig
from paddlecnn.runs.checkpoint import load_checkpoint
from paddlecnn.runs.metrics_log import read_metrics
from paddlecnn.runs.state import EpochRecord, Means, Scores
from paddlecnn.training.optim import build_schedule

# Most rates of so many epochs are lower than the first one: 40 validation images do not improve often.
LONG = ["-o", "train.epochs=8", "-o", "optim.lr=0.05"]


def plateau(**keys: object) -> list[str]:
    text = ", ".join(f"{key}: {value}" for key, value in {"name": "plateau", **keys}.items())
    return [*LONG, "-o", f"optim.schedule={{{text}}}"]


def history(run: Path) -> list[EpochRecord]:
    return load_checkpoint(run / "checkpoints/last").state.history


def expected_rates(values: list[float], patience: int, gamma: float) -> list[float]:
    """The rate of each epoch, from the values (higher is better) at the ends of all epochs."""
    rates, since = [0.05], 0
    for epoch, value in enumerate(values):
        since = since + 1 if epoch and value <= max(values[:epoch]) else 0
        rates.append(rates[-1] * (gamma if since and since % patience == 0 else 1))
    return rates[:-1]


@pytest.mark.parametrize(("metric", "patience", "gamma"), [("top1", 1, 0.1), ("loss", 2, 0.5)])
def test_the_rate_falls_when_validation_has_not_improved_for_some_epochs(tool, tiny, tmp_path, metric, patience, gamma):
    run = tmp_path / "run"
    options = plateau(metric=metric, patience=patience, gamma=gamma)
    assert tool("train", "-c", tiny, "--run", run, *options, "-o", "train.log_every=1") == 0
    scores = [record.val.top1 if metric == "top1" else -record.val.loss for record in history(run)]
    expected = expected_rates(scores, patience, gamma)
    assert len(set(expected)) > 1
    assert [record.lr for record in history(run)] == pytest.approx(expected)
    steps = [float(row["lr"]) for row in read_metrics(run / "metrics.csv") if row["kind"] == "train"]
    assert steps == pytest.approx([rate for rate in expected for _ in range(8)])  # from an epoch's first step on


def test_the_rate_falls_again_while_nothing_improves():
    means, scores = Means(loss=1.0, top1=0.5), Scores(n=10, loss=1.0, top1=0.5)
    past = [EpochRecord(epoch=n, step=n, train=means, val=scores) for n in range(1, 8)]
    config = OptimConfig(lr=1.0, schedule={"name": "plateau", "patience": 2, "gamma": 0.5})
    rates = [build_schedule(config, 1, 8, done=done, history=past)() for done in range(8)]
    assert rates == [1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_warm_up_is_a_factor_on_it(tool, tiny, tmp_path):
    run = tmp_path / "run"
    assert tool("train", "-c", tiny, "--run", run, *plateau(patience=1, warmup=2), "-o", "train.log_every=1") == 0
    expected = expected_rates([record.val.top1 for record in history(run)], 1, 0.1)
    steps = [float(row["lr"]) for row in read_metrics(run / "metrics.csv") if row["kind"] == "train"]
    assert steps == pytest.approx([expected[step // 8] * min(step / 16, 1) for step in range(64)])


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_a_stopped_run_resumes_to_the_same_rates_and_weights(tool, tiny, tmp_path, optimizer):
    options = [*plateau(patience=1), "-o", f"optim.name={optimizer}"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert tool("train", "-c", tiny, "--run", whole, *options) == 0
    assert history(whole)[-1].lr < 0.05
    thread = interrupt_after(cut, 20, signal.SIGTERM)  # rows: in the middle of the run
    assert tool("train", "-c", tiny, "--run", cut, *options) == 143
    thread.join()
    assert tool("train", "--resume", cut) == 0
    assert weights_sha(cut) == weights_sha(whole)
    assert metrics_without_clock(cut) == metrics_without_clock(whole)


def test_an_extended_run_is_the_longer_one(tool, tiny, tmp_path):
    extended, whole = tmp_path / "extended", tmp_path / "whole"
    options = plateau(patience=1)
    assert tool("train", "-c", tiny, "--run", whole, *options) == 0
    assert tool("train", "-c", tiny, "--run", extended, *options, "-o", "train.epochs=5") == 0
    assert tool("train", "--resume", extended, "--extend", "train.epochs=8") == 0
    assert weights_sha(extended) == weights_sha(whole)
    assert [record.lr for record in history(extended)] == [record.lr for record in history(whole)]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.val_fraction=0", "optim.schedule: plateau needs validation images, and data.val_fraction is 0; set it"),
        ("train.monitor=last", "optim.schedule: plateau lets validation lower the rate, but with train.monitor: last "),
        ("train.early_stop.patience=2", "train.early_stop.patience: 2 ends the run before a rate lowered "),
    ],
)
def test_it_is_refused_where_it_could_not_work(tool, tiny, tmp_path, capsys, override, message):
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", *plateau(patience=2), "-o", override) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_dry_run_says_that_the_rate_may_fall(tool, tiny, tmp_path, capsys):
    options = [*plateau(patience=2), "-o", "train.epochs=2", "--dry-run"]
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", *options) == 0
    line = "learning rate at the start of each epoch: 0.05, 0.05; lower after a plateau of validation\n"
    assert line in capsys.readouterr().out
