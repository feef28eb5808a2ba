"""Local response normalisation against the formula, evaluated a channel at a time."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from helpers import reference_networks as reference
from helpers.exports import require_onnx
from paddlecnn.models import LocalResponseNorm


def images(channels, dtype, seed=0):
    return (np.random.default_rng(seed).standard_normal((2, channels, 4, 3)) * 5).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("size", "beta"), [(5, 0.75), (4, 0.75), (3, 0.5), (2, 1.0), (1, 0.75)])
@pytest.mark.parametrize("channels", [1, 3, 16])
def test_it_is_the_papers_formula(channels, size, beta, dtype):
    x = images(channels, dtype)
    found = LocalResponseNorm(size, 0.1, beta, 2.0)(paddle.to_tensor(x)).numpy()
    wanted = reference.normalise(x.transpose(0, 2, 3, 1).astype(np.float64), size, 0.1, beta, 2.0)
    assert found.dtype == dtype
    np.testing.assert_allclose(found.transpose(0, 2, 3, 1), wanted, rtol=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize(("size", "beta"), [(5, 0.75), (4, 0.75), (3, 0.6)])
def test_its_gradient_is_the_numeric_one(size, beta):
    x, weights = images(6, "float64"), images(6, "float64", seed=1)
    tensor = paddle.to_tensor(x, stop_gradient=False)
    (LocalResponseNorm(size, 0.1, beta, 1.5)(tensor) * paddle.to_tensor(weights)).sum().backward()

    def loss(values):
        y = reference.normalise(values.transpose(0, 2, 3, 1), size, 0.1, beta, 1.5)
        return (y * weights.transpose(0, 2, 3, 1)).sum()

    numeric, step = np.zeros_like(x), 1e-5
    for at in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[at] += step
        down[at] -= step
        numeric[at] = (loss(up) - loss(down)) / (2 * step)
    np.testing.assert_allclose(tensor.grad.numpy(), numeric, rtol=1e-6, atol=1e-8)


def test_float32_gradients_agree_with_paddles_own_layer_that_averages():
    x = images(16, "float32")
    gradients = []
    for layer in (LocalResponseNorm(5, 1e-2, 0.75, 2.0), paddle.nn.LocalResponseNorm(5, 5e-2, 0.75, 2.0)):
        tensor = paddle.to_tensor(x, stop_gradient=False)
        layer(tensor).square().sum().backward()
        gradients.append(tensor.grad.numpy())
    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-5)


def test_an_input_without_gradient_is_normalised_too():
    x = paddle.to_tensor(images(5, "float32"))
    with paddle.no_grad():
        assert LocalResponseNorm()(x).stop_gradient


def test_in_a_graph_it_is_the_same_function(tmp_path):
    for size in (5, 4):
        layer = LocalResponseNorm(size, 0.1)
        x = paddle.to_tensor(images(7, "float32"))
        spec = [paddle.static.InputSpec([None, 7, 4, 3], "float32", "x")]
        paddle.jit.save(paddle.jit.to_static(layer, input_spec=spec, full_graph=True), str(tmp_path / "lrn"))
        loaded = paddle.jit.load(str(tmp_path / "lrn"))
        np.testing.assert_allclose(loaded(x).numpy(), LocalResponseNorm(size, 0.1)(x).numpy(), rtol=1e-5)


def test_it_exports_to_onnx_correctly(tmp_path):
    paddle2onnx, onnxruntime = require_onnx()
    x = images(16, "float32")
    layer = LocalResponseNorm(5, 0.1)
    spec = [paddle.static.InputSpec([None, 16, 4, 3], "float32", "x")]
    paddle.jit.save(paddle.jit.to_static(layer, input_spec=spec, full_graph=True), str(tmp_path / "lrn"))
    names = [str(tmp_path / name) for name in ("lrn.json", "lrn.pdiparams", "lrn.onnx")]
    paddle2onnx.export(*names, opset_version=13, optimize_tool="None")  # Polygraphy would be installed for it
    session = onnxruntime.InferenceSession(str(tmp_path / "lrn.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: x})[0]
    np.testing.assert_allclose(found, LocalResponseNorm(5, 0.1)(paddle.to_tensor(x)).numpy(), rtol=1e-5)
