"""Several views of an image, and predictions of several runs taken together."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn

from paddlecnn.config import Preprocess
from paddlecnn.data.base import ArrayDataset
from paddlecnn.data.pipeline.loader import Loader
from paddlecnn.data.pipeline.views import View, prediction_views
from paddlecnn.errors import DataError
from paddlecnn.evaluation.metrics import predict_logits
from paddlecnn.evaluation.predict import Predictions, merge
from paddlecnn.randomness import generator

SPEC = Preprocess(size=28, resize=32, channels="rgb", scale=255.0, mean=[0.0] * 3, std=[1.0] * 3)


class CornersOf(nn.Layer):
    """A network whose logits are two pixels of the image: upper left, upper right."""

    num_classes = 2

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        assert images.shape[2:] == [28, 28]
        return paddle.stack([images[:, 0, 0, 0], images[:, 0, 0, -1]], axis=1)


@pytest.fixture
def pictures() -> ArrayDataset:
    pixels = generator(0, "pictures").integers(256, size=(5, 32, 32, 3), dtype=np.uint8)
    return ArrayDataset("pictures", ("a", "b"), [str(number) for number in range(5)], None, pixels)


def logits_of(kind: str, pictures: ArrayDataset) -> np.ndarray:
    total = np.zeros((len(pictures), 2))
    for view, weight in prediction_views(kind, SPEC).items():
        total += weight * predict_logits(CornersOf(), Loader(pictures, SPEC, 2, view=view))
    return total


def test_one_view_is_the_image_itself(pictures):
    red = pictures.images[:, 2:30, 2:30, 0] / 255
    np.testing.assert_allclose(logits_of("none", pictures), np.stack([red[:, 0, 0], red[:, 0, -1]], axis=1), rtol=1e-6)


def test_flip_takes_the_mean_of_the_image_and_its_mirror_image(pictures):
    red = pictures.images[:, 2:30, 2:30, 0] / 255
    mean = (red[:, 0, 0] + red[:, 0, -1]) / 2
    np.testing.assert_allclose(logits_of("flip", pictures), np.stack([mean, mean], axis=1), rtol=1e-6)


def test_shift_gives_half_of_the_weight_to_images_moved_by_a_pixel(pictures):
    red = pictures.images[:, 2:30, 2:30, 0] / 255
    views = [red, *(pictures.images[:, first : first + 28, first : first + 28, 0] / 255 for first in (1, 3))]
    both = [(view[:, 0, 0] + view[:, 0, -1]) / 2 for view in views]
    mean = 0.5 * both[0] + 0.25 * both[1] + 0.25 * both[2]
    np.testing.assert_allclose(logits_of("shift", pictures), np.stack([mean, mean], axis=1), rtol=1e-6)


def test_ten_crops_are_the_papers_out_of_an_image_of_8_7_the_side(pictures):
    red = pictures.images[..., 0] / 255  # 32 is 8/7 of 28, so nothing is resized
    corners = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    mean = np.mean([(red[:, y, x] + red[:, y, x + 27]) / 2 for y, x in corners], axis=0)
    np.testing.assert_allclose(logits_of("crops", pictures), np.stack([mean, mean], axis=1), rtol=1e-5)
    assert len(prediction_views("crops", SPEC)) == 10
    assert {view.resize for view in prediction_views("crops", SPEC.model_copy(update={"resize": 28}))} == {32}
    assert {view.resize for view in prediction_views("crops", SPEC.model_copy(update={"resize": 40}))} == {40}


@pytest.mark.parametrize("kind", ["flip", "shift", "crops", "scales"])
def test_the_weights_of_small_inputs_sum_to_1(kind):
    for size in range(1, 12):
        spec = SPEC.model_copy(update={"size": size, "resize": size})
        assert sum(prediction_views(kind, spec).values()) == pytest.approx(1)


def test_three_scales_are_vggs_224_256_and_288_each_also_mirrored():
    assert prediction_views("scales", SPEC.model_copy(update={"size": 224, "resize": 256})) == {
        View(side, offset, offset, mirrored): pytest.approx(1 / 6)
        for mirrored in (False, True)
        for side, offset in ((224, 0), (256, 16), (288, 32))
    }


def test_folds_merge_into_out_of_fold_predictions_and_equal_ids_into_a_mean():
    classes = ("cat", "dog")
    first = Predictions(["a", "b"], classes, np.array([[0.0, 2.0], [1.0, 0.0]]), np.array([1, 0]))
    second = Predictions(["c", "b"], classes, np.array([[0.0, 4.0], [3.0, 2.0]]), np.array([1, 0]))
    both = merge([first, second])
    assert both.ids == ["a", "b", "c"]
    assert both.logits.tolist() == [[0, 2], [2, 1], [0, 4]]
    assert both.labels.tolist() == [1, 0, 1]
    assert merge([Predictions(["a"], classes, np.zeros((1, 2)))]).labels is None
    with pytest.raises(DataError, match="the runs have different classes"):
        merge([first, Predictions(["a"], ("dog", "cat"), np.zeros((1, 2)))])
    with pytest.raises(DataError, match="b: has two labels, cat and dog; combine runs of the same data"):
        merge([first, Predictions(["c", "b"], classes, np.zeros((2, 2)), np.array([1, 1]))])
