"""report.html of real runs, opened in a real browser."""

from __future__ import annotations

import functools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import paddle
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import binomtest
from sklearn.metrics import log_loss

import paddlecnn as pc
from paddlecnn.evaluation.calibration import cross_fitted, expected_calibration_error, fit_calibration
from paddlecnn.models import LocalResponseNorm
from paddlecnn.reporting.board import GRAPH
from paddlecnn.reporting.page import percent
from paddlecnn.reporting.report import write_report
from paddlecnn.runs.run_dir import RunDir

LRN = """
data: {name: digits, limit: 200}
model:
  name: alexnet_tf_cifar
  options: {widths: [8, 16, 16, 16, 16], stem: [5, 2, same], pools: [[3, 2], null, null], hidden: [16]}
optim: {lr: 0.05}
train: {epochs: 2, batch_size: 32, report: true}
"""
# What stands in the page of this name is its text; nothing that it would do as HTML happens.
HOSTILE = "<img src=x onerror=document.title=1><script>document.title=2<"


@pytest.fixture(scope="module")
def lrn_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "lrn.yaml").write_text(LRN)
    return pc.train(folder / "lrn.yaml", run=folder / "run").run.path


@pytest.fixture
def report(tool, lrn_run) -> Path:
    """The page of the run, written once."""
    page = lrn_run / "report.html"
    if not page.exists():
        assert tool("report", lrn_run) == 0
    return page


@pytest.fixture
def opened(report, browser):
    browser.get(report.as_uri())
    return browser


def test_the_page_loads_nothing_and_complains_of_nothing(opened, requests, report):
    assert requests() == [report.as_uri()]
    assert opened.get_log("browser") == []
    assert report.stat().st_size <= 3 * 2**20
    assert "http-equiv" in report.read_text(encoding="utf-8")


def test_the_first_screen_has_the_outcome_with_its_interval(opened, lrn_run):
    figures = json.loads((lrn_run / "evaluation_val.json").read_text())
    interval = binomtest(round(figures["top1"] * figures["n"]), figures["n"]).proportion_ci(0.95, method="exact")
    lead = opened.execute_script("return document.querySelector('.lead').innerText").replace("\xa0", " ")
    assert f"{figures['top1']:.2%}".replace("%", " %") in lead
    assert f"95 %: {100 * interval.low:.1f} to {100 * interval.high:.1f} %" in lead
    bottom = opened.execute_script("return document.querySelector('.numbers').getBoundingClientRect().bottom")
    assert bottom < opened.execute_script("return innerHeight")


def test_calibration_is_judged_by_fits_on_other_images(report, lrn_run):
    table = pd.read_csv(lrn_run / "predictions_val.csv", dtype={"id": str, "label": str, "predicted": str})
    probabilities, labels = table.iloc[:, 3:].to_numpy(), table["label"].astype(int).to_numpy()
    fit = functools.partial(fit_calibration, eps=0.0)
    after, _ = cross_fitted(fit, np.log(probabilities), labels, seed=0)
    losses = log_loss(labels, probabilities), log_loss(labels, after, labels=range(10))
    page = report.read_text(encoding="utf-8")
    assert "The log loss changes from {:.4f} to {:.4f}.".format(*losses) in page
    for shown in (probabilities, after):
        assert percent(expected_calibration_error(shown, labels), 2) in page
    assert "the epoch was selected on the same images" in page


def test_everything_is_described_and_drawn(opened):
    count, broken, unnamed, doubled = opened.execute_script(
        """
        const images = [...document.images], ids = [...document.querySelectorAll('[id]')].map(one => one.id);
        return [images.length, images.filter(one => !one.naturalWidth).length,
                images.filter(one => !one.alt).length
                  + [...document.querySelectorAll('body svg')].filter(one => !one.ariaLabel).length,
                ids.length - new Set(ids).size];
        """
    )
    assert count > 20  # filters, feature maps, mistakes
    assert (broken, unnamed, doubled) == (0, 0, 0)
    headings = opened.execute_script("return [...document.querySelectorAll('h2')].map(one => one.innerText)")
    for heading in ("Configuration", "Curves", "Classes", "Calibration", "Inside the network", "Mistakes", "Layers"):
        assert heading in headings
    links = opened.execute_script("return [...document.querySelectorAll('nav a')].map(one => one.hash.slice(1))")
    assert all(opened.execute_script("return !!document.getElementById(arguments[0])", link) for link in links)


