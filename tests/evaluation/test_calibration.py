"""Calibration against what is known: exact figures, scikit-learn's own, and data whose truth we chose."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from scipy.special import softmax
from sklearn.metrics import log_loss

from paddlecnn.errors import DataError
from paddlecnn.evaluation.calibration import Calibration, clip, cross_fitted, fit_calibration, image_losses
from paddlecnn.randomness import generator


def overconfident(
    count: int, sharpness: float, classes: int = 2, purpose: str = "fit"
) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `sharpness` times too large for how often they are right, and labels drawn from the truth."""
    random = generator(0, purpose)
    truth = random.normal(size=(count, classes)) * 2
    chances = softmax(truth, axis=1)
    labels = (random.random((count, 1)) > chances.cumsum(axis=1)).sum(axis=1)
    return truth * sharpness, labels.astype(np.int64)


def certain(count: int, mistakes: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a model that is certain of every image and wrong on some."""
    labels = np.arange(count) % 2
    said = np.where(np.arange(count) < mistakes, 1 - labels, labels)
    return np.eye(2)[said] * 100.0, labels


def test_right_98_75_percent_of_the_time_and_certain_of_everything_scores_0_067_at_its_best_clip():
    logits, labels = certain(8000, 100)
    fitted = fit_calibration(logits, labels, temperature=1.0)
    assert fitted.eps == pytest.approx(0.0125, rel=0.02)
    assert image_losses(fitted(logits), labels).mean() == pytest.approx(0.0672, abs=0.0001)
    assert image_losses(Calibration()(logits), labels).mean() == pytest.approx(0.0125 * -np.log(1e-15), rel=1e-3)


def test_the_log_loss_is_scikit_learns():
    logits, labels = overconfident(500, 3.0, classes=4)
    probabilities = softmax(logits, axis=1)
    assert image_losses(probabilities, labels).mean() == pytest.approx(log_loss(labels, probabilities), rel=1e-12)


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("sharpness", [0.5, 2.5])
def test_the_temperature_undoes_a_known_sharpness(classes, sharpness):
    logits, labels = overconfident(8000, sharpness, classes)
    fitted = fit_calibration(logits, labels, eps=0.0)
    assert fitted.temperature == pytest.approx(sharpness, rel=0.06)


@pytest.mark.skipif(
    tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8), reason="scikit-learn has a temperature from 1.8 on"
)
def test_the_temperature_is_the_one_scikit_learn_finds():
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    class Logits(ClassifierMixin, BaseEstimator):
        """A classifier whose inputs are the logits already."""

        def fit(self, inputs, labels):
            self.classes_ = np.unique(labels)
            return self

        def decision_function(self, inputs):
            return inputs

        def predict(self, inputs):
            return inputs.argmax(axis=1)

    logits, labels = overconfident(8000, 2.5, classes=5)
    theirs = CalibratedClassifierCV(FrozenEstimator(Logits().fit(logits, labels)), method="temperature")
    expected = theirs.fit(logits, labels).predict_proba(logits)
    ours = fit_calibration(logits, labels, eps=0.0)(logits)
    # ours counts one more image in, which is wrong
    np.testing.assert_allclose(ours, expected, atol=2e-3)


def test_a_clip_keeps_the_sum_and_the_order_and_leaves_the_rest_alone():
    probabilities = np.array([[0.0, 1.0], [0.3, 0.7], [1.0, 0.0]])
    np.testing.assert_allclose(clip(probabilities, 0.01), [[0.01, 0.99], [0.3, 0.7], [0.99, 0.01]])
    many = clip(np.array([[1.0, 0.0, 0.0], [0.9, 0.1, 0.0]]), 0.05)
    np.testing.assert_allclose(many.sum(axis=1), 1)
    assert many.min() > 0.04
    assert (many.argmax(axis=1) == 0).all()
    assert clip(probabilities, 0.0) is probabilities


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_calibration_keeps_the_most_probable_class_of_a_network_at_chance_level(classes):
    random = generator(0, "chance level")
    logits, labels = random.normal(size=(400, classes)) * 2, random.integers(classes, size=400)
    fitted = fit_calibration(logits, labels)
    held_out, _ = cross_fitted(fit_calibration, logits, labels, seed=0)
    for probabilities in (fitted(logits), held_out):
        assert (probabilities.argmax(axis=1) == logits.argmax(axis=1)).all()


def test_a_clip_at_which_classes_could_become_equal_is_refused():
    assert clip(np.array([[0.45, 0.55, 0.0]]), 0.249).argmax() == 1
    with pytest.raises(DataError, match=r"clip 0.25: must be below 0.25 with 3 classes"):
        clip(np.array([[0.45, 0.55, 0.0]]), 0.25)


def test_images_without_a_mistake_do_not_make_it_certain():
    logits, labels = certain(400, 0)
    for fixed in ({}, {"temperature": 1.0}, {"eps": 0.0}):
        fitted = fit_calibration(logits, labels, **fixed)
        assert 1 - fitted(logits).max() == pytest.approx(1 / 401, rel=0.3)


def test_a_given_temperature_or_clip_is_kept():
    logits, labels = overconfident(300, 2.0)
    assert fit_calibration(logits, labels, temperature=3.0, eps=0.02) == Calibration(pytest.approx(3.0), 0.02)
    assert fit_calibration(logits, labels, eps=0.02).eps == 0.02


def test_the_cross_fitted_figure_does_not_flatter_as_the_fits_own_figure_does():
    """The excess of each figure over that of the true calibration, on the same images, over many small parts."""

    def excess(probabilities, logits, labels):
        return (image_losses(probabilities, labels) - image_losses(Calibration(4.0)(logits), labels)).mean()

    own, held_out, fresh = [], [], []
    new_logits, new_labels = overconfident(5000, 4.0, purpose="new images")
    logits, labels = overconfident(40 * 15, 4.0, purpose="small validation parts")
    for part in np.split(np.arange(40 * 15), 15):
        fitted = fit_calibration(logits[part], labels[part])
        own.append(excess(fitted(logits[part]), logits[part], labels[part]))
        crossed, _ = cross_fitted(fit_calibration, logits[part], labels[part], seed=0)
        held_out.append(excess(crossed, logits[part], labels[part]))
        fresh.append(excess(fitted(new_logits), new_logits, new_labels))
    assert np.mean(own) < 0 < np.mean(fresh)
    assert np.mean(held_out) > 0
    assert abs(np.mean(held_out) - np.mean(fresh)) < 0.03


class Unseeing:
    """Predicts 0.5 for images that it was not fitted on."""

    def __init__(self, rows, eps):
        self.rows, self.eps = rows, eps

    def __call__(self, logits):
        assert not self.rows & {int(row) for row in logits[:, 0]}
        return np.full((len(logits), 2), 0.5)


def test_each_image_is_predicted_by_a_fit_that_did_not_see_it():
    seen = []

    def fit(logits, labels):
        seen.append({int(row) for row in logits[:, 0]})
        return Unseeing(seen[-1], [0.03, 0.01, 0.05, 0.02, 0.04][len(seen) - 1])

    rows = np.stack([np.arange(50.0), np.zeros(50)], axis=1)
    probabilities, smallest = cross_fitted(fit, rows, np.zeros(50, int), seed=1)
    assert (probabilities == 0.5).all()
    assert smallest == 0.01
    assert [len(rows) for rows in seen] == [40] * 5
    with pytest.raises(DataError, match=r"9 validation images are too few .* --temperature 1 --clip none"):
        cross_fitted(fit, rows[:9], np.zeros(9, int), seed=1)
