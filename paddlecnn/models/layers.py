"""Local response normalisation, as the AlexNet paper writes it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.autograd import PyLayer


class LocalResponseNorm(nn.Layer):
    r"""b_i = a_i / (k + alpha * sum_{j in window(i)} a_j^2) ** beta        (AlexNet paper, section 3.3)

    The window is `size` neighbouring channels, cut off at the edges: i - size//2 to i + (size-1)//2. alpha
    multiplies the SUM; Caffe and `paddle.nn.LocalResponseNorm` divide it by `size`, so their alpha is `size`
    times ours.

    Input and output: [N, C, H, W], float32 or float64 (float16 and bfloat16 are computed in float32).
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0):
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        if not paddle.in_dynamic_mode():  # to_static and jit.save: plain operators, which can be exported
            return x / (self.k + self.alpha * self.window_sum(x * x)) ** self.beta
        with paddle.amp.auto_cast(enable=False):  # squares of activations overflow in float16
            wide = x if x.dtype in (paddle.float32, paddle.float64) else x.astype("float32")
            apply = FastLocalResponseNorm.apply  # not annotated, for to_static of Paddle 2.6
            return apply(wide, self.size, self.alpha, self.beta, self.k).astype(x.dtype)  # type: ignore[no-untyped-call]

    def window_sum(self, squares: paddle.Tensor) -> paddle.Tensor:
        """sum_{j in window(i)} of [N, C, H, W], as `size` times an average over channels."""
        padding = [self.size // 2, (self.size - 1) // 2, 0, 0, 0, 0]
        means = F.avg_pool3d(squares.unsqueeze(1), (self.size, 1, 1), 1, padding, exclusive=False)
        return self.size * means.squeeze(1)

    def extra_repr(self) -> str:
        return f"size={self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class FastLocalResponseNorm(PyLayer):
    r"""The same formula for dygraph, with its gradient written out.

    With d_i = k + alpha * sum_j B_ij a_j^2, where B_ij = 1 for j in the window of i, and the gradient g of b:

        dL/da_j = g_j d_j^-beta  -  2 alpha beta a_j * sum_i B_ij g_i b_i / d_i

    The sum over the window is a product with the banded matrix B: one call to a tuned library instead of a
    pass through memory for each neighbour. The rest is memory traffic, so steps work in place (methods named `*_`).
    """

    @staticmethod
    def forward(ctx: Any, x: paddle.Tensor, size: int, alpha: float, beta: float, k: float) -> paddle.Tensor:
        a = x.flatten(2)
        band = window_matrix(x.shape[1], size, x.dtype, str(x.place))
        d = paddle.matmul(band, a * a).scale_(alpha, k)
        power, inverse = inverse_powers(d, beta)
        ctx.save_for_backward(a, power, inverse, band)
        ctx.factor = -2.0 * alpha * beta
        return (a * power).reshape(x.shape)

    @staticmethod
    def backward(ctx: Any, gradient: paddle.Tensor) -> paddle.Tensor:
        a, power, inverse, band = ctx.saved_tensor()
        g = gradient.flatten(2)
        weighted = (g * a).multiply_(power).multiply_(inverse)
        through_window = paddle.matmul(band, weighted, transpose_x=True).multiply_(a).scale_(ctx.factor)
        return through_window.add_(g * power).reshape(gradient.shape)


def inverse_powers(d: paddle.Tensor, beta: float) -> tuple[paddle.Tensor, paddle.Tensor]:
    """d^-beta and 1/d, overwriting d. The paper's beta of 3/4 needs only two roots, far cheaper than a power."""
    if beta != 0.75:
        return d**-beta, d.reciprocal_()
    root = d.rsqrt_()
    return paddle.sqrt(root).multiply_(root), root.multiply_(root)  # Paddle 2.6 has no square_


@functools.lru_cache(maxsize=32)
def window_matrix(channels: int, size: int, dtype: paddle.dtype, place: str) -> paddle.Tensor:
    """The banded [C, C] matrix B with B_ij = 1 where i - size//2 <= j <= i + (size-1)//2, cached for each place."""
    offset = np.arange(channels)[None, :] - np.arange(channels)[:, None]
    inside = (-(size // 2) <= offset) & (offset <= (size - 1) // 2)
    return paddle.to_tensor(inside.astype(np.float32)).astype(dtype)
