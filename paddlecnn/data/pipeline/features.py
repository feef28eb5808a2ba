"""The outputs of a network's frozen layers, computed once for each view of each image and kept on disk.

A frozen prefix is a function from images to features. Its rows are kept in float16 (a relative error of at most 2**-11,
or 5e-4), in a folder named after a hash of the layers, their weights, the preprocessing, the precision and (except in
float32) the engine; in it, each row's key is the image's content and the view. So all runs, folds and splits with
the same frozen layers share one folder, and an image is computed once, whatever data set it comes from.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from paddlecnn.config import Config, Preprocess
from paddlecnn.data.base import Dataset
from paddlecnn.data.pipeline.augment import EpochRandom, view_numbers
from paddlecnn.data.pipeline.loader import Batch, Loader, Plan
from paddlecnn.data.pipeline.prefetch import map_ahead
from paddlecnn.data.pipeline.transforms import square, to_input
from paddlecnn.data.pipeline.views import View, training_views
from paddlecnn.data.storage.row_store import RowStore
from paddlecnn.errors import ConfigError, DataError
from paddlecnn.files import require_space
from paddlecnn.models.freezing import Divided, divide
from paddlecnn.onednn import Engine
from paddlecnn.progress_bar import ProgressBar
from paddlecnn.runtime import usable_cores

if TYPE_CHECKING:
    import paddle

logger = logging.getLogger(__name__)

VERSION = "2"  # of decoding, resizing and computing: increase it when the numbers change
AUTO_FOLDER = "cache/features"  # for train.feature_cache: auto, below the working folder
BATCH = 32  # views computed together; the last batch is filled up, so that all have one shape

Unit = tuple[Dataset, int, View]  # one row to compute


class FrozenFeatures:
    """Images to features: the frozen layers of a network, their preprocessing, and the rows on disk."""

    def __init__(self, network: str, divided: Divided, preprocess: Preprocess, engine: Engine, folder: str | Path):
        self.layers, self.engine = engine.apply(divided.frozen), engine
        self.size = preprocess.size
        self.preprocess = preprocess
        self.title = f"{network}-{divided.last}"
        key = fingerprint(divided.frozen, preprocess, engine)
        self.store = RowStore(Path(folder) / f"{self.title}-{self.size}px-{key[:16]}", divided.shape)

    def missing(self, datasets: Sequence[Dataset], views: Sequence[View]) -> list[Unit]:
        """The views of images that have no row yet, image by image."""
        units = [(dataset, i, view) for dataset in datasets for i in range(len(dataset)) for view in views]
        return [units[i] for i in self.store.missing([key_of(*unit) for unit in units])]

    def bytes_of(self, units: Sequence[Unit]) -> int:
        """The size of their rows."""
        return len(units) * self.store.row_bytes

    def compute(self, units: Sequence[Unit], stop: Callable[[], bool] = bool) -> None:
        """Compute and keep the rows of `missing` units.

        A killed process loses the current batch; the next one continues from there.

        stop: called after each batch; True ends the computation early
        Raises DataError if an image cannot be read, if the disk has no room, and for features beyond float16.
        """
        if not units:
            return
        with self.store.writing():
            keys = [key_of(*unit) for unit in units]
            units = [units[i] for i in self.store.missing(keys)]  # another process may have computed some
            size = self.bytes_of(units)
            require_space(self.store.folder, size, "choose another train.feature_cache")
            amount = f"{len(units):,} views to compute, {size / 2**30:.2f} GiB"
            logger.info("features of %s: %s in %s", self.title, amount, self.store.folder)
            with ProgressBar(total=len(units), unit="view", desc=f"features of {self.title}") as bar:
                for block, rows in self.blocks(units):
                    self.store.append([key_of(*unit) for unit in block], rows)
                    bar.update(len(block))
                    if stop():
                        break

    def blocks(self, units: Sequence[Unit]) -> Iterator[tuple[Sequence[Unit], np.ndarray]]:
        """Units and their rows, float16, batch by batch; images are read ahead by threads."""
        blocks = [units[i : i + BATCH] for i in range(0, len(units), BATCH)]
        with closing(map_ahead(self.pixels, blocks, usable_cores())) as batches:
            for block, pixels in zip(blocks, batches, strict=True):
                yield block, self.rows_of(pixels)[: len(block)]

    def pixels(self, block: Sequence[Unit]) -> np.ndarray:
        """uint8 [BATCH, 3, S, S]: the views; the last one is repeated to fill the batch."""
        views = []
        for (dataset, position, _), group in itertools.groupby(block, key=lambda unit: (unit[0], unit[1], 0)):
            image = dataset.image(position)
            views += [
                view.cut(square(image, view.resize, self.preprocess.fit)[None], self.size) for _, _, view in group
            ]
        return np.concatenate(views + [views[-1]] * (BATCH - len(views)))

    def rows_of(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [n, 3, S, S] to float16 [n, ...]. Raises DataError for a value beyond float16's largest, 65,504."""
        import paddle

        with paddle.no_grad(), self.engine.autocast():
            features = self.layers(to_input(pixels, self.preprocess)).astype("float32").numpy()
        with np.errstate(over="ignore"):
            rows = features.astype(np.float16)
        if not np.isfinite(rows).all():
            raise DataError(
                f"features of {self.title}: {np.abs(features).max():g} exceeds float16's 65,504; "
                "set train.feature_cache: off"
            )
        return rows

    def places(self, dataset: Dataset, views: Sequence[View]) -> np.ndarray:
        """int64 [images, views]: the numbers of the rows, all of which must exist."""
        keys = [key_of(dataset, i, view) for i in range(len(dataset)) for view in views]
        return self.store.places_of(keys).reshape(len(dataset), len(views))


