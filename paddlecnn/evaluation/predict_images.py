"""Predictions of one or several networks for single images: files, PIL images and arrays."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import numpy as np
import paddle
import pandas as pd
from PIL import Image
from scipy.special import softmax
from tqdm import tqdm

from paddlecnn.config import Preprocess
from paddlecnn.data.pipeline.transforms import centre_crop, normalise, resolve, square
from paddlecnn.data.pipeline.views import View, prediction_views
from paddlecnn.data.sources.folder import image_names
from paddlecnn.data.storage.images import SUFFIXES, read_image, refuse_without_white, to_rgb, upright
from paddlecnn.errors import DataError, WeightsError, WeightsMismatch
from paddlecnn.evaluation.calibration import probability_columns
from paddlecnn.evaluation.load_run import LoadedRun
from paddlecnn.evaluation.predict import Predictions, merge
from paddlecnn.models import create_empty_model
from paddlecnn.models.mode import evaluation_mode
from paddlecnn.models.network import ConvClassifier
from paddlecnn.models.weights import load_weights
from paddlecnn.onednn import Engine, choose_engine

BATCH = 16

ImageLike = str | Path | Image.Image | np.ndarray


@dataclass(frozen=True)
class Classifier:
    """A network in evaluation mode with its class names and the preprocessing of its images."""

    model: paddle.nn.Layer
    classes: tuple[str, ...]
    preprocess: Preprocess
    notes: tuple[str, ...] = ()  # remarks on how its weights were loaded
    engine: Engine = field(default_factory=Engine)


@dataclass(frozen=True)
class FilePrediction:
    """The logits [C] of an image file, or the reason why it cannot be read."""

    path: str
    classes: tuple[str, ...]
    logits: np.ndarray | None
    error: str | None = None

    def top(self, count: int) -> list[tuple[str, float]]:
        """The most probable classes with their probabilities; none if the file cannot be read."""
        return [] if self.logits is None else most_probable(self.classes, softmax(self.logits), count)

    def as_text(self, count: int) -> str:
        return f"{self.path}: " + ", ".join(f"{name} {probability:.2f}" for name, probability in self.top(count))

    def as_json(self, count: int) -> dict[str, Any]:
        if self.error:
            return {"path": self.path, "error": self.error}
        return {"path": self.path, "top": [{"class": name, "probability": value} for name, value in self.top(count)]}


def published_classifier(
    name: str, weights: str, engine: str | None = None, precision: str | None = None
) -> Classifier:
    """A registered network with published ImageNet weights.

    Raises WeightsError if a layer is missing from the file, if its number of classes is not 1000, or if its
    preprocessing is unknown: each would yield plausible but wrong predictions.
    """
    model = create_empty_model(name, num_classes=1000)
    try:
        report = load_weights(cast(ConvClassifier, model), weights)
    except WeightsMismatch as error:
        raise WeightsMismatch(
            f"{error}; without all of its layers {name} cannot classify; name a file that has them"
        ) from None
    if report.replaced:
        raise WeightsError(
            f"{weights}: {report.replaced}, those of ImageNet; for a run of paddlecnn, give its folder, "
            "which contains its class names"
        )
    if report.preprocess is None:
        raise WeightsError(
            f"{weights}: the preprocessing of its images is unknown; for a run of paddlecnn, give its "
            "folder; other weights can be trained further with data.preprocess in a config"
        )
    model.eval()
    chosen = choose_engine(engine or "auto", precision or "float32", paddle.get_device())
    chosen.report()
    return Classifier(
        chosen.apply(model), imagenet_classes(), resolve(Preprocess(**report.preprocess)), tuple(report.notes), chosen
    )


def predict_images(
    classifiers: Iterable[Classifier | LoadedRun], images: Sequence[ImageLike], tta: str = "none"
) -> Predictions:
    """The mean of the logits of one or several networks; the ids are the images' numbers.

    images: paths, PIL images, or uint8 arrays [H, W, 3] in RGB
    tta: the views of each image, as in `prediction_views`
    Raises DataError for the first image that cannot be read, and if the networks have different classes.
    """
    ids = [str(number) for number in range(len(images))]
    parts = []
    for classifier in classifiers:
        views = prediction_views(tta, classifier.preprocess)
        logits = [np.zeros((0, len(classifier.classes)))]
        for start in range(0, len(images), BATCH):
            batch = [squares_of(image, views, classifier.preprocess.fit) for image in images[start : start + BATCH]]
            logits.append(mean_over_views(classifier, batch, views))
        parts.append(Predictions(ids, classifier.classes, np.concatenate(logits)))
    return merge(parts)


def predict_files(
    classifier: Classifier | LoadedRun, paths: Sequence[Path], tta: str = "none"
) -> Iterator[FilePrediction]:
    """A prediction for each file, in order; an unreadable file does not stop the rest."""
    views = prediction_views(tta, classifier.preprocess)
    with tqdm(total=len(paths), unit="image", disable=None, leave=False) as progress:
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            squares, errors = {}, {}
            for path in batch:
                try:
                    squares[path] = squares_of(path, views, classifier.preprocess.fit)
                except DataError as error:
                    errors[path] = str(error)
            rows = dict(zip(squares, mean_over_views(classifier, list(squares.values()), views), strict=True))
            for path in batch:
                yield FilePrediction(str(path), classifier.classes, rows.get(path), errors.get(path))
            progress.update(len(batch))


def predict_files_by_mean(
    classifiers: Iterable[Classifier | LoadedRun], paths: Sequence[Path], tta: str = "none"
) -> list[FilePrediction]:
    """`predict_files` by several networks: the mean of their logits, as a submission of several runs takes it.

    Of a generator only one network is in memory at a time. Raises DataError if they have different classes.
    """
    parts, unreadable = [], {}
    for classifier in classifiers:
        found = list(predict_files(classifier, paths, tta))
        unreadable.update({one.path: one for one in found if one.error})
        logits = {one.path: one.logits for one in found if one.logits is not None}
        rows = np.array(list(logits.values())).reshape(-1, len(classifier.classes))
        parts.append(Predictions(list(logits), classifier.classes, rows))
    mean = merge(parts)
    row_of = dict(zip(mean.ids, mean.logits, strict=True))
    return [unreadable.get(path) or FilePrediction(path, mean.classes, row_of[path]) for path in map(str, paths)]


def prediction_table(predictions: Sequence[FilePrediction]) -> pd.DataFrame:
    """path, predicted, then the probability of each class; both missing for an image that cannot be read."""
    classes = predictions[0].classes
    logits = [np.full(len(classes), np.nan) if one.logits is None else one.logits for one in predictions]
    predicted = [None if one.logits is None else classes[one.logits.argmax()] for one in predictions]
    names = pd.DataFrame({"path": [one.path for one in predictions], "predicted": predicted})
    header = probability_columns(classes, tuple(names.columns))
    return pd.concat([names, pd.DataFrame(softmax(np.array(logits), axis=1), columns=header)], axis=1)


def squares_of(image: ImageLike, views: Iterable[View], fit: str | None) -> dict[int, np.ndarray]:
    """The square of an image (data.preprocess.fit), uint8 [R, R, 3], at each side R that the views are cut from.

    Raises DataError if the image cannot be read.
    """
    pixels = pixels_of(image)
    return {side: square(pixels, side, fit) for side in {view.resize for view in views}}


def mean_over_views(
    classifier: Classifier | LoadedRun, images: Sequence[dict[int, np.ndarray]], views: dict[View, float]
) -> np.ndarray:
    """The mean of the logits over weighted views, float64 [N, C], of images as `squares_of` gives them."""
    total = np.zeros((len(images), len(classifier.classes)))
    if images:
        for view, weight in views.items():
            pixels = view.cut(np.stack([squares[view.resize] for squares in images]), classifier.preprocess.size)
            total += weight * forward(classifier, normalise(pixels, classifier.preprocess))
    return total


def forward(classifier: Classifier | LoadedRun, inputs: np.ndarray) -> np.ndarray:
    """Logits, float32 [N, C], of network inputs [N, 3, S, S]."""
    with paddle.no_grad(), classifier.engine.autocast(), evaluation_mode(classifier.model):
        return classifier.model(paddle.to_tensor(inputs)).astype("float32").numpy()


def seen_part(pixels: np.ndarray, spec: Preprocess) -> np.ndarray:
    """The part of an image uint8 [H, W, 3] that a network sees, uint8 [3, S, S]."""
    return centre_crop(square(pixels, spec.resize, spec.fit)[None], spec.size)[0]


def pixels_of(image: ImageLike) -> np.ndarray:
    """An image as uint8 [H, W, 3] in RGB. Raises DataError if it cannot be read or has another format."""
    if isinstance(image, (str, Path)):
        if Path(image).is_dir():
            raise DataError(f"{image}: is a folder; name the images in it, in the order of the results")
        require_there(Path(image))
        return read_image(image)
    if isinstance(image, Image.Image):
        refuse_without_white(image, "PIL image")
        try:
            return np.asarray(to_rgb(upright(image)))
        except (OSError, ValueError, SyntaxError) as error:  # PIL decodes on first use
            raise DataError(f"PIL image: cannot be decoded ({error})") from None
    if not isinstance(image, np.ndarray):
        raise DataError(f"{type(image).__name__}: not an image; give a path, a PIL image or a uint8 array [H, W, 3]")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise DataError(f"array of {image.dtype} {list(image.shape)}: an image must be a uint8 array [H, W, 3] in RGB")
    return image


def require_there(path: Path) -> None:
    """Raise DataError for a path that does not exist, with a hint at what may be wrong with its name."""
    if os.path.lexists(path):
        return
    name = str(path)
    advice = "name an image or a folder of images"
    if name == "-":
        advice = "images are read from files, not from stdin"
    elif re.match(r"\w+:/", name):
        advice = "a URL is not read; download the image first"
    elif any(character in name for character in "*?["):
        advice = "leave out the quotes around a pattern, so that the shell expands it"
    raise DataError(f"{path}: no such file; {advice}")


def most_probable(classes: Sequence[str], probabilities: np.ndarray, topk: int) -> list[tuple[str, float]]:
    """The `topk` most probable classes of one image in decreasing order."""
    order = np.argsort(-probabilities, kind="stable")[:topk]
    return [(classes[index], float(probabilities[index])) for index in order]


def image_files(paths: Iterable[Path]) -> list[Path]:
    """The paths, each folder replaced by the images in it and below, without hidden ones.

    Raises DataError for a folder without images and for a path that does not exist.
    """
    found: list[Path] = []
    for path in paths:
        require_there(path)
        inside = [path]
        if path.is_dir():
            inside = [path / name for name in image_names(path)]
            if not inside:
                raise DataError(f"{path}: a folder without images ({', '.join(sorted(SUFFIXES))})")
        found += inside
    return list(dict.fromkeys(found))


def imagenet_classes() -> tuple[str, ...]:
    """The 1,000 classes of ImageNet (ILSVRC 2012), in the order of the outputs of published networks.

    Each is the first word of its WordNet entry; classes that share it (crane) are distinguished. The order is that of
    the WordNet ids, which the file contains.
    """
    lines = files("paddlecnn.models").joinpath("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line.partition(" ")[2] for line in lines)
