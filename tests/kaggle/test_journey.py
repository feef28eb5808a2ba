"""From nothing but environment variables to a score in the ledger, against our server."""

from __future__ import annotations

import io
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from helpers import journey
from helpers import kaggle_server as server
from paddlecnn.evaluation.calibration import image_losses
from paddlecnn.files import file_digest
from paddlecnn.kaggle.ledger import Ledger
from paddlecnn.kaggle.submission import read_submission
from paddlecnn.randomness import generator

REDUX = "dogs-vs-cats-redux-kernels-edition"
TRAIN, TEST = 120, 40


def picture(number: int, is_dog: bool) -> bytes:
    """A JPEG of noise, reddish for a dog and bluish for a cat, with some that are neither."""
    random = generator(0, "picture", number)
    pixels = random.normal(128, 40, size=(40, 48, 3))
    pixels[..., 0 if is_dog else 2] += random.normal(25, 20)
    content = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(content, "JPEG")
    return content.getvalue()


@pytest.fixture
def bundle(tmp_path):
    """The competition's zip of zips with small pictures, and the true labels of its test part."""
    truth = {str(number): int(generator(0, "truth", number).random() < 0.5) for number in range(1, TEST + 1)}
    images = {
        "train": {
            f"train/{'dog' if number % 2 else 'cat'}.{number // 2}.jpg": picture(number, number % 2 == 1)
            for number in range(TRAIN)
        },
        "test": {f"test/{name}.jpg": picture(1000 + int(name), is_dog == 1) for name, is_dog in truth.items()},
    }
    path = tmp_path / f"{REDUX}.zip"
    with zipfile.ZipFile(path, "w") as outer:
        for part, files in images.items():
            inner = io.BytesIO()
            with zipfile.ZipFile(inner, "w") as archive:
                for name, content in files.items():
                    archive.writestr(name, content)
            outer.writestr(f"{part}.zip", inner.getvalue())
        outer.writestr("sample_submission.csv", "id,label\n" + "".join(f"{name},0.5\n" for name in truth))
    return path, truth


def test_from_environment_variables_to_a_score(kaggle, bundle, tmp_path):
    path, truth = bundle
    kaggle.state.contests[REDUX] = server.Contest(path, {name: str(label) for name, label in truth.items()})
    for folder in ("work", "home"):
        (tmp_path / folder).mkdir()
    said = journey.to_a_score(kaggle.environment(tmp_path / "home"), tmp_path / "work", epochs=4, val_fraction=0.3)

    submission = tmp_path / "work" / "submissions" / "net.csv"
    labels = read_submission(submission).set_index("id").loc[list(truth), "label"].to_numpy()
    ours = image_losses(np.stack([1 - labels, labels], axis=1), np.array(list(truth.values()))).mean()
    scored = kaggle.state.submissions[0]["score"]
    assert scored == pytest.approx(ours, abs=1e-12)
    assert any(line.startswith(f"net.csv: public score {scored:.5f}") for line in said)

    (entry,) = Ledger(submission.parent).entries()
    assert (entry.public_score, entry.status, entry.runs) == (f"{scored:.5f}", "scored", "runs/net")
    assert entry.sha256 == file_digest(submission)
    assert re.fullmatch(r"[0-9a-f]{12}", entry.config_hash)
    assert f"expected log loss {entry.expected} (95 %: {entry.low} to {entry.high})" in said
    assert scored < 0.69  # it has learnt something
    assert float(entry.low) < 0.69
