"""Handwritten digits from scikit-learn's wheel: 1,797 grey images of 8x8, 16 levels, ten classes.

They are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998, UCI).
Nothing is downloaded. No test part is published, so a fixed fifth of each class is held out, independent of the
seed; the rest is for training and validation.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import distribution

import numpy as np
from PIL import Image

from paddlecnn.config import DataConfig, Preprocess
from paddlecnn.data.base import ArrayDataset, PublishedSplits
from paddlecnn.data.splits import quantiles
from paddlecnn.errors import UserError

SIDE = 32
TEST_FRACTION = 0.2
COUNTS = {"train": 1438, "test": 359}
# Mean and deviation of all pixels after the resize, the same in the three equal channels.
PREPROCESS = Preprocess(size=SIDE, resize=SIDE, channels="rgb", scale=255.0, mean=[0.305] * 3, std=[0.323] * 3)


def load(config: DataConfig) -> PublishedSplits:
    """All digits as uint8 [N, 32, 32, 3]; ids are `digits/` and the position in scikit-learn's file."""
    images, labels = read_digits()
    ids = [f"digits/{i}" for i in range(len(images))]
    whole = ArrayDataset("digits", tuple(map(str, range(10))), ids, labels, images)
    held_out = quantiles(whole, seed=0, purpose="digits-test") < TEST_FRACTION
    return PublishedSplits(whole.subset(np.flatnonzero(~held_out)), whole.subset(np.flatnonzero(held_out)))


@cache
def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 32, 32, 3] and labels int64 [N]. `sklearn.datasets` has them too, but takes a second to import.

    Raises:
        UserError: the installed scikit-learn has no such file
    """
    package = distribution("scikit-learn")
    path = package.locate_file("sklearn/datasets/data/digits.csv.gz")
    try:
        table = np.loadtxt(str(path), delimiter=",")  # a row: 64 levels of 0..16, then the class
    except FileNotFoundError as error:
        message = f"{path}: not in scikit-learn {package.version}; install another release"
        raise UserError(message) from error
    images = np.stack([enlarge(row.reshape(8, 8)) for row in table[:, :-1]])
    labels = table[:, -1].astype(np.int64)
    images.setflags(write=False)
    labels.setflags(write=False)
    return images, labels


def enlarge(image: np.ndarray) -> np.ndarray:
    """[8, 8] with levels 0..16 to uint8 [32, 32, 3] with levels 0..255, bilinear."""
    grey = Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8))
    return np.repeat(np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR))[:, :, None], 3, axis=2)
