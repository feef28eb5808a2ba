"""Random changes of training images. Each is a pure function of (seed, epoch, position in the data set).

An epoch's random numbers are drawn for all positions at once and indexed, so that a batch costs no
generator and is the same in any process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from paddlecnn.config import Affine, Augment, ColorJitter, Preprocess, RandomResizedCrop
from paddlecnn.data.base import ArrayDataset, Dataset
from paddlecnn.data.pipeline.transforms import crop, resize_image, square
from paddlecnn.data.pipeline.views import crop_places
from paddlecnn.randomness import generator

# For the covariance of ImageNet's RGB pixels, scale 0..1; the vectors are columns. AlexNet, section 4.1, describes the
# method but gives no values: these and their names are from facebook/fb.resnet.torch.
PCA_EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
PCA_EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
GREY = np.array([0.299, 0.587, 0.114], np.float32)[None, :, None, None]  # luma of RGB, ITU-R BT.601

ReadSquares = Callable[[np.ndarray], np.ndarray]  # positions to uint8 [n, R, R, 3]
ReadImage = Callable[[int], np.ndarray]  # one position to uint8 [H, W, 3]


class EpochRandom:
    """The random numbers of one epoch for `count` positions."""

    def __init__(self, seed: int, epoch: int, count: int):
        self.seed, self.epoch, self.count = seed, epoch, count

    def __call__(self, purpose: str, positions: np.ndarray, columns: int) -> np.ndarray:
        """float64 [columns, n], each in [0, 1)."""
        return uniforms(self.seed, purpose, self.epoch, self.count, columns)[:, positions]


@lru_cache(maxsize=16)
def uniforms(seed: int, purpose: str, epoch: int, count: int, columns: int) -> np.ndarray:
    values = generator(seed, purpose, epoch).random((columns, count))
    values.flags.writeable = False
    return values


def training_pixels(
    positions: np.ndarray,
    draws: EpochRandom,
    augment: Augment,
    spec: Preprocess,
    read_squares: ReadSquares,
    read_image: ReadImage,
) -> np.ndarray:
    """The training images at these positions, augmented: uint8 [n, 3, S, S]."""
    if augment.random_resized_crop is not None:
        if augment.crop or augment.pad:  # the resized crop is taken from the random crop
            crops = random_crops(read_squares(positions), positions, draws, augment, spec.size).transpose(0, 2, 3, 1)
            read_image = dict(zip(positions.tolist(), crops, strict=True)).__getitem__
        images = random_resized_crops(positions, draws, augment.random_resized_crop, spec.size, read_image)
    elif augment.scale is not None:
        images = scaled_crops(positions, draws, augment.scale, spec, read_image)
    else:
        images = random_crops(read_squares(positions), positions, draws, augment, spec.size)
    if augment.affine is not None:
        warp(images, affine_maps(draws("affine", positions, 5), augment.affine, spec.size), augment.pad_mode)
    if augment.vertical_flip:
        upside_down = draws("vertical flip", positions, 1)[0] < 0.5
        images[upside_down] = images[upside_down, :, ::-1]
    if augment.flip:
        mirrored = mirrored_in(draws, positions, augment.flip == "alternating")
        images[mirrored] = images[mirrored, :, :, ::-1]
    if augment.color_jitter is not None:
        images = color_jitter(images, draws("jitter", positions, 3), augment.color_jitter)
    if augment.pca_noise:
        images = lighting_noise(images, draws("pca", positions, 4), augment.pca_noise)
    if augment.cutout:
        cut_out(images, draws("cutout", positions, 2), augment.cutout, mean_colour(spec))
    return images


def random_crops(
    images: np.ndarray, positions: np.ndarray, draws: EpochRandom, augment: Augment, size: int
) -> np.ndarray:
    """[n, R, R, 3] to [n, 3, size, size], at a random place with `crop` or `pad`, else at the centre."""
    room = images.shape[1] + 2 * augment.pad - size
    if not (augment.crop or augment.pad):
        tops = lefts = np.full(len(images), room // 2)
    elif augment.crop_places:
        tops, lefts = np.array(crop_places(augment.crop_places, room))[place_numbers(positions, draws, augment)].T
    else:
        tops, lefts = (draws("crop", positions, 2) * (room + 1)).astype(np.int64)
    return crop(images, tops, lefts, size, augment.pad, augment.pad_mode)


def mirrored_in(draws: EpochRandom, positions: np.ndarray, alternating: bool) -> np.ndarray:
    """bool [n]: which images are mirrored in this epoch; alternating: the first epoch's half and the rest in turn."""
    if not alternating:
        return draws("flip", positions, 1)[0] < 0.5
    first = uniforms(draws.seed, "flip", 0, draws.count, 1)[0, positions] < 0.5
    return first if draws.epoch % 2 == 0 else ~first


