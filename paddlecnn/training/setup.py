"""The objects of a training, built from a config: data, model, loaders."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from paddlecnn import distributed
from paddlecnn.config import Config, Plateau, Preprocess
from paddlecnn.configfile import config_hash
from paddlecnn.data.audit.inspection import filter_readable
from paddlecnn.data.base import Splits
from paddlecnn.data.datasets import defaults, open_dataset
from paddlecnn.data.exclusion import excluded_ids
from paddlecnn.data.pipeline.features import FeatureLoader, FrozenFeatures, Unit, frozen_features
from paddlecnn.data.pipeline.loader import Loader
from paddlecnn.data.pipeline.transforms import resolve
from paddlecnn.errors import ConfigError, WeightsMismatch
from paddlecnn.models import create_model, freeze
from paddlecnn.models.layers import LocalResponseNorm
from paddlecnn.models.registry import check_forward, is_published
from paddlecnn.models.weights import load_weights
from paddlecnn.models.weights.conversion import listed
from paddlecnn.onednn import Engine, choose_engine, loses_gradient
from paddlecnn.randomness import random_seed
from paddlecnn.runs.checkpoint import SUMS, Checkpoint, load_state
from paddlecnn.runs.state import DataIdentity, ModelIdentity, ModuleIdentity, RunIdentity
from paddlecnn.runs.user_module import load_module
from paddlecnn.text_tables import counted
from paddlecnn.training.init_from import preprocess_for, record_of_file, take_over
from paddlecnn.training.loss import class_weights
from paddlecnn.training.optim import check_optimizer

logger = logging.getLogger(__name__)

FIRST_IMAGES = 5000  # without augmentation, for a network initialised from statistics of its input


@dataclass(frozen=True)
class TrainingSetup:
    """A config with its data opened and its model built; nothing is written yet."""

    config: Config
    splits: Splits
    preprocess: Preprocess
    model: paddle.nn.Layer
    train: Loader
    val: Loader
    excluded: list[tuple[str, str]]  # (id, reason) of each image that cannot be read or that data.exclude names
    engine: Engine
    module: ModuleIdentity | None
    trained: paddle.nn.Layer  # what a step runs: the model, or the layers of it that read cached features
    features: FrozenFeatures | None  # the cache of the frozen layers in front of them
    fresh: tuple[paddle.nn.Layer, ...] = ()  # layers that the loaded weights left at their random values
    weights_record: dict[str, Any] | None = None  # what the weights of a run in model.weights were trained on
    class_weights: np.ndarray | None = None  # of the loss

    def missing_features(self) -> list[Unit]:
        """The features to compute: all training views, including those of the validation images, which are training
        images of the other folds."""
        if self.features is None:
            return []
        assert isinstance(self.train, FeatureLoader)
        assert isinstance(self.val, FeatureLoader)
        views = list(dict.fromkeys([*self.train.views, *self.val.views]))
        return self.features.missing([self.train.dataset, self.val.dataset], views)

    @property
    def identity(self) -> RunIdentity:
        """The constant part of every checkpoint of this run."""
        config, train = self.config, self.splits.train
        return RunIdentity(
            model=ModelIdentity(name=config.model.name, num_classes=len(train.classes), options=config.model.options),
            preprocess=self.preprocess,
            classes=train.classes,
            config_hash=config_hash(config),
            module=self.module,
            engine=self.engine.name,
            precision=self.engine.precision,
            data=DataIdentity(name=config.data.name, train=train.fingerprint, val=self.splits.val.fingerprint),
        )


def build_training(
    config: Config,
    engine_name: str | None = None,
    start: Checkpoint | None = None,
    module: ModuleIdentity | None = None,
) -> TrainingSetup:
    """Open the data, build the model and load its weights. Raises a UserError for every error that a user can cause.

    engine_name: instead of train.engine
    start: weights and preprocessing to start from, instead of model.weights
    module: the one that a resumed run was trained with; the config's must be the same
    """
    engine = choose_engine(engine_name or config.train.engine, config.train.precision, paddle.get_device())
    module = load_module(config.model.module, module) if config.model.module else None
    splits = open_dataset(config.data, config.seed)
    if not len(splits.val):
        check_without_validation(config)
    readable, excluded = filter_readable(splits.train)
    report_excluded(excluded)
    excluded += excluded_by(config.data.exclude)
    splits = dataclasses.replace(splits, train=readable)
    weights_in_loss = class_weights(config.train, readable)
    paddle.seed(random_seed(config.seed, "initial weights"))  # which depend on the seed alone
    model = create_model(config.model.name, num_classes=len(readable.classes), **config.model.options)
    report_without_effect(model, config.model.options)
    freeze(model, config.model.freeze)
    if config.model.freeze != "none" and not start and not config.model.weights:
        logger.warning("model.freeze: %s: these layers keep random weights; set model.weights", config.model.freeze)
    published, fresh, weights_record = initial_weights(model, config, start, readable.classes)
    if engine.name == "paddle":
        report_lost_gradients(model)
    preprocess = resolve_preprocess(config, model, published)
    if not is_published(config.model.name):
        check_forward(model, preprocess.size)
    if hasattr(model, "initialise_from") and not start and not config.model.weights:
        first = splits.train.subset(np.arange(min(FIRST_IMAGES, len(splits.train))))
        model.initialise_from(next(Loader(first, preprocess, len(first)).epoch(0)).images)
    trained, features = frozen_features(model, config, preprocess, engine, training=True)
    train, val = build_loaders(config, splits, preprocess, features)
    report_large_batch(train)
    check_empty_shares(train)
    check_optimizer(model, config, len(train))
    return TrainingSetup(
        config,
        splits,
        preprocess,
        engine.apply(model),
        train,
        val,
        excluded,
        engine,
        module,
        trained,
        features,
        fresh,
        weights_record,
        weights_in_loss,
    )


def check_without_validation(config: Config) -> None:
    """Raise ConfigError for what cannot do without validation images."""
    advice = "needs validation images, and data.val_fraction is 0; set it above 0, or leave"
    if config.train.early_stop:
        raise ConfigError(f"train.early_stop: {advice} train.early_stop out")
    if isinstance(config.optim.schedule, Plateau):
        raise ConfigError(f"optim.schedule: plateau {advice} the schedule out")


def initial_weights(
    model: paddle.nn.Layer, config: Config, start: Checkpoint | None, classes: Sequence[str]
) -> tuple[list[Preprocess], tuple[paddle.nn.Layer, ...], dict[str, Any] | None]:
    """Load the weights of `start` or of model.weights. Returns their preprocessing, if known, the layers left at their
    random values, and the record of weights of a run."""
    if start:
        taken = take_over(model, start.model)
        report_other_classes(start.state.classes, classes)
        return [preprocess_for(model, start.state.preprocess)], layers_without(model, taken), None
    if not config.model.weights:
        return [], (), None
    folder = Path(config.model.weights_dir) if config.model.weights_dir else None
    try:
        weights = load_weights(model, config.model.weights, config.model.strict, folder)
    except WeightsMismatch as error:
        raise WeightsMismatch(f"{error}; model.strict: false loads what fits and lists the rest") from None
    for line in weights.lines():
        logger.info("%s", line)
    origin = origin_of(Path(weights.path))
    if origin:
        report_other_classes(origin.classes, classes)
    if weights.preprocess:
        preprocess = [Preprocess(**weights.preprocess)]
    else:
        preprocess = [preprocess_for(model, origin.preprocess)] if origin else []
    record = record_of_file(Path(weights.path), origin) if origin else None
    return preprocess, layers_without(model, weights.loaded), record


def report_other_classes(theirs: Sequence[str], ours: Sequence[str]) -> None:
    """Report a last layer that fits in shape but was trained for other classes, or for the same in another order."""
    if len(theirs) == len(ours) and tuple(theirs) != tuple(ours):
        logger.warning(
            "the weights to start from were trained for the classes %s, but the data have %s; a last layer that fits "
            "is taken over all the same",
            listed(list(theirs), 5),
            listed(list(ours), 5),
        )


def origin_of(path: Path) -> RunIdentity | None:
    """The run that weights are an export or a checkpoint of; None for all others."""
    if path.suffix.lower() != ".safetensors":
        return None
    if all((path.parent / name).is_file() for name in (SUMS, "state.json")):
        return load_state(path.parent)
    from paddlecnn.evaluation.exported import read_manifest

    return read_manifest(path)


def build_loaders(
    config: Config, splits: Splits, preprocess: Preprocess, features: FrozenFeatures | None
) -> tuple[Loader, Loader]:
    """This process's share of the training and of the validation images, or of their cached features."""
    shared: dict[str, Any] = {
        "workers": config.data.workers,
        "shard": (distributed.rank(), distributed.world_size()),
        "cache": None if features else config.data.cache,
    }
    drawn: dict[str, Any] = {"augment": config.data.augment, "seed": config.seed, "shuffle": True}
    train = Loader(splits.train, preprocess, config.train.batch_size, **drawn, **shared)
    val = Loader(splits.val, preprocess, config.train.batch_size, **shared)
    return (FeatureLoader(train, features), FeatureLoader(val, features)) if features else (train, val)


