"""Classes of different size: their weights in the training loss, and the selection by their mean recall."""

from __future__ import annotations

import re

import numpy as np
import paddle
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score
from sklearn.utils.class_weight import compute_class_weight

import paddlecnn as pc
from paddlecnn.config import Config, TrainConfig
from paddlecnn.data.base import ArrayDataset
from paddlecnn.data.pipeline.loader import Batch
from paddlecnn.models import create_model
from paddlecnn.runs.checkpoint import load_checkpoint
from paddlecnn.training.loss import class_weights, summed_cross_entropy
from paddlecnn.training.state import StepSums, TrainState, split

RANDOM = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], [50, 9, 1])
WEIGHTS = np.array([0.5, 2.0, 3.0], np.float32)


def weights_for(choice: str | list[float]) -> np.ndarray:
    names = [str(number) for number in range(len(LABELS))]
    images = np.zeros((len(LABELS), 8, 8, 3), np.uint8)
    dataset = ArrayDataset("made", ("a", "b", "c"), names, LABELS, images)
    return class_weights(TrainConfig(epochs=1, class_weights=choice), dataset)


def test_balanced_weights_are_those_of_scikit_learn_and_of_a_list_in_their_ratio():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    np.testing.assert_allclose(weights_for("balanced"), expected, rtol=1e-6)
    np.testing.assert_allclose(weights_for([9.0, 50.0, 450.0]), expected, rtol=1e-6)
    np.testing.assert_allclose(weights_for([3.0, 3.0, 3.0]), 1, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("mixed", [False, True])
def test_the_weighted_loss_and_its_gradient_follow_the_formula(smoothing, mixed):
    values, labels = RANDOM.standard_normal((6, 3)), np.array([0, 0, 2, 1, 0, 2])
    targets = np.eye(3)[labels]
    if mixed:
        targets = 0.7 * targets + 0.3 * targets[::-1]
    soft = paddle.to_tensor(targets.astype(np.float32)) if mixed else None
    logits = paddle.to_tensor(values.astype(np.float32), stop_gradient=False)
    batch = Batch(logits, paddle.to_tensor(labels), labels, soft)
    loss = summed_cross_entropy(logits, batch, smoothing, paddle.to_tensor(WEIGHTS))
    loss.backward()

    weighted = WEIGHTS * ((1 - smoothing) * targets + smoothing / 3)
    log_p = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    assert loss.item() == pytest.approx(-(weighted * log_p).sum(), rel=1e-5)
    gradient = weighted.sum(axis=1, keepdims=True) * np.exp(log_p) - weighted
    np.testing.assert_allclose(logits.grad.numpy(), gradient, rtol=1e-4, atol=1e-5)


def test_weights_of_one_are_the_plain_loss():
    logits, labels = paddle.to_tensor(RANDOM.standard_normal((6, 3))), np.array([0, 0, 2, 1, 0, 2])
    batch = Batch(logits, paddle.to_tensor(labels), labels)
    weighted = summed_cross_entropy(logits, batch, 0.0, paddle.ones([3]))
    assert weighted.item() == pytest.approx(summed_cross_entropy(logits, batch, 0.0).item(), rel=1e-6)


def test_a_batch_in_parts_gives_the_update_of_the_whole():
    images, labels = paddle.to_tensor(RANDOM.standard_normal((10, 3, 32, 32)).astype(np.float32)), np.arange(10)
    start = create_model("lenet5").state_dict()
    ends = []
    for parts in (1, 3):
        config = Config(
            data={"name": "digits"},
            model={"name": "lenet5"},
            optim={"name": "sgd", "lr": 0.1},
            train={"epochs": 1, "accumulate": parts},
        )
        model = create_model("lenet5")
        model.set_state_dict(start)
        state = TrainState(model, config, 1, class_weights=np.arange(1, 11, dtype=np.float32))
        state.step(Batch(images, paddle.to_tensor(labels), labels), 10, StepSums())
        ends.append({name: value.numpy() for name, value in model.state_dict().items()})
    for name, value in ends[0].items():
        np.testing.assert_allclose(ends[1][name], value, rtol=1e-5, atol=1e-6, err_msg=name)
        assert (value != start[name].numpy()).any()


def test_each_part_of_a_batch_has_dropout_masks_of_its_own():
    image = paddle.to_tensor(RANDOM.standard_normal((1, 3, 32, 32)).astype(np.float32))
    start = create_model("lenet5", dropout=0.5).state_dict()
    losses = []
    for images in (1, 2):  # equal ones, each in a part of its own
        config = Config(data={"name": "digits"}, model={"name": "lenet5"}, train={"epochs": 1, "accumulate": images})
        model, sums, labels = create_model("lenet5", dropout=0.5), StepSums(), np.zeros(images, np.int64)
        model.set_state_dict(start)
        TrainState(model, config, 1).step(
            Batch(image.tile([images, 1, 1, 1]), paddle.to_tensor(labels), labels), images, sums
        )
        losses.append(sums.loss.item())
    assert abs(losses[1] - 2 * losses[0]) > 1e-4


def test_a_batch_has_at_most_the_requested_parts():
    images, labels = paddle.zeros([7, 3, 2, 2]), np.arange(7)
    parts = split(Batch(images, paddle.to_tensor(labels), labels), 3)
    assert [len(part.indices) for part in parts] == [3, 3, 1]
    assert np.array_equal(np.concatenate([part.labels.numpy() for part in parts]), labels)


def test_a_run_favours_a_heavy_class_and_validation_is_not_weighted(tool, tiny, tmp_path):
    run = tmp_path / "run"
    heavy = ["-o", "train.class_weights=[1, 1, 1, 900, 1, 1, 1, 1, 1, 1]", "-o", "optim.schedule={name: constant}"]
    assert tool("train", "-c", tiny, "--run", run, *heavy) == 0
    figures = pc.load_run(run).evaluate("val")
    predicted = np.sum(figures["confusion"], axis=0)
    assert predicted[3] > predicted.sum() / 2
    assert figures["loss"] > np.log(10)  # of the images of the other classes


def test_the_epoch_of_the_best_mean_recall_is_selected(tool, tiny, tmp_path, capsys):
    run = tmp_path / "run"
    assert tool("train", "-c", tiny, "--run", run, "-o", "train.monitor=balanced", "-o", "train.epochs=4") == 0
    lines = re.findall(r"val loss .* balanced ([\d.]+)%", capsys.readouterr().out)
    state = load_checkpoint(run / "checkpoints/best").state
    recalls = [record.val.balanced for record in load_checkpoint(run / "checkpoints/last").state.history]
    assert lines == [f"{100 * recall:.2f}" for recall in recalls]
    assert state.best.epoch == 1 + int(np.argmax(recalls))
    assert tool("eval", run) == 0
    table = pd.read_csv(run / "predictions_val.csv")
    assert state.best.balanced == pytest.approx(balanced_accuracy_score(table["label"], table["predicted"]))
    assert state.best.balanced != state.best.top1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["train.class_weights=[1, 2]"],
            "train.class_weights: 2 numbers for 10 classes; write one for each, in the order 0, 1, 2, 3, 4, ...",
        ),
        (["train.class_weights=balanced", "data.limit=5"], "balanced: no training image is of class "),
    ],
)
def test_weights_that_do_not_fit_the_data_are_one_line(tool, tiny, tmp_path, capsys, options, message):
    given = [word for option in options for word in ("-o", option)]
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", *given) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
