"""One line for a config that does not fit the schema: the key path, a plain message, and the key that was meant."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from paddlecnn.config import Config
from paddlecnn.errors import brief

# What users of other libraries write for a key, in snake case.
OTHER_NAMES = {
    "optim": "optimizer",
    "optim.lr": "learning_rate base_lr init_lr max_lr lr0",
    "optim.lr_scale": "layer_decay discriminative_lr backbone_lr lr_mult",
    "optim.weight_decay": "wd l2 l2_reg regularizer",
    "optim.schedule": "lr_scheduler scheduler lr_schedule",
    "optim.clip_norm": "clip_grad clip_grad_norm grad_clip gradient_clip_val max_grad_norm clipnorm",
    "train.epochs": "num_epochs max_epochs n_epochs",
    "train.batch_size": "bs per_device_train_batch_size",
    "train.accumulate": "gradient_accumulation gradient_accumulation_steps grad_accum_steps accumulate_grad_batches",
    "train.early_stop.patience": "early_stopping early_stop_patience early_stopping_patience",
    "train.ema": "ema_decay model_ema",
    "train.precision": "fp16 bf16 mixed_precision use_amp",
    "data": "dataset",
    "data.root": "data_dir data_path dataset_root image_root",
    "data.val_fraction": "val_split validation_split valid_pct val_size val_ratio",
    "data.workers": "num_workers",
    "data.preprocess.size": "image_size img_size input_size imgsz image_shape",
    "data.augment.affine": "random_affine",
    "data.augment.affine.rotate": "rotation rotation_range random_rotation degrees",
    "data.augment.affine.shear": "shear_range",
    "data.augment.affine.shift": "width_shift_range height_shift_range translate",
    "data.augment.affine.zoom": "zoom_range random_zoom",
    "data.augment.crop": "random_crop",
    "data.augment.cutout": "random_erasing reprob",
    "data.augment.flip": "horizontal_flip random_horizontal_flip hflip random_flip",
    "data.augment.vertical_flip": "random_vertical_flip vflip",
    "model.name": "arch architecture backbone",
    "model.options.dropout": "dropout drop_rate drop dropout_rate",
    "model.weights": "pretrained pretrain checkpoint_path",
    "seed": "random_seed random_state manual_seed",
}
KNOWN_AS = {word: key for key, words in OTHER_NAMES.items() for word in words.split()} | {
    "num_classes": "the number of classes follows from the data",
    "nesterov": "write optim.name: nesterov",
    "warmup_epochs": "write optim.schedule.warmup, in epochs; schedule onecycle has warmup_fraction",
    "device": "the device is an option of the commands, --device",
    "output_dir": "the folder of a run is an option of train, --run DIR",
}
# Keys that had other names in version 0.1, most of them in optim.schedule.
RENAMED = {
    "amp": "precision",
    "every": "step_size",
    "at": "milestones",
    "factor": "gamma",
    "rise": "warmup_fraction",
    "start": "initial_factor",
    "end": "final_factor",
}


def describe(errors: Sequence[Any], tree: dict[str, Any]) -> tuple[str, str]:
    """The key path and a plain message for the most informative of pydantic's errors."""
    # An unknown key says more than the missing one that it was meant to be.
    item = min(errors, key=lambda item: item["type"] != "extra_forbidden")
    path = path_of(item, tree)
    # Of the types that the key takes, the one that fits but for a value inside says more than the others.
    inside = [other for other in errors if (place := path_of(other, tree))[: len(path)] == path != place]
    item, path = (inside[0], path_of(inside[0], tree)) if inside else (item, path)
    key, value = ".".join(path), item["input"]
    if item["type"] == "extra_forbidden":
        return key, f"unknown key{suggest(path, tree)}"
    if item["type"] == "missing":
        return key, "missing; this key has no default"
    if item["type"].startswith("union_tag"):
        tags = [repr(get_args(kind.model_fields["name"].annotation)[0]) for kind in sections_at(path, tree)]
        found = f", not {value['name']!r}" if "name" in value else ""
        return f"{key}.name", f"one of {', '.join(tags)} is needed{found}"
    if item["type"] == "value_error":
        return key, item["msg"].removeprefix("Value error, ")
    if item["type"] in ("model_type", "model_attributes_type"):
        first_key = next(iter(sections_at(path, tree)[0].model_fields))
        example = "..." if value is None or isinstance(value, (bool, list)) else brief(value)
        return key, f"input should be a section of keys such as {{{first_key}: {example}}}, not {brief(value)}"
    first, *others = [other for other in errors if path_of(other, tree) == path]  # one for each type that the key takes
    message = " or ".join([first["msg"], *(other["msg"].removeprefix("Input should be ") for other in others)])
    choices = [
        word for one in (first, *others) for word in re.findall(r"'([^']+)'", one.get("ctx", {}).get("expected", ""))
    ]
    near = difflib.get_close_matches(value.lower(), choices, n=1) if isinstance(value, str) else []
    found = "" if ", not " in message else f", not {brief(value)}"
    return key, f"{message[0].lower()}{message[1:]}{found}{f'; did you mean {near[0]}?' if near else ''}"


