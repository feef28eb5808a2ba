"""data.preprocess.fit: how an image of any shape becomes a square, the same wherever a run's images are read."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

import paddlecnn as pc
from helpers.images import photo
from paddlecnn.config import DataConfig, Preprocess
from paddlecnn.configfile import config_hash, load_config
from paddlecnn.data.datasets import defaults, open_parts
from paddlecnn.data.pipeline.features import fingerprint
from paddlecnn.data.pipeline.loader import Loader
from paddlecnn.data.pipeline.transforms import resize_image, resolve, square
from paddlecnn.models import create_model, freeze
from paddlecnn.models.freezing import divide
from paddlecnn.onednn import Engine
from paddlecnn.runs.checkpoint import load_checkpoint

SQUEEZED = resolve(Preprocess(size=32, fit="squeeze"), defaults("folder"))
CONFIG = """
data: {{name: folder, root: {root}, val_fraction: 0.25, preprocess: {{size: 32, resize: 32, fit: {fit}}}}}
model: {{name: lenet5}}
optim: {{lr: 0.02}}
train: {{epochs: 8, batch_size: 8}}
"""


@pytest.fixture
def edges(tmp_path):
    """Wide images of two classes that differ only at their left edge, which the central square does not show."""
    for number in range(16):
        for name, level in (("dark", 0), ("light", 255)):
            pixels = np.full((32, 96, 3), 100 + number, np.uint8)
            pixels[:, :24] = level
            path = tmp_path / "edges" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return tmp_path / "edges"


@pytest.fixture
def run(tool, edges, tmp_path):
    """A run that sees all of each image."""
    (tmp_path / "c.yaml").write_text(CONFIG.format(root=edges, fit="squeeze"))
    assert tool("train", "-c", tmp_path / "c.yaml", "--run", tmp_path / "run") == 0
    return tmp_path / "run"


def test_an_enlarged_image_is_that_of_opencv_and_a_reduced_one_is_antialiased():
    small, large = photo(1, (24, 20)), photo(1, (500, 375))
    plain = cv2.resize(small, (32, 32), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(square(small, 32, "squeeze"), plain)
    assert np.array_equal(square(large, 32, "squeeze"), resize_image(large, 32, 32))
    assert not np.array_equal(square(large, 32, "squeeze"), square(large, 32))


def test_training_evaluation_prediction_explanation_and_export_see_the_whole_image(tool, run, edges, tmp_path, capsys):
    opened = pc.load_run(run)
    assert opened.evaluate("val")["top1"] == 1.0
    images = [edges / "dark" / "3.png", edges / "light" / "3.png"]
    table = opened.predict(images)
    assert table["class"].tolist() == ["dark", "light"]
    assert tool("predict", run, images[0], "--explain", tmp_path / "why.png") == 0
    assert tool("export", run, "--format", "safetensors", "--out", tmp_path / "x.safetensors", "--check") == 0
    capsys.readouterr()
    assert tool("predict", tmp_path / "x.safetensors", *images, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["top"][0]["class"] for one in found] == ["dark", "light"]


def test_two_images_that_differ_at_their_edges_are_one_to_a_run_on_central_squares(tool, edges, tmp_path):
    (tmp_path / "c.yaml").write_text(CONFIG.format(root=edges, fit="crop"))
    assert tool("train", "-c", tmp_path / "c.yaml", "--run", tmp_path / "run", "-o", "train.epochs=1") == 0
    table = pc.load_run(tmp_path / "run").predict([edges / "dark" / "3.png", edges / "light" / "3.png"])
    assert table["class"].nunique() == 1


def test_a_run_that_starts_from_a_squeezed_one_squeezes(tool, run, edges, tmp_path):
    (tmp_path / "c.yaml").write_text(CONFIG.format(root=edges, fit="null"))
    assert tool("train", "-c", tmp_path / "c.yaml", "--run", tmp_path / "next", "--init-from", run) == 0
    assert load_checkpoint(tmp_path / "next/checkpoints/last").state.preprocess.fit == "squeeze"


def test_a_checkpoint_from_before_the_key_was_trained_on_central_squares(tool, tiny, tmp_path):
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", "-o", "train.epochs=1") == 0
    state = load_checkpoint(tmp_path / "run/checkpoints/last").state
    old = state.model_dump(mode="json")
    del old["preprocess"]["fit"]
    assert type(state).model_validate(old) == state
    assert state.preprocess.fit == "crop"


def test_a_config_without_the_key_has_the_hash_of_version_0_2(tmp_path, monkeypatch):
    for variable in ("PADDLECNN_REPORT", "PADDLECNN_ENGINE"):  # other defaults
        monkeypatch.delenv(variable, raising=False)
    path = tmp_path / "c.yaml"
    path.write_text("data: {name: digits}\nmodel: {name: alexnet_cifar}\noptim: {lr: 2e-3}\ntrain: {epochs: 1}\n")
    assert config_hash(load_config(path)) == "d91d6a3ef069"
    assert config_hash(load_config(path, ["data.preprocess.fit=squeeze"])) != "d91d6a3ef069"


def test_batches_are_the_same_from_the_cache_of_squares(edges, tmp_path):
    source = open_parts(DataConfig(name="folder", root=str(edges))).train
    batches = [next(Loader(source, SQUEEZED, 8, cache=cache).epoch(0)) for cache in (None, str(tmp_path / "cache"))]
    assert np.array_equal(*(batch.images.numpy() for batch in batches))
    cropped = SQUEEZED.model_copy(update={"fit": "crop"})
    other = next(Loader(source, cropped, 8, cache=str(tmp_path / "cache")).epoch(0))
    assert not np.array_equal(other.images.numpy(), batches[0].images.numpy())
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2


def test_squeezed_images_have_features_of_their_own():
    network = create_model("vgg11_cifar")
    freeze(network, "pool1")
    keys = [
        fingerprint(divide(network).frozen, Preprocess(size=32, fit=fit), Engine()) for fit in (None, "crop", "squeeze")
    ]
    assert keys[0] == keys[1] != keys[2]
