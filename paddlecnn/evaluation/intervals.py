"""95 % confidence intervals for an accuracy and for a mean log loss.

They describe the randomness in the choice of images, for a predictor that these images did not influence. Where
something was fitted, the values come from a cross-fit. Where the epoch of a run was selected on the same validation
images, no interval accounts for it, and any output that prints one says so (RunDir.reservations).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, ndtri, stdtrit  # scipy.stats takes a second to import

from paddlecnn.randomness import generator

LEVEL = 0.95
DRAWS = 4000  # of the weights in the interval of a mean
CHUNK = 1 << 22  # numbers drawn at a time


@dataclass(frozen=True)
class Estimate:
    """A mean over images and its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.5f} (95 %: {self.low:.5f} to {self.high:.5f})"


def accuracy_estimate(correct: np.ndarray) -> Estimate:
    """The accuracy with Clopper and Pearson's exact interval; correct: bool [N].

    n images without an error do not prove an accuracy of 1: 143 of 143 give 0.9745 to 1.
    """
    right = int(correct.sum())
    wrong = len(correct) - right
    low = betaincinv(right, wrong + 1, (1 - LEVEL) / 2) if right else 0.0
    high = betaincinv(right + 1, wrong, (1 + LEVEL) / 2) if wrong else 1.0
    return Estimate(right / len(correct), float(low), float(high))


def log_loss_estimate(losses: np.ndarray, worst: float, seed: int) -> Estimate:
    """The mean of losses [N] with Gaffke's interval for the mean of a bounded variable.

    worst: the largest loss that an image can have. It comes from the clip of the probabilities, -log(eps), and
        bounds what confident errors too rare to be among these images could cost.

    The upper limit is the 97.5 % quantile of sum_i D_i x_(i), where D ~ Dirichlet(1, ..., 1) weights the N losses and
    one more of the size `worst`; the lower limit is the 2.5 % quantile with one more loss of 0. For losses that are 0
    or 1 this is Clopper and Pearson's interval; for large N it approaches the normal one. Learned-Miller and Thomas,
    "A New Confidence Interval for the Mean of a Bounded Random Variable", arXiv:1905.06208.
    """
    tail = 50 * (1 - LEVEL)
    ordered = np.sort(losses)
    below, above = np.concatenate([[0.0], ordered]), np.concatenate([ordered, [worst]])
    lows, highs = [], []
    random = generator(seed, "interval of a mean")
    rows = max(1, CHUNK // len(above))
    for start in range(0, DRAWS, rows):
        weights = random.exponential(size=(min(rows, DRAWS - start), len(above)))
        weights /= weights.sum(axis=1, keepdims=True)
        lows.append(weights @ below)
        highs.append(weights @ above)
    return Estimate(
        float(losses.mean()),
        float(np.percentile(np.concatenate(lows), tail)),
        float(np.percentile(np.concatenate(highs), 100 - tail)),
    )


def paired_seeds_estimate(differences: Sequence[float], step: float) -> Estimate:
    """The mean of differences between pairs of trainings, two or more, with Student's t interval.

    step: the step in which an accuracy is measured, 1/n for n images

    It describes the randomness of the seeds, that is of the initial weights, the order of the images and their split. A
    few seeds often differ by the same number of images, which does not show that there is no randomness. So the
    variance is at least that of rounding two accuracies to the step, 2 * step**2 / 12 (Sheppard).
    """
    values = np.asarray(differences)
    variance = max(values.var(ddof=1), step**2 / 6)
    reach = stdtrit(len(values) - 1, (1 + LEVEL) / 2) * np.sqrt(variance / len(values))
    return Estimate(float(values.mean()), float(values.mean() - reach), float(values.mean() + reach))


def paired_images_estimate(differences: Sequence[Mapping[str, int]]) -> Estimate:
    """The difference of two accuracies on the same images, with an interval for the randomness in the choice of images.

    differences: for each pair of networks, from an image's id to 1 (only the second is right), -1 (only the first) or
        0. Images of several pairs count once: the variance is that of sums over the pairs (cluster-robust).

    The interval is that of Agresti and Min, "Simple improved confidence intervals for comparing matched proportions",
    Statistics in Medicine 24, 2005: normal, after half an image is added to each cell of the 2x2 table. So it has a
    width even if the two networks agree on every image.
    """
    sums: dict[str, list[int]] = {}
    for pair in differences:
        for name, value in pair.items():
            one = sums.setdefault(name, [0, 0])
            one[0] += value
            one[1] += 1
    total, count = np.array(list(sums.values()), np.float64).T
    size = count.sum() + 2
    centre = total.sum() / size
    variance = (((total - count * centre) ** 2).sum() + 1 + 2 * centre**2) / size**2
    reach = ndtri((1 + LEVEL) / 2) * np.sqrt(variance)
    return Estimate(float(total.sum() / count.sum()), float(centre - reach), float(centre + reach))
