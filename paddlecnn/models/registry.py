"""Networks by name: `create_model("vgg16", num_classes=2)`, `list_models("vgg*")`."""
from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from paddlecnn.errors import ModelError
from paddlecnn.models.network import ConvClassifier

Factory = Callable[..., ConvClassifier]
FACTORIES: dict[str, Factory] = {}


def register(factory: Factory) -> Factory:
    """Make a factory known under its own name, and have its options checked however it is called.

    Its options are its own parameters and those of the class that it returns; their annotations are the check.
    """
    kind = get_type_hints(factory)["return"]
    hints = get_type_hints(factory, include_extras=True) | get_type_hints(kind.__init__, include_extras=True)
    adapters = {name: TypeAdapter(hint) for name, hint in hints.items() if name not in ("return", "options")}

    @functools.wraps(factory)
    def checked(num_classes: int | None = None, **options: Any) -> ConvClassifier:
        given = options if num_classes is None else {"num_classes": num_classes, **options}
        network = factory(**{name: check_option(factory.__name__, name, value, adapters)
                             for name, value in given.items()})
        network.name = factory.__name__
        return network

    FACTORIES[factory.__name__] = checked
    return checked


def check_option(model: str, name: str, value: Any, adapters: dict[str, TypeAdapter]) -> Any:
    """The value of one option as its annotation has it. Raises ModelError for an unknown name or a wrong value."""
    if name not in adapters:
        near = difflib.get_close_matches(name, adapters, n=1)
        raise ModelError(f"{model}: unknown option {name}; "
                         + (f"did you mean {near[0]}?" if near else f"it takes {', '.join(sorted(adapters))}"))
    try:
        return adapters[name].validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([name, *(str(part) for part in first["loc"] if isinstance(part, int))])
        message = f"{first['msg'][0].lower()}{first['msg'][1:]}, not {value!r}"
        raise ModelError(f"{model}: option {where}: {message}") from None


def create_model(name: str, num_classes: int | None = None, **options: Any) -> ConvClassifier:
    """The network registered as `name`; without `num_classes`, for the data set that it was published on.

    Raises ModelError for an unknown name or option, with the nearest ones, and for an input size that it cannot take.
    """
    if name not in FACTORIES:
        near = difflib.get_close_matches(name.lower().replace("-", "_"), FACTORIES, n=3)
        raise ModelError(f"{name}: no such model; " + (f"did you mean {' or '.join(near)}?" if near else
                                                       "python tools/summary.py --list names them all"))
    return FACTORIES[name](num_classes, **options)


def list_models(pattern: str = "*") -> list[str]:
    """The names of the registered networks that match a glob pattern, sorted."""
    return sorted(name for name in FACTORIES if fnmatchcase(name, pattern))
