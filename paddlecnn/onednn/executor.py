"""Execution of a chain of layers: in plans where oneDNN can run them, otherwise by Paddle."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import paddle
from paddle import nn

from paddlecnn.onednn.bindings import DataType
from paddlecnn.onednn.call import Call, apply_call
from paddlecnn.onednn.leases import Pool
from paddlecnn.onednn.operations import BatchNorm, Convolution, Linear, NotRunnable, Operation, describe
from paddlecnn.onednn.plan import PlanKey, UnsupportedOperation
from paddlecnn.onednn.selfcheck import SelfCheckFailed, check

logger = logging.getLogger(__name__)
ACTIVATIONS = {"float32": DataType.F32, "bfloat16": DataType.BF16}
Run = tuple[int, int, tuple[int, ...]]  # the first and the last layer, and the shape of a sample that enters
WORTHWHILE = (Convolution, Linear, BatchNorm)  # a run without one of these is not worth its reorders


class Executor:
    """The engine of one chain of layers. It owns plans and buffers but no parameters.

    precision: of the activations between oneDNN's primitives, "float32" or "bfloat16"; parameters, gradients, sums
    and what enters and leaves the chain are float32
    """

    def __init__(self, precision: str = "float32"):
        self.precision = precision
        self.activation = ACTIVATIONS[precision]
        self.pool = Pool()
        self.refused: set[tuple[int, tuple[int, ...]]] = set()  # layer, shape of one sample that enters its run
        self.distrusted: set[Run] = set()
        self.checked: set[PlanKey] = set()
        self.logged: set[str] = set()

    def __deepcopy__(self, memo: object) -> Executor:
        return Executor(self.precision)

    def __reduce__(self) -> tuple[type[Executor], tuple[str]]:
        return Executor, (self.precision,)

    def run(self, layers: Sequence[nn.Layer], x: paddle.Tensor) -> paddle.Tensor:
        if reason := reason_for_paddle(x):
            self.log_once(f"engine: Paddle runs the layers, not oneDNN: {reason}")
            return run_paddle(layers, x)
        for part in self.split(layers):
            x = part(x) if isinstance(part, nn.Layer) else self.run_operations(layers, part, x)
        return x

    def split(self, layers: Sequence[nn.Layer]) -> Iterator[nn.Layer | list[Operation]]:
        """Runs of operations for oneDNN, and the layers between them that are left to Paddle."""
        run: list[Operation] = []
        for index, layer in enumerate(layers):
            try:
                run.append(describe(layer, index))
            except NotRunnable as error:
                if not isinstance(layer, nn.Dropout):
                    self.log_refusal(layer, index, str(error))
                if run:
                    yield run
                run = []
                yield layer
        if run:
            yield run

    def run_operations(self, layers: Sequence[nn.Layer], run: list[Operation], x: paddle.Tensor) -> paddle.Tensor:
        """Run operations by oneDNN. A layer that it refuses for this shape divides them and is run by Paddle."""
        if not any(isinstance(operation, WORTHWHILE) for operation in run) or x.dtype != paddle.float32:
            return run_paddle([layers[operation.layer] for operation in run], x)
        sample = tuple(x.shape[1:])
        whole = (run[0].layer, run[-1].layer, sample)
        if whole in self.distrusted:
            return run_paddle([layers[operation.layer] for operation in run], x)
        for position, operation in enumerate(run):
            if (operation.layer, sample) in self.refused:
                x = self.run_operations(layers, run[:position], x)
                x = layers[operation.layer](x)
                return self.run_operations(layers, run[position + 1 :], x)
        try:
            call = Call(self.pool, self.activation, layers, run, x)
            if call.key not in self.checked:
                check(call, x)
                self.checked.add(call.key)
        except UnsupportedOperation as error:
            self.refused.add((error.layer, sample))
            self.log_refusal(layers[error.layer], error.layer, str(error))
            return self.run_operations(layers, run, x)
        except SelfCheckFailed as error:
            self.distrust(whole, str(error))
            return self.run_operations(layers, run, x)
        if not call.with_gradient:
            return call.forward(x)
        return apply_call(call, x)

    def distrust(self, run: Run, reason: str) -> None:
        """Leave a run of layers to Paddle."""
        self.distrusted.add(run)
        self.log_once(f"engine: Paddle runs layers {run[0]} to {run[1]}, not oneDNN: {reason}")

    def log_refusal(self, layer: nn.Layer, index: int, reason: str) -> None:
        self.log_once(f"engine: Paddle runs layer {index} ({type(layer).__name__}), not oneDNN: {reason}")

    def log_once(self, message: str) -> None:
        if message not in self.logged:
            self.logged.add(message)
            logger.warning(message)


def reason_for_paddle(x: paddle.Tensor) -> str | None:
    """Why oneDNN cannot run on this input; None if it can."""
    if not paddle.in_dynamic_mode():
        return "a static graph"
    if x.dtype != paddle.float32:
        return f"the input is {str(x.dtype).removeprefix('paddle.')}, not float32"
    if not x.place.is_cpu_place():
        return f"the input is on {x.place}, not on the CPU"
    if 0 in x.shape:
        return "the batch is empty"
    return None


def run_paddle(layers: Sequence[nn.Layer], x: paddle.Tensor) -> paddle.Tensor:
    for layer in layers:
        x = layer(x)
    return x
