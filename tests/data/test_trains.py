"""A network trains for an epoch on each data set, from each form it comes in, and is evaluated afterwards."""

from __future__ import annotations

import shutil
from pathlib import Path

import py7zr
import pytest
import yaml

from helpers.images import encoded, inner_zips, photo

SMALL = {"size": 32, "resize": 36}


def cifar10_batches(tmp_path: Path, cifar_folder: Path, **_) -> dict:
    return {"name": "cifar10", "root": str(tmp_path)}


def cifar10_tar(cifar_tar: Path, **_) -> dict:
    return {"name": "cifar10", "root": str(cifar_tar)}


def dogs_bundle_zip(dogs_bundle: Path, **_) -> dict:
    return {"name": "dogs_vs_cats", "root": str(dogs_bundle), "preprocess": SMALL, "workers": 2}


def dogs_inner_zips(tmp_path: Path, dogs_files: dict, **_) -> dict:
    for name, data in inner_zips(dogs_files).items():
        (tmp_path / name).write_bytes(data)
    return {"name": "dogs_vs_cats", "root": str(tmp_path), "preprocess": SMALL, "augment": {"crop": True}}


def dogs_cached(dogs_bundle: Path, tmp_path: Path, **_) -> dict:
    return {"name": "dogs_vs_cats", "root": str(dogs_bundle), "preprocess": SMALL, "cache": str(tmp_path / "cache")}


def class_folders(tree: Path, **_) -> dict:
    shutil.copyfile(tree / "cat" / "cat.1.jpg", tree / "cat" / "copy of cat.1.jpg")
    return {
        "name": "folder",
        "root": str(tree),
        "preprocess": SMALL,
        "augment": {"flip": True, "random_resized_crop": {}, "mixup": 0.2},
    }


def kaggle_archives(tmp_path: Path, **_) -> dict:
    root = tmp_path / "cifar-10"
    root.mkdir()
    with py7zr.SevenZipFile(root / "train.7z", "w") as archive:
        for number in range(1, 41):
            archive.writestr(encoded(photo(number, (32, 32)), "PNG"), f"train/{number}.png")
    rows = [f"{number},{('cat', 'dog')[number % 2]}" for number in range(1, 41)]
    (root / "trainLabels.csv").write_text("\n".join(["id,label", *rows]))
    return {"name": "kaggle_cifar10", "root": str(tmp_path)}


@pytest.mark.parametrize(
    "form",
    [cifar10_batches, cifar10_tar, dogs_bundle_zip, dogs_inner_zips, dogs_cached, class_folders, kaggle_archives],
)
def test_a_network_trains_for_an_epoch(
    form, tool, tmp_path, cifar_folder, cifar_tar, dogs_files, dogs_bundle, tree, capsys
):
    data = form(
        tmp_path=tmp_path,
        cifar_folder=cifar_folder,
        cifar_tar=cifar_tar,
        dogs_files=dogs_files,
        dogs_bundle=dogs_bundle,
        tree=tree,
    )
    config = tmp_path / "c.yaml"
    config.write_text(
        yaml.safe_dump({"data": data, "model": {"name": "simple_cnn"}, "train": {"epochs": 1, "batch_size": 8}})
    )
    assert tool("train", "-c", config, "--run", tmp_path / "run") == 0
    assert tool("eval", tmp_path / "run", "--split", "val") == 0
    assert "top-1" in capsys.readouterr().out


def test_a_run_of_two_classes_refuses_data_of_three(tool, tmp_path, tree, capsys):
    config = tmp_path / "c.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "data": {"name": "folder", "root": str(tree), "preprocess": SMALL},
                "model": {"name": "simple_cnn"},
                "train": {"epochs": 1, "batch_size": 8},
            }
        )
    )
    assert tool("train", "-c", config, "--run", tmp_path / "run") == 0
    shutil.copytree(tree / "cat", tree / "bird")
    assert tool("eval", tmp_path / "run", "--split", "val", "--data-changed") == 2
    assert "folder: its classes are bird, cat, dog; run has 2: cat, dog" in capsys.readouterr().err
