"""Networks by name, published weights, and predictions of a trained network."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from paddle import nn
from scipy.special import softmax

from paddlecnn import models
from paddlecnn.api.checks import check_choice, check_type
from paddlecnn.config import TEST_VIEWS, Preprocess
from paddlecnn.errors import ConfigError, WeightsMismatch
from paddlecnn.evaluation.layer_output import layer_output
from paddlecnn.evaluation.load_run import LoadedRun
from paddlecnn.evaluation.predict_images import (
    Classifier,
    ImageLike,
    image_files,
    most_probable,
    predict_images,
    published_classifier,
)
from paddlecnn.models.weights import load_weights

if TYPE_CHECKING:
    from paddlecnn.reporting.explain import Explanation

logger = logging.getLogger(__name__)


def create_model(
    name: str, num_classes: int = 1000, weights: str | Path | None = None, strict: bool = True, **options: Any
) -> nn.Layer:
    """Build a registered network, in training mode; with random weights unless `weights` are given.

    weights: the name of a published file (docs/weights.md), `paddle` for Paddle's own weights of this network, or the
        path of a file. If the number of classes differs, the last layer keeps its random values, and the log says so.
    strict: False loads what fits and logs a warning that lists the rest
    options: of the network (docs/models.md), as in model.options of a config
    Raises ModelError for an unknown network or option, WeightsError for weights that are missing or do not fit.
    """
    network = models.create_model(name, num_classes=num_classes, **options)
    if weights is None:
        return network
    check_type("weights", weights, (str, Path), "the name of a published file, paddle, or the path of a file")
    try:
        report = load_weights(network, weights, strict)
    except WeightsMismatch as error:
        raise WeightsMismatch(f"{error}; strict=False loads what fits and lists the rest") from None
    level = logging.WARNING if report.missing or report.unexpected or report.notes else logging.INFO
    for line in report.lines():
        logger.log(level, "%s", line)
    return network


class Predictor(ABC):
    """A trained network with its class names and the preprocessing of its images.

    All methods take images as paths, PIL images, uint8 arrays [H, W, 3] in RGB, or a list of these. An image that
    cannot be read raises DataError.
    """

    @property
    @abstractmethod
    def _classifier(self) -> Classifier | LoadedRun: ...

    @property
    def model(self) -> nn.Layer:
        """The network with its weights, in evaluation mode."""
        return self._classifier.model

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the network's outputs."""
        return self._classifier.classes

    @property
    def preprocess(self) -> Preprocess:
        """How an image becomes the network's input, with the keys of data.preprocess (docs/data.md)."""
        return self._classifier.preprocess

    def predict(
        self, images: ImageLike | Sequence[ImageLike], topk: int | None = None, tta: str = "none"
    ) -> pd.DataFrame:
        """The predicted class and the probability of each class, one row per image.

        images: as above, or a folder; the index then holds the paths of the images in it and its subfolders
        topk: instead, this many rows per image, most probable class first, with columns image, class, probability
        tta: average several views of each image, as `predict --tta` does
        The probabilities are the network's, not calibrated.
        """
        return prediction_of([self._classifier], images, topk, tta)

    def features(self, images: ImageLike | Sequence[ImageLike], layer: str) -> np.ndarray:
        """The output of a layer, float32 [N, C, H, W] or [N, units], with dropout off.

        layer: its name, as relu7, or its path, as classifier.relu7; `print(run.model)` shows them
        Raises ModelError for a name that no layer or more than one layer has.
        """
        return layer_output(self._classifier, several(images), layer)

    def explain(self, image: ImageLike) -> Explanation:
        """Grad-CAM of an image (Selvaraju et al. 2017) for its most probable class, and its five most probable classes.

        A notebook shows the result as a picture; `pixels` is the image, `heat` the map, `top` the classes.
        Raises ModelError for a network without a convolution.
        """
        from paddlecnn.reporting.explain import explain  # here, because matplotlib takes a second to import

        return explain(self._classifier, image)


class Pretrained(Predictor):
    """A network with published ImageNet weights.

    notes: remarks on how they were loaded
    """

    def __init__(self, name: str, classifier: Classifier) -> None:
        self.name, self.notes = name, classifier.notes
        self._loaded = classifier

    def __repr__(self) -> str:
        return f"Pretrained({self.name}: {len(self.classes):,} classes, {self.preprocess.size} pixels)"

    @property
    def _classifier(self) -> Classifier:
        return self._loaded


def load_pretrained(name: str, weights: str | Path) -> Pretrained:
    """Open a network with published weights for the 1,000 classes of ImageNet, as `predict --model --weights` does.

    weights: as for `create_model`
    Raises ModelError for an unknown network, WeightsError for weights that lack a layer, classes or preprocessing.
    """
    check_type("weights", weights, (str, Path), "the name of a published file, paddle, or the path of a file")
    classifier = published_classifier(name, str(weights))
    for note in classifier.notes:
        logger.warning("%s: %s", weights, note)
    return Pretrained(name, classifier)


def prediction_of(
    classifiers: Iterable[Classifier | LoadedRun], images: ImageLike | Sequence[ImageLike], topk: int | None, tta: str
) -> pd.DataFrame:
    """The table of `Predictor.predict`, from the mean logits of one or several networks."""
    check_choice("tta", tta, TEST_VIEWS)
    if topk is not None and (not isinstance(topk, int) or topk < 1):
        raise ConfigError(f"topk {topk!r}: must be a number of classes, 1 or more")
    index, many = None, several(images)
    if isinstance(images, (str, Path)) and Path(images).is_dir():
        many = list(image_files([Path(images)]))
        index = pd.Index([str(path) for path in many], name="path")
    predicted = predict_images(classifiers, many, tta)
    values, classes = softmax(predicted.logits, axis=1), predicted.classes
    if topk is not None:
        places = range(len(many)) if index is None else index
        rows = [
            (place, *one)
            for place, row in zip(places, values, strict=True)
            for one in most_probable(classes, row, topk)
        ]
        return pd.DataFrame(rows, columns=["image", "class", "probability"])
    names = np.array(classes, dtype=object)
    table = pd.DataFrame(values, index, columns=list(classes))
    table.insert(0, "class", names[values.argmax(axis=1)], allow_duplicates=True)
    return table


def several(images: ImageLike | Sequence[ImageLike]) -> list[ImageLike]:
    """One image or several as a list."""
    return list(images) if isinstance(images, (list, tuple)) else [images]  # type: ignore[list-item]
