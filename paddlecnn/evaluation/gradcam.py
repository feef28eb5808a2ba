"""Grad-CAM: the parts of an image that support a class.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from paddlecnn.errors import ModelError
from paddlecnn.models.mode import evaluation_mode
from paddlecnn.onednn import run_by_paddle


def grad_cam(model: nn.Layer, images: paddle.Tensor, classes: Sequence[int] | np.ndarray) -> np.ndarray:
    r"""Heat maps, float32 [n, S, S] in 0..1, one for the given class of each image.

        alpha_k = mean over i, j of  d y_c / d A_k[i, j]              (equation 1)
        heat    = ReLU(sum over k of alpha_k A_k)                     (equation 2)

    A are the feature maps of the last convolution, after its ReLU; y_c is the logit of the class. The sum is enlarged
    to the size of the image and divided by its maximum. It is as coarse as A: 13x13 in AlexNet, 14x14 in VGG at 224
    pixels, 2x2 in VGG at 32. It is 0 everywhere if no feature map supports the class.

    images: network inputs [n, 3, S, S]; model: returned to its previous mode, with its gradients untouched
    Raises ModelError for a network without a convolution.
    """
    kept: list[paddle.Tensor] = []

    def keep(layer: nn.Layer, inputs: Any, output: paddle.Tensor) -> paddle.Tensor:
        maps = output.detach()
        maps.stop_gradient = False  # even if the weights before it are frozen
        kept[:] = [maps]
        return maps

    hook = last_maps(model).register_forward_post_hook(keep)
    try:
        with paddle.enable_grad(), evaluation_mode(model):  # also within a caller's no_grad
            with run_by_paddle(model):
                logits = model(images)
            chosen = F.one_hot(paddle.to_tensor(np.asarray(classes, np.int64)), logits.shape[1])
            (gradient,) = paddle.grad((logits * chosen).sum(), kept)
    finally:
        hook.remove()
    alpha = gradient.mean(axis=[2, 3], keepdim=True)
    coarse = F.relu((alpha * kept[0]).sum(axis=1, keepdim=True)).detach()
    heat: np.ndarray = F.interpolate(coarse, images.shape[2:], mode="bilinear")[:, 0].astype("float32").numpy()
    largest = heat.max(axis=(1, 2), keepdims=True)
    return heat / np.where(largest > 0, largest, 1)


def last_maps(model: nn.Layer) -> nn.Layer:
    """The last convolution or, after it in the same nn.Sequential, its normalisation and ReLU."""
    convolutions = [layer for layer in model.sublayers() if isinstance(layer, nn.Conv2D)]
    if not convolutions:
        raise ModelError(f"{model.name}: has no convolution, so Grad-CAM has no feature maps to look at")
    last: nn.Layer = convolutions[-1]
    for chain in model.sublayers(include_self=True):
        layers = list(chain.children()) if isinstance(chain, nn.Sequential) else []
        if last in layers:
            for layer in layers[layers.index(last) + 1 :]:
                if not isinstance(layer, (nn.BatchNorm2D, nn.ReLU)):
                    break
                last = layer
            break
    return last
