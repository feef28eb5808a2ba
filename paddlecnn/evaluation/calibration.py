"""Calibration of probabilities: a temperature and a clip, fitted on validation predictions.

    p = clip(softmax(z / T), eps)              (Guo et al. 2017, "On Calibration of Modern Neural Networks")

A network trained to convergence is overconfident, and log loss penalises each confident error without bound.
T > 1 makes every probability less extreme; the clip keeps each one at least eps away from 0, which limits the loss
of an error to -log eps. Both keep the most probable class: a clip is refused if it is so large that several classes
could share the largest probability.

scikit-learn has a temperature only from 1.8 on and no clip, so the two are fitted together here by minimising the log
loss; a test compares the temperature with scikit-learn's if it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.special import softmax

from paddlecnn.errors import DataError
from paddlecnn.randomness import generator, random_seed

KAGGLE_EPS = 1e-15  # Kaggle clips probabilities to this distance from 0 and 1 before it takes logarithms
TEMPERATURES = (0.1, 20.0)
SMALLEST_CLIP, COARSE = 1e-6, 13  # of the search: its lower end, and the number of clips in its coarse part
PARTS = 5  # of the cross-fit
FEWEST = 2 * PARTS  # images to calibrate on
CHANCE_DRAWS = 100  # of the error of a perfectly calibrated network


class Predictor(Protocol):
    """Logits [N, M, C] of M members to probabilities [N, C], none of them closer to 0 than about `eps`."""

    @property
    def eps(self) -> float: ...

    def __call__(self, logits: np.ndarray) -> np.ndarray: ...


Fit = Callable[[np.ndarray, np.ndarray], Predictor]  # from logits [N, M, C] and labels [N]


def clip(probabilities: np.ndarray, eps: float) -> np.ndarray:
    """Keep each probability in [eps, 1 - (C - 1) eps] and the sum of each row at 1; [N, C] to [N, C].

    With two classes this is min(max(p, eps), 1 - eps). Raises DataError for a clip that leaves an upper bound of 1/2
    or less: two probabilities could reach it.
    """
    if eps == 0:
        return probabilities
    classes = probabilities.shape[1]
    if eps >= clip_limit(classes):
        raise DataError(f"clip {eps:.3g}: must be below {clip_limit(classes):.3g} with {classes} classes")
    kept = np.clip(probabilities, eps, 1 - (classes - 1) * eps)
    return kept / kept.sum(axis=1, keepdims=True)


def clip_limit(classes: int) -> float:
    """The clip whose upper bound is 1/2."""
    return 0.5 / (classes - 1)


def clips(classes: int, count: int) -> np.ndarray:
    """`count` clips in geometric steps, from one in a million to 4/5 of the limit: 0.4 with two classes."""
    return np.geomspace(SMALLEST_CLIP, 0.8 * clip_limit(classes), count)


@dataclass(frozen=True)
class Calibration:
    """p = clip(softmax(z / temperature), eps); called with logits [N, C]. The default is the plain softmax."""

    temperature: float = 1.0
    eps: float = 0.0

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        return clip(softmax(logits / self.temperature, axis=1), self.eps)

    def __str__(self) -> str:
        return f"T={self.temperature:.4g} clip={self.eps:.3g}"

    @property
    def temperature_at_bound(self) -> bool:
        """Whether the temperature is at an end of the range in which it is searched."""
        return bool(np.isclose(self.temperature, TEMPERATURES, rtol=0.01).any())


def image_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-log p of each image's label, with Kaggle's clip; [N, C], [N] to [N]. Their mean is the log loss."""
    own = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.clip(own, KAGGLE_EPS, 1 - KAGGLE_EPS))


def worst_loss(eps: float, classes: int) -> float:
    """The largest loss of an image whose probabilities were clipped at `eps`; Kaggle's clip limits it in any case."""
    return float(-np.log(max(eps / (1 + (classes - 1) * eps), KAGGLE_EPS)))


def probability_columns(classes: Sequence[str], taken: Sequence[str]) -> list[str]:
    """A column name for the probability of each class: its name, or p(NAME) if another column has that name."""
    return [f"p({name})" if name in taken else name for name in classes]


