"""The output of one layer for some images: features for a classifier, a search or a plot elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from paddlecnn.data.pipeline.transforms import preprocess_image
from paddlecnn.errors import DataError, ModelError, did_you_mean
from paddlecnn.evaluation.load_run import LoadedRun
from paddlecnn.evaluation.predict_images import BATCH, Classifier, ImageLike, pixels_of
from paddlecnn.models.mode import evaluation_mode
from paddlecnn.models.summary import first_tensor
from paddlecnn.onednn import run_by_paddle


def layer_output(classifier: Classifier | LoadedRun, images: Sequence[ImageLike], name: str) -> np.ndarray:
    """The output of the layer `name`, float32 [N, C, H, W] or [N, units], computed by Paddle's own layers.

    images: paths, PIL images, or uint8 arrays [H, W, 3] in RGB
    Raises DataError for no images and for the first one that cannot be read, ModelError as `layer_named`.
    """
    if not images:
        raise DataError("images: an empty list; give at least one image")
    layer = layer_named(classifier.model, name)
    kept: list[paddle.Tensor] = []

    def keep(layer: nn.Layer, inputs: Any, outputs: Any) -> None:
        kept[:] = [first_tensor(outputs)]

    hook = layer.register_forward_post_hook(keep)  # type: ignore[arg-type] # its result is not replaced
    rows = []
    try:
        with run_by_paddle(classifier.model), evaluation_mode(classifier.model), paddle.no_grad():
            for start in range(0, len(images), BATCH):
                batch = images[start : start + BATCH]
                inputs = [preprocess_image(pixels_of(image), classifier.preprocess) for image in batch]
                classifier.model(paddle.to_tensor(np.stack(inputs)))
                rows.append(kept[0].numpy())
    finally:
        hook.remove()
    return np.concatenate(rows)


def layer_named(model: nn.Layer, name: str) -> nn.Layer:
    """The layer of this path (`features.conv1`), or else the only one whose path ends in this name (`conv1`).

    Raises ModelError if there is none, or more than one.
    """
    layers = dict(model.named_sublayers())
    found = [path for path in layers if path.rpartition(".")[2] == name]
    if name in layers:
        return layers[name]
    if len(found) > 1:
        raise ModelError(f"{model.name}: has {len(found)} layers {name}; name one by its path, as {found[0]}")
    if not found:
        innermost = [path.rpartition(".")[2] for path, layer in layers.items() if not layer.sublayers()]
        raise ModelError(f"{model.name}: has no layer {name}{did_you_mean(name, innermost)}")
    return layers[found[0]]
