"""Small images, archives and data sets in the publishers' formats."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from paddlecnn.config import DataConfig
from paddlecnn.data.base import Splits
from paddlecnn.data.datasets import open_dataset


def photo(number: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """uint8 [48, 64, 3], smoothed coarse noise, different for each number."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)


def write_levels(root: Path, images: int) -> None:
    """A folder data set of two classes, dark and light, with `images` images each, each of one grey level."""
    for number in range(images):
        for name, level in (("dark", 40), ("light", 200)):
            path = root / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (level + number,) * 3).save(path)


def encoded(pixels: np.ndarray, format: str = "JPEG", **options: Any) -> bytes:
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


def inner_zips(files: dict[str, bytes]) -> dict[str, bytes]:
    parts = {part: {name: data for name, data in files.items() if name.startswith(part)} for part in ("train", "test")}
    inner = {f"{part}.zip": zipped(members) for part, members in parts.items()}
    return inner | {"sample_submission.csv": b"id,label\n" + b"".join(b"%d,0.5\n" % i for i in range(1, 6))}


def opened(name: str, root: Path, seed: int = 0, **options: Any) -> Splits:
    return open_dataset(DataConfig(name=name, root=str(root), **options), seed)


def photos(folder: Path, count: int) -> Path:
    """Photographs of two classes, cat darker than dog."""
    for number in range(count):
        name = ("cat", "dog")[number % 2]
        path = folder / name / f"{name}.{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(photo(number) // 2 + 100 * (number % 2)))
    return folder
