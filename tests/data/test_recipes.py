"""Each config of CIFAR trains an epoch on a few images, in the publisher's format."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob("cifar*/*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains_an_epoch(recipe, tool, tmp_path, cifar_folder, cifar100_folder):
    config = CONFIGS / recipe
    root = {"cifar10": cifar_folder, "cifar100": cifar100_folder}[yaml.safe_load(config.read_text())["data"]["name"]]
    slice_of_it = ["data.limit=40", "data.val_fraction=0.5", "train.epochs=1", "train.batch_size=20"]
    options = [part for item in (f"data.root={root}", *slice_of_it) for part in ("-o", item)]
    assert tool("train", "-c", config, "--run", tmp_path / "run", *options) == 0
    assert tool("eval", tmp_path / "run", "--split", "test") == 0


def test_recipes_are_short_and_say_what_they_are():
    for recipe in RECIPES:
        lines = (CONFIGS / recipe).read_text().splitlines()
        assert lines[0].startswith("# "), recipe
        assert len(lines) <= 40, recipe
