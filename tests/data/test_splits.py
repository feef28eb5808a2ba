"""Splits: every image on one side, classes in proportion, duplicates together, the same for the same seed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from helpers.images import opened
from paddlecnn.data.base import ArrayDataset
from paddlecnn.data.splits import read_split, sample, split_by_fold, split_by_fraction, write_split
from paddlecnn.errors import DataError


def dataset(labels, images=None) -> ArrayDataset:
    count = len(labels)
    if images is None:
        images = np.arange(count, dtype=np.uint32).view(np.uint8).reshape(count, 1, 4, 1).repeat(3, 3)
    return ArrayDataset(
        "made",
        [f"class {c}" for c in range(max(labels) + 1)],
        [f"pic {i}.png" for i in range(count)],
        np.array(labels),
        images,
    )


MIXED = dataset([0] * 100 + [1] * 40 + [2] * 21)


def test_a_fraction_is_stratified_whole_and_depends_on_the_seed_alone():
    train, val = split_by_fraction(MIXED, 0.15, seed=0)
    assert np.array_equal(np.sort(np.concatenate([train, val])), np.arange(161))
    assert np.bincount(MIXED.labels[val]).tolist() == [15, 6, 3]
    again, other = split_by_fraction(MIXED, 0.15, seed=0), split_by_fraction(MIXED, 0.15, seed=1)
    assert np.array_equal(val, again[1])
    assert not np.array_equal(val, other[1])


def test_each_image_is_in_validation_in_exactly_one_fold():
    folds = [split_by_fold(MIXED, 5, fold, seed=3) for fold in range(5)]
    assert np.array_equal(np.sort(np.concatenate([val for _, val in folds])), np.arange(161))
    for train, val in folds:
        assert not set(train) & set(val)
        assert np.abs(np.bincount(MIXED.labels[val], minlength=3) - np.array([20, 8, 4.2])).max() < 1.5


def test_small_classes_do_not_all_favour_the_same_fold():
    singles = dataset(list(range(50)))  # one image of each of 50 classes
    sizes = [len(split_by_fold(singles, 5, fold, seed=0)[1]) for fold in range(5)]
    assert sum(sizes) == 50
    assert max(sizes) < 20


def test_exact_duplicates_stay_on_one_side():
    images = np.random.default_rng(0).integers(0, 256, (100, 2, 2, 3), np.uint8)
    images[50:] = images[:50]  # each image twice, under two labels
    twins = dataset([0] * 50 + [1] * 50, images)
    for train, val in [split_by_fraction(twins, 0.3, seed) for seed in range(5)] + [
        split_by_fold(twins, 4, fold, 0) for fold in range(4)
    ]:
        assert not {i % 50 for i in train} & {i % 50 for i in val}
        assert len(train)
        assert len(val)


def test_limit_takes_classes_in_proportion_and_keeps_their_order():
    few = sample(MIXED, 16, seed=0)
    assert len(few) == 16
    assert np.abs(np.bincount(few.labels) - np.array([9.9, 4.0, 2.1])).max() < 1
    assert [MIXED.ids.index(name) for name in few.ids] == sorted(MIXED.ids.index(name) for name in few.ids)
    assert sample(MIXED, 1000, seed=0) is MIXED
    singles = dataset(list(range(50)))
    first = {sample(singles, 2, seed).ids[0] for seed in range(10)}
    assert len(first) > 5  # not always the images of the first classes


def test_a_written_split_is_read_back(tmp_path):
    split = split_by_fraction(MIXED, 0.2, seed=5)
    write_split(tmp_path / "split", MIXED, split, {"seed": 5, "val_fraction": 0.2})
    again = read_split(tmp_path / "split", MIXED)
    assert all(np.array_equal(one, other) for one, other in zip(split, again, strict=True))
    made = json.loads((tmp_path / "split" / "split.json").read_text())
    assert made["seed"] == 5
    assert made["counts"] == {"train": len(split[0]), "val": len(split[1])}
    assert (tmp_path / "split" / "val.txt").read_text().splitlines()[0] == f"{MIXED.ids[split[1][0]]} 0"


def test_the_tool_writes_what_a_run_would_split(tool, tmp_path, capsys):
    config = tmp_path / "c.yaml"
    config.write_text("data: {name: digits}\nmodel: {name: alexnet_cifar}\ntrain: {epochs: 1}\n")
    assert tool("split", "-c", config, "--out", tmp_path / "split", "-o", "data.folds=5", "-o", "data.fold=2") == 0
    printed = capsys.readouterr().out
    splits = opened("digits", "data", folds=5, fold=2)
    assert f"{len(splits.train):,} images for training, {len(splits.val):,} for validation" in printed
    again = opened("digits", "data", split=str(tmp_path / "split"))
    assert (again.train.fingerprint, again.val.fingerprint) == (splits.train.fingerprint, splits.val.fingerprint)


def test_the_tool_writes_no_split_that_cannot_be_read(tool, tree, tmp_path, capsys):
    config = tmp_path / "c.yaml"
    config.write_text(f"data: {{name: folder, root: {tree}}}\nmodel: {{name: lenet5}}\ntrain: {{epochs: 1}}\n")
    assert tool("split", "-c", config, "--out", tmp_path / "split", "-o", "data.val_fraction=0") == 2
    assert "24 images for training and 0 for validation; change data.val_fraction" in capsys.readouterr().err
    assert not (tmp_path / "split").exists()


def test_the_tool_says_that_a_split_leaves_the_own_validation_part_unused(tool, tree, tmp_path, capsys):
    root, config = tmp_path / "parts", tmp_path / "c.yaml"
    for part in ("train", "val"):
        shutil.copytree(tree, root / part)
    config.write_text(f"data: {{name: folder, root: {root}}}\nmodel: {{name: lenet5}}\ntrain: {{epochs: 1}}\n")
    said = "folder train: has 24 images for validation of its own, which a run with this split leaves unused"
    for options, is_said in (((), True), (("-o", "data.folds=3"), False)):
        assert tool("split", "-c", config, "--out", tmp_path / "split", *options) == 0
        assert (said in "".join(capsys.readouterr())) is is_said


def test_the_tool_replaces_only_its_own_split(tool, tree, tmp_path, capsys):
    config, folder = tmp_path / "c.yaml", tmp_path / "split"
    config.write_text(f"data: {{name: folder, root: {tree}}}\nmodel: {{name: lenet5}}\ntrain: {{epochs: 1}}\n")
    split = ("split", "-c", config, "--out", folder, "-o")
    assert tool(*split, "seed=1") == 0
    first = (folder / "val.txt").read_bytes()
    assert tool(*split, "seed=2") == 0
    assert (folder / "val.txt").read_bytes() != first
    for name, content in (("test.csv", "id,path,label\n1,cat/cat.0.jpg,0\n"), ("val.txt", "cat/cat.1.jpg 0\n")):
        (folder / name).write_text(content)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        capsys.readouterr()
        assert tool(*split, "seed=3") == 2
        (error,) = capsys.readouterr().err.splitlines()
        assert error.startswith(f"{folder / name}: would be replaced, but is not as `paddlecnn split` wrote it; ")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        (folder / name).unlink()
    assert tool(*split, "seed=3") == 0
    (folder / "split.json").unlink()
    (folder / "val.txt").unlink()
    assert tool(*split, "seed=3") == 0, "as after a kill between two files"
    (folder / "split.json").unlink()  # what is left was not written by the command as far as anyone can tell
    assert tool(*split, "seed=4") == 2
    assert f"{folder / 'train.txt'}: would be replaced" in capsys.readouterr().err


def test_split_json_says_how_the_split_was_made(tool, tree, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(f"data: {{name: folder, root: {tree}}}\nmodel: {{name: lenet5}}\ntrain: {{epochs: 1}}\n")

    def origin(name: str, *options: str) -> dict:
        words = [word for option in options for word in ("-o", option)]
        assert tool("split", "-c", config, "--out", tmp_path / name, *words) == 0
        made = json.loads((tmp_path / name / "split.json").read_text())
        return {key: made[key] for key in ("seed", "val_fraction", "folds", "fold", "split") if key in made}

    first = f"data.split={tmp_path / 'first'}"
    assert origin("first", "data.val_fraction=0.25") == {"seed": 0, "val_fraction": 0.25}
    assert origin("folds", "data.folds=3", "data.fold=1") == {"seed": 0, "folds": 3, "fold": 1}
    assert origin("copy", first) == {"seed": 0, "split": str(tmp_path / "first")}
    assert origin("both", first, "data.folds=2") == {"seed": 0, "split": str(tmp_path / "first"), "folds": 2, "fold": 0}


def test_a_split_made_by_hand_is_used(tree, tmp_path):
    (tmp_path / "train.txt").write_text("cat/cat.1.jpg 0\ndog/dog.2.jpg dog\n\n")
    (tmp_path / "val.txt").write_text("dog/dog.3.jpg 1\n")
    splits = opened("folder", tree, split=str(tmp_path))
    assert splits.train.ids == ["cat/cat.1.jpg", "dog/dog.2.jpg"]
    assert splits.val.ids == ["dog/dog.3.jpg"]


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        (
            "pic 0.png 0\npic 999.png 0\n",
            "pic 1.png 0\n",
            r"train.txt, line 2: pic 999.png is not in the training part",
        ),
        ("pic 0.png 3\n", "pic 1.png 0\n", r"train.txt, line 1: label 3 is outside the range of made: 0 to 2"),
        ("pic 0.png 1\n", "pic 1.png 0\n", r"label 1 for pic 0.png; the data has 0 \(class 0\)"),
        ("pic 0.png 0\n", "pic 0.png 0\n", r"val.txt, line 1: pic 0.png is already in train.txt, line 1"),
        ("pic.png\n", "pic 1.png 0\n", r"train.txt, line 1: `pic.png` is not of the form"),
        ("pic 0.png 0\n", "", r"val.txt: names no image"),
        ("pic 0.png 0\n", None, r"val.txt: no such file"),
    ],
)
def test_a_bad_line_is_named(tmp_path, train, val, message):
    (tmp_path / "train.txt").write_text(train)
    if val is not None:
        (tmp_path / "val.txt").write_text(val)
    with pytest.raises(DataError, match=message):
        read_split(tmp_path, MIXED)


def test_a_test_part_that_is_not_a_csv_is_named(tree, tmp_path):
    (tmp_path / "train.txt").write_text("cat/cat.0.jpg cat\n")
    (tmp_path / "val.txt").write_text("cat/cat.1.jpg cat\n")
    unclosed = 'id,path,label\n1,"cat/cat.2.jpg,0\n' + "2,dog/dog.1.jpg,1\n" * 8000
    (tmp_path / "test.csv").write_text(unclosed)
    with pytest.raises(DataError, match=r"test.csv, line [\d]+: not a CSV \(field larger than"):
        opened("folder", tree, split=str(tmp_path))


def test_a_split_that_no_longer_fits_is_refused(tmp_path):
    write_split(tmp_path, MIXED, split_by_fraction(MIXED, 0.2, 0), {"seed": 0})
    with pytest.raises(DataError, match=r"split.json: made for images other than"):
        read_split(tmp_path, dataset([0] * 101 + [1] * 39 + [2] * 21))
    (tmp_path / "val.txt").write_text("pic 1.png 0\n")
    with pytest.raises(DataError, match=r"val.txt: changed since split.json was written"):
        read_split(tmp_path, MIXED)


@pytest.mark.parametrize("content", ["[]", "{}", "[" * 100_000, "nan", '{"sha256": 1, "fingerprint": 2}'])
def test_a_split_json_of_other_content_is_named(tmp_path, content):
    write_split(tmp_path, MIXED, split_by_fraction(MIXED, 0.2, 0), {"seed": 0})
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(DataError, match=r"split.json: not the JSON of a split"):
        read_split(tmp_path, MIXED)


def test_the_digits_test_part_does_not_depend_on_the_seed():
    one, other = opened("digits", "data", seed=0), opened("digits", "data", seed=1)
    assert one.test.fingerprint == other.test.fingerprint
    assert one.val.ids != other.val.ids
    assert (len(one.train), len(one.val), len(one.test)) == (1222, 216, 359)
    assert not set(one.test.content_hashes) & set(one.train.content_hashes + one.val.content_hashes)
