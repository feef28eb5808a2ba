"""Class names for image files, by a trained run or by a network with published weights."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
from PIL import Image
from tqdm import tqdm

from paddlecnn.config import Preprocess
from paddlecnn.data.pipeline.transforms import preprocess_image, resolve
from paddlecnn.errors import DataError, WeightsError
from paddlecnn.evaluation.load_run import load_run
from paddlecnn.models import create_model
from paddlecnn.models.imagenet import class_names
from paddlecnn.models.weights import load_weights
from paddlecnn.runs.run_dir import find_run

BATCH = 16
ImageLike = str | Path | Image.Image | np.ndarray
ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"}


@dataclass(frozen=True)
class Classifier:
    """A network in evaluation mode, what its outputs mean, how its images are prepared, and what to know of it."""

    model: paddle.nn.Layer
    classes: tuple[str, ...]
    preprocess: Preprocess
    notes: tuple[str, ...] = ()

    def probabilities(self, images: list[np.ndarray]) -> np.ndarray:
        """float32 [N, classes] of prepared images, each [3, S, S]."""
        with paddle.no_grad():
            return paddle.nn.functional.softmax(self.model(paddle.to_tensor(np.stack(images)))).numpy()


@dataclass(frozen=True)
class Answer:
    """The likeliest classes of one image file with their probabilities, or why it could not be read."""

    path: str
    top: list[tuple[str, float]]
    error: str | None = None

    def line(self) -> str:
        """`cat.7.jpg: cat 0.98`"""
        return f"{self.path}: " + ", ".join(f"{name} {probability:.2f}" for name, probability in self.top)

    def as_json(self) -> dict:
        """Plain values for `tools/predict.py --json`."""
        if self.error:
            return {"path": self.path, "error": self.error}
        return {"path": self.path, "top": [{"class": name, "probability": value} for name, value in self.top]}


def classifier_of_run(name: str | Path, module: str | None = None) -> Classifier:
    """The best checkpoint of a run. Raises RunError or CheckpointError."""
    run = load_run(find_run(name), module=module)
    return Classifier(run.model, run.classes, run.preprocess)


def classifier_of_weights(name: str, weights: str) -> Classifier:
    """A registered network with published ImageNet weights.

    Raises WeightsError for a file that lacks a part, that has other classes, or whose preprocessing is not known:
    each would give answers that look like answers.
    """
    model = create_model(name, num_classes=1000)
    report = load_weights(model, weights)
    if report.replaced:
        raise WeightsError(f"{weights}: {report.replaced}, those of ImageNet; a run of ours predicts by its folder, "
                           "which knows its class names")
    if report.preprocess is None:
        raise WeightsError(f"{weights}: how images were prepared for it is not known; a run of ours predicts by its "
                           "folder, other weights can be trained on with data.preprocess in a config")
    model.eval()
    return Classifier(model, class_names(), resolve(Preprocess(**report.preprocess)), tuple(report.notes))


def probabilities_of(classifier: Classifier, images: Sequence[ImageLike]) -> np.ndarray:
    """float32 [N, classes] of images of any kind. Raises DataError for the first that cannot be read."""
    rows = [classifier.probabilities([preprocess_image(as_pixels(image), classifier.preprocess)
                                      for image in images[start:start + BATCH]])
            for start in range(0, len(images), BATCH)]
    return np.concatenate(rows) if rows else np.zeros((0, len(classifier.classes)), np.float32)


def as_pixels(image: ImageLike) -> np.ndarray | Path:
    """A path as it is, and a PIL image or an array as uint8 [H, W, 3] in RGB."""
    if isinstance(image, (str, Path)):
        return Path(image)
    pixels = np.asarray(image.convert("RGB")) if isinstance(image, Image.Image) else image
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        found = f"{pixels.dtype} {list(pixels.shape)}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise DataError(f"an image must be a path, a PIL image or a uint8 array [H, W, 3], not {found}")
    return pixels


def image_files(paths: Iterable[Path]) -> list[Path]:
    """The paths, with each folder replaced by the images in it and below. Raises DataError for a folder of none."""
    found: list[Path] = []
    for path in paths:
        inside = [path]
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file())
            if not inside:
                raise DataError(f"{path}: a folder without images ({', '.join(sorted(ENDINGS))})")
        found += inside
    return found


def classify(classifier: Classifier, paths: list[Path], topk: int) -> Iterator[Answer]:
    """An answer for each file, in order; one that cannot be read does not stop the rest. Progress on a terminal."""
    with tqdm(total=len(paths), unit="image", disable=None, leave=False) as progress:
        for start in range(0, len(paths), BATCH):
            batch = paths[start:start + BATCH]
            yield from classify_batch(classifier, batch, topk)
            progress.update(len(batch))


def classify_batch(classifier: Classifier, paths: list[Path], topk: int) -> list[Answer]:
    """The answers for a few files, computed together."""
    images: list[np.ndarray | str] = [prepared(path, classifier.preprocess) for path in paths]
    readable = [image for image in images if not isinstance(image, str)]
    rows = iter(classifier.probabilities(readable) if readable else ())
    return [Answer(str(path), [], image) if isinstance(image, str) else best(classifier, path, next(rows), topk)
            for path, image in zip(paths, images, strict=True)]


def prepared(path: Path, spec: Preprocess) -> np.ndarray | str:
    """The network's input [3, S, S] of an image file, or why there is none."""
    try:
        return preprocess_image(path, spec)
    except DataError as error:
        return str(error)


def best(classifier: Classifier, path: Path, probabilities: np.ndarray, topk: int) -> Answer:
    """The `topk` likeliest classes of one image, the likeliest first."""
    order = np.argsort(-probabilities, kind="stable")[:topk]
    return Answer(str(path), [(classifier.classes[index], float(probabilities[index])) for index in order])
