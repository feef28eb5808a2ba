"""One forward pass through a plan, and its backward pass as part of Paddle's autograd."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import paddle
from paddle import nn
from paddle.autograd import PyLayer

from paddlecnn.onednn.bindings import DataType
from paddlecnn.onednn.leases import Pool
from paddlecnn.onednn.operations import BatchNorm, Operation, fuse
from paddlecnn.onednn.plan import Name, PlanKey, floats


class GradientError(RuntimeError):
    """A gradient that the engine cannot compute: by a second backward pass, of second order, or from numbers that were
    changed in place."""


class Call:
    """One run of operations on one input. It keeps a plan with the buffer of its activations until the backward pass is
    over or the call is deleted.

    tensors: parameters and running statistics that the operations read, by position and attribute
    trained: those that need a gradient
    """

    x: paddle.Tensor  # kept for the backward pass
    versions: list[int]  # of what that one reads, at the end of the forward pass

    def __init__(
        self, pool: Pool, activation: DataType, layers: Sequence[nn.Layer], run: Sequence[Operation], x: paddle.Tensor
    ):
        self.positions = [operation.layer for operation in run]
        self.layers = [layers[position] for position in self.positions]
        operations = fuse(run)
        self.trained = [(operation.layer, name) for operation in operations for name in operation.trained]
        self.with_gradient = paddle.is_grad_enabled() and (bool(self.trained) or not x.stop_gradient)
        statistics = any(isinstance(operation, BatchNorm) and not operation.running for operation in operations)
        self.key = PlanKey(
            operations,
            tuple(x.shape),
            activation,
            training=self.with_gradient or statistics,
            input_gradient=self.with_gradient and not x.stop_gradient,
        )
        self.plan, self.buffer = pool.lend(self.key)
        self.give_back = weakref.finalize(self, pool.give_back, self.key, self.plan, self.buffer)
        self.give_back.atexit = False
        self.tensors = {name: getattr(layers[name[0]], name[1]) for name in self.plan.parameters}
        self.running = [(layers[layer], momentum) for layer, momentum, *_ in self.plan.statistics]

    def refuse_second_pass(self, gradient: paddle.Tensor) -> None:
        if not self.give_back.alive:
            raise GradientError(
                "a second backward pass through one forward pass (retain_graph) is not possible with "
                "train.engine onednn; use engine paddle"
            )

    def current_versions(self) -> list[int]:
        """How often operations in place have changed the input and each weight so far."""
        weights = (tensor for (_, name), tensor in self.tensors.items() if name == "weight")
        return [tensor.inplace_version for tensor in (self.x, *weights)]

    def refuse_changes(self) -> None:
        if self.versions != self.current_versions():
            raise GradientError(
                "the input or a weight was changed in place after the forward pass, and the backward pass needs the "
                "former values; change a copy"
            )

    def end(self) -> None:
        """Give the plan and the buffer back: no backward pass follows."""
        self.give_back()
        del self.plan, self.buffer, self.x

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        self.x = x.contiguous()  # the strides of a view are not in its address
        y = self.compute(self.x)
        for (layer, momentum), statistics in zip(self.running, self.plan.batch_statistics(), strict=True):
            for running, batch in zip((layer._mean, layer._variance), statistics, strict=True):
                stored = floats(running.data_ptr(), batch.size)
                stored *= momentum
                stored += (1 - momentum) * batch
        if self.with_gradient:
            self.versions = self.current_versions()
        else:
            self.end()
        return y

    def compute(self, x: paddle.Tensor) -> paddle.Tensor:
        """The output, without updating the running statistics."""
        y = paddle.empty(self.plan.output_shape, "float32")
        self.plan.run_forward(self.buffer, x, y, self.tensors)
        return y

    def compute_gradients(
        self, x: paddle.Tensor, gradient: paddle.Tensor
    ) -> tuple[paddle.Tensor | None, dict[Name, paddle.Tensor]]:
        """Gradients of the input, if wanted, and of the trained parameters; `compute` must have run with the same x."""
        gradient = gradient.contiguous()
        of_input = None if self.plan.input_gradient is None else paddle.empty(x.shape, "float32")
        gradients = {name: paddle.empty(self.tensors[name].shape, "float32") for name in self.trained}
        self.plan.run_backward(self.buffer, x, gradient, of_input, self.tensors, gradients)
        return of_input, gradients


class Differentiable(PyLayer):
    """A call with a gradient. `apply_call` adds the guard that Paddle's PyLayer lacks."""

    @staticmethod
    def forward(ctx: Any, call: Call, x: paddle.Tensor, *trained: paddle.Tensor) -> paddle.Tensor:
        ctx.call = call
        return call.forward(x)

    @staticmethod
    def backward(ctx: Any, gradient: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:  # type: ignore[override]
        call = ctx.call
        if paddle.is_grad_enabled():
            raise GradientError("second-order gradients are not possible with train.engine onednn; use engine paddle")
        call.refuse_changes()
        of_input, gradients = call.compute_gradients(call.x, gradient)
        call.end()
        return of_input, *gradients.values()


def apply_call(call: Call, x: paddle.Tensor) -> paddle.Tensor:
    """The output as a node of Paddle's graph.

    Paddle 3.3 drops a PyLayer's context after its first backward pass and crashes in the second (retain_graph); a hook
    on the output runs before that and raises.
    """
    trained = (call.tensors[name] for name in call.trained)
    y: paddle.Tensor = Differentiable.apply(call, x, *trained)  # type: ignore[no-untyped-call]
    y.register_hook(call.refuse_second_pass)
    return y
