"""The optimizer step in one pass equals Paddle's bit for bit."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from paddlecnn.config import OptimConfig
from paddlecnn.models import create_model
from paddlecnn.training import momentum
from paddlecnn.training.momentum import BlockedMomentum, move_average, scale_gradients
from paddlecnn.training.optim import build_optimizer, build_schedule, clip_gradients, gradient_norm

STEPS = 3
LARGE = [(300, 170), (32768,), (7,), (2, 16385)]  # with and without an incomplete last block; one small


@pytest.fixture(autouse=True, params=[1, 3], ids=["one thread", "three threads"])
def threads(request, monkeypatch) -> None:
    """Small blocks and shares, so that small tensors are divided."""
    monkeypatch.setattr(momentum, "BLOCK", 4096)
    monkeypatch.setattr(momentum, "SHARE", 2 * 4096)
    monkeypatch.setenv("OMP_NUM_THREADS", str(request.param))


def trained(blocked: bool, *, nesterov: bool, decay: float, clip: float | None, transposed: bool = False) -> list:
    """Weights and velocities after a few steps on gradients that depend on the weights."""
    paddle.seed(3)
    values = [paddle.randn(shape) for shape in LARGE]
    parameters = [
        paddle.create_parameter(value.shape, "float32", default_initializer=paddle.nn.initializer.Assign(value))
        for value in values
    ]
    groups = [
        {"params": parameters[:2], "learning_rate": 1.0, "weight_decay": decay},
        {"params": parameters[2:], "learning_rate": 0.3, "weight_decay": 0.0},
    ]
    kind = BlockedMomentum if blocked else paddle.optimizer.Momentum
    optimizer = kind(0.1, 0.9, parameters=groups, use_nesterov=nesterov, weight_decay=decay)
    for _ in range(STEPS):
        loss = sum((p.sin() * p).sum() for p in parameters)
        (loss + parameters[0].t().exp().sum() if transposed else loss).backward()
        if clip:
            norm = gradient_norm(parameters)
            if blocked:
                clip_gradients(optimizer, parameters, norm, clip)
            else:
                scale_gradients(parameters, paddle.clip(clip / norm, max=1.0).astype("float32"))
        optimizer.step()
        optimizer.clear_grad()
    state = optimizer.state_dict()
    velocities = [next(value for key, value in state.items() if key.startswith(f"{p.name}_")) for p in parameters]
    return [tensor.numpy() for tensor in (*parameters, *velocities)]


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(("decay", "clip"), [(5e-4, None), (0.0, None), (5e-4, 1.0), (5e-4, 1e6)])
def test_weights_and_velocities_equal_paddles_bit_for_bit(nesterov, decay, clip):
    settings = {"nesterov": nesterov, "decay": decay, "clip": clip}
    for found, expected in zip(trained(True, **settings), trained(False, **settings), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_strided_gradients_are_left_to_paddle():
    settings = {"nesterov": False, "decay": 5e-4, "clip": 1.0, "transposed": True}
    for found, expected in zip(trained(True, **settings), trained(False, **settings), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_float64_weights_are_left_to_paddle():
    parameter = paddle.create_parameter([5], "float64", default_initializer=paddle.nn.initializer.Constant(1.0))
    groups = [{"params": [parameter], "learning_rate": 1.0, "weight_decay": 0.0}]
    optimizer = BlockedMomentum(0.5, 0.9, parameters=groups)
    (parameter * 2).sum().backward()
    optimizer.gradient_factor = paddle.to_tensor(0.25)
    optimizer.step()
    np.testing.assert_allclose(parameter.numpy(), 1 - 0.5 * 0.25 * 2)


def test_a_branch_without_gradient_does_not_move():
    model = create_model("lenet5")
    config = OptimConfig(lr=0.1, weight_decay=0.5)
    optimizer = build_optimizer(model, config, build_schedule(config, 1, 1))
    before = {name: parameter.numpy() for name, parameter in model.named_parameters()}
    model.features(paddle.ones([2, 3, 32, 32])).sum().backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert np.array_equal(before[name], parameter.numpy()) != name.startswith("features"), name


def test_the_moving_average_equals_paddles_bit_for_bit():
    paddle.seed(0)
    average, value = paddle.randn([3, 20000]), paddle.randn([3, 20000])  # several shares
    expected = average.clone().scale_(0.999).add_(value * (1 - 0.999))
    move_average(average, value, 0.999)
    np.testing.assert_array_equal(average.numpy(), expected.numpy())
