"""Networks by name: `create_model("vgg16", num_classes=2)`, `list_models("vgg*")`, and `register` for your own."""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, TypeVar, get_type_hints

import paddle
from paddle import nn
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation

from paddlecnn.errors import ModelError, brief, did_you_mean, user_code
from paddlecnn.models.mode import evaluation_mode

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
Factory = TypeVar("Factory", bound=Callable[..., nn.Layer])


@dataclass(frozen=True)
class Variant:
    """A published network: the settings for its family's builder, what sets it apart, and who published it."""

    config: Any  # AlexNetConfig, LeNetConfig, VGGConfig or FastVGGConfig
    description: str
    source: str


@dataclass(frozen=True)
class Registered:
    """A network that `create_model` can build."""

    build: Callable[..., nn.Layer]
    signature: Callable[..., Any]  # its parameters are the network's options, checked against their annotations
    variant: Variant | None = None  # None for a user's own network


NETWORKS: dict[str, Registered] = {}

# Names in version 0.1 of combinations that were never published, and their replacements.
FORMER = {
    "alexnet_bn": "alexnet with model.options: {norm: batch}",
    "vgg11_lrn_bn": "vgg11_lrn with model.options: {batch_norm: true}",
    "vgg11_lrn_cifar": "vgg11_cifar with model.options: {depth: A-LRN}",
    "vgg11_lrn_bn_cifar": "vgg11_bn_cifar with model.options: {depth: A-LRN}",
    "vgg16_c_bn": "vgg16_c with model.options: {batch_norm: true}",
    "vgg16_c_cifar": "vgg16_cifar with model.options: {depth: C}",
    "vgg16_c_bn_cifar": "vgg16_bn_cifar with model.options: {depth: C}",
}


def register(factory: Factory) -> Factory:
    """Register a function that returns a network, or an nn.Layer class, for `create_model` under its own name.

    Its parameters become the network's options; if they are annotated, values are checked before the call. One of
    them must be `num_classes`; `input_size` is optional. Any nn.Layer that returns logits [N, num_classes] will do.

    Raises ModelError if `num_classes` is missing or the name is one of the package's own.
    """
    name = factory.__name__
    if is_published(name):
        raise ModelError(f"{name}: the package has a network with this name; choose another")
    parameters = inspect.signature(factory).parameters.values()
    if not any(p.name == "num_classes" or p.kind is p.VAR_KEYWORD for p in parameters):
        raise ModelError(f"{name}: needs a parameter num_classes to be registered as a network")
    NETWORKS[name] = Registered(factory, factory)
    return factory


def register_variants(builder: Callable[[Any], nn.Layer], variants: Mapping[str, Variant]) -> None:
    """Register a family's published networks; the fields of its config dataclass are their options."""
    for name, variant in variants.items():
        NETWORKS[name] = Registered(
            lambda config=variant.config, **options: builder(replace(config, **options)), type(variant.config), variant
        )


def create_model(name: str, num_classes: int | None = None, **options: Any) -> nn.Layer:
    """Create the network registered as `name`; by default, `num_classes` is that of the data set it was published on.

    It has the attributes `name`, `num_classes` and `input_size`; the last is None if a user's network has none.

    Raises ModelError for an unknown name or option, naming the nearest ones, and for an input size it cannot take.
    """
    if name not in NETWORKS:
        if name in FORMER:
            raise ModelError(f"{name}: no longer a separate network; use {FORMER[name]}")
        lower = {known.lower(): known for known in NETWORKS}
        # A cutoff at which resnet50 is not lenet5.
        close = difflib.get_close_matches(name.lower().replace("-", "_"), lower, n=3, cutoff=0.75)
        near = " or ".join(lower[word] for word in close)
        families = "there are AlexNet, VGG, LeNet-5 and a simple CNN; `paddlecnn summary --list` lists them all"
        advice = f"did you mean {near}?" if near else families
        raise ModelError(f"{name}: no such model; {advice}")
    entry = NETWORKS[name]
    if num_classes is not None:
        options = {"num_classes": num_classes, **options}
    arguments = {key: checked(name, key, value, entry.signature) for key, value in options.items()}
    if entry.variant is not None:
        network = entry.build(**arguments)
        network.name = name
        return network
    check_complete(name, entry.signature, arguments)
    with user_code(name, ModelError):
        network = entry.build(**arguments)
    complete(network, name, entry.signature, options)
    return network


