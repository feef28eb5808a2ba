"""Figures: class names in any script, many classes, and probabilities that are nearly all 1."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager

from paddlecnn.evaluation.calibration import chance_calibration_error, expected_calibration_error, reliability_bins
from paddlecnn.files import save_png
from paddlecnn.fonts import labels_of
from paddlecnn.reporting.figures import confusion_figure, explanation_figure, pictures_figure, reliability_figure
from paddlecnn.reporting.theme import svg

# Characters of the private use area stand for a script that no font of the system has.
UNKNOWN = "\U0010e123\U0010e124"


@pytest.fixture
def font(tmp_path):
    """A font with the two characters, known to matplotlib until the end of the test."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    pen.lineTo((500, 800))
    pen.lineTo((600, 0))
    pen.closePath()
    glyphs = [".notdef", "one", "two"]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap({ord(UNKNOWN[0]): "one", ord(UNKNOWN[1]): "two"})
    builder.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (700, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Planted", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "planted.ttf")
    fontManager.addfont(tmp_path / "planted.ttf")
    yield "Planted"
    fontManager.ttflist = [entry for entry in fontManager.ttflist if entry.name != "Planted"]


def test_names_are_drawn_in_a_font_that_has_their_characters(font, tmp_path):
    labels = labels_of(["cat", UNKNOWN])
    assert labels.texts == ("cat", UNKNOWN)
    assert font in labels.fonts
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of each character that becomes a box
        save_png(confusion_figure([[1, 2], [0, 3]], ["cat", UNKNOWN], f"{UNKNOWN}: 67 %"), tmp_path / "confusion.png")


def test_no_figure_asks_for_a_weight_that_the_default_font_does_not_have(font, tmp_path, caplog):
    picture = np.zeros((8, 8, 3), np.uint8)
    save_png(explanation_figure(picture, picture, [("cat", 0.9), ("dog", 0.1)], "cat.png"), tmp_path / "why.png")
    assert not caplog.messages


def test_names_without_a_font_become_numbers(tmp_path):
    labels = labels_of(["cat", UNKNOWN])
    assert labels.texts == ("cat", "2")
    assert labels.numbered == (2,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = confusion_figure([[1, 2], [0, 3]], ["cat", UNKNOWN], "a run: 67 %")
        save_png(figure, tmp_path / "confusion.png")
    assert "names no font can show" in figure.get_suptitle()


def test_no_text_becomes_boxes_without_a_font(tmp_path):
    probabilities, truth = np.linspace(0.1, 0.9, 20), np.arange(20) % 2
    picture = np.zeros((8, 8, 3), np.uint8)
    figures = {
        "confusion": confusion_figure([[1, 2], [0, 3]], ["cat", "dog"], f"run {UNKNOWN}"),
        "reliability": reliability_figure(probabilities, probabilities, truth, UNKNOWN, f"share of {UNKNOWN}", UNKNOWN),
        "mistakes": pictures_figure([picture], [f"{UNKNOWN} 90 %"]),
        "explanation": explanation_figure(picture, picture, [(UNKNOWN, 0.9), ("cat", 0.1)], f"{UNKNOWN}.png"),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, figure in figures.items():
            save_png(figure, tmp_path / f"{name}.png")
    assert figures["confusion"].get_suptitle() == f"run {'?' * len(UNKNOWN)}"


def test_names_and_titles_are_taken_literally():
    names = ["$x$", "<script>alert(1)</script>", "a & b", r"$\frac{"]
    code = svg(confusion_figure(np.eye(4, dtype=int), names, "$y$"), "c", '"><script>')
    assert "<script" not in code
    for shown in ("$x$", "&lt;script&gt;alert(1)&lt;/script&gt;", "a &amp; b", r"$\frac{", "$y$"):
        assert shown in code, shown


def test_a_hundred_labels_are_legible():
    figure = confusion_figure(np.eye(100, dtype=int), [f"a rather long name {i}" for i in range(100)], "run: 100 %")
    figure.draw_without_rendering()
    assert max(figure.get_size_inches()) * 120 < 4000
    (axes,) = figure.axes
    heights = [label.get_window_extent().height for label in axes.get_yticklabels()]
    rows = axes.get_window_extent().height / 100
    assert max(heights) <= 1.15 * rows, "labels overlap"
    assert axes.get_yticklabels()[0].get_fontsize() >= 7


def test_an_overconfident_network_has_all_its_bins():
    random = np.random.default_rng(0)
    said = np.where(random.random(2000) < 0.8, 1.0, random.uniform(0.5, 1, 2000))
    truth = (random.random(2000) < 0.7).astype(int)
    mean, share, count = reliability_bins(said, truth)
    assert len(mean) == 10
    assert count.tolist() == [200] * 10
    assert (np.diff(mean) >= 0).all()
    assert np.average(share, weights=count) == pytest.approx(truth.mean())
    figure = reliability_figure(said, said * 0.7, truth, "run: 70 %", "share of correct predictions", "probability")
    before = next(line for line in figure.axes[0].lines if line.get_label() == "before calibration")
    assert len(before.get_xdata()) == 10


def test_the_order_of_images_with_equal_probabilities_does_not_matter():
    said, truth = np.full(100, 0.6), np.arange(100) < 60
    for order in (np.arange(100), np.arange(100)[::-1]):
        assert reliability_bins(said, truth[order])[1] == pytest.approx(np.full(10, 0.6))
    assert expected_calibration_error(np.tile([0.6, 0.4], (100, 1)), (~truth).astype(int)) == pytest.approx(0)


def test_calibration_error_of_a_constant_confidence_is_its_distance_from_the_accuracy():
    labels = np.array([0] * 70 + [1] * 30)
    probabilities = np.tile([0.9, 0.1], (100, 1))
    assert expected_calibration_error(probabilities, labels, bins=1) == pytest.approx(0.2)
    assert expected_calibration_error(probabilities, labels) == pytest.approx(0.2)


def test_a_perfectly_calibrated_network_has_the_error_of_chance_alone():
    """In a bin of n images of probability p it is the mean error of a binomial share, sqrt(2 p (1 - p) / (pi n))."""
    probabilities = np.tile([0.8, 0.2], (1500, 1))
    expected = np.sqrt(2 * 0.8 * 0.2 / (np.pi * 1500))  # equal probabilities share their mean truth: one bin
    assert chance_calibration_error(probabilities, seed=0) == pytest.approx(expected, rel=0.25)
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1, 1500)
    varied = np.stack([confidence, 1 - confidence], axis=1)
    labels = [(random.random(1500) > confidence).astype(int) for _ in range(40)]
    found = np.mean([expected_calibration_error(varied, one) for one in labels])
    assert chance_calibration_error(varied, seed=0) == pytest.approx(found, rel=0.1)
    assert chance_calibration_error(varied[::10], seed=0) > 2 * found
