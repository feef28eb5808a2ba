"""One image explained: the most probable classes, and what supports the first of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import paddle
from matplotlib.figure import Figure

from paddlecnn.data.pipeline.transforms import normalise
from paddlecnn.errors import ModelError
from paddlecnn.evaluation.exported import ExportedNetwork
from paddlecnn.evaluation.gradcam import grad_cam
from paddlecnn.evaluation.predict import Classifier, ImageLike, forward, most_probable, pixels_of, seen_part
from paddlecnn.reporting.activations import enlarged, overlaid
from paddlecnn.reporting.figures import explanation_figure

SHOWN_CLASSES = 5
SIDE = 256  # smallest side of a picture, in pixels


@dataclass(frozen=True)
class Explanation:
    """The classes with their probabilities, the part of the image that the network sees and the same with Grad-CAM."""

    top: list[tuple[str, float]]
    pixels: np.ndarray  # uint8 [H, W, 3]
    heat: np.ndarray  # uint8 [H, W, 3]

    def figure(self, title: str) -> Figure:
        return explanation_figure(self.pixels, self.heat, self.top, title)


def explain(classifier: Classifier, image: ImageLike) -> Explanation:
    """Classify an image and mark what supports the most probable class.

    Raises DataError for an image that cannot be read, ModelError for an exported program, which has no gradients.
    """
    if isinstance(classifier.model, ExportedNetwork):
        raise ModelError(
            f"{classifier.model.name}: an exported program has no gradients to explain it with; "
            "name the run, or export it with --format safetensors"
        )
    seen = seen_part(pixels_of(image), classifier.preprocess)
    inputs = normalise(seen[None], classifier.preprocess)
    (probabilities,) = forward(classifier, list(inputs))
    (heat,) = grad_cam(classifier.model, paddle.to_tensor(inputs), [int(probabilities.argmax())])
    pixels = enlarged(seen.transpose(1, 2, 0), -(-SIDE // seen.shape[1]))
    return Explanation(most_probable(classifier.classes, probabilities, SHOWN_CLASSES), pixels, overlaid(pixels, heat))