def layers_without(model: paddle.nn.Layer, loaded: Sequence[str]) -> tuple[paddle.nn.Layer, ...]:
    """The layers with weights or statistics of their own, none of which were loaded."""
    return tuple(
        layer
        for name, layer in model.named_sublayers()
        if (own := layer.state_dict(include_sublayers=False)) and not any(f"{name}.{key}" in loaded for key in own)
    )


def resolve_preprocess(config: Config, model: paddle.nn.Layer, published: list[Preprocess]) -> Preprocess:
    """The config's preprocessing, completed from the published weights, the model's input size and the data set."""
    input_size = getattr(model, "input_size", None)  # a user's own network need not state one
    stated = [Preprocess(size=input_size)] if input_size else []
    preprocess = resolve(config.data.preprocess, *published, *stated, defaults(config.data.name))
    if input_size and preprocess.size != input_size:
        raise ConfigError(
            f"data.preprocess.size: {preprocess.size}, but {config.model.name} takes images of "
            f"{input_size}; leave it out, or set model.options.input_size too"
        )
    return preprocess


def report_without_effect(model: paddle.nn.Layer, options: dict[str, Any]) -> None:
    """Warn of options that describe a layer which the network does not have."""
    kinds = {type(layer) for layer in model.sublayers()}
    if "lrn" in options and is_published(model.name) and LocalResponseNorm not in kinds:
        logger.warning("model.options.lrn: has no effect, because this network has no LRN; set norm: lrn beside it")
    if options.get("dropout") and is_published(model.name) and paddle.nn.Dropout not in kinds:
        logger.warning("model.options.dropout: has no effect, because this network has no hidden layer")


