"""Weights of a blend against members whose worth is known."""

from __future__ import annotations

import numpy as np
import pytest

from paddlecnn.evaluation.blending import Blend, fit_blend, fit_weights, mean_logits, plain_mean, two_class_logits
from paddlecnn.evaluation.calibration import Calibration, image_losses
from paddlecnn.randomness import generator


@pytest.fixture(scope="module")
def members() -> tuple[np.ndarray, np.ndarray]:
    """Logits [4000, 3, 2] of a good member, one half as good with errors of its own, and one of pure noise; labels."""
    random = generator(0, "members")
    labels = random.integers(2, size=4000)
    side = np.where(labels == 1, 1.0, -1.0)
    margins = [2 * side + random.normal(size=4000) * 2, side + random.normal(size=4000) * 2, random.normal(size=4000)]
    return np.stack([np.stack([np.zeros(4000), margin], axis=1) for margin in margins], axis=1), labels


def test_weights_follow_what_each_member_knows(members):
    weights = fit_weights(*members)
    assert sum(weights) == pytest.approx(1)
    # margins of mean m and variance v are best weighted by m / v: 2/4 to 1/4
    assert weights[0] / weights[1] == pytest.approx(2, rel=0.15)
    assert weights[2] < 0.05


def test_a_blend_is_better_than_its_best_member(members):
    logits, labels = members
    blend = fit_blend(logits, labels)
    alone = [image_losses(fit_blend(logits[:, [m]], labels)(logits[:, [m]]), labels).mean() for m in range(3)]
    assert image_losses(blend(logits), labels).mean() < min(alone) - 0.005


def test_a_member_that_says_the_opposite_gets_no_weight(members):
    logits, labels = members
    assert fit_weights(np.stack([logits[:, 0], -logits[:, 1]], axis=1), labels) == pytest.approx((1, 0), abs=1e-6)
    assert fit_weights(-logits[:, :2], labels) == (0.5, 0.5)


def test_given_weights_are_kept_and_one_member_has_all(members):
    logits, labels = members
    assert fit_blend(logits, labels, weights=(0.2, 0.3, 0.5)).weights == (0.2, 0.3, 0.5)
    assert fit_blend(logits[:, :1], labels).weights == (1.0,)
    assert str(Blend((1.0,), Calibration(1.5, 0.01))) == "T=1.5 clip=0.01"
    assert str(Blend((0.25, 0.75), Calibration())) == "weights=0.250,0.750 T=1 clip=0"


def test_the_plain_mean_of_logits(members):
    logits, _ = members
    np.testing.assert_allclose(mean_logits(logits, plain_mean(3).weights), logits.mean(axis=1))


def test_probabilities_become_logits_and_back_even_at_0_and_1():
    p = np.array([0.0, 1e-9, 0.25, 0.5, 1.0])
    logits = two_class_logits(p)
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(plain_mean(1)(logits[:, None])[:, 1], p, atol=1e-14)
