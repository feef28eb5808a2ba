"""Stochastic weight averaging: the mean of the weights at the ends of epochs, with its own statistics."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import paddle
import pytest
import safetensors.numpy

import paddlecnn as pc
from helpers.runs import weights_sha
from helpers.signals import interrupt_after
from paddlecnn.data.base import ArrayDataset
from paddlecnn.data.datasets import defaults, open_dataset
from paddlecnn.data.pipeline.loader import Loader
from paddlecnn.runs.checkpoint import load_checkpoint
from paddlecnn.training.state import RAW
from paddlecnn.training.swa import recompute_statistics

BATCH_NORM = "{name: alexnet_cifar, options: {norm: batch, hidden: []}}"


def options(**values: object) -> list[str]:
    return [word for key, value in values.items() for word in ("-o", f"train.{key}={value}")]


def weights(run: Path, name: str, raw: bool = False) -> dict[str, np.ndarray]:
    """The averaged weights of a checkpoint, or those that are trained on."""
    folder = run / "checkpoints" / name
    arrays = safetensors.numpy.load_file(folder / ("optimizer.safetensors" if raw else "model.safetensors"))
    return {key.removeprefix(RAW): value for key, value in arrays.items() if not raw or key.startswith(RAW)}


def test_the_average_is_the_mean_over_the_last_epochs(tool, tiny, tmp_path):
    run = tmp_path / "run"
    assert tool("train", "-c", tiny, "--run", run, *options(swa=0.5, epochs=4), "-o", "train.checkpoint.keep=4") == 0
    third, fourth, last = weights(run, "step-00000024", raw=True), weights(run, "last", raw=True), weights(run, "last")
    assert last.keys() == third.keys() == fourth.keys()
    for name, average in last.items():
        np.testing.assert_allclose(average, (third[name] + fourth[name]) / 2, rtol=1e-5, atol=1e-7)
    assert any((third[name] != fourth[name]).any() for name in last)


def test_until_averaging_begins_a_run_equals_one_without_it(tool, tiny, tmp_path):
    for name, extra in (("with", options(swa=0.99)), ("without", [])):
        assert tool("train", "-c", tiny, "--run", tmp_path / name, *extra) == 0
    for name in ("step-00000016", "last"):  # an average of one epoch is its weights
        one, other = weights(tmp_path / "with", name), weights(tmp_path / "without", name)
        assert all(np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("engine", ["paddle", "auto"])
def test_batch_normalisation_has_the_statistics_of_the_averaged_weights(tool, tiny, tmp_path, engine):
    network = ["-o", f"model={BATCH_NORM}", "-o", "data.augment.pad=0"]
    small = ["-o", "data.limit=64", *options(swa=0, epochs=2, batch_size=64, monitor="last", engine=engine)]
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", *network, *small) == 0
    run = pc.load_run(tmp_path / "run")
    data = open_dataset(run.config.data, run.config.seed).train
    [batch] = Loader(data, load_checkpoint(tmp_path / "run/checkpoints/best").state.preprocess, len(data)).epoch(0)
    found = {
        name: value.numpy() for name, value in run.model.state_dict().items() if name.endswith(("_mean", "_variance"))
    }
    run.model.train()
    norms = [layer for layer in run.model.sublayers() if isinstance(layer, paddle.nn.BatchNorm2D)]
    for layer in norms:
        layer._momentum = 0.0  # the statistics of the batch replace the running ones
    run.model(batch.images)
    expected = {name: run.model.state_dict()[name].numpy() for name in found}
    assert norms
    assert found
    for name, statistic in found.items():
        np.testing.assert_allclose(statistic, expected[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_a_small_last_batch_has_the_weight_of_its_images():
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    data = ArrayDataset("made", ("a", "b"), list("12345"), np.zeros(5, np.int64), images)
    loader = Loader(data, defaults("digits"), 4)  # batches of four images and of one
    norm = paddle.nn.BatchNorm2D(3)
    recompute_statistics(norm, loader, 0)
    batches = [batch.images.numpy() for batch in loader.epoch(0)]
    for found, statistic in ((norm._mean, np.mean), (norm._variance, np.var)):
        four, one = (statistic(batch, axis=(0, 2, 3)) for batch in batches)
        np.testing.assert_allclose(found.numpy(), 0.8 * four + 0.2 * one, rtol=1e-4)


def test_statistics_that_training_sets_once_are_kept(tool, tiny, tmp_path):
    network = ["-o", "model={name: alexnet_cifar, options: {pooled: true, hidden: []}}", "-o", "data.limit=32"]
    for name, extra in (("with", options(swa=0, epochs=1)), ("without", options(epochs=1))):
        assert tool("train", "-c", tiny, "--run", tmp_path / name, *network, *extra) == 0
    one, other = weights(tmp_path / "with", "last"), weights(tmp_path / "without", "last")
    kept = [name for name in one if name.endswith(("_mean", "_variance"))]
    assert kept
    assert all(np.array_equal(one[name], other[name]) for name in kept)


def test_it_is_restored_at_a_resume(tool, tiny, tmp_path):
    extra = ["-o", f"model={BATCH_NORM}", "-o", "data.limit=96", *options(swa=0)]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert tool("train", "-c", tiny, "--run", whole, *extra) == 0
    thread = interrupt_after(cut, 3, signal.SIGINT)  # in the second epoch
    assert tool("train", "-c", tiny, "--run", cut, *extra) == 130
    thread.join()
    assert load_checkpoint(cut / "checkpoints/last").state.averaged in (1, 2)
    assert tool("train", "--resume", cut) == 0
    assert weights_sha(cut) == weights_sha(whole)


def test_an_extended_run_averages_the_epochs_that_count_in_its_new_length(tool, tiny, tmp_path):
    own = ["-o", "optim.schedule={name: constant}", *options(swa=0.5)]
    extended, whole = tmp_path / "extended", tmp_path / "whole"
    assert tool("train", "-c", tiny, "--run", extended, *own, *options(epochs=2)) == 0
    assert tool("train", "--resume", extended, "--extend", "train.epochs=6") == 0
    assert tool("train", "-c", tiny, "--run", whole, *own, *options(epochs=6)) == 0
    assert weights_sha(extended) == weights_sha(whole)
    assert weights_sha(extended, "best") == weights_sha(whole, "best")
    states = [load_checkpoint(run / "checkpoints/last").state for run in (extended, whole)]
    assert [state.averaged for state in states] == [3, 3]
    assert [record.val for record in states[0].history] == [record.val for record in states[1].history]


def test_an_extended_run_drops_an_average_with_epochs_that_no_longer_count(tool, tiny, tmp_path):
    run = tmp_path / "run"
    assert tool("train", "-c", tiny, "--run", run, *options(epochs=4, swa=0.5)) == 0  # averages epochs 3 and 4
    assert tool("train", "--resume", run, "--extend", "train.epochs=6") == 0
    assert load_checkpoint(run / "checkpoints/last").state.averaged == 2
    fifth, sixth = weights(run, "step-00000040", raw=True), weights(run, "last", raw=True)
    for name, average in weights(run, "last").items():
        np.testing.assert_allclose(average, (fifth[name] + sixth[name]) / 2, rtol=1e-5, atol=1e-7)


def test_two_averages_are_refused(tool, tiny, tmp_path, capsys):
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", *options(swa=0.5, ema=0.9)) == 2
    assert "train.swa: the other average of the weights, train.ema, is set" in capsys.readouterr().err
