"""Handwritten digits from scikit-learn's wheel: 1,797 grey images of 8x8, 16 levels, ten classes.

They are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998, UCI).
Nothing is downloaded. No test part is published, so a fixed fifth of each class is held out, independent of the
seed; the rest is for training and validation.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from paddlecnn.config import DataConfig, Preprocess
from paddlecnn.data.base import ArrayDataset, PublishedSplits
from paddlecnn.data.splits import quantiles

SIDE = 32
TEST_FRACTION = 0.2
COUNTS = {"train": 1438, "test": 359}
# Mean and deviation of all pixels after the resize, the same in the three equal channels.
PREPROCESS = Preprocess(size=SIDE, resize=SIDE, channels="rgb", scale=255.0, mean=[0.305] * 3, std=[0.323] * 3)


def load(config: DataConfig) -> PublishedSplits:
    """All digits as uint8 [N, 32, 32, 3]; ids are `digits/` and the position in scikit-learn's array."""
    from sklearn.datasets import load_digits  # slow to import

    raw = load_digits()
    images = np.stack([enlarge(image) for image in raw.images])
    ids = [f"digits/{i}" for i in range(len(images))]
    whole = ArrayDataset("digits", tuple(map(str, raw.target_names)), ids, raw.target, images)
    held_out = quantiles(whole, seed=0, purpose="digits-test") < TEST_FRACTION
    return PublishedSplits(whole.subset(np.flatnonzero(~held_out)), whole.subset(np.flatnonzero(held_out)))


def enlarge(image: np.ndarray) -> np.ndarray:
    """[8, 8] with levels 0..16 to uint8 [32, 32, 3] with levels 0..255, bilinear."""
    grey = Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8))
    return np.repeat(np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR))[:, :, None], 3, axis=2)
