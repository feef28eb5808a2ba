"""Networks from Python: with weights of their own or published ones, and what a trained one answers."""

from __future__ import annotations

import json
import logging

import numpy as np
import paddle
import pytest
from PIL import Image

import paddlecnn as pc
from helpers.weight_files import in_torchs_layout
from paddlecnn.errors import ConfigError, DataError, ModelError, WeightsError


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Weights of vgg11_cifar for 1,000 classes, in PyTorch's names and layout."""
    paddle.seed(0)
    network = pc.create_model("vgg11_cifar")
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    in_torchs_layout(path, network)
    return network, path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = {"data": {"name": "digits", "limit": 100}, "model": {"name": "lenet5"}, "train": {"epochs": 1}}
    return pc.train(config, run=tmp_path_factory.mktemp("run") / "run", verbose=False).run


def test_a_network_is_made_with_weights(published, caplog):
    network, path = published
    with caplog.at_level(logging.INFO, "paddlecnn"):
        other = pc.create_model("vgg11_cifar", num_classes=10, weights=path)
    assert other.training
    np.testing.assert_array_equal(other.features.conv1_1.weight.numpy(), network.features.conv1_1.weight.numpy())
    assert "1000 classes in the file, 10 here" in caplog.text


def test_weights_that_fit_in_part_are_loaded_on_request_with_a_warning(published, caplog):
    _, path = published
    with pytest.raises(WeightsError, match=r"another input size; strict=False loads what fits and lists the rest"):
        pc.create_model("vgg11_cifar", weights=path, input_size=64)
    pc.create_model("vgg11_cifar", weights=path, strict=False, input_size=64)
    assert "not in the file: " in "".join(one.message for one in caplog.records if one.levelname == "WARNING")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pretrained": True}, ModelError, "unknown option pretrained; name the weights, as weights='paddle' in"),
        ({"weights": True}, ConfigError, "weights True: must be the name of a published file, paddle, or the path"),
        ({"weights": "torchvision_vgg99"}, WeightsError, "torchvision_vgg99"),
    ],
)
def test_weights_that_are_not_named_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        pc.create_model("lenet5", **options)


def test_published_weights_answer_as_on_the_command_line(published, pixels, tool, tmp_path, capsys):
    network = pc.load_pretrained("vgg11_cifar", published[1])
    assert repr(network) == "Pretrained(vgg11_cifar: 1,000 classes, 32 pixels)"
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert tool("predict", "--model", "vgg11_cifar", "--weights", published[1], tmp_path / "a.png", "--json") == 0
    (wanted,) = json.loads(capsys.readouterr().out)
    found = network.predict([pixels, pixels], topk=5)
    assert found["image"].tolist() == [0] * 5 + [1] * 5
    assert found["class"][5:].tolist() == [one["class"] for one in wanted["top"]]
    assert found["probability"][:5].tolist() == pytest.approx([one["probability"] for one in wanted["top"]], rel=1e-5)
    assert network.predict(pixels)["class"][0] == wanted["top"][0]["class"]
    with pytest.raises(ConfigError, match="topk 0: must be a number of classes"):
        network.predict(pixels, topk=0)


def test_the_features_of_a_layer_lead_to_the_runs_answer(run, pixels):
    table = run.predict([pixels] * 20)
    features = run.features([pixels] * 20, "relu4")  # more images than a batch has
    assert (features.shape, features.dtype) == ((20, 84), np.float32)
    assert (features >= 0).all()
    np.testing.assert_allclose(run.features(pixels, "classifier.relu4")[0], features[0], atol=1e-4)
    logits = features @ run.model.classifier.fc5.weight.numpy() + run.model.classifier.fc5.bias.numpy()
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(table.drop(columns="class").to_numpy(), shares, rtol=1e-3)
    assert run.features(pixels, "conv1").ndim == 4


def test_features_need_a_layer_and_an_image(run, pixels):
    with pytest.raises(ModelError, match="lenet5: has no layer relu44; did you mean relu"):
        run.features(pixels, "relu44")
    with pytest.raises(DataError, match="images: an empty list"):
        run.features([], "relu4")


def test_the_preprocessing_is_complete(run):
    spec = run.preprocess
    assert spec.size == run.model.input_size
    assert None not in (spec.channels, spec.scale, spec.mean, spec.std)


def test_an_explanation_is_a_picture_in_a_notebook(run, pixels):
    found = run.explain(pixels)
    assert found.top[0][0] == run.predict(pixels)["class"][0]
    assert found.heat.shape == found.pixels.shape
    assert found._repr_png_().startswith(b"\x89PNG")
    assert repr(found).startswith(f"Explanation({found.top[0][0]} 0.")
