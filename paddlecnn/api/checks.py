"""Checks of the types and values of arguments."""

from __future__ import annotations

from collections.abc import Sequence

from paddlecnn.errors import ConfigError, brief


def check_type(name: str, value: object, types: type | tuple[type, ...], wanted: str) -> None:
    """Raise ConfigError for a value of another type. `wanted` says in words what the value must be."""
    if not isinstance(value, types):
        raise ConfigError(f"{name} {brief(value)}: must be {wanted}")


def check_choice(name: str, value: str, valid: Sequence[str]) -> None:
    """Raise ConfigError for a value that is not among the valid ones."""
    if value not in valid:
        raise ConfigError(f"{name} {value!r}: must be one of {', '.join(valid)}")
