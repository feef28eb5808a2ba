"""Random changes: each does what it says, and depends on seed, epoch and position alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import affine_transform

from helpers.images import photo
from paddlecnn.config import Affine, Augment, ColorJitter, RandomResizedCrop
from paddlecnn.data.base import ArrayDataset
from paddlecnn.data.datasets import defaults
from paddlecnn.data.pipeline.augment import EpochRandom, affine_maps, training_pixels, warp
from paddlecnn.data.pipeline.mixup import cut_box, draw_mix, soft_labels
from paddlecnn.data.pipeline.transforms import square

SPEC = defaults("cifar10")
IMAGES = np.stack([photo(i, (32, 32)) for i in range(200)])
EVERY = np.arange(200)
AUGMENTS = {
    "pad, crop, flip": Augment(pad=4, flip=True),
    "random resized crop": Augment(random_resized_crop=RandomResizedCrop()),
    "scale": Augment(crop=True, scale=(40, 64)),
    "jitter": Augment(color_jitter=ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4)),
    "lighting": Augment(pca_noise=0.1),
    "cutout": Augment(cutout=8),
    "affine": Augment(affine=Affine(rotate=20, zoom=(0.8, 1.2), shear=10, shift=0.1)),
    "upside down": Augment(vertical_flip=True),
}


def changed(augment: Augment, positions=EVERY, seed: int = 0, epoch: int = 0, images=IMAGES, spec=SPEC) -> np.ndarray:
    """uint8 [n, H, W, 3]"""
    pixels = training_pixels(
        positions,
        EpochRandom(seed, epoch, len(images)),
        augment,
        spec,
        lambda where: images[where],
        lambda where: images[where],
    )
    return pixels.transpose(0, 2, 3, 1)


@pytest.mark.parametrize("name", AUGMENTS)
def test_an_image_changes_alike_in_any_batch_and_differently_in_each_epoch(name):
    whole = changed(AUGMENTS[name])
    some = np.array([150, 3, 77])
    assert np.array_equal(changed(AUGMENTS[name], some), whole[some])
    assert not np.array_equal(changed(AUGMENTS[name], epoch=1), whole)
    assert not np.array_equal(changed(AUGMENTS[name], seed=1), whole)


def test_crop_places_apply_with_pad_alone_too():
    image = IMAGES[:1].repeat(200, axis=0)
    found = {one.tobytes() for one in changed(Augment(pad=4, crop_places=5), images=image)}
    assert len(found) == 5
    assert image[0].tobytes() in found  # the centre


def test_every_crop_is_a_window_of_the_padded_image():
    padded = np.pad(IMAGES, ((0, 0), (4, 4), (4, 4), (0, 0)))
    seen = set()
    for image, result in zip(padded, changed(Augment(pad=4)), strict=True):
        places = [
            (top, left)
            for top in range(9)
            for left in range(9)
            if np.array_equal(image[top : top + 32, left : left + 32], result)
        ]
        assert places
        seen.add(places[0])
    assert {top for top, _ in seen} == {left for _, left in seen} == set(range(9))


def test_half_the_images_are_mirrored():
    result = changed(Augment(flip=True))
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(result, IMAGES, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(result, IMAGES, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 70 < sum(mirrored) < 130


def test_alternating_flips_show_both_forms_of_an_image_in_two_epochs():
    epochs = [changed(Augment(flip="alternating"), epoch=epoch) for epoch in range(3)]
    mirrored = [np.array([not np.array_equal(a, b) for a, b in zip(epoch, IMAGES, strict=True)]) for epoch in epochs]
    assert 70 < mirrored[0].sum() < 130
    assert np.array_equal(mirrored[1], ~mirrored[0])
    assert np.array_equal(mirrored[2], mirrored[0])
    assert np.array_equal(epochs[1][mirrored[1]], IMAGES[mirrored[1]][:, :, ::-1])


def test_reflected_padding_shows_the_image_again():
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    windows = {padded[0, top : top + 32, left : left + 32].tobytes() for top in range(5) for left in range(5)}
    found = {changed(Augment(pad=2, pad_mode="reflect"), epoch=epoch)[0].tobytes() for epoch in range(40)}
    assert found <= windows
    assert len(found) > 10


def test_a_whole_random_resized_crop_is_the_image():
    whole = Augment(random_resized_crop=RandomResizedCrop(scale=(1.0, 1.0), ratio=(1.0, 1.0)))
    assert np.array_equal(changed(whole), IMAGES)


def test_a_random_resized_crop_takes_parts_of_the_requested_size():
    """On a ramp, the range of values in the crop is the share of the width it took."""
    ramp = np.broadcast_to(np.arange(250, dtype=np.uint8)[None, :, None], (200, 250, 250, 3))
    result = changed(Augment(random_resized_crop=RandomResizedCrop(scale=(0.25, 0.25), ratio=(1.0, 1.0))), images=ramp)
    widths = result[:, 0, -1, 0].astype(int) - result[:, 0, 0, 0]
    assert np.abs(widths - 125).max() < 8
    assert np.ptp(result[:, 0, 0, 0]) > 100


def test_the_logarithm_of_the_aspect_ratio_is_uniform():
    """In channel 0 of the ramp lies a pixel's column, in channel 1 its row."""
    columns, rows = np.meshgrid(np.arange(250), np.arange(240))
    ramp = np.broadcast_to(np.stack([columns, rows, rows], axis=2).astype(np.uint8), (200, 240, 250, 3))
    crop = Augment(random_resized_crop=RandomResizedCrop(scale=(0.1, 0.1), ratio=(0.5, 4.0)))
    result = changed(crop, images=ramp).astype(int)
    widths, heights = np.ptp(result[..., 0], axis=(1, 2)), np.ptp(result[..., 1], axis=(1, 2))
    np.testing.assert_allclose(widths * heights, 0.1 * 240 * 250, rtol=0.12)
    logarithms = np.log2(widths / heights)  # of the ratio width / height: from -1 to 2
    assert np.mean(logarithms < 0.5) == pytest.approx(0.5, abs=0.12)
    assert logarithms.min() == pytest.approx(-1, abs=0.2)
    assert logarithms.max() == pytest.approx(2, abs=0.2)


