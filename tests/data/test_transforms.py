"""Preprocessing: one spec, one implementation, agreeing with Pillow and the same everywhere."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from helpers.images import encoded, photo
from paddlecnn.config import Augment, Preprocess
from paddlecnn.data.base import ArrayDataset
from paddlecnn.data.datasets import SOURCES, defaults
from paddlecnn.data.pipeline.loader import Loader
from paddlecnn.data.pipeline.transforms import preprocess_image, resize_image, resolve, square
from paddlecnn.errors import ConfigError

IMAGENET = defaults("dogs_vs_cats")
CAFFE = Preprocess(size=227, channels="bgr", scale=1.0, mean=[104.0, 117.0, 123.0], std=[1.0, 1.0, 1.0])


def test_config_comes_before_weights_and_weights_before_the_data_set():
    spec = resolve(Preprocess(size=100), CAFFE, IMAGENET)
    assert (spec.size, spec.resize, spec.channels, spec.scale) == (100, 100, "bgr", 1.0)
    assert spec.mean == [104.0, 117.0, 123.0]
    assert resolve(Preprocess(), IMAGENET).resize == 256
    assert resolve(Preprocess(resize=300), IMAGENET).resize == 300


@pytest.mark.parametrize("name", SOURCES)
def test_every_data_set_fills_every_key(name):
    assert None not in resolve(Preprocess(), defaults(name)).model_dump().values()


def test_a_mean_is_converted_to_the_requested_channels_and_scale():
    image = photo(1)
    rgb = preprocess_image(image, resolve(Preprocess(size=32), IMAGENET))
    bgr = preprocess_image(image, resolve(Preprocess(size=32, channels="bgr", scale=1.0), IMAGENET))
    np.testing.assert_allclose(bgr, rgb[::-1], atol=1e-5)


def test_what_is_not_possible_is_refused():
    with pytest.raises(ConfigError, match=r"data.preprocess.resize: 100 is less than size 224"):
        resolve(Preprocess(resize=100), IMAGENET)
    with pytest.raises(ConfigError, match=r"data.preprocess.std: .* must be above 0"):
        resolve(Preprocess(std=[1.0, 0.0, 1.0]), IMAGENET)
    with pytest.raises(ConfigError, match=r"data.preprocess.channels: not set"):
        resolve(Preprocess(size=3))


def test_caffe_preprocessing_by_hand():
    image = photo(2, (227, 227))
    expected = image[:, :, ::-1].astype(np.float32) - np.array([104, 117, 123], np.float32)
    np.testing.assert_array_equal(preprocess_image(image, resolve(CAFFE)), expected.transpose(2, 0, 1))


def test_torchvision_preprocessing_by_hand():
    """Pillow resizes, the centre is cut, (x / 255 - mean) / std: what the published weights were trained on."""
    image = photo(3, (500, 375))
    resized = np.asarray(Image.fromarray(image).resize((341, 256), Image.Resampling.BILINEAR))
    expected = (resized[16:240, 58:282] / 255 - IMAGENET.mean) / IMAGENET.std
    ours = preprocess_image(image, IMAGENET)
    assert ours.shape == (3, 224, 224)
    assert np.abs(ours - expected.transpose(2, 0, 1)).mean() < 0.01  # of a deviation of about 1


def error(image: np.ndarray, size: tuple[int, int], ours: np.ndarray) -> float:
    """Mean difference from Pillow's bilinear filter, in grey levels."""
    expected = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    return np.abs(ours.astype(int) - expected).mean()


@pytest.mark.parametrize("size", [(400, 300), (256, 192), (130, 97), (64, 48), (501, 375), (700, 500), (300, 20)])
def test_resizing_agrees_with_pillow(size):
    image = photo(4, (500, 375))
    assert error(image, size, resize_image(image, size[1], size[0])) < 0.5


@pytest.mark.parametrize("size", [(256, 192), (130, 97), (64, 48)])
def test_fine_detail_is_averaged_and_not_skipped(size):
    """White noise shows it best; OpenCV's own filters miss Pillow by more than twice as much."""
    noise = np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)
    ours = error(noise, size, resize_image(noise, size[1], size[0]))
    for filter_of_opencv in (cv2.INTER_LINEAR, cv2.INTER_AREA):
        assert ours < 0.5 * error(noise, size, cv2.resize(noise, size, interpolation=filter_of_opencv))


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (40, 31), (1, 500), (500, 3), (64, 64), (63, 65)])
def test_a_square_is_the_centre_of_any_image(shape):
    image = np.full((*shape, 3), 77, np.uint8)
    assert np.array_equal(square(image, 64), np.full((64, 64, 3), 77, np.uint8))


def test_prediction_sees_what_evaluation_sees(tmp_path):
    """From a file, from pixels, from a loader in memory and image by image: the same bytes."""
    pixels = np.stack([photo(i, (48, 48)) for i in range(5)])
    dataset = ArrayDataset("made", ("a",), list("01234"), np.zeros(5, int), pixels)
    for spec in (Preprocess(size=40, resize=48), Preprocess(size=40), Preprocess(size=64, resize=72)):
        resolved = resolve(spec, IMAGENET)
        batch = next(Loader(dataset, resolved, 5).epoch(0)).images.numpy()
        unchanged = next(Loader(dataset, resolved, 5, augment=Augment()).epoch(0)).images.numpy()
        for i, image in enumerate(pixels):
            file = tmp_path / f"{i}.png"
            file.write_bytes(encoded(image, "PNG"))
            assert np.array_equal(batch[i], preprocess_image(image, resolved))
            assert np.array_equal(batch[i], preprocess_image(file, resolved))
            assert np.array_equal(batch[i], unchanged[i])
