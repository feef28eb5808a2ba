"""The check of a plan at its first use: oneDNN and Paddle must agree on a few samples."""

from __future__ import annotations

import copy

import numpy as np
import paddle
from paddle import nn

from paddlecnn.onednn.bindings import DataType
from paddlecnn.onednn.call import Call
from paddlecnn.onednn.operations import loses_gradient

# Relative L2 distance of the output and of one gradient between oneDNN and Paddle in float32. A wrong layout or kernel
# is off by about 1; the bounds leave room for what rounding and near-ties of ReLU and max pooling do in deep networks.
OUTPUT_BOUND = {DataType.F32: 1e-2, DataType.BF16: 0.25}
GRADIENT_BOUND = {DataType.F32: 0.1, DataType.BF16: 0.8}


class SelfCheckFailed(Exception):
    """oneDNN and Paddle disagree; the message gives the distance."""


def check(call: Call, x: paddle.Tensor) -> None:
    """Compare the call's own plan with Paddle's layers, which stay unchanged. Raises SelfCheckFailed.

    A few samples, repeated until they fill the batch, go through the plan: batch statistics and outputs are those of
    the samples alone, and parameter gradients are theirs times the number of repetitions.
    """
    batch = x.shape[0]
    samples = next((n for n in range(2, batch) if batch % n == 0), batch)
    repeats = batch // samples
    few = x[:samples].detach()
    tiled = paddle.tile(few, [repeats] + [1] * (len(x.shape) - 1))
    few.stop_gradient = not call.with_gradient
    with paddle.utils.unique_name.guard():  # copies: hooks, gradients and running statistics stay untouched
        layers = dict(zip(call.positions, copy.deepcopy(call.layers), strict=True))
    activation = call.key.activation
    with paddle.set_grad_enabled(call.with_gradient):
        expected = few
        for layer in layers.values():
            expected = layer(expected)
    with paddle.no_grad():
        found = call.compute(tiled)[:samples]
    compare("output", found, expected, OUTPUT_BOUND[activation])
    if not call.with_gradient:
        return
    # From a separate generator, so that Paddle's is left unchanged.
    gradient = paddle.to_tensor(np.random.default_rng(0).standard_normal(expected.shape, np.float32))
    weights = [name for name in call.trained if name[1] == "weight" and not loses_gradient(layers[name[0]])]
    # A scale is the last choice: its gradient is zero but for rounding if another batch normalisation follows.
    name = min(weights, key=lambda name: isinstance(layers[name[0]], nn.BatchNorm2D), default=None)
    tiled_gradient = paddle.tile(gradient, [repeats] + [1] * (gradient.ndim - 1))
    with paddle.no_grad():
        of_input, gradients = call.compute_gradients(tiled, tiled_gradient)
    if name is not None:
        target = getattr(layers[name[0]], name[1])
        found = gradients[name] / repeats
    elif of_input is not None:
        target, found = few, of_input[:samples]
    else:
        return
    paddle.autograd.backward([expected], [gradient])  # paddle.grad gives None for a batch normalisation's weight
    compare("gradient", found, target.grad, GRADIENT_BOUND[activation])


def compare(what: str, found: paddle.Tensor, expected: paddle.Tensor, bound: float) -> None:
    expected = expected.detach()
    if found.shape != expected.shape:
        raise SelfCheckFailed(f"in the self-check, the {what} has shape {found.shape}, expected {expected.shape}")
    if not paddle.isfinite(expected).all():
        return  # Paddle's own result is no reference
    distance = float((found - expected).norm() / (expected.norm() + 1e-30))
    # If a value found is not finite, neither is below its bound.
    if not (distance <= bound or float((found - expected).abs().max()) <= 1e-6):
        raise SelfCheckFailed(
            f"in the self-check, the {what} differs from Paddle's by {distance:.2g} (at most {bound})"
        )