def test_a_random_resized_crop_reaches_every_edge():
    """A crop of 4x4 in 5x5 pixels of different colours, told by its first pixel."""
    small = np.broadcast_to(np.arange(25, dtype=np.uint8).reshape(5, 5, 1), (200, 5, 5, 3))
    crop = Augment(random_resized_crop=RandomResizedCrop(scale=(0.64, 0.64), ratio=(1.0, 1.0)))
    assert set(changed(crop, images=small)[:, 0, 0, 0].tolist()) == {0, 1, 5, 6}


def test_an_affine_map_without_ranges_changes_nothing():
    assert np.array_equal(changed(Augment(affine=Affine())), IMAGES)


def test_a_quarter_turn_is_exact_and_other_maps_agree_with_scipy():
    size, ranges = 32, Affine(rotate=90, zoom=(0.5, 1.5), shear=20, shift=0.25)
    quarter = IMAGES[:1].transpose(0, 3, 1, 2).copy()
    warp(quarter, affine_maps(np.array([[1.0], [0.5], [0.5], [0.5], [0.5]]), ranges, size), "zeros")
    assert np.array_equal(quarter[0].transpose(1, 2, 0), np.rot90(IMAGES[0], -1))  # y points down: clockwise
    draws = np.random.default_rng(0).random((5, 20))
    images = IMAGES[:20].transpose(0, 3, 1, 2).copy()
    warp(images, affine_maps(draws, ranges, size), "reflect")
    for number, result in enumerate(images):
        turn, zoom, slant, right, down = draws[:, number]
        angle, slant = np.radians(90 * (2 * turn - 1)), np.tan(np.radians(20 * (2 * slant - 1)))
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        back = np.linalg.inv(rotation @ np.array([[1, slant], [0, 1]]) * (0.5 + zoom))[::-1, ::-1]  # of (y, x)
        centre, shift = np.full(2, 15.5), 8 * (2 * np.array([down, right]) - 1)
        for plane, source in zip(result, IMAGES[number].transpose(2, 0, 1).astype(float), strict=True):
            expected = affine_transform(source, back, centre - back @ (centre + shift), order=1, mode="mirror")
            assert np.abs(plane - expected).mean() < 1  # OpenCV rounds places to 1/32 of a pixel
            assert np.abs(plane - expected).max() < 8


