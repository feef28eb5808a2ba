"""The engine's entry: `accelerate(model)` lets oneDNN run the model's nn.Sequential chains."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import paddle
from paddle import nn

from paddlecnn.onednn.bindings import Unavailable, library
from paddlecnn.onednn.executor import ACTIVATIONS, Executor

logger = logging.getLogger(__name__)


class AcceleratedSequential(nn.Sequential):
    """An nn.Sequential whose layers oneDNN runs. Layers, parameters, names and state_dict are the Sequential's own."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.executor.run(list(self._sub_layers.values()), x)


def accelerate(model: nn.Layer, precision: str = "float32") -> nn.Layer:
    """Let oneDNN run every nn.Sequential of the model, and the model if it is one; returns the same model.

    precision: "float32", or "bfloat16" for activations in bfloat16 (parameters and sums stay float32)
    Raises Unavailable without oneDNN 3, and for bfloat16 on a CPU that has no instructions for it.
    """
    require(precision)
    chains = [
        layer for layer in model.sublayers(include_self=True) if type(layer) in (nn.Sequential, AcceleratedSequential)
    ]
    for chain in chains:
        chain.__class__ = AcceleratedSequential
        chain.executor = Executor(precision)
    if not chains:
        logger.warning("engine: Paddle, not oneDNN: %s has no nn.Sequential", type(model).__name__)
    return model


@contextlib.contextmanager
def run_by_paddle(model: nn.Layer) -> Iterator[None]:
    """Paddle's own kernels run the model while the context lasts, layer by layer: for hooks and for exports."""
    chains: list[nn.Layer] = [
        layer for layer in model.sublayers(include_self=True) if type(layer) is AcceleratedSequential
    ]
    for layer in chains:
        layer.__class__ = nn.Sequential
    try:
        yield
    finally:
        for layer in chains:
            layer.__class__ = AcceleratedSequential


def require(precision: str) -> None:
    """Raise Unavailable where the engine cannot run with this precision."""
    if precision not in ACTIVATIONS:
        raise ValueError(f"precision {precision!r}: not one of {', '.join(ACTIVATIONS)}")
    found = library()
    if precision == "bfloat16" and not found.has_bfloat16:
        raise Unavailable(
            f"precision bfloat16 needs a CPU with AVX512-BF16 or AMX; oneDNN finds {found.instruction_set} here"
        )


def available(precision: str = "float32") -> bool:
    """Whether `accelerate` can be used here."""
    try:
        require(precision)
    except Unavailable:
        return False
    return True


def describe_engine() -> str:
    """The library's version and the instruction set in use: "oneDNN 3.6.2, avx512_core_bf16"."""
    return f"oneDNN {library().version}, {library().instruction_set}"