def test_the_scores_of_a_competition_and_of_the_run_are_in_order(tool, report, lrn_run, tmp_path):
    """Also where calibration takes the run across a line of the competition."""
    changes = re.compile(r"The log loss changes from ([\d.]+) to ([\d.]+)\.")
    before, after = map(float, changes.search(report.read_text(encoding="utf-8")).groups())
    run = RunDir(shutil.copytree(lrn_run, tmp_path / "run"))
    assert tool("eval", run.path, "--split", "test") == 0
    assert abs(before - after) > 0.001
    page = write_report(run, reference_losses=[(0.1, "gold"), ((before + after) / 2, "between")]).read_text("utf-8")
    table = page.partition("Log losses of the competition")[2].partition("</table>")[0]
    numbers = [float(number) for number in re.findall(r">([\d.]+)</td>", table)]
    assert numbers == sorted(numbers)
    assert numbers == pytest.approx(sorted([0.1, (before + after) / 2, before, after]), abs=1e-4)
    test = json.loads((run.path / "evaluation_test.json").read_text())["top1"]
    assert f"It was also measured on the test images: <strong>{percent(test, 2)}</strong>" in page
    assert "It was also measured" not in report.read_text(encoding="utf-8")


def test_denominators_of_lrn_are_those_of_the_formula(opened, lrn_run):
    layers = [one for one in pc.load_run(lrn_run).model.sublayers() if isinstance(one, LocalResponseNorm)]
    text = opened.execute_script("return document.getElementById('lrn').innerText").replace("\xa0", " ")
    assert len(layers) == text.count(": 5 channels") == text.count("= 0.0001") == 2
    assert f"The constant is {2.0**0.75:.3f}" in text


def test_a_phone_shows_it_without_scrolling_sideways(opened):
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    )
    assert opened.execute_script("return document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize(("theme", "is_dark"), [("light", False), ("dark", True)])
def test_both_themes_are_legible(browser, report, theme, is_dark):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    )
    browser.get(report.as_uri())
    colours = browser.execute_script(
        """
        const style = getComputedStyle(document.body), text = document.querySelector('svg text');
        return [style.backgroundColor, style.color, getComputedStyle(text).fill];
        """
    )
    paper, *inks = [np.array([int(n) for n in colour.strip("rgb()").split(",")]).mean() for colour in colours]
    assert (paper < 60) == is_dark
    assert all(abs(ink - paper) > 75 for ink in inks)


def test_the_keyboard_reaches_the_content(opened):
    keys = pytest.importorskip("selenium.webdriver").Keys
    body = opened.find_element("tag name", "body")
    body.send_keys(keys.TAB)
    assert opened.switch_to.active_element.text == "Skip to the content"
    opened.switch_to.active_element.send_keys(keys.ENTER)
    assert opened.execute_script("return location.hash") == "#main"


FOLDER = """
data: {{name: folder, root: {root}, val_fraction: 0.3, preprocess: {{size: 32, resize: 32}}}}
model: {{name: simple_cnn}}
train: {{epochs: 1, batch_size: 16, report: {report}}}
"""


