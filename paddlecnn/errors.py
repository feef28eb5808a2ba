"""Errors that a user can cause. Each message is one line: what, where, and what to do about it."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import site
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

ROOT = Path(__file__).resolve().parent.parent  # of the clone


class UserError(Exception):
    """Something outside the code is wrong and a user can fix it. The tools print it and exit 2."""

    exit_code = 2


class ConfigError(UserError):
    """A config file or an override that does not fit the schema."""


class DeviceError(UserError):
    """A requested device that is not available."""


class DataError(UserError):
    """Data that is missing, damaged or not what the config says it is."""


class ModelError(UserError):
    """An unknown model, or an input or option that it cannot take."""


class ModuleError(UserError):
    """A user's own module that is missing, does not import, or is not the one that a run was trained with."""


class WeightsError(UserError):
    """A weight file that is unsafe, damaged or does not fit the model."""


class WeightsMismatch(WeightsError):
    """A weight file that lacks layers of the model, has others, or has them in other shapes."""


class RunError(UserError):
    """A run folder that cannot be made, read or resumed."""


class CheckpointError(UserError):
    """A checkpoint that is torn, altered or foreign."""


class ExportError(UserError):
    """A network that cannot be exported, or whose export differs from it."""


class SubmissionError(UserError):
    """A submission that breaks the competition's rules."""


class AccessError(UserError):
    """A service that denies this user access: no credentials, refused ones, rules to accept, a quota."""


class ServiceError(UserError):
    """A service elsewhere is at fault, and trying again later may help. The tools exit 3."""

    exit_code = 3


@contextlib.contextmanager
def user_code(where: str, kind: type[UserError]) -> Iterator[None]:
    """Turn any error in a user's own function into one line that names it and the line of their file."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        foreign = (str(ROOT / "paddlecnn"), *site.getsitepackages())
        frames = [one for one in traceback.extract_tb(error.__traceback__) if not one.filename.startswith(foreign)]
        place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        raise kind(f"{where}: {type(error).__name__}: {' '.join(str(error).split())}{place}") from error


def how_to_install() -> str:
    """The command that installs what the package requires."""
    return f"run `make install` in {ROOT} and activate .venv, or run `pip install -e '{ROOT}[cpu]'`"


def not_installed(module: str | None) -> str:
    """One line for a package that cannot be imported."""
    return f"{module}: not installed for {sys.executable}; {how_to_install()}"


def require_extra(extra: str, *modules: str) -> None:
    """Raise UserError, with the command that installs the extra, if one of its modules is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"{missing[0]}: not installed for {sys.executable}; run `pip install -e '{ROOT}[{extra}]'`")


def did_you_mean(word: str, valid: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean train?` for the valid word nearest in spelling; all valid words if none is near."""
    lower = {one.lower(): one for one in valid}
    near = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=cutoff)
    return f"; did you mean {lower[near[0]]}?" if near else f"; valid: {', '.join(lower.values())}"


def first_problem(error: ValidationError) -> str:
    """`optim.lr: must be above 0`: the first of pydantic's errors."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]


def brief(value: object) -> str:
    """A value for a message, shortened if it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python does not print an integer of more than 4,300 digits
        return "a number of more than 4,300 digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
