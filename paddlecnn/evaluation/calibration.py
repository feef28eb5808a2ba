"""Probabilities that mean what they say: a temperature and a clip, fitted on validation predictions.

    p = clip(softmax(z / T), eps)              (Guo et al. 2017, "On Calibration of Modern Neural Networks")

A network trained to the end is right more rarely than it is sure, and log loss punishes each certain
mistake without bound. T > 1 makes every probability less extreme; the clip keeps each one at least eps away
from 0, which bounds the price of a mistake by -log eps. Both keep the order of the classes.

scikit-learn has a temperature of its own only from 1.8 on (Python 3.11) and no clip, so the two are fitted
together here by minimising the log loss; a test holds the temperature against scikit-learn's where it is there.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.model_selection import KFold

from paddlecnn.errors import DataError
from paddlecnn.randomness import generator, random_seed

KAGGLE_EPS = 1e-15  # Kaggle keeps probabilities this far from 0 and 1 before it takes logarithms
TEMPERATURES = (0.1, 20.0)
COARSE_CLIPS = np.geomspace(1e-6, 0.4, 13)
PARTS = 5  # of the cross-fit
RESAMPLES = 2000  # of the bootstrap

Predict = Callable[[np.ndarray], np.ndarray]  # logits [N, M, C] of M members to probabilities [N, C]
Fit = Callable[[np.ndarray, np.ndarray], Predict]  # logits [N, M, C] and labels [N] to what predicts


def clip(probabilities: np.ndarray, eps: float) -> np.ndarray:
    """Keep each probability in [eps, 1 - (C - 1) eps] and the sum of a row at 1; [N, C] to [N, C].

    With two classes that is min(max(p, eps), 1 - eps).
    """
    if eps == 0:
        return probabilities
    kept = np.clip(probabilities, eps, 1 - (probabilities.shape[1] - 1) * eps)
    return kept / kept.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Calibration:
    """p = clip(softmax(z / temperature), eps); called with logits [N, C]. The default changes nothing."""

    temperature: float = 1.0
    eps: float = 0.0

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        return clip(softmax(logits / self.temperature, axis=1), self.eps)

    def __str__(self) -> str:
        return f"T={self.temperature:.4g} clip={self.eps:.3g}"


def image_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-log p of each image's own class, as Kaggle takes it; [N, C], [N] to [N]. Their mean is the log loss."""
    own = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.clip(own, KAGGLE_EPS, 1 - KAGGLE_EPS))


def fit_calibration(logits: np.ndarray, labels: np.ndarray, temperature: float | None = None,
                    eps: float | None = None) -> Calibration:
    """The temperature and the clip with the lowest log loss, for logits [N, C]; a value that is given is kept.

    One more image, as sure as the middle one and wrong, is counted in: n images without a mistake are no
    proof that there is none in the next n (Laplace's rule: about one in n + 1).
    """
    logits, labels = with_one_mistake(logits, labels)

    def loss(calibration: Calibration) -> float:
        return float(image_losses(calibration(logits), labels).mean())

    def at_clip(eps: float) -> Calibration:
        """The best temperature for a clip."""
        return Calibration(temperature or lowest(lambda t: loss(Calibration(t, eps)), *TEMPERATURES), eps)

    if eps is None:  # the loss may have several valleys over the clip: look everywhere, then closer
        coarse = min(COARSE_CLIPS, key=lambda one: loss(at_clip(one)))
        step = COARSE_CLIPS[1] / COARSE_CLIPS[0]
        eps = lowest(lambda one: loss(at_clip(one)), max(coarse / step, COARSE_CLIPS[0]),
                     min(coarse * step, COARSE_CLIPS[-1]))
    return at_clip(eps)


def lowest(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function of a positive number has its lowest value between two bounds, to one part in a thousand."""
    return float(np.exp(minimize_scalar(lambda log: function(float(np.exp(log))), bounds=np.log((low, high)),
                                        method="bounded", options={"xatol": 1e-3}).x))


def with_one_mistake(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The images and one more, with the logits of the middle one by margin and its second class as label."""
    ranked = np.sort(logits, axis=1)
    middle = np.argsort(ranked[:, -1] - ranked[:, -2])[len(logits) // 2]
    second = np.argsort(logits[middle])[-2]
    return np.vstack([logits, logits[middle]]), np.append(labels, second)


def cross_fitted(fit: Fit, logits: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Probabilities [N, C], each image's from a fit that did not see it: fitted on 4 of 5 parts, used on the fifth.

    Raises DataError where there are too few images to be cut into parts.
    """
    if len(labels) < 2 * PARTS:
        raise DataError(f"{len(labels)} validation images are too few to calibrate on; "
                        "take --temperature 1 --clip none, or a larger validation part")
    probabilities = np.empty((len(labels), logits.shape[-1]))
    cutter = KFold(PARTS, shuffle=True, random_state=random_seed(seed, "calibration parts") % 2**32)
    for others, part in cutter.split(labels):
        probabilities[part] = fit(logits[others], labels[others])(logits[part])
    return probabilities


@dataclass(frozen=True)
class Estimate:
    """A mean over images and its 95 % bootstrap interval (percentiles of resampled means)."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.5f} (95 %: {self.low:.5f} to {self.high:.5f})"


def estimate(values: np.ndarray, seed: int) -> Estimate:
    """The mean of one value an image, [N], with its interval."""
    random = generator(seed, "bootstrap")
    means = [values[random.integers(len(values), size=len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(values.mean()), float(low), float(high))