class FeatureLoader(Loader):
    """A loader whose batches are features of views of the images in place of their pixels.

    In training, an image is seen in the view that the same (seed, epoch, position) would cut out of its pixels.
    """

    def __init__(self, loader: Loader, features: FrozenFeatures):
        """The same images in the same order as `loader`, which may only flip, and crop at fixed places."""
        vars(self).update(vars(loader), workers=0)
        self.features = features
        choice = None if self.augment is None else training_views(self.augment, self.preprocess)
        self.views = choice or [self.view]
        self.places: np.ndarray | None = None

    def read(self, plan: Plan, epoch: int) -> np.ndarray:
        """The features of the needed images: float16 [n, ...]."""
        if self.places is None:
            self.places = self.features.places(self.dataset, self.views)
        numbers = np.zeros(len(plan.own), np.int64)
        if self.augment is not None:
            draws = EpochRandom(self.seed, epoch, len(self.dataset))
            numbers = view_numbers(plan.own, draws, self.augment, len(self.views))
        return self.features.store.read(self.places[plan.own, numbers])

    def finish(self, plan: Plan, pixels: np.ndarray) -> Batch:
        """From float16 to a batch on the device."""
        import paddle

        labels = None if self.dataset.labels is None else paddle.to_tensor(self.dataset.labels[plan.own])
        return Batch(paddle.to_tensor(pixels.astype(np.float32)), labels, plan.own)


def key_of(dataset: Dataset, position: int, view: View) -> bytes:
    """The key of a row: the image's content and the view."""
    return dataset.content_hashes[position] + view.packed


def fingerprint(layers: paddle.nn.Layer, preprocess: Preprocess, engine: Engine) -> str:
    """A hash of everything that a row depends on except the image and the view.

    In float32 the engine is left out: the two agree to a relative 1e-5 (tests/real/test_weights.py), far less than
    float16's rounding of 5e-4, so they share their rows. In other precisions they differ by 1e-2, and share none.
    """
    kind = "float32" if engine.precision == "float32" else f"{engine.precision} {engine.name}"
    digest = hashlib.sha256(f"{VERSION} {kind}".encode())
    unhashed = {"resize"} if preprocess.fit == "squeeze" else {"resize", "fit"}  # crop was the only one before
    digest.update(preprocess.model_dump_json(exclude=unhashed).encode())
    for layer in layers.children():
        digest.update(f"{layer!r} {getattr(layer, 'window', '')!r}".encode())
    for name, value in layers.state_dict().items():
        digest.update(f"{name} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value.numpy()).tobytes())
    return digest.hexdigest()


def frozen_features(
    model: paddle.nn.Layer, config: Config, preprocess: Preprocess, engine: Engine, *, training: bool
) -> tuple[paddle.nn.Layer, FrozenFeatures | None]:
    """The layers that run in each step, and the cache that they read; the whole model and None if nothing is cached.

    training: the views must be those of the config's augmentation
    Raises ConfigError if the config names a cache and the frozen layers or the augmentation allow none.
    """
    where = config.train.feature_cache
    divided = None if where == "off" else divide(model)
    problem = "" if divided else f"model.freeze: {config.model.freeze}: no layers are frozen before all others"
    if divided and training and training_views(config.data.augment, preprocess) is None:
        problem = "data.augment: only flip, and crop with crop_places, leave a fixed number of views of each image"
    if divided is None or problem:
        if where not in ("auto", "off"):
            raise ConfigError(f"train.feature_cache: {where}: nothing to cache; {problem}")
        if divided:
            logger.info("the frozen layers run in every epoch; %s", problem)
        return model, None
    folder = AUTO_FOLDER if where == "auto" else where
    features = FrozenFeatures(config.model.name, divided, preprocess, engine, folder)
    return engine.apply(divided.trained), features
