"""The engine that computes: Paddle's own kernels, or oneDNN's through this package."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from paddle import nn

from paddlecnn.errors import DeviceError
from paddlecnn.onednn.bindings import Unavailable
from paddlecnn.onednn.layer import accelerate, describe_engine, require
from paddlecnn.runtime import check_precision

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Engine:
    """The engine that runs the layers, and the type of its activations.

    name: "paddle" or "onednn"; precision: "float32", "bfloat16", or on a GPU "float16"
    """

    name: str = "paddle"
    precision: str = "float32"

    def apply(self, model: nn.Layer) -> nn.Layer:
        """The same model, run by this engine."""
        return accelerate(model, self.precision) if self.name == "onednn" else model

    def describe(self) -> str:
        """For reports: "oneDNN 3.6.2, avx512_core_bf16, float32"."""
        return f"{describe_engine() if self.name == 'onednn' else 'Paddle'}, {self.precision}"


def choose_engine(name: str, precision: str, device: str) -> Engine:
    """The engine for a device ("cpu", "gpu:0").

    name: auto takes oneDNN on a CPU if the library is there, and otherwise Paddle with one line that says why
    Raises DeviceError for an engine or a precision that is asked for and impossible here.
    """
    if device.startswith("gpu"):
        if name == "onednn":
            raise DeviceError("engine onednn: runs on a CPU only; take engine auto or paddle, or --device cpu")
        check_precision(precision, device)
        return Engine("paddle", precision)
    if precision == "float16":
        raise DeviceError("precision float16: needs a GPU; take float32, or bfloat16 with engine onednn")
    if name == "paddle":
        if precision != "float32":
            raise DeviceError(f"precision {precision}: Paddle computes in float32 on a CPU; take engine onednn")
        return Engine()
    try:
        require(precision)
    except Unavailable as error:
        if name == "onednn" or precision != "float32":
            raise DeviceError(f"engine {name}: {error}; take engine paddle and precision float32") from None
        logger.warning("engine: Paddle, not oneDNN: %s", error)
        return Engine()
    return Engine("onednn", precision)


def engine_for_run(trained: Engine, name: str | None, precision: str | None, device: str) -> Engine:
    """The engine for the predictions of a run: the one it was trained with, unless another one is named.

    Where the run's own engine is impossible, Paddle in float32 takes its place, with one line that says so.
    """
    if name is not None or precision is not None:
        return choose_engine(name or ("auto" if precision else trained.name), precision or "float32", device)
    if device.startswith("gpu"):
        return Engine()
    try:
        return choose_engine(trained.name, trained.precision, device)
    except DeviceError as error:
        logger.warning(
            "the run was trained with engine %s in %s; Paddle in float32 predicts: %s",
            trained.name,
            trained.precision,
            error,
        )
        return Engine()
