"""Published convolutions tell cats from dogs by a logistic regression on pool5."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile

import numpy as np
import paddle
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from paddlecnn import onednn
from paddlecnn.config import Preprocess
from paddlecnn.data.pipeline.transforms import preprocess_image, resolve
from paddlecnn.data.storage.images import decode_image
from paddlecnn.errors import WeightsError
from paddlecnn.models import create_model
from paddlecnn.models.weights import load_weights

pytestmark = pytest.mark.real
FC = [f"classifier.{layer}.{array}" for layer in ("fc6", "fc7", "fc8") for array in ("weight", "bias")]


@pytest.fixture(scope="module")
def photos(real_data):
    """The training zip of the competition, inside its bundle."""
    with zipfile.ZipFile(real_data / "dogs-vs-cats-redux-kernels-edition.zip") as bundle:
        return zipfile.ZipFile(io.BytesIO(bundle.read("train.zip")))


def accuracy(network, preprocess, photos, count):
    """The share of `count` photographs classified correctly, each by a regression fitted without it (four folds)."""
    names = sorted(name for name in photos.namelist() if name.endswith(".jpg"))
    chosen = [name for animal in ("cat.", "dog.") for name in [n for n in names if animal in n][: count // 2]]
    spec = resolve(Preprocess(**preprocess))
    network.eval()
    rows = []
    with paddle.no_grad():
        for start in range(0, count, 16):
            batch = [decode_image(photos.read(name), name) for name in chosen[start : start + 16]]
            images = [preprocess_image(image, spec) for image in batch]
            rows.append(network.features(paddle.to_tensor(np.stack(images))).flatten(1).numpy())
    features, labels = np.concatenate(rows), np.repeat([0, 1], count // 2)
    regression = LogisticRegression(C=1e-3, max_iter=300)
    return (cross_val_predict(regression, features / features.std(), labels, cv=4) == labels).mean()


def difference_of_engines(network, preprocess, photos):
    """The relative difference (Euclidean norm) of eight photographs' features by oneDNN from those by Paddle."""
    spec = resolve(Preprocess(**preprocess))
    names = sorted(name for name in photos.namelist() if name.endswith(".jpg"))[::100][:8]
    images = [preprocess_image(decode_image(photos.read(name), name), spec) for name in names]
    with paddle.no_grad():
        expected = network.features(paddle.to_tensor(np.stack(images))).numpy()
        found = onednn.accelerate(network.features)(paddle.to_tensor(np.stack(images))).numpy()
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_alexnets_convolutions(real_data, photos):
    network, path = create_model("alexnet_caffe", hidden=[8, 8]), real_data / "weights" / "bvlc_alexnet.npy"
    with pytest.raises(WeightsError, match=r"lacks classifier\.fc6\.weight"):
        load_weights(network, path)
    report = load_weights(network, path, strict=False)
    assert (report.missing, report.unexpected, len(report.loaded)) == (FC, [], 10)
    assert accuracy(network, report.preprocess, photos, 300) >= 0.92
    if onednn.available():  # far less than float16's rounding: the cache of features is the same for both
        assert difference_of_engines(network, report.preprocess, photos) < 1e-5


def test_vgg16s_convolutions(long_test, real_data, photos, tmp_path):
    fetch = [sys.executable, real_data / "weights" / "fetch_vgg16_convs.py", tmp_path]
    if subprocess.run(fetch, capture_output=True).returncode:
        pytest.skip("fetch_vgg16_convs.py could not fetch vgg16_weights.npz (it needs onnx and a package index)")
    network = create_model("vgg16", hidden=[8, 8])
    report = load_weights(network, tmp_path / "vgg16_weights.npz", strict=False)
    assert (report.missing, report.unexpected, len(report.loaded)) == (FC, [], 26)
    assert accuracy(network, report.preprocess, photos, 64) >= 0.95
    if onednn.available():
        assert difference_of_engines(network, report.preprocess, photos) < 1e-5
