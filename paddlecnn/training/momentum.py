"""Stochastic gradient descent with momentum for weights in CPU memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import paddle

from paddlecnn.onednn.plan import floats
from paddlecnn.runtime import compute_threads

# Values: blocks of weights, gradient and velocity and two of scratch stay in the caches. Smaller ones fit better, but
# threads that wake each other for every block would take more time than they save.
BLOCK = 131072
SHARE = 8 * BLOCK  # values that a thread takes at a time


class BlockedMomentum(paddle.optimizer.Momentum):
    """`paddle.optimizer.Momentum`, bit for bit, in one pass over the memory of all tensors, with its state and names.

        g = factor * gradient + decay * p
        v = momentum * v + g
        p = p - lr * v                        with Nesterov's form: p - lr * (g + momentum * v)

    Paddle's kernel reads weights and velocities twice, and clipping before it reads gradients once more. The first
    step, and tensors that are not float32 in CPU memory, are left to Paddle.
    """

    gradient_factor: paddle.Tensor | None = None  # float32 []; clips the gradients of the next step

    @paddle.no_grad()
    def step(self) -> None:
        trained = [(group, p) for group in self._param_groups for p in group["params"] if p.grad is not None]
        factor, self.gradient_factor = self.gradient_factor, None
        velocities = self._accumulators[self._velocity_acc_str]  # Paddle's first step creates them
        if not all(p.name in velocities and is_plain(p) and is_plain(p.grad) for _, p in trained):
            if factor is not None:
                scale_gradients([p for _, p in trained], factor)
            super().step()
            return
        lr = np.float32(self.get_lr())
        scale = np.float32(1) if factor is None else floats(factor.data_ptr(), 1)[0]
        for group, p in trained:
            tensors = (p, p.grad, self._get_accumulator_master(self._velocity_acc_str, p))
            decay = np.float32(group["regularization_coeff"])
            self.update(tensors, lr * np.float32(group["learning_rate"]), decay, scale)

    def update(self, tensors: tuple[paddle.Tensor, ...], lr: np.float32, decay: np.float32, scale: np.float32) -> None:
        """One tensor's step. tensors: weight, gradient and velocity of equal shape."""
        momentum = np.float32(self._momentum)

        def change(blocks: list[np.ndarray], g: np.ndarray, rest: np.ndarray) -> None:
            p, gradient, v = blocks
            if scale == 1:
                np.multiply(p, decay, out=g)
                g += gradient
            else:
                np.multiply(gradient, scale, out=g)
                np.multiply(p, decay, out=rest)
                g += rest
            v *= momentum
            v += g
            if self._use_nesterov:
                np.multiply(v, momentum, out=rest)
                g += rest
                g *= lr
            else:
                np.multiply(v, lr, out=g)
            p -= g

        for_each_block(tensors, change)


def move_average(average: paddle.Tensor, value: paddle.Tensor, decay: float) -> None:
    """average = decay * average + (1 - decay) * value, in place; bit for bit the result of Paddle's operations."""
    if not (is_plain(average) and is_plain(value)):
        average.scale_(decay).add_(value.detach() * (1 - decay))
        return

    def change(blocks: list[np.ndarray], rest: np.ndarray, _: np.ndarray) -> None:
        a, new = blocks
        a *= np.float32(decay)
        np.multiply(new, np.float32(1 - decay), out=rest)
        a += rest

    for_each_block((average, value), change)


def for_each_block(
    tensors: tuple[paddle.Tensor, ...], change: Callable[[list[np.ndarray], np.ndarray, np.ndarray], None]
) -> None:
    """Call `change(blocks, scratch, scratch)` for the memory of equally large tensors, large ones in several threads.

    NumPy lets the other threads run while it computes. A value depends on its own place alone, so bits do not depend
    on the number of threads.
    """
    arrays = [floats(tensor.data_ptr(), tensor.size) for tensor in tensors]
    size = arrays[0].size

    @np.errstate(over="ignore", invalid="ignore")  # weights that diverge are reported by `check_finite`
    def change_share(first: int) -> None:
        scratch = np.empty((2, min(size - first, BLOCK)), np.float32)
        for start in range(first, min(first + SHARE, size), BLOCK):
            change([array[start : start + BLOCK] for array in arrays], *scratch[:, : size - start])

    shares = range(0, size, SHARE)
    threads = min(compute_threads(), len(shares) // 2)
    if threads < 2:
        for first in shares:
            change_share(first)
        return
    with ThreadPoolExecutor(threads, "paddlecnn-update") as pool:
        for done in [pool.submit(change_share, first) for first in shares]:
            done.result()


def is_plain(tensor: paddle.Tensor) -> bool:
    """Whether a tensor is contiguous float32 in CPU memory."""
    return (
        tensor.dtype == paddle.float32 and tensor.place.is_cpu_place() and tensor.is_dense() and tensor.is_contiguous()
    )


@paddle.no_grad()
def scale_gradients(parameters: list[paddle.Tensor], factor: paddle.Tensor) -> None:
    """Multiply all gradients by a factor in place, without reading the factor from the device."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.multiply_(factor.astype(parameter.grad.dtype))
