"""Random chains of layers, and the comparison of an accelerated chain with Paddle in float64."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn.initializer import Constant

from paddlecnn import onednn
from paddlecnn.models.layers import LocalResponseNorm


def small_network() -> nn.Sequential:
    """For images of 8x8."""
    return nn.Sequential(
        nn.Conv2D(3, 16, 3, padding=1),
        nn.BatchNorm2D(16),
        nn.ReLU(),
        nn.MaxPool2D(2, 2),
        nn.Flatten(),
        nn.Linear(16 * 16, 10),
    )


def run_in_a_child(executor: Any, state: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """The output of `small_network` with the weights and the executor of another process."""
    assert not executor.pool.plans
    network = onednn.accelerate(small_network())
    network.executor = executor
    network.set_state_dict(state)  # type: ignore[arg-type]  # takes arrays, too
    network.eval()
    with paddle.no_grad():
        return network(paddle.to_tensor(x)).numpy()


def random_stack(seed: int) -> tuple[nn.Sequential, paddle.Tensor]:
    """A chain of three to seven layers that fit each other, and an input for it."""
    draw = np.random.default_rng(seed)
    paddle.seed(seed)
    channels, size = int(draw.choice([1, 3, 4, 16])), int(draw.integers(7, 21))
    x = paddle.to_tensor(draw.standard_normal((int(draw.integers(1, 7)), channels, size, size + 2), np.float32))
    layers: list[nn.Layer] = []
    for _ in range(draw.integers(3, 7)):
        shape = nn.Sequential(*layers)(x).shape
        layers += random_layers(draw, shape)
    if draw.random() < 0.5:
        features = int(np.prod(nn.Sequential(*layers)(x).shape[1:]))
        layers += [nn.Flatten(), nn.Linear(features, 9), nn.ReLU(), nn.Dropout(0.0), nn.Linear(9, 4)]
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2D):
            layer._mean.set_value(paddle.zeros_like(layer._mean))
            layer._variance.set_value(paddle.ones_like(layer._variance))
    return nn.Sequential(*layers), x


def random_layers(draw: np.random.Generator, shape: list[int]) -> list[nn.Layer]:
    """A layer that takes [N, C, H, W], or a convolution with what usually follows it."""
    channels, side = shape[1], min(shape[2:])
    kind = draw.choice(["conv", "conv", "conv", "pool", "lrn", "norm", "gelu"])
    if kind == "pool" and side >= 3:
        pool = nn.MaxPool2D(
            int(draw.integers(2, 4)),
            int(draw.integers(1, 3)),
            int(draw.integers(0, 2)),
            ceil_mode=bool(draw.random() < 0.5),
        )
        sees_pixels = bool((pool(paddle.ones(shape)) == 1).all())  # from padding alone Paddle takes the type's minimum
        return [pool] if sees_pixels else []
    if kind == "lrn":
        return [LocalResponseNorm(5, 1e-2, 0.75, 2.0)]
    if kind == "norm":
        return [nn.BatchNorm2D(channels, weight_attr=bool(draw.random() < 0.7) and None, momentum=0.7)]
    if kind == "gelu":
        return [nn.GELU(approximate=bool(draw.random() < 0.5))]
    kernel = int(draw.integers(1, min(5, side) + 1))
    padding = [int(n) for n in draw.integers(0, kernel, 4)] if draw.random() < 0.3 else kernel // 2
    groups = 2 if channels % 2 == 0 and draw.random() < 0.4 else 1
    outputs = int(draw.choice([4, 16, 24, 32]))
    found: list[nn.Layer] = [
        nn.Conv2D(
            channels,
            outputs,
            kernel,
            int(draw.integers(1, 3)),
            padding,
            groups=groups,
            bias_attr=None if draw.random() < 0.7 else False,
        )
    ]
    if draw.random() < 0.4:
        found.append(nn.BatchNorm2D(outputs))
    if draw.random() < 0.7:
        found.append(nn.ReLU())
    return found


def in_float64(network: nn.Layer) -> nn.Layer:
    """A copy in float64. Paddle 3.3.1 gives a batch normalisation's shift no gradient if the scale is absent or frozen,
    and vice versa: the copy has both, and both get gradients."""
    copied = copy.deepcopy(network)
    for layer in copied.sublayers():
        if isinstance(layer, nn.BatchNorm2D):
            for name, value in (("weight", 1.0), ("bias", 0.0)):
                if getattr(layer, name) is None:
                    added = layer.create_parameter(layer._mean.shape, default_initializer=Constant(value))
                    setattr(layer, name, added)
                getattr(layer, name).stop_gradient = False
    return copied.to(dtype="float64")


def gradients(network: nn.Layer, x: paddle.Tensor, weights: np.ndarray | None = None):
    """Output, gradient of the input and gradients of the parameters by name, for a fixed weighting of the output."""
    x = x.detach()
    x.stop_gradient = False
    network.clear_gradients()
    y = network(x)
    weighting = paddle.to_tensor(np.random.default_rng(7).standard_normal(y.shape)).astype(y.dtype)
    (y * weighting).sum().backward()
    found = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    return y.detach(), x.grad, found


def distance(found: paddle.Tensor, expected: paddle.Tensor) -> float:
    """Relative L2 distance; absolute if the expected value is nearly zero."""
    expected = expected.astype("float64")
    return float((found.astype("float64") - expected).norm() / max(1e-3, float(expected.norm())))


def assert_equal_to_float64(network: nn.Sequential, x: paddle.Tensor, bound: float, precision: str = "float32") -> None:
    """Output, all gradients and running statistics of one training step."""
    reference = in_float64(network)
    accelerated = onednn.accelerate(copy.deepcopy(network), precision)
    y, dx, dw = gradients(reference, x.astype("float64"))
    found_y, found_dx, found_dw = gradients(accelerated, x)
    assert not accelerated.executor.distrusted, "the self-check failed, and Paddle's result would be compared"
    assert distance(found_y, y) < bound
    assert distance(found_dx, dx) < bound
    assert set(found_dw) >= set(gradients(copy.deepcopy(network), x)[2])
    scale = max((float(gradient.norm()) for gradient in dw.values()), default=1.0)
    for name, gradient in found_dw.items():
        error = float((gradient.astype("float64") - dw[name]).norm())
        assert error < bound * max(float(dw[name].norm()), 0.03 * scale), name
    for name, buffer in accelerated.state_dict().items():
        if name.endswith(("_mean", "_variance")):
            expected = reference.state_dict()[name]
            error = float((buffer.astype("float64") - expected).abs().max())
            assert error < bound * float(1 + expected.abs().max()), name
