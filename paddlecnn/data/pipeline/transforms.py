"""From an image to the network's input, written once for training, evaluation, prediction and export.

    file --read_image--> uint8 [H, W, 3] --square--> uint8 [R, R, 3] --crop--> uint8 [3, S, S] --normalise--> float32

R is `resize`, the side of the square that `fit` makes of the image: its centre, after the short side was resized to R,
or all of it, both sides resized. S is `size`, the network's input. Evaluation takes the central crop, training a random
one (augment.py). The crops are the paper's (AlexNet, sections 2 and 4.1) with R = 256 and S = 224; it subtracts a mean
image where `normalise` uses a mean per channel.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from paddlecnn.config import Preprocess
from paddlecnn.data.storage.images import read_image
from paddlecnn.errors import ConfigError

if TYPE_CHECKING:
    import paddle

MAX_RATIO = 8  # of an image's sides; a longer image is cut before it is resized, since only the centre is used
MAX_REDUCTION = 16  # by blurring, whose cost grows with the reduction; more is averaged in blocks first


def resolve(preprocess: Preprocess, *fallbacks: Preprocess) -> Preprocess:
    """A spec with every key filled, each from the first spec that has it.

    `resize` follows the spec that gives `size`, and equals it if unset there. A mean or deviation from a spec with
    another channel order or scale is converted. Raises ConfigError if the result is not valid.
    """
    sources = [preprocess, *fallbacks]
    spec: dict[str, Any] = {key: first(sources, key) for key in ("size", "channels", "scale")}
    spec["fit"] = next((source.fit for source in sources if source.fit), "crop")
    spec["resize"] = preprocess.resize or next(s for s in sources if s.size is not None).resize or spec["size"]
    for key in ("mean", "std"):
        spec[key] = converted(sources, key, spec["channels"], spec["scale"])
    if spec["resize"] < spec["size"]:
        raise ConfigError(
            f"data.preprocess.resize: {spec['resize']} is less than size {spec['size']}; "
            "the crop would not fit into the image"
        )
    if min(spec["std"]) <= 0:
        raise ConfigError(f"data.preprocess.std: {spec['std']}: every deviation must be above 0")
    return Preprocess(**spec)


def first(sources: list[Preprocess], key: str) -> Any:
    for source in sources:
        if getattr(source, key) is not None:
            return getattr(source, key)
    raise ConfigError(f"data.preprocess.{key}: not set, and neither the weights nor the data set provide a value")


def converted(sources: list[Preprocess], key: str, channels: str, scale: float) -> list[float]:
    """The first mean or std that is set, in the given channel order and scale."""
    at = next((i for i, source in enumerate(sources) if getattr(source, key) is not None), len(sources) - 1)
    values = list(first(sources[at:], key))
    # A source without order or scale takes those of the sources after it, or of the result.
    its_channels = next((s.channels for s in sources[at:] if s.channels), channels) if at else channels
    its_scale = next((s.scale for s in sources[at:] if s.scale), scale) if at else scale
    if its_channels != channels:
        values.reverse()
    return [value * its_scale / scale for value in values] if its_scale != scale else values


def square(image: np.ndarray, side: int, fit: str | None = None) -> np.ndarray:
    """uint8 [H, W, 3] to [side, side, 3]: the short side is resized to `side`, then the centre is cut out.

    fit: with "squeeze" both sides are resized to `side` and nothing is cut (data.preprocess.fit)
    """
    height, width = image.shape[:2]
    if (height, width) == (side, side):
        return image
    if fit == "squeeze":
        return resize_image(image, side, side)
    short = min(height, width)
    if max(height, width) > MAX_RATIO * short:
        height, width = (min(length, MAX_RATIO * short) for length in (height, width))
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        image = image[top : top + height, left : left + width]
    resized = resize_image(image, max(side, round(height * side / short)), max(side, round(width * side / short)))
    top, left = (resized.shape[0] - side) // 2, (resized.shape[1] - side) // 2
    return resized[top : top + side, left : left + side]


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 [H, W, 3] to [height, width, 3], bilinear with antialiasing.

    Published weights were trained on Pillow's bilinear filter, a triangle that widens with the reduction
    factor f. OpenCV's does not widen: it skips pixels. So the image is first blurred until the two filters
    have the same variance, (f^2 - 1) / 6 for each axis. On 100 photographs resized to 256 (224, 64) pixels
    the result differs from Pillow's by 0.50 (0.46, 0.46) grey levels on average, less than INTER_AREA (0.53,
    0.62, 1.53), at 3 to 4 times Pillow's speed and 2 to 3 times INTER_AREA's.
    """
    blocks = [
        max(1, 2 * length // (MAX_REDUCTION * goal)) if length > MAX_REDUCTION * goal else 1
        for length, goal in zip(image.shape[:2], (height, width), strict=True)
    ]
    if max(blocks) > 1:
        reduced = [length // block for length, block in zip(image.shape[:2], blocks, strict=True)]
        image = cv2.resize(image, reduced[::-1], interpolation=cv2.INTER_AREA)
    factors = (image.shape[1] / width, image.shape[0] / height)
    sigma_x, sigma_y = (math.sqrt(max(0.0, f * f - 1) / 6) for f in factors)
    if sigma_x > 0 or sigma_y > 0:
        kernel = tuple(2 * math.ceil(2 * sigma) + 1 for sigma in (sigma_x, sigma_y))
        image = cv2.GaussianBlur(
            image, kernel, max(sigma_x, 1e-6), sigmaY=max(sigma_y, 1e-6), borderType=cv2.BORDER_REPLICATE
        )
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def crop(
    images: np.ndarray, tops: np.ndarray, lefts: np.ndarray, size: int, pad: int = 0, mode: str = "zeros"
) -> np.ndarray:
    """Cut a square out of each image: uint8 [n, R, R, 3] to [n, 3, size, size].

    tops, lefts  int [n], corners in the image with `pad` pixels around it, which are zeros or its reflection
    """
    count, side = images.shape[:2]
    if mode == "reflect":
        around = ((0, 0), (0, 0), (pad, pad), (pad, pad))
        padded = np.pad(images.transpose(0, 3, 1, 2), around, mode="reflect")
    else:
        padded = np.zeros((count, 3, side + 2 * pad, side + 2 * pad), np.uint8)
        padded[:, :, pad : pad + side, pad : pad + side] = images.transpose(0, 3, 1, 2)
    # Every window of every image, without a copy: [n, top, left, 3, size, size].
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3)).transpose(0, 2, 3, 1, 4, 5)
    return windows[np.arange(count), tops, lefts]