def create_empty_model(name: str, num_classes: int | None = None, **options: Any) -> nn.Layer:
    """Like `create_model`, for a network whose weights are set next or do not matter.

    Initial weights of the package's networks are not drawn, which takes seconds for VGG16.
    """
    with paddle.LazyGuard() if is_published(name) else nullcontext():
        return create_model(name, num_classes, **options)


def check_forward(network: nn.Layer, size: int | None) -> None:
    """Run a user's network on one image of `size`. Raises ModelError if it fails or returns no logits."""
    failure = user_code(f"{network.name}: forward fails on an image of {size}", ModelError)
    with failure, paddle.no_grad(), evaluation_mode(network):
        network(paddle.zeros([1, 3, size, size]))


def is_published(name: str) -> bool:
    """Whether the name is one of the package's networks, not a user's own."""
    return name in NETWORKS and NETWORKS[name].variant is not None


def default_options(name: str) -> dict[str, Any]:
    """The options of a published network as plain values, without the number of classes; empty for a user's own."""
    variant = NETWORKS[name].variant if name in NETWORKS else None
    options = json.loads(json.dumps(asdict(variant.config))) if variant else {}
    return {key: value for key, value in options.items() if key != "num_classes"}


def list_models(pattern: str = "*") -> list[str]:
    """The names of the registered networks that match a glob pattern, sorted."""
    return sorted(name for name in NETWORKS if fnmatchcase(name, pattern))


def checked(model: str, name: str, value: Any, signature: Callable[..., Any]) -> Any:
    """The value of one option, converted to its annotated type. Raises ModelError for an unknown name or bad value."""
    adapters = option_adapters(signature)
    if name not in adapters:
        if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(signature).parameters.values()):
            return value
        if name == "pretrained":  # as in paddle.vision and timm
            raise ModelError(
                f"{model}: unknown option pretrained; name the weights, as weights='paddle' in pc.create_model or "
                "model.weights: paddle in a config (docs/weights.md lists more)"
            )
        raise ModelError(f"{model}: unknown option {name}{did_you_mean(name, sorted(adapters))}")
    try:
        return adapters[name].validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([name, *(str(part) for part in first["loc"] if isinstance(part, int))])
        message = f"{first['msg'][0].lower()}{first['msg'][1:]}, not {brief(value)}"
        raise ModelError(f"{model}: option {where}: {message}") from None


def check_complete(model: str, signature: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Raise ModelError if an option without a default is not among the arguments."""
    try:
        inspect.signature(signature).bind(**arguments)
    except TypeError as error:  # missing a required argument: 'width'
        raise ModelError(f"{model}: {error}; set it in model.options") from None


@lru_cache
def option_adapters(signature: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    """The check of each parameter: its annotation, or Any if it has none or one that does not resolve."""
    try:
        annotated = signature.__init__ if isinstance(signature, type) else signature  # type: ignore[misc]
        hints = get_type_hints(annotated, include_extras=True)
    except (NameError, TypeError):  # a name that only the type checker imports
        hints = {}
    parameters = inspect.signature(signature).parameters.values()
    return {p.name: adapter(hints.get(p.name, Any)) for p in parameters if p.kind in NAMED}


def adapter(hint: Any) -> TypeAdapter[Any]:
    """The check of one annotation; a class that pydantic does not know is checked by isinstance."""
    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # a dataclass or model has its own configuration
        return TypeAdapter(hint)
    except PydanticUndefinedAnnotation:
        return TypeAdapter(Any)


def complete(network: Any, name: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Give a user's network the attributes that the rest of the package reads, and check its logits at each call."""
    if not isinstance(network, nn.Layer):
        raise ModelError(f"{name}: returned {type(network).__name__}, not a paddle.nn.Layer")
    defaults = {p.name: p.default for p in inspect.signature(factory).parameters.values() if p.default is not p.empty}
    for attribute, value in {**defaults, **options, "name": name}.items():
        if attribute in ("name", "num_classes", "input_size") and getattr(network, attribute, None) is None:
            setattr(network, attribute, value)
    if not hasattr(network, "input_size"):
        network.input_size = None
    network.register_forward_post_hook(check_logits)  # type: ignore[arg-type] # its result is not replaced


def check_logits(network: nn.Layer, _: Any, logits: Any) -> None:
    """Raise ModelError if a network returned anything but [N, num_classes]."""
    if not paddle.in_dynamic_mode():  # traced for an export: a variable of the program, not a tensor
        return
    found = list(logits.shape) if isinstance(logits, paddle.Tensor) else type(logits).__name__
    if not isinstance(found, list) or found[1:] != [network.num_classes]:
        raise ModelError(f"{network.name}: forward must return logits [N, {network.num_classes}], not {found}")