def place_numbers(positions: np.ndarray, draws: EpochRandom, augment: Augment) -> np.ndarray:
    """int64 [n]: which of the `crop_places` each image is cropped at."""
    return (draws("crop", positions, 2)[0] * augment.crop_places).astype(np.int64)


def view_numbers(positions: np.ndarray, draws: EpochRandom, augment: Augment, views: int) -> np.ndarray:
    """int64 [n]: the number of each image's view in `training_views`, the one that `training_pixels` would cut out."""
    places = views // 2 if augment.flip else views
    numbers = place_numbers(positions, draws, augment) if places > 1 else np.zeros(len(positions), np.int64)
    return numbers + places * mirrored_in(draws, positions, augment.flip == "alternating") if augment.flip else numbers


def random_resized_crops(
    positions: np.ndarray, draws: EpochRandom, ranges: RandomResizedCrop, size: int, read_image: ReadImage
) -> np.ndarray:
    """A random part of each image, stretched to [3, size, size] (Szegedy et al. 2015).

    Area and the logarithm of the aspect ratio are uniform; a side longer than the image's is clipped to it.
    """
    result = np.empty((len(positions), 3, size, size), np.uint8)
    low, high = np.log(ranges.ratio)
    for row, position, area, ratio, down, right in zip(
        range(len(positions)), positions, *draws("resized-crop", positions, 4), strict=True
    ):
        image = read_image(position)
        height, width = image.shape[:2]
        pixels = height * width * (ranges.scale[0] + area * (ranges.scale[1] - ranges.scale[0]))
        aspect = np.exp(low + ratio * (high - low))
        crop_width = max(1, min(width, round((pixels * aspect) ** 0.5)))
        crop_height = max(1, min(height, round((pixels / aspect) ** 0.5)))
        top, left = int(down * (height - crop_height + 1)), int(right * (width - crop_width + 1))
        part = image[top : top + crop_height, left : left + crop_width]
        result[row] = resize_image(part, size, size).transpose(2, 0, 1)
    return result


def affine_maps(draws: np.ndarray, ranges: Affine, size: int) -> np.ndarray:
    """float64 [n, 2, 3]: where each image's pixel (x, y) goes: A (p - c) + c + s, A = rotation x shear x zoom.

    draws  float64 [5, n], uniform: angle, zoom, shear, and the shift s in x and y; c is the centre
    """
    signs = 2 * draws - 1
    angle, slant = np.radians(signs[0] * ranges.rotate), np.tan(np.radians(signs[2] * ranges.shear))
    zoom = ranges.zoom[0] + draws[1] * (ranges.zoom[1] - ranges.zoom[0])
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = zoom * np.array([[cos, cos * slant - sin], [sin, sin * slant + cos]])
    centre = np.full(2, (size - 1) / 2)
    moved = centre[:, None] - np.einsum("ijn,j->in", matrix, centre) + signs[3:] * ranges.shift * size
    return np.concatenate([matrix, moved[:, None]], axis=1).transpose(2, 0, 1)


def warp(images: np.ndarray, maps: np.ndarray, pad_mode: str) -> None:
    """Move the pixels of each image uint8 [3, S, S] by its map [2, 3], bilinear, in place."""
    border = cv2.BORDER_REFLECT_101 if pad_mode == "reflect" else cv2.BORDER_CONSTANT
    for image, matrix in zip(images, maps, strict=True):
        pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
        image[:] = cv2.warpAffine(pixels, matrix, pixels.shape[:2], borderMode=border).transpose(2, 0, 1)


