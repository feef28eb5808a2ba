"""One image explained: the most probable classes, and what supports the first of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import paddle
from matplotlib.figure import Figure
from scipy.special import softmax

from paddlecnn.data.pipeline.transforms import normalise
from paddlecnn.errors import ModelError
from paddlecnn.evaluation.exported import ExportedNetwork
from paddlecnn.evaluation.gradcam import grad_cam
from paddlecnn.evaluation.load_run import LoadedRun
from paddlecnn.evaluation.predict_images import Classifier, ImageLike, forward, most_probable, pixels_of, seen_part
from paddlecnn.files import png_of
from paddlecnn.reporting.activations import enlarged, overlaid
from paddlecnn.reporting.figures import explanation_figure

SHOWN_CLASSES = 5
SIDE = 256  # smallest side of a picture, in pixels


@dataclass(frozen=True, repr=False)
class Explanation:
    """The classes with their probabilities, the part of the image that the network sees and the same with Grad-CAM."""

    top: list[tuple[str, float]]
    pixels: np.ndarray  # uint8 [H, W, 3]
    heat: np.ndarray  # uint8 [H, W, 3]

    def __repr__(self) -> str:
        return f"Explanation({', '.join(f'{name} {probability:.2f}' for name, probability in self.top)})"

    def _repr_png_(self) -> bytes:
        """The figure, for a notebook."""
        return png_of(self.figure())

    def figure(self, name: str = "") -> Figure:
        """The two images beside the probabilities. name: of the image, for the title"""
        (first, probability), prefix = self.top[0], f"{name}: " if name else ""
        return explanation_figure(self.pixels, self.heat, self.top, f"{prefix}{first} ({probability:.1%})")


def explain(classifier: Classifier | LoadedRun, image: ImageLike) -> Explanation:
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
    (probabilities,) = softmax(forward(classifier, inputs), axis=1)
    (heat,) = grad_cam(classifier.model, paddle.to_tensor(inputs), [int(probabilities.argmax())])
    pixels = enlarged(seen.transpose(1, 2, 0), -(-SIDE // seen.shape[1]))
    return Explanation(most_probable(classifier.classes, probabilities, SHOWN_CLASSES), pixels, overlaid(pixels, heat))
