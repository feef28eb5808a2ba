"""The 95 % intervals contain the truth often enough, and are not wider than needed."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from scipy.stats import beta
from scipy.stats import t as student

from paddlecnn.evaluation.calibration import KAGGLE_EPS, worst_loss
from paddlecnn.evaluation.intervals import (
    accuracy_estimate,
    log_loss_estimate,
    paired_images_estimate,
    paired_seeds_estimate,
)
from paddlecnn.randomness import generator

IMAGES, TRIALS = 143, 2000
ERROR_RATES = [0, 0.001, 0.005, 0.01, 0.02, 0.1]


class Simulated:
    """A predictor with known chances: correct, wrong and unsure, wrong and confident.

    Its probabilities are never closer to 0 than `eps`; a confident error costs the most that the clip allows.
    """

    def __init__(self, eps: float, confident: float, error_rate: float) -> None:
        self.worst = worst_loss(eps, 2)
        self.losses = np.array([-np.log(confident), -np.log(0.3), -np.log(max(eps, KAGGLE_EPS))])
        self.chances = np.array([1 - error_rate, error_rate / 2, error_rate / 2])
        self.log_loss = float(self.chances @ self.losses)
        self.estimate = functools.lru_cache(maxsize=None)(self.estimate_from_counts)

    def estimate_from_counts(self, counts: tuple[int, ...]):
        return log_loss_estimate(np.repeat(self.losses, counts), self.worst, seed=0)


@functools.cache
def accuracy_from_count(correct: int, images: int):
    return accuracy_estimate(np.arange(images) < correct)


@pytest.mark.parametrize("error_rate", ERROR_RATES)
def test_the_interval_of_an_accuracy_contains_the_truth(error_rate):
    draws = generator(0, "accuracy trials").binomial(IMAGES, 1 - error_rate, size=TRIALS)
    found = [accuracy_from_count(int(correct), IMAGES) for correct in draws]
    assert np.mean([one.low <= 1 - error_rate <= one.high for one in found]) >= 0.94


@pytest.mark.parametrize(
    ("eps", "confident"),
    [(0.005, 0.995), (0.02, 0.98), (0.0, 0.9999)],
    ids=["clip 0.005", "clip 0.02", "Kaggle's clip"],
)
@pytest.mark.parametrize("error_rate", ERROR_RATES)
def test_the_interval_of_a_log_loss_contains_the_truth(error_rate, eps, confident):
    predictor = Simulated(eps, confident, error_rate)
    draws = generator(0, "log loss trials").multinomial(IMAGES, predictor.chances, size=TRIALS)
    found = [predictor.estimate(tuple(map(int, counts))) for counts in draws]
    assert np.mean([one.low <= predictor.log_loss <= one.high for one in found]) >= 0.94


def test_the_interval_of_a_log_loss_contains_the_truth_for_continuous_probabilities():
    """Normally distributed logits; the truth is the mean of two million losses."""
    random = generator(0, "continuous trials")

    def losses(count: int) -> np.ndarray:
        margins = 4.5 + 3 * random.normal(size=count)
        return np.minimum(np.logaddexp(0, -margins), worst_loss(0.001, 2))

    truth = losses(2_000_000).mean()
    found = [log_loss_estimate(losses(IMAGES), worst_loss(0.001, 2), seed) for seed in range(300)]
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.94


def test_the_interval_of_an_accuracy_is_clopper_and_pearsons():
    assert (accuracy_from_count(143, 143).low, accuracy_from_count(143, 143).high) == (
        pytest.approx(0.9745, abs=1e-4),
        1.0,
    )
    for correct in (0, 1, 100, 141, 142):
        found = accuracy_from_count(correct, 143)
        exact = beta.ppf(0.025, correct, 144 - correct) if correct else 0, beta.ppf(0.975, correct + 1, 143 - correct)
        assert (found.low, found.high) == pytest.approx(exact, abs=1e-9)
        assert found.high - found.low <= 1.1 * (exact[1] - exact[0])


@pytest.mark.parametrize("eps", [0.0, 0.005, 0.02])
def test_the_interval_of_a_log_loss_is_hardly_wider_than_the_normal_one_for_many_images(eps):
    predictor = Simulated(eps, 0.98, 0.02)
    ratios = []
    for counts in generator(0, "widths").multinomial(2000, predictor.chances, size=20):
        losses = np.repeat(predictor.losses, counts)
        found = predictor.estimate(tuple(map(int, counts)))
        ratios.append((found.high - found.low) / (2 * 1.96 * losses.std(ddof=1) / np.sqrt(2000)))
    assert max(ratios) < 1.5
    assert min(ratios) > 1


def test_for_losses_of_0_and_1_the_interval_is_clopper_and_pearsons():
    found = log_loss_estimate(np.array([1.0] * 3 + [0.0] * 140), 1.0, seed=0)
    exact = 1 - accuracy_from_count(140, 143).high, 1 - accuracy_from_count(140, 143).low
    assert (found.low, found.high) == pytest.approx(exact, abs=0.003)


def test_images_without_an_error_do_not_prove_that_there_is_none():
    """The upper limit allows for a share of errors at the clip that 143 images miss in one case of 40."""
    found = log_loss_estimate(np.zeros(143), worst_loss(0.01, 2), seed=0)
    assert found.low == 0
    assert found.high == pytest.approx(0.0255 * -np.log(0.01), rel=0.05)


def test_the_largest_loss_follows_from_the_clip():
    assert worst_loss(0.0, 2) == pytest.approx(-np.log(1e-15))
    assert worst_loss(0.01, 2) == pytest.approx(-np.log(0.01), rel=0.01)
    assert worst_loss(0.01, 10) >= -np.log(0.01)


def test_networks_that_agree_everywhere_still_have_an_interval():
    estimate = paired_images_estimate([dict.fromkeys(map(str, range(100)), 0)])
    assert estimate.mean == 0
    assert estimate.low == pytest.approx(-estimate.high)
    assert 0.01 < estimate.high < 0.03


def test_the_interval_over_images_of_several_pairs_covers_the_truth():
    """95 % of the intervals contain the difference, for images that several pairs share."""
    random, hits = np.random.default_rng(0), 0
    for _ in range(300):
        hard = random.random(200)  # images differ in how often the second network alone is right
        pairs = [(random.random(200) < 0.2 * hard).astype(int) - (random.random(200) < 0.05) for _ in range(3)]
        found = paired_images_estimate([dict(zip(map(str, range(200)), pair.tolist(), strict=True)) for pair in pairs])
        hits += found.low <= 0.05 <= found.high
    assert hits / 300 > 0.91


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("images_of_luck", [0.3, 1, 4])
def test_seeds_that_differ_by_a_few_images_seldom_show_that_one_network_is_better(seeds, images_of_luck):
    """Two equal networks on 200 images: at most 5 % of the comparisons exclude 0."""
    random = np.random.default_rng(0)
    drawn = np.round(random.normal(scale=images_of_luck, size=(4000, seeds))) / 200
    found = [paired_seeds_estimate(differences, 1 / 200) for differences in drawn]
    assert np.mean([one.low > 0 or one.high < 0 for one in found]) < 0.055


def test_equal_differences_have_the_variance_of_two_rounded_accuracies():
    found = paired_seeds_estimate([0.01, 0.01, 0.01], 1 / 200)
    reach = student.ppf(0.975, 2) * np.sqrt(2 / 12 / 3) / 200
    assert (found.low, found.mean, found.high) == pytest.approx((0.01 - reach, 0.01, 0.01 + reach))
