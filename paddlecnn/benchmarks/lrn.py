"""Local response normalisation of paddlecnn and of paddle.nn, measured in turn, forward and with the gradient.

The inputs are those of AlexNet's normalisations: for batches of 32 images of 227 pixels and of 128 images of 32 pixels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from statistics import median

import paddle

from paddlecnn.arguments import positive
from paddlecnn.models import LocalResponseNorm

SHAPES = {
    "alexnet_lrn norm1": (32, 96, 55, 55),
    "alexnet_lrn norm2": (32, 256, 27, 27),
    "alexnet_cifar_lrn norm1": (128, 96, 6, 6),
    "alexnet_cifar_lrn norm2": (128, 256, 3, 3),
}
GOAL = 2.0  # times Paddle's layer


@dataclass(frozen=True)
class Result:
    """Medians over the rounds, in milliseconds per call."""

    where: str
    shape: tuple[int, ...]
    what: str  # "forward", or "both" for forward and gradient
    ours: float
    paddle: float
    ratio: float

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.where:24}{'x'.join(map(str, self.shape)):>14}  {self.what:8}{self.ours:9.2f} ms   "
            f"paddle {self.paddle:9.2f} ms   {self.ratio:5.1f} times (goal {GOAL:g})"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=positive, default=7, help="rounds; the median is reported")
    text = "measure only this input (default: those of AlexNet)"
    parser.add_argument("--shape", type=positive, nargs=4, metavar=("N", "C", "H", "W"), help=text)


def measure(args: argparse.Namespace) -> Iterator[Result]:
    """The speeds for every shape, one after another."""
    for where, shape in ({"given": tuple(args.shape)} if args.shape else SHAPES).items():
        layers = LocalResponseNorm(), paddle.nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
        for what, call in (("forward", forward), ("both", forward_and_gradient)):
            ours, theirs = in_turn([call(layer, shape) for layer in layers], args.rounds)
            yield Result(where, shape, what, ours, theirs, theirs / ours)


def forward(layer: paddle.nn.Layer, shape: tuple[int, ...]) -> Callable[[], object]:
    x = paddle.randn(shape)
    return lambda: layer(x)


def forward_and_gradient(layer: paddle.nn.Layer, shape: tuple[int, ...]) -> Callable[[], object]:
    x, gradient = paddle.randn(shape), paddle.randn(shape)
    x.stop_gradient = False
    return lambda: paddle.grad(layer(x), x, gradient)


def in_turn(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """The median of each call's milliseconds; in each round every call is measured once, after a warm-up."""
    times = [[milliseconds(call) for call in calls] for _ in range(rounds + 1)][1:]
    return [median(column) for column in zip(*times, strict=True)]


def milliseconds(call: Callable[[], object]) -> float:
    """The time of one call, on a GPU until its work is done."""
    begin = time.perf_counter()
    call()
    if paddle.get_device().startswith("gpu"):
        paddle.device.synchronize()
    return 1000 * (time.perf_counter() - begin)
