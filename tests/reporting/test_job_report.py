"""The page of a cross-validation shows the mistakes out of fold, among which wrong labels stand out."""

from __future__ import annotations

import re

import pytest

import paddlecnn as pc
from helpers.images import write_levels

WRONG = "light/7.png"


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Two folds on dark and light images, one of them under the wrong label."""
    root = tmp_path_factory.mktemp("levels")
    write_levels(root, 30)
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    labels = ["dark" if name == WRONG else name.partition("/")[0] for name in names]
    (root / "labels.csv").write_text(
        "path,label\n" + "".join(f"{name},{label}\n" for name, label in zip(names, labels, strict=True))
    )
    config = {
        "data": {"name": "table", "root": str(root), "table": "labels.csv", "folds": 2, "preprocess": {"size": 32}},
        "model": {"name": "lenet5"},
        "optim": {"name": "adam", "lr": 0.003},
        "train": {"epochs": 6, "batch_size": 8},
    }
    folds = pc.train_folds(config, run=root / "job")
    folds.evaluate()
    return folds


def test_a_wrong_label_is_the_most_certain_mistake(job):
    page = job.report().read_text()
    group = page.partition("<h3>Most confident mistakes</h3>")[2].partition("<h3>")[0]
    assert re.findall(r"<code>(.*?)</code>", group)[0] == WRONG
    assert "label <strong>dark</strong>" in group
    assert group.count('src="data:image/jpeg;base64,') == group.count("<li>") >= 1
    assert "Grad-CAM" not in page


def test_images_that_changed_since_are_not_shown(job, tmp_path, caplog):
    file = job.path.parent / WRONG
    before = file.read_bytes()
    file.write_bytes((job.path.parent / "dark/0.png").read_bytes())
    try:
        page = job.report().read_text()
    finally:
        file.write_bytes(before)
    assert "no pictures in the report: the images have changed since the training" in caplog.text
    assert "Most confident mistakes" not in page
    assert "Confusion matrix" in page