def test_an_affine_map_keeps_to_its_ranges_and_uncovers_black_or_the_reflection():
    white = np.full((200, 32, 32, 3), 255, np.uint8)
    shifted = changed(Augment(affine=Affine(shift=0.25)), images=white)
    black = (shifted == 0).all(axis=3)
    columns, rows = black.all(axis=1).sum(axis=1), black.all(axis=2).sum(axis=1)
    assert max(columns.max(), rows.max()) == 7  # less than a quarter of 32 pixels, and the last one is grey
    assert min(columns.max(), rows.max()) >= 6
    assert np.array_equal(changed(Augment(affine=Affine(shift=0.25), pad_mode="reflect"), images=white), white)
    larger = changed(Augment(affine=Affine(zoom=(1.5, 2.0))), images=white)
    assert np.array_equal(larger, white)


def test_half_the_images_are_upside_down():
    result = changed(Augment(vertical_flip=True))
    turned = [np.array_equal(a, b[::-1]) for a, b in zip(result, IMAGES, strict=True)]
    assert 70 < sum(turned) < 130
    assert np.array_equal(result[~np.array(turned)], IMAGES[~np.array(turned)])


def test_scale_jitter_crops_the_image_resized_to_each_side_of_the_range():
    """Each crop is a window of the square at one of the scales; all scales and many places occur."""
    result = changed(Augment(crop=True, scale=(33, 35)), images=IMAGES[:1].repeat(200, axis=0))
    windows = {
        square(IMAGES[0], side)[top : top + 32, left : left + 32].tobytes(): (side, top, left)
        for side in (33, 34, 35)
        for top in range(side - 31)
        for left in range(side - 31)
    }
    found = [windows[one.tobytes()] for one in result]
    assert 50 < sum(side == 33 for side, _, _ in found) < 84
    assert set(found) == set(windows.values())


def test_scale_jitter_of_one_side_is_a_random_crop():
    images = np.stack([photo(i, (60, 40)) for i in range(200)])
    resized = np.stack([square(image, 36) for image in images])
    assert np.array_equal(
        changed(Augment(crop=True, scale=(36, 36)), images=images), changed(Augment(crop=True), images=resized)
    )


def test_brightness_contrast_and_saturation():
    bright = changed(Augment(color_jitter=ColorJitter(brightness=0.5))).astype(float)
    factors = bright.mean(axis=(1, 2, 3)) / IMAGES.mean(axis=(1, 2, 3))
    assert factors.min() < 0.6
    assert factors.max() > 1.2
    contrast = changed(Augment(color_jitter=ColorJitter(contrast=0.5))).astype(float)
    assert np.abs(contrast.mean(axis=(1, 2, 3)) - IMAGES.mean(axis=(1, 2, 3))).max() < 6
    grey = np.repeat(IMAGES[:, :, :, :1], 3, axis=3)
    assert np.array_equal(changed(Augment(color_jitter=ColorJitter(saturation=0.9)), images=grey), grey)
    assert np.array_equal(changed(Augment(color_jitter=ColorJitter())), IMAGES)
    pale = 96 + IMAGES // 4  # far from 0 and 255
    luma = np.array([0.299, 0.587, 0.114])
    difference = changed(Augment(color_jitter=ColorJitter(saturation=0.9)), images=pale) - pale.astype(float)
    assert np.abs(difference).max() > 5
    assert np.abs(difference @ luma).max() < 0.6  # a pixel keeps its own grey, and an image its mean grey
    difference = changed(Augment(color_jitter=ColorJitter(contrast=0.9)), images=pale) - pale.astype(float)
    assert np.abs(difference).max() > 5
    assert np.abs((difference @ luma).mean(axis=(1, 2))).max() < 0.1


