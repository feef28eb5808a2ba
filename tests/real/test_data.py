"""The data sets as their publishers give them: all of CIFAR-10, and Dogs vs. Cats in the competition's bundle."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from paddlecnn.config import Augment, DataConfig
from paddlecnn.data.audit.inspection import filter_readable
from paddlecnn.data.datasets import defaults, open_dataset, open_parts
from paddlecnn.data.pipeline.loader import Loader

pytestmark = pytest.mark.real
BUNDLE = "dogs-vs-cats-redux-kernels-edition.zip"
HALF = "dogs-vs-cats-train-200px-half.zip"


@pytest.fixture(scope="module")
def cifar10(real_data, tmp_path_factory) -> Path:
    """A folder with the official batches."""
    dest = tmp_path_factory.mktemp("cifar10")
    subprocess.run([sys.executable, real_data / "restore_cifar10.py", dest], check=True, capture_output=True)
    return dest


def test_all_of_cifar10_in_place(cifar10, caplog):
    splits = open_dataset(DataConfig(name="cifar10", root=str(cifar10)), 0)
    assert caplog.records == []  # every file is the official one
    assert (len(splits.train), len(splits.val), len(splits.test)) == (42500, 7500, 10000)
    assert np.bincount(splits.val.labels).tolist() == [750] * 10
    assert splits.test.classes[splits.test.labels[0]] == "cat"
    spec = defaults("cifar10")
    levels = np.arange(256) / spec.scale
    both = splits.train, splits.val
    for channel in range(3):
        counts = sum(np.bincount(part.images[..., channel].ravel(), minlength=256) for part in both)
        mean = (counts * levels).sum() / counts.sum()
        assert mean == pytest.approx(spec.mean[channel], abs=5e-5)
        deviation = ((counts * (levels - mean) ** 2).sum() / counts.sum()) ** 0.5
        assert deviation == pytest.approx(spec.std[channel], abs=1e-4)


def test_cifar10_from_the_tar(cifar10, tmp_path):
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w") as tar:
        tar.add(cifar10 / "cifar-10-batches-py", "cifar-10-batches-py")
    packed = open_parts(DataConfig(name="cifar10", root=str(tmp_path)))
    plain = open_parts(DataConfig(name="cifar10", root=str(cifar10)))
    assert packed.train.fingerprint == plain.train.fingerprint


def test_a_flipped_bit_in_an_official_batch_is_found(cifar10, tmp_path, tool, capsys):
    folder = shutil.copytree(cifar10, tmp_path / "copy") / "cifar-10-batches-py"
    data = bytearray((folder / "data_batch_2").read_bytes())
    data[10_000_000] ^= 1
    (folder / "data_batch_2").write_bytes(data)
    config = tmp_path / "c.yaml"
    config.write_text(
        f"data: {{name: cifar10, root: {folder}}}\nmodel: {{name: alexnet_cifar}}\ntrain: {{epochs: 1}}\n"
    )
    assert tool("check_data", "-c", config, "--out", tmp_path) == 1
    assert "data_batch_2: MD5" in capsys.readouterr().out


def test_the_bundle_of_the_competition_is_read_in_place(real_data):
    parts = open_parts(DataConfig(name="dogs_vs_cats", root=str(real_data / BUNDLE)))
    assert (len(parts.train), len(parts.test)) == (2002, 200)
    assert np.bincount(parts.train.labels).tolist() == [1001, 1001]
    sound, excluded = filter_readable(parts.train)
    assert (len(sound), excluded) == (2002, [])
    loader = Loader(
        parts.train.subset(np.arange(0, 2002, 20)),
        defaults("dogs_vs_cats"),
        32,
        augment=Augment(crop=True, flip=True),
        shuffle=True,
        workers=2,
    )
    batches = list(loader.epoch(0))
    assert sum(len(batch.indices) for batch in batches) == 101
    assert batches[0].images.shape == [32, 3, 224, 224]
    assert 0.5 < batches[0].images.std().item() < 2


def test_check_data_reads_12500_photographs(real_data, tmp_path, tool, capsys):
    config = tmp_path / "c.yaml"
    config.write_text(
        f"data: {{name: dogs_vs_cats, root: {real_data / HALF}}}\nmodel: {{name: alexnet}}\ntrain: {{epochs: 1}}\n"
    )
    assert tool("check_data", "-c", config, "--out", tmp_path) == 1
    report = capsys.readouterr().out
    assert "train: images 12,500  readable 12,500  classes (cat 6,250, dog 6,250)" in report
    assert "ERROR: train has 12,500 images; the publisher states 25,000" in report
    for name in ("cat.6143.jpg", "cat.6204.jpg", "dog.2027.jpg", "dog.3082.jpg"):  # two duplicates
        assert name in report


def test_duplicates_of_the_12500_stay_on_one_side(real_data):
    splits = open_dataset(DataConfig(name="dogs_vs_cats", root=str(real_data / HALF)), 0)
    assert (len(splits.train), len(splits.val)) == (10626, 1874)
    assert not set(splits.train.content_hashes) & set(splits.val.content_hashes)
