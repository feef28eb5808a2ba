"""Small data sets in the publishers' own forms."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from helpers.file_server import Server, serving
from helpers.images import encoded, inner_zips, photo, pickled, zipped

CIFAR_NAMES = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]


@pytest.fixture
def server() -> Iterator[Server]:
    """A file server on loopback."""
    with serving() as running:
        yield running


@pytest.fixture
def cifar_folder(tmp_path) -> Path:
    """tmp_path/cifar-10-batches-py with 40 random images per batch."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        batch = {b"data": random.integers(0, 256, (40, 3072), np.uint8), b"labels": [i % 10 for i in range(40)]}
        (folder / name).write_bytes(pickled(batch))
    (folder / "batches.meta").write_bytes(pickled({b"label_names": CIFAR_NAMES}))
    return folder


@pytest.fixture
def cifar100_folder(tmp_path) -> Path:
    """tmp_path/cifar-100-python with 200 random images in each part."""
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("train", "test"):
        batch = {
            b"data": random.integers(0, 256, (200, 3072), np.uint8),
            b"fine_labels": [i % 100 for i in range(200)],
            b"coarse_labels": [i % 20 for i in range(200)],
        }
        (folder / name).write_bytes(pickled(batch))
    names = {
        b"fine_label_names": [b"f%d" % i for i in range(100)],
        b"coarse_label_names": [b"c%d" % i for i in range(20)],
    }
    (folder / "meta").write_bytes(pickled(names))
    return folder


@pytest.fixture
def cifar_tar(cifar_folder, tmp_path) -> Path:
    """A folder that contains only cifar-10-python.tar.gz."""
    root = tmp_path / "packed"
    root.mkdir()
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(cifar_folder, cifar_folder.name)
    return root


@pytest.fixture
def dogs_files() -> dict[str, bytes]:
    """The names and bytes of 12 cats, 12 dogs and 5 test images."""
    train = {
        f"train/{kind}.{i}.jpg": encoded(photo(100 * k + i)) for k, kind in enumerate(("cat", "dog")) for i in range(12)
    }
    return train | {f"test/{i}.jpg": encoded(photo(900 + i)) for i in range(1, 6)}


@pytest.fixture
def dogs_bundle(tmp_path, dogs_files) -> Path:
    """The competition's bundle: zips in a zip."""
    path = tmp_path / "dogs-vs-cats-redux-kernels-edition.zip"
    path.write_bytes(zipped(inner_zips(dogs_files)))
    return path


@pytest.fixture
def tree(tmp_path, dogs_files) -> Path:
    """A class-per-folder tree."""
    root = tmp_path / "tree"
    for name, data in dogs_files.items():
        if name.startswith("train/"):
            path = root / name.split("/")[1].split(".")[0] / Path(name).name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return root
