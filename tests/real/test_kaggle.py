"""The way to a score on real photographs: Kaggle's own bundle, and one made of images whose labels are known."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from helpers import journey
from helpers import kaggle_server as server
from paddlecnn.evaluation.calibration import image_losses
from paddlecnn.kaggle.ledger import Ledger
from paddlecnn.kaggle.submission import read_submission

pytestmark = pytest.mark.real
REDUX = "dogs-vs-cats-redux-kernels-edition"


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """A home and a working folder."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    return home, work


def rescored(submission: Path, truth: dict[str, int]) -> np.ndarray:
    """Our own loss of each image in a submission."""
    p = read_submission(submission).set_index("id").loc[list(truth), "label"].to_numpy()
    return image_losses(np.stack([1 - p, p], axis=1), np.array(list(truth.values())))


def test_the_real_bundle_goes_the_whole_way(real_data, folders):
    """Its test labels are secret, so the server makes some up."""
    home, work = folders
    bundle = real_data / f"{REDUX}.zip"
    with zipfile.ZipFile(bundle) as archive:
        ids = [line.split(",")[0] for line in archive.read("sample_submission.csv").decode().split()[1:]]
    made_up = {name: int(name) % 2 for name in ids}
    with server.Kaggle() as kaggle:
        kaggle.state.contests[REDUX] = server.Contest(bundle, {name: str(label) for name, label in made_up.items()})
        said = journey.to_a_score(kaggle.environment(home), work)
        scored = kaggle.state.submissions[0]["score"]
    submission = work / "submissions" / "net.csv"
    assert read_submission(submission)["id"].tolist() == ids
    assert scored == pytest.approx(rescored(submission, made_up).mean(), abs=1e-12)
    assert f"net.csv: public score {scored:.5f}, private score {scored:.5f}" in said
    (entry,) = Ledger(submission.parent).entries()
    assert entry.public_score == f"{scored:.5f}"


def bundle_with_known_labels(images: Path, target: Path, train: int, test: int) -> dict[str, int]:
    """A bundle of the first `train` training images, and `test` later ones as the test part; the latter's labels."""
    truth = {}
    with zipfile.ZipFile(images) as source, zipfile.ZipFile(target, "w") as bundle:
        names = {Path(name).name: name for name in source.namelist() if name.endswith(".jpg")}
        ordered = [f"{kind}.{number}.jpg" for number in range((train + test) // 2) for kind in ("cat", "dog")]
        for part, chosen in (("train", ordered[:train]), ("test", ordered[train:])):
            inner = io.BytesIO()
            with zipfile.ZipFile(inner, "w") as archive:
                for number, name in enumerate(chosen, 1):
                    if part == "test":
                        truth[str(number)] = int(name.startswith("dog"))
                    shown = name if part == "train" else f"{number}.jpg"
                    archive.writestr(f"{part}/{shown}", source.read(names[name]))
            bundle.writestr(f"{part}.zip", inner.getvalue())
        bundle.writestr("sample_submission.csv", "id,label\n" + "".join(f"{name},0.5\n" for name in truth))
    return truth


def test_what_is_expected_of_photographs_is_what_they_score(long_test, real_data, folders, tmp_path):
    """Trained, calibrated and judged on 2,000 photographs, scored on 2,000 others."""
    home, work = folders
    truth = bundle_with_known_labels(
        real_data / "dogs-vs-cats-train-200px-half.zip", tmp_path / "bundle.zip", 2000, 2000
    )
    with server.Kaggle() as kaggle:
        kaggle.state.contests[REDUX] = server.Contest(tmp_path / "bundle.zip", {n: str(y) for n, y in truth.items()})
        print("\n".join(journey.to_a_score(kaggle.environment(home), work, epochs=6, val_fraction=0.3)))
        scored = kaggle.state.submissions[0]["score"]
    losses = rescored(work / "submissions" / "net.csv", truth)
    (entry,) = Ledger(work / "submissions").entries()
    interval = (float(entry.high) - float(entry.low)) / 3.92  # of a normal distribution, 95 % is 3.92 deviations wide
    uncertainty = np.hypot(interval, losses.std() / np.sqrt(len(losses)))
    assert scored == pytest.approx(losses.mean(), abs=1e-12)
    assert abs(scored - float(entry.expected)) < 3 * uncertainty
    assert scored < 0.68  # something was learnt