def scaled_crops(
    positions: np.ndarray, draws: EpochRandom, scale: tuple[int, int], spec: Preprocess, read_image: ReadImage
) -> np.ndarray:
    """Scale jittering (VGG, section 3.1): a random crop [3, size, size] of the square of each image.

    The side of the square is a whole number of pixels, uniform in `scale`, both ends included.
    """
    size = spec.size
    result = np.empty((len(positions), 3, size, size), np.uint8)
    sides = scale[0] + (draws("scale", positions, 1)[0] * (scale[1] - scale[0] + 1)).astype(np.int64)
    corners = (draws("crop", positions, 2) * (sides - size + 1)).astype(np.int64)
    places = zip(positions, sides.tolist(), *corners.tolist(), strict=True)
    for row, (position, side, top, left) in enumerate(places):
        part = square(read_image(position), side, spec.fit)[top : top + size, left : left + size]
        result[row] = part.transpose(2, 0, 1)
    return result


def color_jitter(images: np.ndarray, draws: np.ndarray, jitter: ColorJitter) -> np.ndarray:
    """Multiply brightness, then contrast, then saturation, each by a factor between 1 - x and 1 + x.

    images  uint8 [n, 3, S, S]
    draws   float64 [3, n]
    """
    strengths = np.array([[jitter.brightness], [jitter.contrast], [jitter.saturation]])
    factors = np.maximum(0, 1 + (2 * draws - 1) * strengths).astype(np.float32)[:, :, None, None, None]
    pixels = images * factors[0]
    mean_grey = (pixels * GREY).sum(axis=1, keepdims=True).mean(axis=(2, 3), keepdims=True)
    pixels = mean_grey + (pixels - mean_grey) * factors[1]
    grey = (pixels * GREY).sum(axis=1, keepdims=True)
    return to_uint8(grey + (pixels - grey) * factors[2])


def lighting_noise(images: np.ndarray, draws: np.ndarray, deviation: float) -> np.ndarray:
    """Add to every pixel the same multiple of the principal components of colour (AlexNet, section 4.1).

    `[p1, p2, p3] [a1 l1, a2 l2, a3 l3]^T`: p are the eigenvectors, l the eigenvalues, and each a is drawn from a normal
    distribution with mean 0 and the given deviation.
    images  uint8 [n, 3, S, S]
    draws   float64 [4, n], made normal by the Box-Muller transform
    """
    radius = deviation * np.sqrt(-2 * np.log1p(-draws[[0, 0, 1]]))
    angle = 2 * np.pi * draws[[2, 2, 3]]
    alphas = radius * np.stack([np.cos(angle[0]), np.sin(angle[1]), np.cos(angle[2])])
    colours = 255 * PCA_EIGENVECTORS @ (alphas * PCA_EIGENVALUES[:, None])
    return to_uint8(images + colours.T.astype(np.float32)[:, :, None, None])


def cut_out(images: np.ndarray, draws: np.ndarray, side: int, colour: np.ndarray) -> None:
    """Paint a square of `colour` into each image [3, S, S]; its centre is anywhere, so an edge may clip it.

    The mean colour is zero after normalisation, as in the paper (DeVries and Taylor 2017).
    """
    size = images.shape[2]
    centres = (draws * size).astype(np.int64)
    pixel = np.arange(size)
    first = centres[:, :, None] - side // 2
    rows, columns = (pixel >= first) & (pixel < first + side)
    inside = rows[:, :, None] & columns[:, None, :]
    np.copyto(images, colour[None, :, None, None], where=inside[:, None])


def mean_colour(spec: Preprocess) -> np.ndarray:
    """The mean of the preprocessing as an RGB pixel, uint8 [3]."""
    mean = np.array(spec.mean if spec.channels == "rgb" else spec.mean[::-1])
    return to_uint8(mean * spec.scale)


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Rounded to the nearest level 0..255."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def resized_reader(dataset: Dataset, side: int, fit: str | None) -> ReadSquares:
    """A function that reads images of a data set as uint8 [n, side, side, 3]; arrays of that size are only indexed."""
    if isinstance(dataset, ArrayDataset) and dataset.images.shape[1:3] == (side, side):
        return dataset.rows
    return lambda positions: np.stack([square(dataset.image(i), side, fit) for i in positions])
