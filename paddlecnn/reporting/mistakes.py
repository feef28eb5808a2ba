"""Images of a report: enlarged for a page, and the mistakes with Grad-CAM."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle

from paddlecnn.evaluation.gradcam import grad_cam
from paddlecnn.reporting.activations import enlarged, overlaid
from paddlecnn.reporting.evidence import Evidence, PredictedImages
from paddlecnn.reporting.page import data_uri

MISTAKES = 8  # images in each of the two groups
PICTURE = 144  # smallest side of a picture in the page, in pixels


def picture(images: PredictedImages, position: int, heat: np.ndarray | None = None) -> dict[str, Any]:
    """An image with its label and prediction, and with a heat map over a second copy if one is given."""
    pixels = images.pixels(position).transpose(1, 2, 0)
    large = enlarged(pixels, max(1, -(-PICTURE // len(pixels))))
    classes, row = images.predictions.classes, images.probabilities[position]
    shown = {
        "id": images.predictions.ids[position],
        "label": classes[images.labels[position]],
        "predicted": classes[images.predicted[position]],
        "confidence": row.max(),
        "own": row[images.labels[position]],
        "image": data_uri(large, "JPEG"),
    }
    if heat is not None:
        shown["heat"] = data_uri(overlaid(large, heat), "JPEG")
    return shown


def mistakes(evidence: Evidence) -> list[tuple[str, list[dict[str, Any]]]]:
    """The images of `hardest`, with Grad-CAM."""
    groups = []
    for name, positions in hardest(evidence):
        heats = heat_maps(evidence, positions)
        groups.append((name, [picture(evidence, *pair) for pair in zip(positions, heats, strict=True)]))
    return groups


def hardest(images: PredictedImages) -> list[tuple[str, np.ndarray]]:
    """Positions of the most confident wrong predictions, and of the other images those with the largest loss."""
    confidence, own = images.probabilities.max(axis=1), images.own
    wrong = np.flatnonzero(images.predicted != images.labels)
    certain = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    others = np.setdiff1d(np.arange(len(own)), certain)
    unlikely = others[np.argsort(own[others], kind="stable")][:MISTAKES]
    groups = ("Most confident mistakes", certain), ("Largest losses among the others", unlikely)
    return [(name, positions) for name, positions in groups if len(positions)]


def heat_maps(evidence: Evidence, positions: np.ndarray) -> list[np.ndarray | None]:
    """Grad-CAM of the predicted class for each image; None for all if the last maps are too small to show a place."""
    maps = [layer.output_shape[1:] for layer in evidence.summary.layers if layer.kind == "Conv"]
    if not maps or min(maps[-1]) < 2:
        return [None] * len(positions)
    inputs = paddle.to_tensor(evidence.inputs(positions))
    return list(grad_cam(evidence.loaded.model, inputs, evidence.predicted[positions]))
