"""The costs of a network: parameters, multiply-adds, activations and receptive fields, layer by layer.

One multiply-add is a multiplication with its addition. Each output of a convolution takes kernel area times input
channels of its group; of a fully connected layer, its number of inputs; of batch normalisation, 1; of local response
normalisation, `size` for the sum and 2 for the rest. A comparison (ReLU, max pooling) counts as one, as does each
input of any layer not named here. Dropout and biases are free.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import paddle
from paddle import nn

from paddlecnn.errors import ModelError
from paddlecnn.models.layers import LocalResponseNorm
from paddlecnn.models.mode import evaluation_mode
from paddlecnn.models.network import ConvClassifier
from paddlecnn.models.registry import create_empty_model
from paddlecnn.models.shapes import Window, output_shape

FLOAT = 4  # bytes


@dataclass(frozen=True)
class LayerCost:
    """One layer. `receptive_field` is the side of the square of input pixels that one output sees."""

    name: str
    kind: str
    output_shape: list[int]
    kernel: str
    parameters: int
    multiply_adds: int
    receptive_field: int


@dataclass(frozen=True)
class Summary:
    """The costs of a network on one image of [3, input_size, input_size]."""

    model: str
    input_size: int
    layers: list[LayerCost]

    @property
    def parameters(self) -> int:
        """The number of trained values; running statistics of batch normalisation are not counted."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """For the forward pass of one image; forward and backward take about three times that."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """Bytes of one image and of all layers' float32 outputs for it, which training keeps for the backward pass.

        Local response normalisation keeps two more arrays of its size.
        """
        kept = sum(prod(layer.output_shape) * (3 if layer.kind == "LRN" else 1) for layer in self.layers)
        return FLOAT * (kept + 3 * self.input_size**2)

    def training_bytes(self, batch_size: int, slots: int = 1) -> int:
        """An estimate of a training step's memory: weights, gradients, the optimizer's `slots` values per weight
        (momentum 1, Adam 2), activations of the batch, and the gradients of the two largest of these."""
        largest = sorted((prod(layer.output_shape) for layer in self.layers), reverse=True)[:2]
        return (2 + slots) * FLOAT * self.parameters + batch_size * (self.activation_bytes + FLOAT * sum(largest))

    def share(self, kind: str) -> tuple[float, float]:
        """The share of one kind of layer ("Conv", "Linear" ...) in parameters and in multiply-adds."""
        part = Summary(self.model, self.input_size, [layer for layer in self.layers if layer.kind == kind])
        return part.parameters / self.parameters, part.multiply_adds / self.multiply_adds

    def as_json(self) -> dict[str, Any]:
        """Plain values for `tools/summary.py --json`."""
        names = ("model", "input_size", "parameters", "multiply_adds", "activation_bytes")
        return {name: getattr(self, name) for name in names} | {"layers": [asdict(layer) for layer in self.layers]}


def summarize(model: nn.Layer, input_size: int | None = None, name: str = "") -> Summary:
    """The costs of a network: by arithmetic on its layers if it is one of the package's, otherwise by running it once.

    Raises ModelError if `input_size` is unknown or is not the model's, which its fully connected layers fix.
    """
    size = input_size or model.input_size
    if size is None:
        raise ModelError(f"{model.name}: unknown input size; pass it, or give the network an attribute input_size")
    if model.input_size not in (None, size):
        raise ModelError(f"this model takes {model.input_size} pixels, not {size}; create it with input_size={size}")
    steps = shapes_by_arithmetic(model) if isinstance(model, ConvClassifier) else shapes_by_running(model, size)
    layers, field, distance = [], 1, 1
    for layer_name, layer, before, after in steps:
        window: Window | None = getattr(layer, "window", None)
        if window is not None:
            field, distance = field + (window.kernel - 1) * distance, distance * window.stride
        elif isinstance(layer, nn.Linear):
            field = size
        kind, work = KINDS.get(type(layer), type(layer).__name__), count_multiply_adds(layer, before, after)
        cost = LayerCost(layer_name, kind, after, str(window or ""), count_parameters(layer), work, min(field, size))
        layers.append(cost)
    return Summary(name or model.name, size, layers)


Step = tuple[str, nn.Layer, list[int], list[int]]  # name, layer, shape before and after it, without the batch


def shapes_by_arithmetic(model: ConvClassifier) -> Iterator[Step]:
    """The layers of one of the package's networks in order; nothing is run, so it needs no weights."""
    shape = [3, model.input_size, model.input_size]
    for part in (model.features, model.classifier):
        for name, layer in part.named_children():
            before, shape = shape, output_shape(layer, shape, name)
            yield name, layer, before, shape


def shapes_by_running(model: nn.Layer, size: int) -> list[Step]:
    """The innermost layers of any network, in the order of their calls on one image of zeros.

    A layer counts if there is a tensor among its results.
    """
    steps: list[Step] = []
    hooks = []
    for name, layer in model.named_sublayers():
        if not layer.sublayers():

            def record(layer: nn.Layer, inputs: Any, outputs: Any, name: str = name) -> None:
                after = first_tensor(outputs)
                if after is None:  # nothing to count
                    return
                before = first_tensor(inputs)  # None if it was passed by keyword, which a hook does not see
                shape = list(after.shape[1:])
                steps.append((name, layer, shape if before is None else list(before.shape[1:]), shape))

            hooks.append(layer.register_forward_post_hook(record))  # type: ignore[arg-type]
    try:
        with paddle.no_grad(), evaluation_mode(model):
            model(paddle.zeros([1, 3, size, size]))
    finally:
        for hook in hooks:
            hook.remove()
    return steps


def first_tensor(value: Any) -> Any:
    """The first tensor in nested tuples, lists and dictionaries; None if there is none."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return next((found for part in value if (found := first_tensor(part)) is not None), None)
    return value if isinstance(value, paddle.Tensor) else None


def summarize_by_name(name: str, num_classes: int | None = None, input_size: int | None = None) -> Summary:
    """The costs of a registered network."""
    options = {} if input_size is None else {"input_size": input_size}
    return summarize(create_empty_model(name, num_classes, **options), name=name)


KINDS = {nn.Conv2D: "Conv", nn.MaxPool2D: "MaxPool", nn.BatchNorm2D: "BatchNorm", LocalResponseNorm: "LRN"}


def count_parameters(layer: nn.Layer) -> int:
    """The number of trained values of a layer or a network; Paddle also lists running statistics as parameters."""
    parameters = layer.named_parameters()
    return sum(prod(value.shape) for name, value in parameters if not name.endswith(("_mean", "_variance")))


def count_multiply_adds(layer: nn.Layer, before: list[int], after: list[int]) -> int:
    """Multiply-adds of one layer for one image, from a shape [C, H, W] before it to one after it."""
    if isinstance(layer, nn.Conv2D):
        return prod(layer.weight.shape[1:]) * prod(after)
    if isinstance(layer, nn.Linear):
        return prod(layer.weight.shape) * prod(after[:-1])
    if isinstance(layer, nn.MaxPool2D):
        return prod(layer.ksize if isinstance(layer.ksize, (list, tuple)) else [layer.ksize] * 2) * prod(after)
    if isinstance(layer, LocalResponseNorm):
        return (layer.size + 2) * prod(before)
    return 0 if isinstance(layer, (nn.Dropout, nn.Flatten)) else prod(before)
