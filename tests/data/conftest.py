"""Small data sets in the publishers' own forms."""
from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from paddlecnn.config import DataConfig
from paddlecnn.data.datasets import Splits, open_dataset

CIFAR_NAMES = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]


def photo(number: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """uint8 [48, 64, 3], coarse noise made smooth, another one for each number."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)


def encoded(pixels: np.ndarray, format: str = "JPEG", **options) -> bytes:
    """An image file's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def pickled(value: object) -> bytes:
    return pickle.dumps(value, protocol=2)


@pytest.fixture
def cifar_folder(tmp_path) -> Path:
    """tmp_path/cifar-10-batches-py with 40 random images a batch."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        batch = {b"data": random.integers(0, 256, (40, 3072), np.uint8), b"labels": [i % 10 for i in range(40)]}
        (folder / name).write_bytes(pickled(batch))
    (folder / "batches.meta").write_bytes(pickled({b"label_names": CIFAR_NAMES}))
    return folder


@pytest.fixture
def cifar_tar(cifar_folder, tmp_path) -> Path:
    """A folder that holds nothing but cifar-10-python.tar.gz."""
    root = tmp_path / "packed"
    root.mkdir()
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(cifar_folder, cifar_folder.name)
    return root


@pytest.fixture
def dogs_files() -> dict[str, bytes]:
    """The names and bytes of 12 cats, 12 dogs and 5 test images."""
    train = {f"train/{kind}.{i}.jpg": encoded(photo(100 * k + i)) for k, kind in enumerate(("cat", "dog"))
             for i in range(12)}
    return train | {f"test/{i}.jpg": encoded(photo(900 + i)) for i in range(1, 6)}


@pytest.fixture
def dogs_bundle(tmp_path, dogs_files) -> Path:
    """The competition's bundle: zips in a zip."""
    path = tmp_path / "dogs-vs-cats-redux-kernels-edition.zip"
    path.write_bytes(zipped(inner_zips(dogs_files)))
    return path


def inner_zips(files: dict[str, bytes]) -> dict[str, bytes]:
    parts = {part: {name: data for name, data in files.items() if name.startswith(part)} for part in ("train", "test")}
    inner = {f"{part}.zip": zipped(members) for part, members in parts.items()}
    return inner | {"sample_submission.csv": b"id,label\n" + b"".join(b"%d,0.5\n" % i for i in range(1, 6))}


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


def opened(name: str, root: Path, seed: int = 0, **options) -> Splits:
    return open_dataset(DataConfig(name=name, root=str(root), **options), seed)
