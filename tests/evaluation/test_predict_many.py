"""predict: many images into a table, by several runs, with several views of each image."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.special import softmax

import paddlecnn as pc
from helpers.images import photo
from paddlecnn.errors import ConfigError

CONFIG = {
    "data": {"name": "digits", "limit": 80, "folds": 2},
    "model": {"name": "lenet5"},
    "optim": {"name": "adam", "lr": 0.003},
    "train": {"epochs": 1, "batch_size": 16},
}
CLASSES = [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A cross-validation of two runs."""
    return pc.train_folds(CONFIG, run=tmp_path_factory.mktemp("job") / "job").path


@pytest.fixture
def photos(tmp_path):
    """A folder with more images than a batch, one of them mirrored from another, and one that is no image."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for number in range(20):
        Image.fromarray(photo(number, (32, 32))).save(folder / f"{number:02}.png")
    Image.fromarray(photo(0, (32, 32))[:, ::-1]).save(folder / "below" / "mirrored.png")
    return folder


def probabilities(file) -> pd.DataFrame:
    return pd.read_csv(file, index_col="path")[CLASSES]


def test_a_csv_has_a_row_for_each_image_and_a_column_for_each_class(tool, capsys, job, photos, tmp_path):
    (photos / "05.png").write_bytes(b"")
    out = tmp_path / "new" / "out.csv"
    assert tool("predict", job / "fold-0", photos, "--csv", out) == 1
    captured = capsys.readouterr()
    assert captured.out == f"{out}: 21 images, 1 unreadable\n"
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith(f"{photos / '05.png'}: ")
    table = pd.read_csv(out, dtype={"predicted": str})
    assert list(table.columns) == ["path", "predicted", *CLASSES]
    assert table["path"].tolist() == [str(photos / f"{number:02}.png") for number in range(20)] + [
        str(photos / "below" / "mirrored.png")
    ]
    assert table.loc[5, "predicted":].isna().all()
    read = table.drop(index=5)
    assert read["predicted"].tolist() == read[CLASSES].idxmax(axis=1).tolist()
    assert read[CLASSES].sum(axis=1).tolist() == pytest.approx([1] * 20)


def test_a_csv_has_the_probabilities_that_json_has(tool, capsys, job, photos, tmp_path):
    assert tool("predict", job / "fold-0", photos, "--csv", tmp_path / "out.csv") == 0
    capsys.readouterr()
    assert tool("predict", job / "fold-0", photos, "--json", "--topk", 10) == 0
    table = probabilities(tmp_path / "out.csv")
    for entry in json.loads(capsys.readouterr().out):
        wanted = {one["class"]: one["probability"] for one in entry["top"]}
        assert table.loc[entry["path"]].to_dict() == pytest.approx(wanted)


def test_several_runs_predict_by_the_mean_of_their_logits(tool, job, photos, tmp_path):
    for name in ("job", "job/fold-0", "job/fold-1"):
        assert tool("predict", job.parent / name, photos, "--csv", tmp_path / f"{name.replace('/', '-')}.csv") == 0
    mean, *runs = (probabilities(tmp_path / f"{name}.csv") for name in ("job", "job-fold-0", "job-fold-1"))
    assert not np.allclose(*runs, atol=1e-3)
    wanted = softmax((np.log(runs[0]) + np.log(runs[1])) / 2, axis=1)
    np.testing.assert_allclose(mean, wanted, rtol=1e-6)
    table = pc.load_folds(job).predict(photos)
    np.testing.assert_allclose(table[CLASSES], mean, rtol=1e-12)
    assert table.index.name == "path"
    assert table.index.tolist() == mean.index.tolist()


def test_a_folder_of_seeds_is_predicted_by_all_of_them(tool, capsys, tiny, photos, tmp_path):
    seeds = tmp_path / "seeds"
    small = ("-o", "data.limit=64", "-o", "train.epochs=1")
    assert tool("train", "-c", tiny, "--seeds", 2, "--run", seeds, *small) == 0
    for name in ("", "seed-0", "seed-1"):
        assert tool("predict", seeds / name, photos, "--csv", tmp_path / f"of-{name}.csv") == 0
    mean, *runs = (probabilities(tmp_path / f"of-{name}.csv") for name in ("", "seed-0", "seed-1"))
    np.testing.assert_allclose(mean, softmax((np.log(runs[0]) + np.log(runs[1])) / 2, axis=1), rtol=1e-6)


def test_an_unreadable_image_is_named_once_for_several_runs(tool, capsys, job, photos):
    (photos / "05.png").write_bytes(b"")
    assert tool("predict", job, photos / "04.png", photos / "05.png") == 1
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{photos / '04.png'}: ")
    assert [len(text.splitlines()) for text in captured] == [1, 1]


def test_flip_is_the_mean_of_an_image_and_its_mirror_image(tool, job, photos, tmp_path):
    run = job / "fold-0"
    assert tool("predict", run, photos, "--csv", tmp_path / "none.csv") == 0
    assert tool("predict", run, photos, "--csv", tmp_path / "flip.csv", "--tta", "flip") == 0
    none, flip = probabilities(tmp_path / "none.csv"), probabilities(tmp_path / "flip.csv")
    both = [str(photos / "00.png"), str(photos / "below" / "mirrored.png")]
    wanted = softmax(np.log(none.loc[both].to_numpy()).mean(axis=0))
    for name in both:
        np.testing.assert_allclose(flip.loc[name], wanted, rtol=1e-5)
    assert pc.load_run(run).predict(both, tta="flip")[CLASSES].to_numpy() == pytest.approx(np.stack([wanted] * 2))


@pytest.mark.parametrize("tta", ["shift", "crops", "scales"])
def test_views_of_a_file_are_those_of_the_evaluation(job, tta):
    run = pc.load_run(job / "fold-0")
    from paddlecnn.data.datasets import open_dataset
    from paddlecnn.evaluation.evaluate import read_predictions

    run.evaluate(tta=tta)
    stored = read_predictions(run.path / f"predictions_val_{tta}.csv", run.classes)
    images = open_dataset(run.config.data, run.config.seed).val
    table = run.predict([images.image(position) for position in range(len(images))], tta=tta)
    np.testing.assert_allclose(table[CLASSES], softmax(stored.logits, axis=1), rtol=1e-4, atol=1e-7)


def test_in_python_a_folder_has_its_paths_and_other_images_their_numbers(job, photos):
    run = pc.load_run(job / "fold-0")
    named = run.predict(photos)
    assert (named.index.name, named.index[0]) == ("path", str(photos / "00.png"))
    assert list(named.columns) == ["class", *CLASSES]
    assert run.predict([photos / "00.png", photo(1, (32, 32))]).index.tolist() == [0, 1]
    with pytest.raises(ConfigError, match="tta 'mirror': must be one of none, flip"):
        run.predict(photos, tta="mirror")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--csv", "out.txt"], "--csv out.txt: must be the name of a file that ends in .csv"),
        (["--csv", "job/fold-0/out.csv"], "is in the folder of a run"),
        (["--csv", "out.csv", "--topk", "2"], "--topk: has no effect on --csv"),
        (["--csv", "out.csv", "--json"], "not allowed with argument"),
        (["--explain", "out.png"], "explains one network; name one of the runs, as job/fold-0"),
        (["--explain", "out.png", "--tta", "flip"], "--explain shows the central crop alone; leave out --tta"),
    ],
)
def test_options_that_do_not_fit_are_one_line(tool, capsys, monkeypatch, job, photos, arguments, message):
    monkeypatch.chdir(job.parent)
    assert tool("predict", "job", photos / "00.png", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_name_that_no_csv_can_hold_is_refused_before_the_work(tool, capsys, job, photos, tmp_path):
    os.rename(photos / "00.png", os.fsencode(photos) + b"/\xff.png")
    assert tool("predict", job, photos, "--csv", tmp_path / "out.csv") == 2
    assert "the name has a control character or is not UTF-8" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()
