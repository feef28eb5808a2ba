"""What a network costs: parameters, multiply-adds, activations and receptive fields, layer by layer.

One multiply-add is a multiplication with its addition. A convolution's output takes kernel area times input
channels of its group; a fully connected one its inputs; batch normalisation 1; local response normalisation
`size` for the sum and 2 for the rest. A comparison (ReLU, max pooling) counts as one. Dropout and biases are free.
"""
from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod

import paddle
from paddle import nn

from paddlecnn.errors import ModelError
from paddlecnn.models.layers import LocalResponseNorm
from paddlecnn.models.network import ConvClassifier
from paddlecnn.models.registry import create_model
from paddlecnn.models.shapes import output_shape, window_of

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
        """Trained numbers; running statistics of batch normalisation are not among them."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """For the forward pass of one image; forward and backward take about three times that."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """float32 outputs of all layers for one image, which training keeps for the backward pass.

        Local response normalisation keeps two more arrays of its size.
        """
        kept = sum(prod(layer.output_shape) * (3 if layer.kind == "LRN" else 1) for layer in self.layers)
        return FLOAT * (kept + 3 * self.input_size**2)

    def training_bytes(self, batch_size: int, slots: int = 1) -> int:
        """An estimate of a training step's memory: weights, gradients, `slots` numbers a weight of the optimizer
        (momentum 1, Adam 2), activations of the batch, and the gradients of the two largest of these."""
        largest = sorted((prod(layer.output_shape) for layer in self.layers), reverse=True)[:2]
        return (2 + slots) * FLOAT * self.parameters + batch_size * (self.activation_bytes + FLOAT * sum(largest))

    def share(self, kind: str) -> tuple[float, float]:
        """The share of one kind of layer ("Conv", "Linear" ...) in parameters and in multiply-adds."""
        chosen = [layer for layer in self.layers if layer.kind == kind]
        return (sum(layer.parameters for layer in chosen) / self.parameters,
                sum(layer.multiply_adds for layer in chosen) / self.multiply_adds)

    def as_json(self) -> dict:
        """Plain values for `tools/summary.py --json`."""
        return {"model": self.model, "input_size": self.input_size, "parameters": self.parameters,
                "multiply_adds": self.multiply_adds, "activation_bytes": self.activation_bytes,
                "layers": [asdict(layer) for layer in self.layers]}


def summarize(model: ConvClassifier, input_size: int | None = None, name: str = "") -> Summary:
    """The costs of a network, by arithmetic on its layers: nothing is run.

    Raises ModelError where `input_size` is not the model's, whose fully connected layers fix it.
    """
    if input_size not in (None, model.input_size):
        raise ModelError(f"this model takes {model.input_size} pixels, not {input_size}; "
                         f"create it with input_size={input_size}")
    layers, shape, field, step = [], [3, model.input_size, model.input_size], 1, 1
    for part in (model.features, model.classifier):
        for layer_name, layer in part.named_children():
            before, shape = shape, output_shape(layer, shape, layer_name)
            kernel = ""
            if isinstance(layer, (nn.Conv2D, nn.MaxPool2D)):
                (side, _), (stride, _), *_ = window_of(layer)
                field, step = field + (side - 1) * step, step * stride
                kernel = describe_window(layer)
            elif isinstance(layer, nn.Linear):
                field = model.input_size
            layers.append(LayerCost(layer_name, KINDS[type(layer)], shape, kernel, count_parameters(layer),
                                    count_multiply_adds(layer, before, shape), min(field, model.input_size)))
    return Summary(name or type(model).__name__, model.input_size, layers)


def summarize_by_name(name: str, num_classes: int | None = None, input_size: int | None = None) -> Summary:
    """The costs of a registered network, without the time to draw its initial weights."""
    options = {} if input_size is None else {"input_size": input_size}
    with paddle.LazyGuard():
        return summarize(create_model(name, num_classes, **options), name=name)


KINDS = {nn.Conv2D: "Conv", nn.Linear: "Linear", nn.MaxPool2D: "MaxPool", nn.ReLU: "ReLU", nn.Dropout: "Dropout",
         nn.BatchNorm2D: "BatchNorm", LocalResponseNorm: "LRN"}


def describe_window(layer: nn.Conv2D | nn.MaxPool2D) -> str:
    """`5x5 /2 g2`: kernel, stride where it is not 1, groups where they are not 1."""
    (height, width), (stride, _), *_ = window_of(layer)
    groups = getattr(layer, "_groups", 1)
    return f"{height}x{width}" + (f" /{stride}" if stride > 1 else "") + (f" g{groups}" if groups > 1 else "")


def count_parameters(layer: nn.Layer) -> int:
    """Trained numbers of a layer or a network: Paddle lists running means and variances as parameters, too."""
    return sum(prod(parameter.shape) for name, parameter in layer.named_parameters()
               if not name.endswith(("_mean", "_variance")))


def count_multiply_adds(layer: nn.Layer, before: list[int], after: list[int]) -> int:
    """Multiply-adds of one layer for one image, from [C, H, W] before to after it."""
    if isinstance(layer, nn.Conv2D):
        return prod(layer.weight.shape[1:]) * prod(after)
    if isinstance(layer, nn.Linear):
        return prod(layer.weight.shape)
    if isinstance(layer, nn.MaxPool2D):
        return prod(window_of(layer)[0]) * prod(after)
    each = {nn.ReLU: 1, nn.BatchNorm2D: 1, nn.Dropout: 0, LocalResponseNorm: getattr(layer, "size", 0) + 2}
    return each[type(layer)] * prod(before)
