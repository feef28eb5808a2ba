"""What every network here is: convolutional features, then a fully connected classifier."""
from __future__ import annotations

from collections.abc import Sequence
from math import prod

import paddle
from paddle import nn
from paddle.nn.initializer import Constant, Initializer, KaimingNormal, Normal

from paddlecnn.errors import ModelError
from paddlecnn.models.shapes import NamedLayer, drop_redundant_pools

HE_NORMAL = KaimingNormal()  # He et al. 2015: keeps the scale of activations through layers with ReLU
NORMAL_001 = Normal(0.0, 0.01)  # AlexNet's paper, section 5; in an output layer: a fresh network is undecided


class ConvClassifier(nn.Layer):
    """features: [N, 3, S, S] -> [N, *feature_shape]; flattened channel by channel; classifier: -> [N, num_classes].

    The two halves are attributes because freezing, feature caching and weight files need them apart. Layers
    have the names of the papers' figures: `features.conv1`, `classifier.fc6`.
    """

    def __init__(self, features: list[NamedLayer], input_size: int, num_classes: int):
        super().__init__()
        self.input_size, self.num_classes = input_size, num_classes
        self.name = type(self).__name__.lower()  # create_model makes it the registered one
        layers, self.feature_shape = drop_redundant_pools(features, [3, input_size, input_size])
        self.features = nn.Sequential(*layers)
        self.frozen = False

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """Logits [N, num_classes] of images [N, 3, S, S]. Raises ModelError for another channel count or size."""
        check_images(images, self.input_size)
        return self.classifier(paddle.flatten(self.features(images), 1))

    def freeze_features(self) -> None:
        """Keep the convolutions as they are: no gradients, and no new batch statistics either, also in training."""
        self.frozen = True
        for parameter in self.features.parameters():
            parameter.stop_gradient = True
        self.features.eval()

    def train(self) -> None:
        """Training mode; frozen features stay in evaluation mode, so that their running statistics are kept."""
        super().train()
        if self.frozen:
            self.features.eval()


@paddle.jit.not_to_static
def check_images(images: paddle.Tensor, size: int) -> None:
    """Raise ModelError where images are not [N, 3, size, size]; a dimension unknown in a graph passes."""
    found = list(images.shape)
    if len(found) != 4 or any(side not in (-1, want) for side, want in zip(found[1:], (3, size, size), strict=True)):
        raise ModelError(f"the network takes images [N, 3, {size}, {size}], not {found}; "
                         "set data.preprocess.size, or model.options.input_size, so that they agree")


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int | list[int] = 0, groups: int = 1, *,
         weight: Initializer, bias: float = 0.0) -> nn.Conv2D:
    """A convolution with its initial weights and bias."""
    return nn.Conv2D(inputs, outputs, kernel, stride, padding, groups=groups,
                     weight_attr=weight, bias_attr=Constant(bias))


def classifier(feature_shape: Sequence[int], hidden: Sequence[int], num_classes: int, dropout: float, *,
               weight: Initializer, last: Initializer, bias: float = 0.0, first: int = 6) -> nn.Sequential:
    """fc6, relu6, drop6, fc7, relu7, drop7, fc8: dropout follows each hidden layer (AlexNet paper, section 4.2).

    weight, bias: of the hidden layers; last: the weights of the output layer, whose biases are 0
    """
    layers: list[NamedLayer] = []
    width = prod(feature_shape)
    for number, units in enumerate(hidden, start=first):
        layers += [(f"fc{number}", nn.Linear(width, units, weight, Constant(bias))), (f"relu{number}", nn.ReLU()),
                   (f"drop{number}", nn.Dropout(dropout))]
        width = units
    return nn.Sequential(*layers, (f"fc{first + len(hidden)}", nn.Linear(width, num_classes, last, Constant(0.0))))
