"""Frozen layers, and the division of a network into a leading part that never changes and a part that is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from types import MethodType

from paddle import nn

from paddlecnn.errors import ModelError, did_you_mean
from paddlecnn.models.network import ConvClassifier
from paddlecnn.models.shapes import NamedLayer, output_shape

# Layers whose output in training is not a function of the input alone.
RANDOM_OR_ADAPTIVE = (nn.Dropout, nn.BatchNorm1D, nn.BatchNorm2D)


@dataclass(frozen=True)
class Divided:
    """A network as two chains of its own layers: classifier(images) = trained(frozen(images))."""

    frozen: nn.Sequential
    trained: nn.Sequential
    last: str  # the name of the last frozen layer that does more than reshape
    shape: tuple[int, ...]  # of one image's output of `frozen`


def freeze(network: nn.Layer, what: str | Sequence[str]) -> None:
    """Freeze layers: no gradients, and evaluation mode even while the rest is trained.

    what: `features` for all layers of `network.features`; another name for that layer and all before it; a list of
    names for those layers alone; or `none`
    Raises ModelError for a name that the network lacks.
    """
    layers = layers_to_freeze(network, what)
    for layer in layers:
        layer.frozen = True
        for parameter in layer.parameters():
            parameter.stop_gradient = True
        layer.training = False
    network.train = MethodType(train_the_rest, network)  # type: ignore[method-assign]


def layers_to_freeze(network: nn.Layer, what: str | Sequence[str]) -> list[nn.Layer]:
    """The layers that a value of `model.freeze` names."""
    name = getattr(network, "name", type(network).__name__)
    if what == "none":
        return []
    if what == "features":
        features = getattr(network, "features", None)
        if not isinstance(features, nn.Layer):
            raise ModelError(
                f"model.freeze: features: {name} has no layer `features` to freeze; give its convolutions that name, "
                "or set model.freeze: none"
            )
        return features.sublayers(include_self=True)
    if not isinstance(network, ConvClassifier):
        raise ModelError(f"model.freeze: {what}: {name} is not one of the package's networks; set features or none")
    chain = named_chain(network)
    names = [layer_name for layer_name, _ in chain]
    for wanted in [what] if isinstance(what, str) else what:
        if wanted not in names:
            raise ModelError(f"model.freeze: {name} has no layer {wanted!r}{did_you_mean(wanted, names)}")
    kept = names[: names.index(what) + 1] if isinstance(what, str) else what
    return [layer for layer_name, layer in chain if layer_name in kept]


def train_the_rest(root: nn.Layer, *mode: bool) -> nn.Layer:
    """`root.train()`, with frozen layers left in evaluation mode. As a bound method, it follows a copy of the root."""
    type(root).train(root, *mode)
    for layer in root.sublayers():
        if is_frozen(layer):
            layer.training = False
    return root


def named_chain(network: ConvClassifier) -> list[NamedLayer]:
    """The layers of a network in the order of their computation, named as in the papers."""
    return [*network.features.named_children(), ("flatten", nn.Flatten(1)), *network.classifier.named_children()]


def divide(network: nn.Layer) -> Divided | None:
    """The frozen layers before the first one that training changes, and the rest; None if there are none.

    Both share their layers with the network, whose parameters, names and state_dict stay as they are.
    """
    if not isinstance(network, ConvClassifier):
        return None
    chain = named_chain(network)
    count = next((index for index, (_, layer) in enumerate(chain) if changes(layer)), len(chain))
    # Include layers of the classifier only if they are frozen themselves, so that all classifiers share the features.
    while count > len(network.features) + 1 and not is_frozen(chain[count - 1][1]):
        count -= 1
    if not any(layer.parameters() for _, layer in chain[:count]) or count == len(chain):
        return None
    shape = [3, network.input_size, network.input_size]
    for name, layer in chain[:count]:
        shape = [prod(shape)] if isinstance(layer, nn.Flatten) else output_shape(layer, shape, name)
    frozen = nn.Sequential(*(layer for _, layer in chain[:count]))
    frozen.eval()
    trained = nn.Sequential(*(layer for _, layer in chain[count:]))
    trained.train = MethodType(train_the_rest, trained)  # type: ignore[method-assign]
    last = [name for name, layer in chain[:count] if not isinstance(layer, nn.Flatten)][-1]
    return Divided(frozen, trained, last, tuple(shape))


def is_frozen(layer: nn.Layer) -> bool:
    """Whether `freeze` named the layer."""
    return getattr(layer, "frozen", False)


def changes(layer: nn.Layer) -> bool:
    """Whether a layer's output for the same input may differ between two steps of training."""
    return not is_frozen(layer) and (bool(layer.parameters()) or isinstance(layer, RANDOM_OR_ADAPTIVE))