def fit_calibration(
    logits: np.ndarray, labels: np.ndarray, temperature: float | None = None, eps: float | None = None
) -> Calibration:
    """The temperature and the clip with the lowest log loss for logits [N, C]; a given value is kept.

    One pseudo-observation is added (Laplace smoothing), an error of median confidence: n images without an error do
    not prove that the error rate is 0, only that it is about 1 / (n + 1) or less.
    """
    logits, labels = with_pseudo_error(logits, labels)

    def loss(calibration: Calibration) -> float:
        return float(image_losses(calibration(logits), labels).mean())

    def at_clip(eps: float) -> Calibration:
        """The best temperature for a clip."""
        return Calibration(temperature or lowest(lambda t: loss(Calibration(t, eps)), *TEMPERATURES), eps)

    if eps is None:  # the loss may have several local minima over the clip: a coarse search first, then a fine one
        searched = clips(logits.shape[1], COARSE)
        coarse, step = min(searched, key=lambda one: loss(at_clip(one))), searched[1] / searched[0]
        low, high = max(coarse / step, searched[0]), min(coarse * step, searched[-1])
        eps = lowest(lambda one: loss(at_clip(one)), low, high)
    return at_clip(eps)


def lowest(function: Callable[[float], float], low: float, high: float) -> float:
    """The minimum of a function of a positive number between two bounds, to a relative precision of 0.001."""
    from scipy.optimize import minimize_scalar  # slow to import, and training needs only the losses above

    options: dict[str, Any] = {"method": "bounded", "bounds": np.log((low, high)), "options": {"xatol": 1e-3}}
    return float(np.exp(minimize_scalar(lambda log: function(float(np.exp(log))), **options).x))


def with_pseudo_error(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The images and one more, with the logits of the median margin and their second most probable class as label."""
    ranked = np.sort(logits, axis=1)
    middle = np.argsort(ranked[:, -1] - ranked[:, -2])[len(logits) // 2]
    second = np.argsort(logits[middle])[-2]
    return np.vstack([logits, logits[middle]]), np.append(labels, second)


def cross_fitted(
    fit: Fit, logits: np.ndarray, labels: np.ndarray, seed: int, parts: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """Probabilities [N, C], each image's from a fit on the other parts, and the smallest clip of the fits.

    parts: the number of each image's part, int [N], e.g. its fold in a cross-validation; five random parts if not given
    Raises DataError if there are too few images to be divided.
    """
    if len(labels) < FEWEST:
        raise DataError(
            f"{len(labels)} validation images are too few to calibrate on; "
            "use --temperature 1 --clip none, or a larger validation part"
        )
    from sklearn.model_selection import KFold, LeaveOneGroupOut  # slow to import

    probabilities = np.empty((len(labels), logits.shape[-1]))
    smallest = 1.0
    if parts is None:
        folds = KFold(PARTS, shuffle=True, random_state=random_seed(seed, "calibration parts") % 2**32)
    else:
        folds = LeaveOneGroupOut()
    for others, part in folds.split(labels, groups=parts):
        predictor = fit(logits[others], labels[others])
        probabilities[part] = predictor(logits[part])
        smallest = min(smallest, predictor.eps)
    return probabilities, smallest


def reliability_bins(said: np.ndarray, truth: np.ndarray, bins: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean probability, share of true cases and number of images of `bins` bins of equal numbers of images.

    said: [N] predicted probabilities; truth: [N], 1 or 0. The images are divided by rank, so that a network that is
    certain of nearly everything still fills all its bins. Images with equal probabilities get their mean truth, so
    that their order does not matter.
    """
    _, group, size = np.unique(said, return_inverse=True, return_counts=True)
    truth = (np.bincount(group, truth) / size)[group]
    parts = np.array_split(np.argsort(said, kind="stable"), min(bins, len(said)))
    means = [(said[part].mean(), truth[part].mean(), len(part)) for part in parts]
    mean, share, count = map(np.array, zip(*means, strict=True))
    return mean, share, count


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """The mean distance between confidence and accuracy over bins of equal numbers of images; [N, C], [N].

    Guo et al. 2017 take bins of equal widths, most of which a confident network leaves nearly empty.
    """
    return calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, bins)


def chance_calibration_error(probabilities: np.ndarray, seed: int, bins: int = 15) -> float:
    """The expected calibration error of as many images of a perfectly calibrated network; [N, C].

    Correct predictions are drawn with the probabilities that the network gives them. The few images of a bin differ
    from their mean probability by chance, so the error is above 0: an error that is not larger shows no miscalibration.
    """
    confidence, random = probabilities.max(axis=1), generator(seed, "perfectly calibrated")
    draws = (random.random(len(confidence)) < confidence for _ in range(CHANCE_DRAWS))
    return float(np.mean([calibration_error(confidence, correct, bins) for correct in draws]))


def calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int) -> float:
    said, share, count = reliability_bins(confidence, correct, bins)
    return float(np.average(np.abs(said - share), weights=count))
