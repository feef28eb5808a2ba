"""The form of every network here: convolutional features, then a fully connected classifier."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Annotated, Any

import paddle
from paddle import nn
from paddle.nn.initializer import Constant, Initializer, KaimingNormal, Normal
from pydantic import Field

from paddlecnn.errors import ModelError
from paddlecnn.models.shapes import NamedLayer, Window, drop_redundant_pools

HE_NORMAL = KaimingNormal()  # He et al. 2015: keeps the scale of activations through layers with ReLU
NORMAL_001 = Normal(0.0, 0.01)  # AlexNet's paper, section 5; in an output layer, it leaves a fresh network undecided

# Options. The bounds are far above any published network and keep arithmetic on them within machine integers.
Units = Annotated[int, Field(gt=0, le=1 << 20)]  # channels, hidden units, classes
Pixels = Annotated[int, Field(gt=0, le=1 << 14)]  # the side of an image
Side = Annotated[int, Field(gt=0, le=64)]  # a kernel or a stride
Hidden = Annotated[tuple[Units, ...], Field(max_length=16)]  # units of the hidden fully connected layers
Dropout = Annotated[float, Field(ge=0, lt=1)]
LARGEST_WEIGHT = 1 << 30  # values in one array, 4 GiB; VGG's fc6 at 224 pixels, the largest published, has 103 million


class ConvClassifier(nn.Layer):
    """features: [N, 3, S, S] -> [N, *feature_shape]; flattened channel by channel; classifier: -> [N, num_classes].

    The two halves are attributes because freezing, feature caching and weight files need them apart. Layers
    are named as in the papers' figures: `features.conv1`, `classifier.fc6`.
    """

    def __init__(self, features: list[NamedLayer], input_size: int, num_classes: int):
        super().__init__()
        self.input_size, self.num_classes = input_size, num_classes
        self.name = type(self).__name__.lower()  # create_model replaces it with the registered name
        layers, self.feature_shape = drop_redundant_pools(features, [3, input_size, input_size])
        self.features = nn.Sequential(*layers)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """Logits [N, num_classes] of images [N, 3, S, S]. Raises ModelError for any other channel count or size."""
        check_images(images, self.input_size)
        return self.classifier(paddle.flatten(self.features(images), 1))


@paddle.jit.not_to_static
def check_images(images: paddle.Tensor, size: int) -> None:
    """Raise ModelError unless images are [N, 3, size, size]; a dimension unknown in a graph passes."""
    found = list(images.shape)
    if len(found) != 4 or any(side not in (-1, want) for side, want in zip(found[1:], (3, size, size), strict=True)):
        raise ModelError(
            f"the network takes images [N, 3, {size}, {size}], not {found}; "
            "set data.preprocess.size, or model.options.input_size, so that they agree"
        )


def conv(inputs: int, outputs: int, window: Window, *, weight: Initializer, bias: float | None = 0.0) -> nn.Conv2D:
    """A convolution with its initial weights and biases; bias None: without biases."""
    before, after = window.padding
    padding = before if before == after else [before, after] * 2
    biases = False if bias is None else Constant(bias)
    kernel, stride, groups = window.kernel, window.stride, window.groups
    if inputs % groups or outputs % groups:
        raise ModelError(
            f"a convolution from {inputs} to {outputs} channels cannot have {groups} groups; change widths or groups"
        )
    check_weight([outputs, inputs // groups, kernel, kernel])
    layer = nn.Conv2D(inputs, outputs, kernel, stride, padding, groups=groups, weight_attr=weight, bias_attr=biases)
    layer.window = window
    return layer


def max_pool(kernel: int, stride: int, ceil: bool = False) -> nn.MaxPool2D:
    """Max pooling without padding. Raises ModelError if a last window could begin beyond the map."""
    if ceil and stride > kernel:
        raise ModelError(f"a pool of {kernel}x{kernel} with stride {stride} cannot have ceil_pools; change pools")
    layer = nn.MaxPool2D(kernel, stride, ceil_mode=ceil)
    layer.window = Window(kernel, stride, ceil=ceil)
    return layer


def classifier(
    feature_shape: Sequence[int],
    config: Any,
    *,
    weight: Initializer,
    last: Initializer,
    bias: float = 0.0,
    first: int = 6,
    pooled: bool = False,
) -> nn.Sequential:
    """fc6, relu6, drop6, fc7, relu7, drop7, fc8: dropout follows each hidden layer (AlexNet paper, section 4.2).

    config: has `hidden`, `dropout` and `num_classes`
    weight, bias: of the hidden layers; last: the weights of the output layer, whose biases are 0
    pooled: fc6 sees the standardised statistics of each map instead of all its values
    """
    layers: list[NamedLayer] = []
    width = prod(feature_shape)
    if pooled:
        statistics = MapStatistics(feature_shape[0])
        width = statistics.outputs
        # A mean and a variance that training sets once (initial_scale.py) and keeps.
        norm = nn.BatchNorm1D(width, weight_attr=False, bias_attr=False, use_global_stats=True)
        layers = [("pool", statistics), ("norm", norm)]
    for number, units in enumerate(config.hidden, start=first):
        check_weight([width, units])
        layers += [
            (f"fc{number}", nn.Linear(width, units, weight, Constant(bias))),
            (f"relu{number}", nn.ReLU()),
            (f"drop{number}", nn.Dropout(config.dropout)),
        ]
        width = units
    check_weight([width, config.num_classes])
    output = nn.Linear(width, config.num_classes, last, Constant(0.0))
    return nn.Sequential(*layers, (f"fc{first + len(config.hidden)}", output))


class MapStatistics(nn.Layer):
    """Mean, maximum and mean of square roots of each map: non-negative [N, C * H * W] to [N, 3 * C].

    A few hundred photographs determine a classifier on these far better than one on every value of every map.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels, self.outputs = channels, 3 * channels

    def forward(self, flat: paddle.Tensor) -> paddle.Tensor:
        maps = flat.reshape([0, self.channels, -1])  # 0 keeps the number of images
        # + 1e-6: the derivative of the root at 0 is infinite. ** 0.5: with the old programs that VisualDL reads, Paddle
        # 3.3 cannot trace sqrt.
        roots = (maps + 1e-6) ** 0.5
        return paddle.concat([maps.mean(axis=2), maps.max(axis=2), roots.mean(axis=2)], axis=1)

    def extra_repr(self) -> str:
        return f"channels={self.channels}"


def check_weight(shape: Sequence[int]) -> None:
    """Raise ModelError for an array of implausible size, before it is allocated."""
    if prod(shape) > LARGEST_WEIGHT:
        raise ModelError(
            f"a layer of {'x'.join(map(str, shape))} weights exceeds the limit of {LARGEST_WEIGHT:,}; "
            "reduce input_size, widths, hidden or num_classes"
        )
