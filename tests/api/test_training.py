"""Training from Python: a function of each epoch, longer runs, several seeds."""

from __future__ import annotations

import pytest

import paddlecnn as pc
from helpers.runs import metrics_without_clock, weights_sha
from paddlecnn.errors import ConfigError, RunError

CONFIG = {
    "data": {"name": "digits", "limit": 120},
    "model": {"name": "lenet5"},
    "optim": {"name": "adam", "lr": 0.003},
    "train": {"epochs": 3, "batch_size": 32},
}


class Pruned(Exception):
    """As Optuna's TrialPruned: no error of this package."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    records = []
    return records, pc.train(CONFIG, run=tmp_path_factory.mktemp("whole") / "run", on_epoch=records.append).run


def test_a_function_receives_the_record_of_each_epoch(whole):
    records, run = whole
    assert [record.epoch for record in records] == [1, 2, 3]
    assert [record.val.top1 for record in records] == run.history["val_top1"].tolist()
    with pytest.raises(ValueError, match="frozen"):
        records[0].val.top1 = 1.0


@pytest.mark.parametrize("last", [2, 3])
def test_what_the_function_raises_reaches_the_caller_and_the_run_resumes_to_the_same_weights(last, whole, tmp_path):
    def prune(record):
        if record.epoch == last:
            assert (tmp_path / "run/checkpoints/last").exists()
            raise Pruned

    with pytest.raises(Pruned):
        pc.train(CONFIG, run=tmp_path / "run", on_epoch=prune)
    rest = []
    run = pc.train(CONFIG, run=tmp_path / "run", resume=True, on_epoch=rest.append).run
    assert [record.epoch for record in rest] == [3][last - 2 :]
    assert weights_sha(run.path) == weights_sha(whole[1].path)
    assert metrics_without_clock(run.path) == metrics_without_clock(whole[1].path)


def test_a_finished_run_is_trained_further(whole, tmp_path):
    run = pc.train(CONFIG, run=tmp_path / "run", overrides={"train.epochs": 1}).run
    with pytest.raises(RunError, match=r"train.epochs \(1 in the run, 3 now\).*in Python: extend="):
        pc.train(CONFIG, run=run.path, resume=True)
    longer = pc.train(CONFIG, run=run.path, resume=True, extend={"train.epochs": 3}).run
    assert weights_sha(longer.path) == weights_sha(whole[1].path)
    assert longer.config.train.epochs == 3


def test_several_seeds_are_trained_and_resumed(tmp_path, tool):
    short = {"train.epochs": 1}
    seeds = pc.train_seeds(CONFIG, 2, overrides=short, run=tmp_path / "seeds")
    assert [run.config.seed for run in seeds.runs] == seeds.scores["seed"].tolist() == [0, 1]
    assert seeds.scores["top1"].tolist() == [run.history["val_top1"].max() for run in seeds.runs]
    assert f"seeds': 2 runs, top-1 {seeds.scores['top1'].mean():.2%} ± " in repr(seeds)
    three = pc.train_seeds(CONFIG, 3, overrides=short, run=seeds.path, resume=True)
    assert three.scores["top1"].tolist()[:2] == seeds.scores["top1"].tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extend": {"train.epochs": 4}}, "extend: changes the length of an existing run; add resume=True"),
        ({"on_epoch": 3}, "on_epoch 3: must be a function of an epoch's record"),
        ({"extend": ["train.epochs"], "resume": True, "run": "x"}, r"overrides \['train.epochs'\]: must be a mapping"),
    ],
)
def test_a_wrong_argument_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        pc.train(CONFIG, **options)
