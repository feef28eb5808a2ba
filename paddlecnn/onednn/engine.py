"""`accelerate(model)`, which lets oneDNN run the model's nn.Sequential chains, and the choice of train.engine."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import paddle
from paddle import nn

from paddlecnn.errors import DeviceError
from paddlecnn.onednn.bindings import Unavailable, library
from paddlecnn.onednn.executor import ACTIVATIONS, Executor
from paddlecnn.runtime import check_precision

logger = logging.getLogger(__name__)


class AcceleratedSequential(nn.Sequential):
    """An nn.Sequential whose layers oneDNN runs. Layers, parameters, names and state_dict are the Sequential's own."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.executor.run(list(self._sub_layers.values()), x)


def accelerate(model: nn.Layer, precision: str = "float32") -> nn.Layer:
    """Let oneDNN run every nn.Sequential in the model, itself included if it is one; returns the same model.

    precision: "float32", or "bfloat16" for activations in bfloat16 (parameters and sums stay float32)
    Raises Unavailable without oneDNN 3, and for bfloat16 on a CPU without instructions for it.
    """
    require(precision)
    chains = chains_of(model, nn.Sequential, AcceleratedSequential)
    for chain in chains:
        chain.__class__ = AcceleratedSequential
        chain.executor = Executor(precision)
    if not chains:
        logger.warning("engine: Paddle, not oneDNN: %s has no nn.Sequential", type(model).__name__)
    return model


def chains_of(model: nn.Layer, *kinds: type) -> list[Any]:
    return [layer for layer in model.sublayers(include_self=True) if type(layer) in kinds]


# Of layers that a self-check left to Paddle: the chain's number, the first and the last layer, the shape of a sample.
FailedCheck = tuple[int, int, int, tuple[int, ...]]


def failed_checks(model: nn.Layer) -> tuple[FailedCheck, ...]:
    """The layers that failed a self-check and that Paddle has run since.

    A check sees the weights and images of its moment. One made after a resume could end otherwise, and the layers
    would round differently from those of an uninterrupted run: hence a checkpoint keeps them.
    """
    chains = enumerate(chains_of(model, AcceleratedSequential))
    return tuple((number, *run) for number, chain in chains for run in sorted(chain.executor.distrusted))


def restore_failed_checks(model: nn.Layer, failed: Iterable[FailedCheck]) -> None:
    """Leave to Paddle what an earlier process did."""
    chains = chains_of(model, AcceleratedSequential)  # none if the run was extended with another engine
    for number, first, last, sample in failed:
        if number < len(chains):
            chains[number].executor.distrust((first, last, sample), "a self-check failed earlier in this run")


@contextlib.contextmanager
def run_by_paddle(model: nn.Layer) -> Iterator[None]:
    """A context in which Paddle's own kernels run the model, layer by layer: for hooks and for exports."""
    chains = chains_of(model, AcceleratedSequential)
    for layer in chains:
        layer.__class__ = nn.Sequential
    try:
        yield
    finally:
        for layer in chains:
            layer.__class__ = AcceleratedSequential


def require(precision: str) -> None:
    """Raise Unavailable if the engine cannot run with this precision."""
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


@dataclass(frozen=True)
class Engine:
    """The engine that runs the layers, and the type of its activations.

    name: "paddle" or "onednn"; precision: "float32", "bfloat16", or on a GPU "float16"
    notice: why Paddle runs instead of oneDNN, for the caller to report; empty if nothing was replaced
    """

    name: str = "paddle"
    precision: str = "float32"
    notice: str = field(default="", compare=False)

    def apply(self, model: nn.Layer) -> nn.Layer:
        """The same model, run by this engine."""
        return accelerate(model, self.precision) if self.name == "onednn" else model

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context of a forward pass: mixed precision on a GPU. oneDNN's layers need none."""
        mixed = self.name == "paddle" and self.precision != "float32"
        kind: Any = self.precision
        return paddle.amp.auto_cast(dtype=kind) if mixed else contextlib.nullcontext()

    def report(self) -> None:
        """Log the notice. Training does so after all of its checks, so that an error is the only line."""
        if self.notice:
            logger.warning("%s", self.notice)

    def describe(self) -> str:
        """For reports: "oneDNN 3.6.2, avx512_core_bf16, float32"."""
        return f"{describe_engine() if self.name == 'onednn' else 'Paddle'}, {self.precision}"


def choose_engine(name: str, precision: str, device: str) -> Engine:
    """The engine for a device ("cpu", "gpu:0").

    name: auto uses oneDNN on a CPU if it is available, and otherwise Paddle with a notice that says why
    Raises DeviceError for a requested engine or precision that is impossible here.
    """
    if device.startswith("gpu"):
        if name == "onednn":
            raise DeviceError("engine onednn: runs on a CPU only; use engine auto or paddle, or --device cpu")
        check_precision(precision, device)
        return Engine("paddle", precision)
    if precision == "float16":
        raise DeviceError("precision float16: needs a GPU; use float32, or bfloat16 with engine onednn")
    if name == "paddle":
        if precision != "float32":
            raise DeviceError(f"precision {precision}: Paddle computes in float32 on a CPU; use engine onednn")
        return Engine()
    try:
        require(precision)
    except Unavailable as error:
        if name == "onednn" or precision != "float32":
            raise DeviceError(f"engine {name}: {error}; use engine paddle and precision float32") from None
        return Engine(notice=f"engine: Paddle, not oneDNN: {error}")
    return Engine("onednn", precision)


def engine_for_run(trained: Engine, name: str | None, precision: str | None, device: str) -> Engine:
    """The engine for the predictions of a run: the one it was trained with, unless another one is named.

    If the run's own engine is impossible here, Paddle in float32 takes its place, with a notice that says so.
    """
    if name is not None or precision is not None:
        return choose_engine(name or ("auto" if precision else trained.name), precision or "float32", device)
    try:
        return choose_engine("paddle" if device.startswith("gpu") else trained.name, trained.precision, device)
    except DeviceError as error:
        was = f"engine {trained.name} in {trained.precision}"
        return Engine(notice=f"the run was trained with {was}; predicting with Paddle in float32: {error}")