def centre_crop(images: np.ndarray, size: int) -> np.ndarray:
    """uint8 [n, R, R, 3] to [n, 3, size, size]."""
    offset = (images.shape[1] - size) // 2
    return np.ascontiguousarray(images[:, offset : offset + size, offset : offset + size].transpose(0, 3, 1, 2))


def normalise(images: np.ndarray, spec: Preprocess) -> np.ndarray:
    """uint8 [n, 3, S, S], RGB, to float32 [n, 3, S, S]: (pixel / scale - mean) / std, in the spec's channels."""
    factor, shift = factor_and_shift(spec)
    result = in_channel_order(images, spec).astype(np.float32, order="C")
    result *= factor
    result += shift
    return result


def to_input(images: np.ndarray, spec: Preprocess) -> paddle.Tensor:
    """`normalise`, with the result on Paddle's current device, bit-identical on each.

    A GPU receives the bytes and does the arithmetic. On a CPU, NumPy is 25 times as fast as Paddle's broadcasting,
    and Paddle takes over the array without a copy.
    """
    import paddle

    if paddle.get_device().startswith("cpu"):
        return paddle.utils.dlpack.from_dlpack(normalise(images, spec).__dlpack__())
    factor, shift = constants_on(paddle.get_device(), spec.model_dump_json())
    return paddle.to_tensor(in_channel_order(images, spec)).astype("float32") * factor + shift


@lru_cache(maxsize=4)
def constants_on(device: str, spec: str) -> tuple[paddle.Tensor, paddle.Tensor]:
    """`factor_and_shift` of a spec (as JSON) as tensors that stay on the current device."""
    import paddle

    factor, shift = factor_and_shift(Preprocess.model_validate_json(spec))
    return paddle.to_tensor(factor), paddle.to_tensor(shift)


def in_channel_order(images: np.ndarray, spec: Preprocess) -> np.ndarray:
    return np.ascontiguousarray(images[:, ::-1]) if spec.channels == "bgr" else images


def factor_and_shift(spec: Preprocess) -> tuple[np.ndarray, np.ndarray]:
    """float32 [3, 1, 1] twice: input = pixel * factor + shift."""
    mean, std = (np.array(values, np.float64)[:, None, None] for values in (spec.mean, spec.std))
    return (1 / (spec.scale * std)).astype(np.float32), (-mean / std).astype(np.float32)


def preprocess_image(image: np.ndarray | str | Path, spec: Preprocess) -> np.ndarray:
    """A file or uint8 [H, W, 3] RGB pixels to the network's input, float32 [3, S, S], as in evaluation."""
    pixels = image if isinstance(image, np.ndarray) else read_image(image)
    return normalise(centre_crop(square(pixels, spec.resize, spec.fit)[None], spec.size), spec)[0]
