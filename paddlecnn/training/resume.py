"""Whether a run may go on with the config at hand."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from paddlecnn.config import Config
from paddlecnn.errors import RunError
from paddlecnn.runs.run_dir import RunDir

# These change where or how fast a run computes, not what.
MAY_CHANGE = ("data.root", "data.workers", "data.cache", "train.checkpoint.")
EXTENDABLE = ("train.epochs", "train.early_stop", "optim.schedule")


def check_same_config(run: RunDir, config: Config, extend: Sequence[str]) -> None:
    """Raise RunError, naming the keys, where `config` is another experiment than the run's own.

    The keys in `extend` may differ.
    """
    forbidden = [key for key in extend if not key.startswith(EXTENDABLE)]
    if forbidden:
        raise RunError(f"--extend {forbidden[0]}: only {', '.join(EXTENDABLE)} can be extended; "
                       "anything else is another experiment, so train it as a new run")
    differing = [f"{key} ({old!r} in the run, {new!r} now)" for key, old, new in differences(run.config, config)
                 if not key.startswith((*MAY_CHANGE, *extend))]
    if differing:
        raise RunError(f"{run.path}: the config differs from the run's in {'; '.join(differing)}; resume with the "
                       "run's own config, extend the run on purpose with --extend KEY=VALUE, or train a new run")


def differences(old: Config, new: Config) -> Iterator[tuple[str, Any, Any]]:
    """(key path, old value, new value) for each key in which two configs differ."""
    before, after = flat(old.model_dump(mode="json")), flat(new.model_dump(mode="json"))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield key, before.get(key), after.get(key)


def flat(tree: dict, prefix: str = "") -> dict[str, Any]:
    """A nested mapping as one from key paths to values."""
    result = {}
    for key, value in tree.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return result
