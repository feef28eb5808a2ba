"""Everything that the report of a run is made from: network, history, predictions and images."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import softmax

from paddlecnn import runtime
from paddlecnn.config import Config, Preprocess
from paddlecnn.data.base import Dataset
from paddlecnn.data.datasets import open_dataset
from paddlecnn.data.pipeline.transforms import normalise
from paddlecnn.errors import DataError, RunError
from paddlecnn.evaluation.evaluate import evaluate_run, stored_predictions
from paddlecnn.evaluation.load_run import LoadedRun, load_run
from paddlecnn.evaluation.predict import Predictions
from paddlecnn.evaluation.predict_images import seen_part
from paddlecnn.models.summary import Summary, summarize
from paddlecnn.onednn import run_by_paddle
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.runs.state import RunState

logger = logging.getLogger(__name__)


class NoValidationImages(RunError):
    """A run about which no report can be written, now or later."""


@dataclass(frozen=True)
class PredictedImages:
    """Images that no training used, with their labels and predictions."""

    predictions: Predictions
    images: Dataset | None  # in the order of the predictions; None if they are not there
    preprocess: Preprocess

    @property
    def labels(self) -> np.ndarray:
        assert self.predictions.labels is not None  # validation images are a part of the labelled ones
        return self.predictions.labels

    @cached_property
    def probabilities(self) -> np.ndarray:
        return softmax(self.predictions.logits, axis=1)

    @cached_property
    def predicted(self) -> np.ndarray:
        return self.predictions.logits.argmax(axis=1)

    @cached_property
    def own(self) -> np.ndarray:
        """The probability of each image's label."""
        return self.probabilities[range(len(self.labels)), self.labels]

    def pixels(self, position: int) -> np.ndarray:
        """The part of an image that the network sees, uint8 [3, S, S]."""
        assert self.images is not None
        return seen_part(self.images.image(position), self.preprocess)

    def inputs(self, positions: np.ndarray) -> np.ndarray:
        """Network inputs of images, float32 [n, 3, S, S]."""
        return normalise(np.stack([self.pixels(position) for position in positions]), self.preprocess)


@dataclass(frozen=True)
class Evidence(PredictedImages):
    """The files of a run and its validation images, read once for all sections."""

    loaded: LoadedRun
    history: RunState  # of the last checkpoint, whose history is the longest
    figures: dict[str, Any]  # of the validation images
    missing: str  # the reason, if the images are not there
    environment: dict[str, Any]

    @property
    def config(self) -> Config:
        return self.loaded.config

    @cached_property
    def summary(self) -> Summary:
        with run_by_paddle(self.loaded.model):  # a network that is not the package's is run with hooks
            return summarize(self.loaded.model, self.loaded.preprocess.size, self.config.model.name)


def gather(run: RunDir, module: str | None, device: str, data_changed: bool) -> Evidence:
    """Load the run, and predict its validation images unless that has been done."""
    runtime.choose_device(device)
    loaded = load_run(run, "best", module)
    if loaded.state.best is not None and not loaded.state.best.n:
        raise NoValidationImages(f"{run.path}: was trained without validation images, which a report needs")
    # Stored predictions need not be of the data that are there now.
    stored = None if data_changed else stored_predictions(run, "val", loaded.state)
    if stored is None:
        logger.info("%s: predicting the validation images", run.path)
        found = evaluate_run(run, "val", "best", device, module, data_changed)
        stored = stored_predictions(run, "val", loaded.state, found["data_changed"])
        assert stored is not None
    images, missing = validation_images(loaded, data_changed)
    if missing:
        logger.warning("%s: no pictures in the report: %s", run.path, missing)
    figures, predictions = stored
    history, environment = run.load_state("last"), run.read_environment()
    return Evidence(predictions, images, loaded.preprocess, loaded, history, figures, missing, environment)


def validation_images(loaded: LoadedRun, data_changed: bool) -> tuple[Dataset | None, str]:
    """The validation images of a run, or the reason why there are none."""
    try:
        images = open_dataset(loaded.config.data, loaded.config.seed).val
    except DataError as error:
        return None, str(error)
    if images.fingerprint != loaded.state.data.val and not data_changed:
        return None, "the validation images have changed since the training"
    return images, ""
