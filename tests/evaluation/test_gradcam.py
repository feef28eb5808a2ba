"""Grad-CAM against the network whose map is known in closed form, and on the networks of the package."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn

from paddlecnn import onednn
from paddlecnn.errors import ModelError
from paddlecnn.evaluation.gradcam import grad_cam
from paddlecnn.models import create_model, freeze

SIZE = 12


class PooledNet(nn.Layer):
    """Convolution, ReLU, global average, linear: here Grad-CAM is CAM (Zhou et al. 2016) up to a factor."""

    name = "PooledNet"

    def __init__(self):
        super().__init__()
        paddle.seed(5)
        self.features = nn.Sequential(nn.Conv2D(3, 6, 3, padding=1), nn.BatchNorm2D(6), nn.ReLU())
        self.fc = nn.Linear(6, 4)

    def forward(self, images):
        return self.fc(self.features(images).mean(axis=[2, 3]))


def images(count: int, size: int) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(3).normal(size=(count, 3, size, size)).astype(np.float32))


def test_after_a_global_average_it_is_the_class_activation_map():
    network, batch, classes = PooledNet(), images(4, SIZE), [0, 1, 2, 3]
    network.eval()
    maps = network.features(batch).numpy()
    cam = np.maximum(np.einsum("nkij,kn->nij", maps, network.fc.weight.numpy()[:, classes]), 0)
    assert (cam.max(axis=(1, 2)) > 0).all()
    assert grad_cam(network, batch, classes) == pytest.approx(cam / cam.max(axis=(1, 2), keepdims=True), abs=1e-5)


def test_the_map_lies_where_the_class_is():
    network = PooledNet()
    for parameter in network.parameters():
        parameter.set_value(paddle.zeros_like(parameter))
    kernels, fc = np.zeros((6, 3, 3, 3), np.float32), np.zeros((6, 4), np.float32)
    kernels[0, 0, 1, 1] = fc[0, 2] = 1  # channel 0 is the red of each pixel, and class 2 is red
    kernels[1, 1, 1, 1] = fc[1, 3] = 1  # channel 1 is the green, and class 3 is green
    network.features[0].weight.set_value(kernels)
    network.features[1].weight.set_value(paddle.ones([6]))
    network.fc.weight.set_value(fc)
    pixels = np.zeros((2, 3, SIZE, SIZE), np.float32)
    pixels[:, 0, 1:4, 1:4] = 1  # red at the top left
    pixels[:, 1, 7:10, 8:11] = 1  # green at the bottom right
    red, green = grad_cam(network, paddle.to_tensor(pixels), [2, 3]) > 0.5
    assert [np.argwhere(found).min(0).tolist() for found in (red, green)] == [[1, 1], [7, 8]]
    assert red.sum() == green.sum() == 9
    assert not grad_cam(network, paddle.to_tensor(pixels), [0, 1]).any()  # nothing supports these classes


@pytest.mark.parametrize("name", ["alexnet_cifar_lrn", "vgg11_bn_cifar", "lenet5"])
def test_networks_of_the_package_in_any_mode_frozen_or_not(name):
    paddle.seed(1)
    network = create_model(name, num_classes=10)
    batch = images(3, network.input_size)
    heat = grad_cam(network, batch, np.array([1, 5, 9]))
    assert heat.shape == (3, network.input_size, network.input_size)
    assert heat.dtype == np.float32
    assert heat.min() >= 0
    assert heat.max() == pytest.approx(1)
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    freeze(network, "features")
    network.eval()
    assert (grad_cam(network, batch, [1, 5, 9]) == heat).all()
    assert not network.training


@pytest.mark.skipif(not onednn.available(), reason="oneDNN 3 is not available")
def test_the_engine_makes_no_difference(caplog):
    if not onednn.available():
        pytest.skip("this PaddlePaddle contains no oneDNN 3.6 or newer")
    paddle.seed(1)
    network = create_model("alexnet_cifar", num_classes=10)
    batch = images(2, 32)
    by_paddle = grad_cam(network, batch, [3, 4])
    network.eval()
    onednn.accelerate(network)
    logits = network(batch).numpy()
    assert (grad_cam(network, batch, [3, 4]) == by_paddle).all()
    assert (network(batch).numpy() == logits).all()  # the engine runs it again
    assert not caplog.records


def test_a_network_without_convolutions_is_one_line():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 2))
    network.name = "flat"
    with pytest.raises(ModelError, match="flat: has no convolution"):
        grad_cam(network, images(1, 4), [0])
