"""From a config to the things that train: data, model, loaders."""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import paddle

from paddlecnn import distributed
from paddlecnn.config import Config, Preprocess
from paddlecnn.data.audit.readable import filter_readable
from paddlecnn.data.datasets import Splits, defaults, open_dataset
from paddlecnn.data.pipeline.loader import Loader, make_loader
from paddlecnn.data.pipeline.transforms import resolve
from paddlecnn.errors import ConfigError
from paddlecnn.models import create_model
from paddlecnn.models.weights import WeightsReport, load_weights
from paddlecnn.randomness import random_seed


@dataclass(frozen=True)
class TrainingSetup:
    """A config, made real; nothing is written yet."""

    config: Config
    splits: Splits
    preprocess: Preprocess
    model: paddle.nn.Layer
    train: Loader
    val: Loader
    excluded: list[tuple[str, str]]  # (id, reason) of each training image that cannot be read
    notes: list[str]  # what a person should know before training begins

    def describe(self) -> dict[str, Any]:
        """What a checkpoint tells of its run, whatever the step: enough to predict by it."""
        model = self.config.model
        return {
            "model": {"name": model.name, "num_classes": self.model.num_classes, "options": model.options},
            "preprocess": self.preprocess.model_dump(mode="json"),
            "classes": list(self.splits.train.classes),
            "data": {"name": self.config.data.name, "train": self.splits.train.fingerprint,
                     "val": self.splits.val.fingerprint},
        }


def build_training(config: Config) -> TrainingSetup:
    """Open the data, make the model, load its weights. Raises a UserError for all that a user can cause."""
    splits = open_dataset(config.data, config.seed)
    sound, excluded = filter_readable(splits.train)
    splits = dataclasses.replace(splits, train=sound)
    model = build_model(config, len(splits.train.classes))
    weights = None
    if config.model.weights:
        weights = load_weights(model, config.model.weights, strict=config.model.strict)
    if config.model.freeze == "features":
        model.freeze_features()
    published = [Preprocess(**weights.preprocess)] if weights and weights.preprocess else []
    preprocess = resolve(config.data.preprocess, *published, Preprocess(size=model.input_size),
                         defaults(config.data.name))
    if preprocess.size != model.input_size:
        raise ConfigError(f"data.preprocess.size: {preprocess.size}, but {config.model.name} takes images of "
                          f"{model.input_size}; leave it out, or set model.options.input_size too")
    shared = {"workers": config.data.workers, "shard": (distributed.rank(), distributed.world_size()),
              "cache": config.data.cache}
    train = make_loader(splits.train, preprocess, config.train.batch_size, augment=config.data.augment,
                        seed=config.seed, shuffle=True, **shared)
    val = make_loader(splits.val, preprocess, config.train.batch_size, **shared)
    return TrainingSetup(config, splits, preprocess, model, train, val, excluded, job_notes(config, weights, excluded))


def job_notes(config: Config, weights: WeightsReport | None, excluded: list[tuple[str, str]]) -> list[str]:
    notes = weights.lines() if weights else []
    if excluded:
        names = ", ".join(name for name, _ in excluded[:5]) + (", ..." if len(excluded) > 5 else "")
        notes.append(f"{len(excluded):,} training images cannot be read and are left out ({names}); "
                     "the run's excluded.csv lists them with the reasons")
    if config.train.amp != "off" and not paddle.get_device().startswith("gpu"):
        notes.append(f"train.amp: {config.train.amp} is for a GPU; on this CPU training stays in float32")
    return notes


def build_model(config: Config, num_classes: int) -> paddle.nn.Layer:
    """The config's model with its initial weights, which depend on the seed alone."""
    paddle.seed(random_seed(config.seed, "initial weights"))
    return create_model(config.model.name, num_classes=num_classes, **config.model.options)
