"""An argument parser whose errors are one line each, and which takes options between the positional arguments."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from paddlecnn.config import Config
from paddlecnn.config_errors import KNOWN_AS, key_paths, snake_case
from paddlecnn.errors import UserError, did_you_mean


class OneLineParser(argparse.ArgumentParser):
    """Raises UserError, with a hint at what was meant, where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}; see {self.prog} --help")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        fixed = self.has_fixed_order() or "--" in (args or ())  # argparse loses what follows -- if intermixed
        parse = self.parse_known_args if fixed else self.parse_known_intermixed_args
        parsed, unknown = parse(args, namespace)
        if unknown:
            self.error(self.describe_unknown(unknown))
        return parsed

    def has_fixed_order(self) -> bool:
        """Whether argparse can take no options between the positional arguments."""
        exclusive = [action for group in self._mutually_exclusive_groups for action in group._group_actions]
        positional = self._get_positional_actions()
        return any(one.nargs == argparse.REMAINDER or one in exclusive for one in positional)

    def describe_unknown(self, words: Sequence[str]) -> str:
        """The message about the first of the words that no argument takes."""
        option, given, value = words[0].partition("=")
        options = [name for name in self._option_string_actions if name.startswith("--")]
        if not option.startswith("-"):
            hint = f"; a config is named by -c {words[0]}" if "--config" in options and is_yaml(words[0]) else ""
            return f"{words[0]}: one argument too many{hint}"
        keys = keys_called(snake_case(option.lstrip("-"))) if "--override" in options else []
        if keys and " " in keys[0]:
            return f"{option}: no such option; {keys[0]}"
        if keys:
            value = value if given else words[1] if len(words) > 1 else "VALUE"
            advice = " or ".join(f"-o {key}={value}" for key in keys)
            return f"{option}: is not an option but a key of the config; write {advice}"
        return f"{option}: no such option{did_you_mean(option, options)}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            # The name of a positional argument is nowhere in what the user wrote.
            named = action if action.option_strings else None
            raise argparse.ArgumentError(named, f"invalid choice: {value!r}{did_you_mean(value, action.choices)}")


def is_yaml(word: str) -> bool:
    return word.endswith((".yaml", ".yml"))


def keys_called(name: str) -> list[str]:
    """The keys of a config whose last part is `name`, each once (the schedules have some in common), or what KNOWN_AS
    says of it."""
    keys = list(dict.fromkeys(key for key in key_paths(Config) if key.rpartition(".")[2] == name))
    return keys or ([KNOWN_AS[name]] if name in KNOWN_AS else [])
