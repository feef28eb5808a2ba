"""Read a YAML file and -o overrides into a Config; say in one line what does not fit."""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, get_origin

import yaml
from pydantic import ValidationError

from paddlecnn.config import Config
from paddlecnn.config_errors import RENAMED, alternatives, describe, is_section
from paddlecnn.errors import ConfigError

# Keys younger than the config hash: while they are unset, a config has the hash that it had before.
UNHASHED_IF_UNSET = (
    "data.table",
    "data.images",
    "data.test",
    "data.exclude",
    "data.preprocess.fit",
    "data.augment.affine",
    "data.augment.scale",
    "data.augment.vertical_flip",
    "train.class_weights",
)
LARGEST_CONFIG = 1 << 20  # bytes
PATHS = (
    "data.root", "data.cache", "data.split", "data.exclude",
    "model.weights", "model.weights_dir", "train.feature_cache",
)  # fmt: skip
PLAIN_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class StrictLoader(yaml.SafeLoader):
    """YAML in which a duplicate key is an error, 2e-4 is a number, and a number means what it looks like.

    PyYAML follows YAML 1.1: it would read 010 as 8 and 1:30 as 90, and leave 2e-4 a string. Aliases are refused: with
    them, a short file could expand to billions of values.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(None, None, "aliases (*name) are not supported here; write the value out", mark)
        return super().compose_node(parent, index)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        is_octal = re.fullmatch(r"[-+]?0\d+", node.value)
        if is_octal or not PLAIN_NUMBER.fullmatch(node.value):
            advice = "YAML reads this as a different number; write a plain decimal number, or quote it"
            raise yaml.MarkedYAMLError(None, None, f"{node.value[:40]}: {advice} as text", node.start_mark)
        is_int = node.tag == "tag:yaml.org,2002:int"
        return self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(None, None, f"the key {key!r} is not a word", key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(None, None, f"{key}: duplicate key", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


for kind in ("int", "float"):
    StrictLoader.add_constructor(f"tag:yaml.org,2002:{kind}", StrictLoader.construct_number)
StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def load_config(source: str | Path | Mapping[str, Any], overrides: Sequence[str] | Mapping[str, Any] = ()) -> Config:
    """Read a config file or a nested mapping, apply overrides, and check the result.

    overrides: `key.path=value` strings, as on the command line, or a mapping from key paths to values
    Raises ConfigError with file, key path and the nearest valid name.
    """
    tree = copy.deepcopy(dict(source)) if isinstance(source, Mapping) else read_yaml(Path(source))
    return overridden(tree, "config" if isinstance(source, Mapping) else str(source), overrides)


def overridden(tree: dict[str, Any], source: str, overrides: Sequence[str] | Mapping[str, Any]) -> Config:
    """Apply overrides to a nested mapping and check the result. source: its name in messages."""
    sources = {}
    if isinstance(overrides, Mapping):
        for key, value in overrides.items():
            set_key(tree, key, value, f"overrides: {key}")
            sources[key] = "overrides"
    else:
        for text in overrides:
            sources[apply_override(tree, text)] = f"-o {text}"
    return check(tree, source, sources)


def load_run_config(source: Path | Mapping[str, Any], overrides: Sequence[str] | Mapping[str, Any] = ()) -> Config:
    """`load_config` for the config of a run, which an earlier version may have written: old keys are accepted."""
    tree = copy.deepcopy(dict(source)) if isinstance(source, Mapping) else read_yaml(source)
    optim = tree.get("optim")
    if isinstance(optim, dict) and isinstance(optim.get("schedule"), dict):
        optim["schedule"] = {RENAMED.get(key, key): value for key, value in optim["schedule"].items()}
    train = tree.get("train")
    if isinstance(train, dict):
        amp = train.pop("amp", "off")  # automatic mixed precision, on a GPU
        train.setdefault("precision", "float32" if amp in ("off", False) else amp)
        train.setdefault("engine", "paddle")
    return overridden(tree, "environment.json" if isinstance(source, Mapping) else str(source), overrides)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: not a regular file; name a YAML file")
        if path.is_file() and path.stat().st_size > LARGEST_CONFIG:
            raise ConfigError(f"{path}: {path.stat().st_size:,} bytes, more than the limit of {LARGEST_CONFIG:,}")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], n=1)
        raise ConfigError(f"{path}: no such file{f'; did you mean {path.parent / near[0]}?' if near else ''}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text ({getattr(error, 'strerror', None) or error})") from None
    tree = parse_yaml(text, str(path))
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: contains no keys; a config is a mapping such as `train: {{epochs: 3}}`")
    return tree


def parse_yaml(text: str, source: str) -> Any:
    try:
        return yaml.load(text, StrictLoader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{source}: {where}{error.problem or 'not valid YAML'}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{source}: not valid YAML ({error})") from None


def apply_override(tree: dict[str, Any], override: str) -> str:
    """Set one key of the tree from `key.path=value`; returns the key path.

    The schema determines how the value is read: as text if the key takes text, so that `-o data.root=007` is a folder,
    unless the key also takes a list and the text begins one; otherwise as YAML.
    """
    key, equals, text = override.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise ConfigError(f"-o {override}: not of the form key.path=value, e.g. train.epochs=3")
    types = types_at(Config, parts)
    is_list = text.startswith("[") and any(get_origin(kind) is list for kind in types)
    is_text = str in types and text not in ("null", "~", "") and not is_list
    value = text if is_text else parse_yaml(text, f"-o {override}")
    set_key(tree, key, value, f"-o {override}")
    return key


def set_key(tree: dict[str, Any], key: str, value: Any, source: str) -> None:
    """Set one key of a nested mapping by its path. Raises ConfigError, naming `source`, if the path is impossible."""
    *sections, last = key.split(".")
    node = tree
    for section in sections:
        if node.get(section) is None:
            node[section] = {}
        node = node[section]
        if not isinstance(node, dict):
            raise ConfigError(f"{source}: {section} is not a section")
    node[last] = value


def types_at(annotation: Any, parts: Sequence[str]) -> list[Any]:
    """The plain types that the key at this path of the schema takes; none for an unknown key."""
    if not parts:
        return list(alternatives(annotation))
    return [
        kind
        for option in alternatives(annotation)
        if is_section(option) and parts[0] in option.model_fields
        for kind in types_at(option.model_fields[parts[0]].annotation, parts[1:])
    ]


def check(tree: dict[str, Any], source: str, sources: dict[str, str]) -> Config:
    """A Config from a tree of plain values; the first error is raised as ConfigError."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        path, message = describe(error.errors(), tree)
    given = [text for key, text in sources.items() if f"{path}.".startswith(f"{key}.")]
    raise ConfigError(": ".join(filter(None, (given[-1] if given else source, path, message)))) from None


def to_yaml(config: Config) -> str:
    """The resolved config, every key written out. `load_config` reads it back to an equal Config."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def config_hash(config: Config) -> str:
    """A short hash that differs if the resolved configs differ."""
    tree = config.model_dump(mode="json")
    for key in UNHASHED_IF_UNSET:
        *sections, last = key.split(".")
        section = reduce(dict.__getitem__, sections, tree)
        if not section[last]:
            del section[last]
    text = json.dumps(tree, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def differences(old: Config, new: Config) -> Iterator[tuple[str, Any, Any]]:
    """(key path, old value, new value) for each key in which two configs differ."""
    before, after = flat(old.model_dump(mode="json")), flat(new.model_dump(mode="json"))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield key, before.get(key), after.get(key)


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping as a flat one from key paths to values."""
    result: dict[str, Any] = {}
    for key, value in tree.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return result


def without_folders(config: dict[str, Any]) -> dict[str, Any]:
    """A config with only the last name of each path: the folders of one machine mean nothing on another."""
    for key in PATHS:
        section, name = key.split(".")
        if isinstance(value := config[section][name], str):
            config[section][name] = Path(value).name
    return config
