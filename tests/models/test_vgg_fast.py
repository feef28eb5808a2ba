"""The narrow VGG of Jordan 2024: its size, what it whitens, and how it starts."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from paddlecnn.models import create_model
from paddlecnn.randomness import generator


@pytest.fixture(scope="module")
def images() -> paddle.Tensor:
    """Correlated colours and neighbours, as in photographs: float32 [64, 3, 32, 32]."""
    noise = generator(0, "images").normal(size=(64, 1, 33, 33)) + 0.3 * generator(1, "images").normal(
        size=(64, 3, 33, 33)
    )
    smooth = noise[:, :, 1:, 1:] + noise[:, :, :-1, 1:] + noise[:, :, 1:, :-1]
    return paddle.to_tensor(smooth.astype(np.float32))


def test_it_has_the_parameters_of_the_paper():
    parameters = dict(create_model("vgg_fast").named_parameters())
    scales = sum(value.size for name, value in parameters.items() if "norm" in name and name.endswith("weight"))
    total = sum(value.size for value in parameters.values())
    assert total - scales == pytest.approx(1.97e6, rel=0.005)  # the paper counts no scales, which its networks lack


def test_the_first_convolution_whitens_patches(images):
    network = create_model("vgg_fast")
    network.initialise_from(images)
    maps = network.features.whiten(images).numpy()
    first, second = maps[:, :12], maps[:, 12:]
    np.testing.assert_allclose(second, -first, atol=1e-5)
    flat = first.transpose(1, 0, 2, 3).reshape(12, -1)
    np.testing.assert_allclose(flat @ flat.T / flat.shape[1], np.eye(12), atol=0.02)


def test_a_block_passes_its_channels_on_at_the_start():
    network = create_model("vgg_fast")
    maps = paddle.to_tensor(generator(2, "maps").normal(size=(2, 64, 15, 15)).astype(np.float32))
    np.testing.assert_allclose(network.features.conv1_2(maps).numpy(), maps.numpy(), atol=1e-6)
    np.testing.assert_allclose(network.features.conv2_1(maps).numpy()[:, :64], maps.numpy(), atol=1e-6)


def test_logits_are_scaled_down():
    network = create_model("vgg_fast", num_classes=3)
    features = paddle.ones([1, 256])
    np.testing.assert_allclose(
        network.classifier(features).numpy(), network.classifier.fc(features).numpy() / 9, rtol=1e-6
    )
