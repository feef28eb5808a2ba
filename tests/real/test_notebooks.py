"""docs/notebooks/03_dogs_vs_cats.ipynb on the photographs: the same cells, with the bundle named."""

from __future__ import annotations

import json
import tempfile

import pytest

from helpers.docs import ROOT
from paddlecnn.kaggle.submission import read_submission

pytestmark = pytest.mark.real


def test_the_cells_run_on_the_photographs(long_test, real_data, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # the cells leave their files, a gigabyte, to the reader
    cells = json.loads((ROOT / "docs/notebooks/03_dogs_vs_cats.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    bundle = real_data / "dogs-vs-cats-redux-kernels-edition.zip"
    weights = real_data / "weights/bvlc_alexnet.npy"
    for line, replacement in (
        ("BUNDLE = None", f"BUNDLE = {str(bundle)!r}"),
        ('"name": "vgg16", "weights": "paddle_vgg16"', f'"name": "alexnet_caffe", "weights": {str(weights)!r}'),
    ):
        assert code.count(line) == 1
        code = code.replace(line, replacement)
    names: dict = {}
    exec(compile(code, "03_dogs_vs_cats.ipynb", "exec"), names)
    assert "views that are still missing: 0" in capsys.readouterr().out
    written, score = names["written"], names["written"].expected.after
    assert read_submission(written.path)["label"].between(0, 1).all()
    assert written.rows == len(names["setup"].splits.test)
    assert score.mean < names["image_losses"](names["before"], names["labels"]).mean() + 0.01
    assert score.mean < 0.3  # a constant 0.5 costs 0.69
