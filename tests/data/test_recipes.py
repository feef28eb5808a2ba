"""Each config trains an epoch on a few images, in the publisher's format."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import yaml

from helpers.images import encoded, photo
from helpers.weight_files import convolutions_of

CONFIGS = Path(__file__).parents[2] / "configs"
CIFAR = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob("cifar*/*.yaml"))
DOGS = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob("dogs_vs_cats/*.yaml"))


@pytest.mark.parametrize("recipe", CIFAR)
def test_a_recipe_trains_an_epoch(recipe, tool, tmp_path, cifar_folder, cifar100_folder):
    config = CONFIGS / recipe
    root = {"cifar10": cifar_folder, "cifar100": cifar100_folder}[yaml.safe_load(config.read_text())["data"]["name"]]
    slice_of_it = ["data.limit=8", "data.val_fraction=0.5", "train.epochs=1", "train.batch_size=4"]
    options = [part for item in (f"data.root={root}", *slice_of_it) for part in ("-o", item)]
    assert tool("train", "-c", config, "--run", tmp_path / "run", *options) == 0


@pytest.fixture
def dogs(tmp_path) -> Path:
    """Kaggle's folder with 40 photographs."""
    (tmp_path / "data/train").mkdir(parents=True)
    for number in range(40):
        name = f"{('cat', 'dog')[number % 2]}.{number // 2}.jpg"
        (tmp_path / "data/train" / name).write_bytes(encoded(photo(number)))
    return tmp_path / "data"


@pytest.mark.parametrize("recipe", DOGS)
def test_a_recipe_of_dogs_vs_cats_trains_and_begins_at_the_loss_of_guessing_where_it_says_so(
    recipe, tool, tmp_path, dogs
):
    """With fewer pixels where published weights allow it, and random weights in their place."""
    content = yaml.safe_load((CONFIGS / recipe).read_text())
    model = content["model"]
    smaller = [
        f"data.root={dogs}",
        "data.limit=16",
        "train.epochs=1",
        "train.batch_size=8",
        "train.log_every=1",
        "data.workers=0",
    ]
    smaller += [f"train.feature_cache={tmp_path / 'features'}"] if "freeze" in model else ["train.precision=float32"]
    smaller += [f"data.cache={tmp_path / 'cache'}"] if "cache" in content["data"] else []
    if "weights" in model:
        convolutions_of(model["name"], tmp_path / "weights.npz", hidden=[])
        pixels = 67 if model["name"].startswith("alexnet") else 64
        smaller += [f"model.weights={tmp_path / 'weights.npz'}", f"model.options.input_size={pixels}"]
        smaller += [f"data.preprocess.size={pixels}", f"data.preprocess.resize={pixels}"]
        smaller += [] if model.get("options", {}).get("pooled") else ["model.options.hidden=[64,64]"]
    options = [part for item in smaller for part in ("-o", item)]
    assert tool("train", "-c", CONFIGS / recipe, "--run", tmp_path / "run", *options) == 0
    with open(tmp_path / "run/metrics.csv", encoding="utf-8") as file:
        first = float(next(csv.DictReader(file))["loss"])
    assert ("weights" in model) == ("first loss is ln 2" in " ".join((CONFIGS / recipe).read_text().split()))
    if "weights" in model:
        assert first == pytest.approx(math.log(2), abs=0.1)


def test_recipes_are_short_and_say_what_they_are_and_what_was_measured():
    for recipe in (*CIFAR, *DOGS):
        text = (CONFIGS / recipe).read_text()
        header = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
        assert text.startswith("# "), recipe
        assert 15 <= len(text.splitlines()) <= 40, recipe
        assert " %" in header or "not measured" in header.lower(), recipe
