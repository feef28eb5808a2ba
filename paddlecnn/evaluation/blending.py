"""A blend of several predictions of the same images: the weighted mean of their logits, calibrated.

A single prediction is a blend of one member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax

from paddlecnn.evaluation.calibration import KAGGLE_EPS, Calibration, fit_calibration, image_losses

MAX_FACTOR = 20.0  # of a member's logits; if no image is misclassified, the optimum is unbounded


@dataclass(frozen=True)
class Blend:
    """p = calibration(sum_m w_m z_m), the weights w >= 0 with sum 1.

    Called with the members' logits [N, M, C]; returns probabilities [N, C].
    """

    weights: tuple[float, ...]
    calibration: Calibration

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        return self.calibration(mean_logits(logits, self.weights))

    @property
    def eps(self) -> float:
        return self.calibration.eps

    def __str__(self) -> str:
        weights = ",".join(f"{weight:.3f}" for weight in self.weights)
        return f"weights={weights} {self.calibration}" if len(self.weights) > 1 else str(self.calibration)


def mean_logits(logits: np.ndarray, weights: np.ndarray | Sequence[float]) -> np.ndarray:
    """sum_m w_m z_m: [N, M, C] to [N, C]."""
    return np.einsum("nmc,m->nc", logits, np.asarray(weights))


def fit_weights(logits: np.ndarray, labels: np.ndarray) -> tuple[float, ...]:
    """The weights of the members with the lowest log loss; [N, M, C], [N] to M numbers with sum 1.

    softmax(sum_m c_m z_m) is logistic regression on the logits, without intercept and with c >= 0: a convex
    problem. c is the weights divided by the temperature, which is fitted again afterwards, together with the clip.
    """
    members, rows = logits.shape[1], np.arange(len(labels))
    if members == 1:
        return (1.0,)

    def loss(factors: np.ndarray) -> tuple[float, np.ndarray]:
        probabilities = softmax(mean_logits(logits, factors), axis=1)
        error = probabilities.copy()
        error[rows, labels] -= 1  # the gradient of the loss with respect to the blended logits
        gradient = np.einsum("nc,nmc->m", error, logits) / len(labels)
        return image_losses(probabilities, labels).mean(), gradient

    start, bounds = np.full(members, 1 / members), [(0, MAX_FACTOR)] * members
    factors = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    if factors.sum() == 0:  # no member is better than chance
        factors = np.ones(members)
    return tuple(float(factor) for factor in factors / factors.sum())


def fit_blend(
    logits: np.ndarray,
    labels: np.ndarray,
    weights: Sequence[float] | None = None,
    temperature: float | None = None,
    eps: float | None = None,
) -> Blend:
    """A blend with weights, temperature and clip fitted on images [N, M, C], [N]; given values are kept."""
    if weights is None:
        weights = fit_weights(logits, labels)
    blended = mean_logits(logits, weights)
    return Blend(tuple(weights), fit_calibration(blended, labels, temperature, eps))


def plain_mean(members: int) -> Blend:
    """The unweighted, uncalibrated mean of the members' logits."""
    return Blend((1 / members,) * members, Calibration())


def two_class_logits(probabilities: np.ndarray) -> np.ndarray:
    """(0, log(p / (1 - p))) for the probability p of the second of two classes; [N] to [N, 2]."""
    p = np.clip(probabilities, KAGGLE_EPS, 1 - KAGGLE_EPS)
    return np.stack([np.zeros_like(p), np.log(p / (1 - p))], axis=1)