def report_lost_gradients(model: paddle.nn.Layer) -> None:
    """Report the batch normalisations of which Paddle 3.3 trains neither scale nor shift, though one of them should."""
    lost = [name for name, layer in model.named_sublayers() if loses_gradient(layer)]
    if lost:
        logger.warning(
            "engine: Paddle gives a batch normalisation no gradient unless both its scale and its shift train: "
            "%s will not learn; engine onednn trains them",
            ", ".join(lost),
        )


def report_large_batch(train: Loader) -> None:
    images = len(train.dataset)
    if train.batch_size > images:
        logger.warning(
            "train.batch_size: %s is more than the %s training images; each epoch is one step, with all of them",
            f"{train.batch_size:,}",
            f"{images:,}",
        )


def check_empty_shares(train: Loader) -> None:
    """Raise ConfigError if a process would get no image of a batch and this PaddlePaddle cannot run an empty one.

    3.3 can, 3.0 cannot.
    """
    processes, images = distributed.world_size(), len(train.dataset)
    smallest = images % train.batch_size or train.batch_size
    if smallest >= processes:
        return
    try:
        paddle.nn.functional.conv2d(paddle.zeros([0, 3, 1, 1]), paddle.zeros([1, 3, 1, 1]))
    except ValueError:
        raise ConfigError(
            f"train.batch_size: {train.batch_size}: of {images:,} images, a batch of {smallest} remains for "
            f"{processes} processes, and PaddlePaddle {paddle.__version__} cannot run an empty share; choose another "
            "batch size"
        ) from None


def excluded_by(file: str | None) -> list[tuple[str, str]]:
    """The images that data.exclude names, with this as the reason."""
    names = list(excluded_ids(Path(file))) if file else []
    if names:
        logger.info(
            "data.exclude: %s: %s left out of training and validation, listed in the run's excluded.csv",
            *(file, counted(len(names), "image")),
        )
    return [(name, f"named by data.exclude: {file}") for name in names]


def report_excluded(excluded: list[tuple[str, str]]) -> None:
    if excluded:
        names = ", ".join(name for name, _ in excluded[:5]) + (", ..." if len(excluded) > 5 else "")
        logger.warning(
            f"{counted(len(excluded), 'training image')} left out as unreadable ({names}); the run's excluded.csv "
            "lists the reasons, and `paddlecnn check-data` checks all parts"
        )
