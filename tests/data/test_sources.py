"""A user's own data set, registered without a change to the package."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from helpers.images import photo
from paddlecnn.config import DataConfig, Preprocess
from paddlecnn.configfile import load_config
from paddlecnn.data import datasets
from paddlecnn.data.base import ArrayDataset, PublishedSplits
from paddlecnn.data.datasets import open_dataset, open_parts, register_source
from paddlecnn.errors import ConfigError, DataError

SPEC = Preprocess(size=32, channels="rgb", scale=255.0, mean=[0.5] * 3, std=[0.25] * 3)


def load_colours(config: DataConfig) -> PublishedSplits:
    images = np.stack([photo(i, (32, 32)) for i in range(40)])
    return PublishedSplits(
        ArrayDataset("colours", ("warm", "cold"), [f"{i}" for i in range(40)], np.arange(40) % 2, images)
    )


@pytest.fixture
def registry():
    """The registry, restored after the test."""
    sources = dict(datasets.SOURCES)
    yield
    datasets.SOURCES.clear()
    datasets.SOURCES.update(sources)


def test_a_registered_data_set_is_found_by_its_name(registry, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text(
        yaml.safe_dump({"data": {"name": "colours"}, "model": {"name": "simple_cnn"}, "train": {"epochs": 1}})
    )
    with pytest.raises(ConfigError, match=r"data.name: unknown data set 'colours'; valid: digits, "):
        open_dataset(load_config(file).data, seed=0)
    register_source("colours", load_colours, SPEC)
    splits = open_dataset(load_config(file).data, seed=0)
    assert (splits.train.classes, len(splits.train), len(splits.val)) == (("warm", "cold"), 34, 6)
    assert datasets.defaults("colours").size == 32


def test_a_near_name_is_suggested_and_nothing_written(registry, tool, tiny, tmp_path, capsys):
    register_source("colours", load_colours, SPEC)
    run = tmp_path / "run"
    assert tool("train", "-c", tiny, "-o", "data.name=colors", "--run", run) == 2
    assert capsys.readouterr().err == "data.name: unknown data set 'colors'; did you mean colours?\n"
    assert not run.exists()


def test_a_wrong_registration_is_refused(registry):
    with pytest.raises(ConfigError, match="cifar10 is a built-in data set"):
        register_source("cifar10", load_colours, SPEC)
    with pytest.raises(ConfigError, match=r"colours: preprocess.mean is missing"):
        register_source("colours", load_colours, Preprocess(size=32, channels="rgb", scale=255.0))
    register_source("colours", lambda config: [1, 2], SPEC)
    with pytest.raises(DataError, match="the loader of colours returned list; expected PublishedSplits"):
        open_dataset(DataConfig(name="colours"), 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((4, 32, 32, 3), np.float32)}, "images of type float32 and shape [4, 32, 32, 3] for 4 ids"),
        ({"images": np.zeros((4, 32, 32), np.uint8)}, "expected uint8 [N, height, width, 3], RGB from 0 to 255"),
        ({"images": np.zeros((3, 32, 32, 3), np.uint8)}, "shape [3, 32, 32, 3] for 4 ids"),
        ({"labels": np.array([0.5, 1, 0, 1])}, "labels of type float64; expected integers from 0 to 1"),
        ({"labels": np.array([0, 1, 2, 1])}, "label 2 of c; expected 0 to 1, a position in the 2 classes"),
        ({"labels": np.array([0, -1, 1, 1])}, "label -1 of b; expected 0 to 1"),
    ],
)
def test_arrays_that_are_no_images_or_labels_are_refused(change, message):
    arrays = {"labels": np.array([0, 1, 0, 1]), "images": np.zeros((4, 32, 32, 3), np.uint8)} | change
    with pytest.raises(DataError) as caught:
        ArrayDataset("colours", ("warm", "cold"), list("abcd"), **arrays)
    assert message in str(caught.value)


def test_a_training_part_without_labels_is_refused(registry):
    images = np.stack([photo(i, (32, 32)) for i in range(4)])
    register_source(
        "colours",
        lambda config: PublishedSplits(ArrayDataset("colours", ("warm", "cold"), list("0123"), None, images)),
        SPEC,
    )
    with pytest.raises(DataError, match="colours: has no labels; a training part needs them"):
        open_dataset(DataConfig(name="colours"), 0)


def test_the_preprocessing_of_the_digits_is_their_mean_and_deviation():
    levels = open_parts(DataConfig(name="digits")).train.images / 255
    spec = datasets.defaults("digits")
    assert spec.mean == pytest.approx([levels.mean()] * 3, abs=5e-4)
    assert spec.std == pytest.approx([levels.std()] * 3, abs=5e-4)