def path_of(item: Any, tree: dict[str, Any]) -> list[str]:
    """The key path of one of pydantic's errors, without the members of a union that pydantic also names."""
    path: list[str] = []
    node: Any = tree
    for number, part in enumerate(item["loc"], start=1):
        is_missing = item["type"] == "missing" and number == len(item["loc"])
        parts = range(len(node)) if isinstance(node, (list, tuple)) else node if isinstance(node, dict) else ()
        if part in parts:
            node = node[part]
        elif is_missing or is_default(part, path, node, tree):
            node = None
        else:
            continue
        path.append(str(part))
    return path


def is_default(part: int | str, path: Sequence[str], node: Any, tree: dict[str, Any]) -> bool:
    """Whether `part` is a key of the section at `path` that the tree leaves out: its default is wrong."""
    return isinstance(node, dict) and any(part in section.model_fields for section in sections_at(path, tree))


def sections_at(path: Sequence[str], tree: dict[str, Any]) -> list[type[BaseModel]]:
    """The sections of the schema at a key path; of several kinds only the one that the tree names, if it exists."""
    options: list[type[BaseModel]] = [Config]
    node: Any = tree
    for part in path:
        fields = [option.model_fields[part] for option in options if part in option.model_fields]
        options = [inner for field in fields for inner in alternatives(field.annotation) if is_section(inner)]
        node = node[part]
    if len(options) == 1:
        return options
    name = node.get("name") if isinstance(node, dict) else None
    return [kind for kind in options if name in get_args(kind.model_fields["name"].annotation)] or options


def alternatives(annotation: Any) -> Iterator[Any]:
    """The plain types in an annotation, unions and Annotated taken apart."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for option in get_args(annotation):
            yield from alternatives(option)
    else:
        yield annotation


def is_section(option: Any) -> bool:
    return isinstance(option, type) and issubclass(option, BaseModel)


def suggest(path: Sequence[str], tree: dict[str, Any]) -> str:
    """`; did you mean optim.lr?` if some valid key is near, in spelling or by its name elsewhere."""
    *section, word = path
    here = sorted({name for option in sections_at(section, tree) for name in option.model_fields})
    if RENAMED.get(word) in here:
        return f"; it is now called {'.'.join([*section, RENAMED[word]])}"
    word = snake_case(word)
    if advice := KNOWN_AS.get(word, ""):
        return f"; {advice}" if " " in advice else f"; did you mean {advice}?"
    if near := difflib.get_close_matches(word, here, n=1, cutoff=0.6):
        return f"; did you mean {'.'.join([*section, near[0]])}?"
    same_name = [key for key in key_paths(Config) if key.rpartition(".")[2] == word]
    elsewhere = min(
        same_name, key=lambda key: not key.startswith(".".join(section)), default=None
    )  # here, if it can be
    return f"; did you mean {elsewhere}?" if elsewhere else f"; valid here: {', '.join(here)}"


def snake_case(word: str) -> str:
    """random_horizontal_flip for RandomHorizontalFlip, weight_decay for weight-decay."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word).replace("-", "_").lower()


def key_paths(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key path of the schema."""
    for name, field in section.model_fields.items():
        yield prefix + name
        for option in alternatives(field.annotation):
            if is_section(option):
                yield from key_paths(option, f"{prefix}{name}.")
