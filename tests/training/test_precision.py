"""Loss scaling survives a checkpoint."""

from __future__ import annotations

import json

import numpy as np
import paddle
import pandas as pd
import pytest

from paddlecnn.configfile import load_config
from paddlecnn.data.datasets import defaults
from paddlecnn.data.pipeline.loader import Batch
from paddlecnn.models import create_model
from paddlecnn.runs.checkpoint import Checkpoint
from paddlecnn.runs.state import RunIdentity, RunState
from paddlecnn.training.state import StepSums, TrainState

IDENTITY = RunIdentity(
    model={"name": "lenet5", "num_classes": 10},
    preprocess=defaults("digits"),
    classes=("a",),
    config_hash="0",
    data={"name": "digits", "train": "1", "val": "2"},
)


def enabled_scaler(scale: float) -> paddle.amp.GradScaler:
    """A loss scaling that is enabled on a CPU too, where Paddle would leave it disabled."""
    scaler = paddle.amp.GradScaler(enable=False)
    scaler._enable = True
    scaler.load_state_dict(
        {
            "scale": np.array([scale], np.float32),
            "incr_ratio": 2.0,
            "decr_ratio": 0.5,
            "incr_every_n_steps": 1000,
            "decr_every_n_nan_or_inf": 1,
            "incr_count": 7,
            "decr_count": 0,
            "use_dynamic_loss_scaling": True,
        }
    )
    return scaler


def new_state(scale: float) -> TrainState:
    config = load_config({"data": {"name": "digits"}, "model": {"name": "lenet5"}, "train": {"epochs": 1}})
    state = TrainState(create_model("lenet5"), config, steps_per_epoch=4)
    state.scaler = enabled_scaler(scale)
    return state


@pytest.mark.parametrize("form", ["list", "number"])  # version 0.1 saved a number, which Paddle cannot index
def test_the_loss_scaling_comes_back_at_a_resume(form):
    saved = new_state(1024.0).checkpoint(IDENTITY, None)
    text = saved.state.model_dump_json()
    if form == "number":
        text = text.replace("[1024.0]", "1024.0")
    resumed = new_state(2.0)
    resumed.restore(Checkpoint(saved.model, saved.optimizer, RunState(**json.loads(text))))
    assert resumed.scaler.state_dict()["scale"].item() == 1024.0
    assert resumed.scaler.state_dict()["incr_count"] == 7


@pytest.fixture
def gpu() -> str:
    if not paddle.device.is_compiled_with_cuda() or not paddle.device.cuda.device_count():
        pytest.skip("this machine or this build of PaddlePaddle has no usable GPU")
    yield "gpu:0"
    paddle.set_device("cpu")


@pytest.mark.gpu
def test_a_step_on_a_gpu_is_the_step_on_a_cpu(gpu):
    weights = {}
    for device in ("cpu", gpu):
        paddle.set_device(device)
        config = load_config(
            {
                "data": {"name": "digits"},
                "optim": {"clip_norm": 1.0},
                "train": {"epochs": 1},
                "model": {"name": "alexnet_cifar_lrn", "options": {"dropout": 0.0}},
            }
        )
        paddle.seed(0)
        model = create_model("alexnet_cifar_lrn", dropout=0.0)
        weights.setdefault("start", {name: value.numpy() for name, value in model.state_dict().items()})
        model.set_state_dict(weights["start"])
        images = np.random.default_rng(0).standard_normal((8, 3, 32, 32)).astype(np.float32)
        batch = Batch(paddle.to_tensor(images), paddle.to_tensor(np.arange(8)), np.arange(8))
        state = TrainState(model, config, steps_per_epoch=1)
        state.step(batch, 8, StepSums())
        weights[device] = {name: value.numpy() for name, value in model.state_dict().items()}
    for name, value in weights["cpu"].items():
        np.testing.assert_allclose(weights[gpu][name], value, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_run_in_mixed_precision_resumes(gpu, tool, tiny, tmp_path, precision):
    run = tmp_path / "run"
    options = ["--device", gpu, "-o", f"train.precision={precision}"]
    assert tool("train", "-c", tiny, "--run", run, *options) == 0
    assert tool("train", "--resume", run, "--device", gpu, "--extend", "train.epochs=4") == 0


@pytest.mark.gpu
def test_predictions_are_in_the_requested_precision(gpu, tool, tiny, tmp_path):
    run, found = tmp_path / "run", {}
    assert tool("train", "-c", tiny, "--run", run, "--device", gpu) == 0
    for precision, name in (("float32", "predictions_val.csv"), ("bfloat16", "predictions_val_paddle_bfloat16.csv")):
        assert tool("eval", run, "--device", gpu, "--precision", precision) == 0
        found[precision] = pd.read_csv(run / name).iloc[:, 3:].to_numpy(float)
    assert (found["float32"] != found["bfloat16"]).any()
    np.testing.assert_allclose(found["bfloat16"], found["float32"], atol=0.05)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_evaluation_repeats_the_validation_of_a_run_in_mixed_precision(gpu, tool, tiny, tmp_path, precision):
    run = tmp_path / "run"
    assert tool("train", "-c", tiny, "--run", run, "--device", gpu, "-o", f"train.precision={precision}") == 0
    assert tool("eval", run, "--split", "val", "--device", gpu) == 0
    figures = json.loads((run / "evaluation_val.json").read_text())
    best = json.loads((run / "checkpoints/best/state.json").read_text())["best"]
    assert figures["top1"] == best["top1"]
    assert figures["loss"] == pytest.approx(best["loss"], rel=1e-6)


@pytest.mark.gpu
def test_a_batch_that_does_not_fit_is_one_line_with_advice(gpu, tool, tmp_path, capsys):
    config = tmp_path / "large.yaml"
    config.write_text(
        "data: {name: digits, preprocess: {size: 1024}}\n"
        "model: {name: vgg19, options: {input_size: 1024, hidden: [16]}}\n"
        "train: {epochs: 1, batch_size: 1024}\n"
    )
    assert tool("train", "-c", config, "--run", tmp_path / "run", "--device", gpu) == 2
    error = capsys.readouterr().err
    assert "train.batch_size: a batch of 1024 does not fit" in error
    assert "train.accumulate=" in error