@pytest.fixture
def photos(tmp_path) -> Path:
    for number in range(40):
        for place, name in enumerate((HOSTILE, "plain")):
            path = tmp_path / "data" / "train" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number + 100 * place).integers(256, size=(32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
    return tmp_path / "data"


def test_a_hostile_class_name_is_only_text(tool, tmp_path, photos, browser, requests):
    (tmp_path / "net.yaml").write_text(FOLDER.format(root=photos, report="true"))
    assert tool("train", "-c", tmp_path / "net.yaml", "--run", tmp_path / "run") == 0  # writes the report, too
    browser.get((tmp_path / "run" / "report.html").as_uri())
    assert HOSTILE in browser.execute_script("return document.getElementById('classes').innerText")
    assert browser.title == "simple_cnn on folder"
    assert browser.execute_script("return document.scripts.length") == 0
    assert browser.get_log("browser") == []
    assert requests() == [(tmp_path / "run" / "report.html").as_uri()]


def test_a_report_without_the_images_says_so(tool, tmp_path, photos, capsys):
    (tmp_path / "net.yaml").write_text(FOLDER.format(root=photos, report="false"))
    assert tool("train", "-c", tmp_path / "net.yaml", "--run", tmp_path / "run") == 0
    assert not (tmp_path / "run" / "report.html").exists()
    assert tool("eval", tmp_path / "run") == 0
    shutil.rmtree(photos)
    capsys.readouterr()
    assert tool("report", tmp_path / "run") == 0
    assert "no pictures in the report" in capsys.readouterr().err
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "The validation images are not there" in page
    assert 'id="mistakes"' not in page


MODULE = """
from paddle import nn
from paddlecnn.models import register

@register
def mlp(num_classes: int):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 16), nn.ReLU(), nn.Linear(16, num_classes))
"""


def test_a_network_without_convolutions_has_a_report_without_maps(tool, tmp_path, capsys):
    (tmp_path / "nets.py").write_text(MODULE)
    (tmp_path / "mlp.yaml").write_text(
        f"data: {{name: digits, limit: 60}}\nmodel: {{name: mlp, module: {tmp_path / 'nets.py'}}}\n"
        "train: {epochs: 1, batch_size: 32, report: true}\n"
    )
    run = tmp_path / "run"
    assert tool("train", "-c", tmp_path / "mlp.yaml", "--run", run, "--profile", 1) == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert 'id="network"' not in page
    assert "Without Grad-CAM" in page
    assert "A training step, phase by phase" in page
    assert f"{3 * 32 * 32 * 16 + 16 + 16 * 10 + 10:,}" in page  # the parameters
    said = [line for line in capsys.readouterr().err.splitlines() if "not oneDNN" not in line]
    if paddle.__version__.startswith("2."):  # it crashes when it writes a graph
        said.remove(f"{run}: no graph for VisualDL (Paddle ended by signal 11)")
    assert said == []
    assert tool("report", run) == 2  # its code runs only where it is named
    assert tool("report", run, "--module", tmp_path / "nets.py") == 0


@pytest.mark.skipif(paddle.__version__.startswith("2."), reason="PaddlePaddle 2.6 crashes when it writes a graph")
def test_pooled_statistics_have_a_graph(tool, tmp_path, capsys):
    (tmp_path / "pooled.yaml").write_text(
        "data: {name: digits, limit: 60}\ntrain: {epochs: 1, batch_size: 32, report: true}\n"
        "model: {name: alexnet_tf_cifar, options: {widths: [4, 4, 4, 4, 4], pooled: true, hidden: []}}\n"
    )
    assert tool("train", "-c", tmp_path / "pooled.yaml", "--run", tmp_path / "run") == 0
    assert "no graph for VisualDL" not in capsys.readouterr().err
    assert (tmp_path / "run" / "vdl" / GRAPH).stat().st_size > 0


def test_a_run_without_validation_images_has_no_report(tool, tmp_path, capsys):
    (tmp_path / "all.yaml").write_text(
        "data: {name: digits, limit: 60, val_fraction: 0}\nmodel: {name: lenet5}\ntrain: {epochs: 1, report: true}\n"
    )
    assert (
        tool("train", "-c", tmp_path / "all.yaml", "--run", tmp_path / "run") == 0
    )  # the training is done all the same
    said = capsys.readouterr().err
    assert "no report: " in said
    assert "write it with" not in said  # no report can be written later either
    assert tool("report", tmp_path / "run") == 2
    assert "was trained without validation images" in capsys.readouterr().err


def test_a_folder_that_is_not_a_run_is_one_line(tool, tmp_path, capsys):
    assert tool("report", tmp_path) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{tmp_path}: not a run folder (it has no config.yaml); name the folder of a run, a config")
    assert error.count("\n") == 1