def test_lighting_noise_adds_one_colour_to_an_image_along_the_principal_components():
    grey = np.full((200, 32, 32, 3), 128, np.uint8)
    result = changed(Augment(pca_noise=0.1), images=grey).astype(float)
    assert np.ptp(result, axis=(1, 2)).max() == 0
    added = result[:, 0, 0] - 128
    assert np.abs(added.mean(axis=0)).max() < 2
    # 255 x 0.2175 x 0.1 = 5.5 levels along (0.57, 0.58, 0.58), nearly nothing across
    assert np.std(added @ [0.5675, 0.5808, 0.5836]) == pytest.approx(5.5, rel=0.2)
    assert np.std(added @ [0.7192, -0.0045, -0.6948]) < 1
    strong = changed(Augment(pca_noise=0.4), images=grey)[:, 0, 0].astype(float) - 128
    first, second = strong @ [0.5675, 0.5808, 0.5836], strong @ [0.7192, -0.0045, -0.6948]
    assert np.std(second) == pytest.approx(255 * 0.0188 * 0.4, rel=0.2)
    assert abs(second.mean()) < 0.5
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.2


def test_cutout_paints_a_square_of_the_mean_colour():
    white = np.full((200, 32, 32, 3), 255, np.uint8)
    painted = changed(Augment(cutout=8), images=white) != 255
    areas = painted[..., 0].sum(axis=(1, 2))
    assert areas.max() == 64
    assert areas.min() >= 16  # at a corner, a quarter of it
    result = changed(Augment(cutout=8), images=white)
    assert (result[painted[..., 0]] == [125, 123, 114]).all()
    tops, lefts = painted[..., 0].any(axis=2).argmax(axis=1), painted[..., 0].any(axis=1).argmax(axis=1)
    assert abs(np.corrcoef(tops, lefts)[0, 1]) < 0.2
    bgr = SPEC.model_copy(update={"channels": "bgr", "mean": SPEC.mean[::-1]})
    assert np.array_equal(changed(Augment(cutout=8), images=white, spec=bgr), result)


def test_mixup_and_cutmix_shares():
    for alpha in ({"mixup": 0.4}, {"cutmix": 1.0}):
        mixes = [draw_mix(Augment(**alpha), 32, 16, 0, 0, step) for step in range(200)]
        assert all(sorted(mix.partners) == list(range(16)) for mix in mixes)
        # Boxes are cut at the edges, so CutMix leaves more of the image than the half that is drawn.
        assert np.mean([mix.share for mix in mixes]) == pytest.approx(0.7 if "cutmix" in alpha else 0.5, abs=0.07)
        for mix in mixes:
            if mix.box:
                top, bottom, left, right = mix.box
                assert mix.share == pytest.approx(1 - (bottom - top) * (right - left) / 1024)
    both = [draw_mix(Augment(mixup=1.0, cutmix=1.0), 32, 4, 0, 0, step).box is None for step in range(200)]
    assert 60 < sum(both) < 140
    assert draw_mix(Augment(), 32, 4, 0, 0, 0) is None


def test_a_box_is_cut_at_the_edge():
    assert cut_box(0.75, 32, 0.5, 0.5) == (8, 24, 8, 24)
    assert cut_box(0.75, 32, 0.0, 0.99) == (0, 8, 23, 32)
    assert cut_box(0.95, 32, 0.5, 0.5) == (13, 20, 13, 20)  # 7 pixels, an odd number


def test_soft_labels_sum_to_one():
    soft = soft_labels(np.array([0, 2]), np.array([1, 2]), 0.25, 3)
    np.testing.assert_allclose(soft, [[0.25, 0.75, 0], [0, 0, 1]])


def test_the_padding_is_black_and_a_dataset_is_not_changed():
    before = IMAGES.copy()
    for augment in AUGMENTS.values():
        changed(augment)
    assert np.array_equal(IMAGES, before)
    dataset = ArrayDataset("made", ("a",), [str(i) for i in EVERY], EVERY * 0, IMAGES)
    assert dataset.fingerprint == ArrayDataset("made", ("a",), [str(i) for i in EVERY], EVERY * 0, before).fingerprint
