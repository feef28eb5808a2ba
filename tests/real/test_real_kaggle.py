"""The way to a score on the competition's own bundle. Its test labels are secret, so the server makes some up."""
from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from paddlecnn.inference.calibration import image_losses
from paddlecnn.kaggle.ledger import Ledger
from paddlecnn.kaggle.submission import read_submission

pytestmark = pytest.mark.real
REDUX = "dogs-vs-cats-redux-kernels-edition"


def load(name: str):
    """A helper module of tests/kaggle, by its path: the tests are no package."""
    path = Path(__file__).parents[1] / "kaggle" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"kaggle_test_{name}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_real_bundle_goes_the_whole_way(real_data, tmp_path):
    server, journey = load("server"), load("journey")
    bundle = real_data / f"{REDUX}.zip"
    with zipfile.ZipFile(bundle) as archive:
        ids = [line.split(",")[0] for line in archive.read("sample_submission.csv").decode().split()[1:]]
    made_up = {name: str(int(name) % 2) for name in ids}
    for folder in ("work", "home"):
        (tmp_path / folder).mkdir()
    with server.Kaggle() as kaggle:
        kaggle.state.contests[REDUX] = server.Contest(bundle, made_up)
        said = journey.to_a_score(kaggle.environment(tmp_path / "home"), tmp_path / "work")
        scored = kaggle.state.submissions[0]["score"]
    submission = tmp_path / "work" / "submissions" / "net.csv"
    table = read_submission(submission)
    assert table["id"].tolist() == ids
    p = table["label"].to_numpy()
    ours = image_losses(np.stack([1 - p, p], axis=1), np.array([int(name) % 2 for name in ids])).mean()
    assert scored == pytest.approx(ours, abs=1e-12)
    assert f"net.csv: public score {scored:.5f}, private score {scored:.5f}" in said
    entry, = Ledger(submission.parent).entries()
    assert entry.public_score == f"{scored:.5f}"
    assert float(entry.high) < 0.70  # on real validation images the network is no worse than one half for each
