"""Images in a folder with their labels in a CSV or a list."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from helpers.images import encoded, opened, photo
from paddlecnn.config import DataConfig
from paddlecnn.configfile import config_hash, load_config
from paddlecnn.data.datasets import open_parts
from paddlecnn.errors import ConfigError, DataError

RUN = """
data:
  {{name: table, root: {root}, table: train.csv, images: train, test: test, preprocess: {{size: 32, resize: 32}}}}
model: {{name: lenet5}}
train: {{epochs: 1, batch_size: 8}}
"""


@pytest.fixture
def root(tmp_path):
    """24 photographs in train/, 3 in test/, and train.csv with ids that lack the suffix."""
    for part, numbers in (("train", range(24)), ("test", range(24, 27))):
        (tmp_path / "data" / part).mkdir(parents=True)
        for number in numbers:
            (tmp_path / "data" / part / f"{number:04}.jpg").write_bytes(encoded(photo(number)))
    write(
        tmp_path / "data", "id,label\n" + "".join(f"{number:04},{['cat', 'dog'][number % 2]}\n" for number in range(24))
    )
    return tmp_path / "data"


def write(root, text, name="train.csv"):
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def parts_of(root, **options):
    return open_parts(DataConfig(name="table", root=str(root), **{"table": "train.csv", "images": "train"} | options))


def labels_of(dataset):
    return dict(zip(dataset.ids, (dataset.classes[label] for label in dataset.labels), strict=True))


def test_a_csv_of_ids_and_a_folder_of_test_images(root):
    parts = parts_of(root, test="test")
    assert parts.train.classes == ("cat", "dog")
    assert parts.train.ids[:3] == ["0000", "0001", "0002"]
    assert parts.train.labels.tolist() == [0, 1] * 12
    assert parts.train.image(3).shape == (48, 64, 3)
    assert parts.train.path(3) == f"{root}/train/0003.jpg"
    assert (parts.test.ids, parts.test.labels) == (["0024", "0025", "0026"], None)


def test_the_order_is_that_of_the_table(root):
    write(root, "id,label\n0005,b\n0002,a\n0003,b\n")
    assert labels_of(parts_of(root).train) == {"0005": "b", "0002": "a", "0003": "b"}
    assert parts_of(root).train.ids == ["0005", "0002", "0003"]


@pytest.mark.parametrize(
    "text",
    [
        "file_name,species\n0000.jpg,cat\n0001.jpg,dog\n",
        "\ufefffile_name,species\r\n0000.jpg,cat\r\n0001.jpg,dog\r\n",
        'label,width,image_id\n"cat",64,0000.jpg\n\ndog,64,0001.jpg',
        "Class;Image\ncat;0000.jpg\ndog;0001.jpg\n",
        "name\tfamily\n0000.jpg\tcat\n0001.jpg \t dog\n",
        "Image,Id\n0000.jpg,cat\n0001.jpg,dog\n",
    ],
)
def test_columns_are_known_by_their_headers_in_any_common_form(root, text):
    write(root, text)
    assert labels_of(parts_of(root).train) == {"0000.jpg": "cat", "0001.jpg": "dog"}


@pytest.mark.parametrize("labels", [("2", "10"), ("2.0", "10.0"), ("-1", "2", "10"), ("2", "10", "nan")])
def test_labels_are_in_numerical_order_if_all_are_numbers(root, labels):
    write(root, "id,label\n" + "".join(f"{number:04},{label}\n" for number, label in enumerate(labels[::-1])))
    assert parts_of(root).train.classes == (labels if "nan" not in labels else ("10", "2", "nan"))


def test_a_list_as_paddleclas_reads_it(root):
    (root / "train" / "0000.jpg").rename(root / "train" / "a photo.jpg")
    write(root, "train/a photo.jpg 10\r\ntrain/0001.jpg\t2\n", "train_list.txt")
    write(root, "test/0024.jpg\n", "test_list.txt")
    parts = parts_of(root, table="train_list.txt", images=None, test="test_list.txt")
    assert parts.train.classes == ("2", "10")
    assert labels_of(parts.train) == {"train/a photo.jpg": "10", "train/0001.jpg": "2"}
    assert parts.test.ids == ["test/0024.jpg"]


def test_a_name_may_begin_as_find_writes_it(root):
    write(root, "./0000.jpg cat\n./0001.jpg dog\n", "train.txt")
    train = parts_of(root, table="train.txt").train
    assert train.ids == ["./0000.jpg", "./0001.jpg"]
    assert train.path(1) == f"{root}/train/0001.jpg"


def test_a_sample_submission_names_the_test_images_and_its_labels_do_not_count(root):
    (root / "test" / "0024.jpg").rename(root / "train" / "0024.jpg")
    write(root, "id,label\n0024,0.5\n", "sample_submission.csv")
    test = parts_of(root, test="sample_submission.csv").test
    assert (test.ids, test.labels) == (["0024"], None)


def test_images_without_a_line_are_counted(root, caplog):
    write(root, "id,label\n0000,cat\n0001,dog\n")
    parts_of(root)
    assert "train.csv: 22 images of" in caplog.text
    assert caplog.text.endswith("train left out, without a line here, such as 0002.jpg\n")


@pytest.mark.parametrize(("other", "similar"), [("Cat", True), ("cat ", False), ("c at", True), ("cats", False)])
def test_labels_that_differ_only_in_case_or_spaces_are_named(root, caplog, other, similar):
    write(root, f"id,label\n0000,cat\n0001,dog\n0002,{other}\n")
    parts_of(root)
    first, second = sorted([other, "cat"])
    assert (f"{first!r} and {second!r} are two classes" in caplog.text) is similar


GOOD = "id,label\n0000,cat\n0001,dog\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "99,dog\n98,cat\n", "train.csv, line 4: no image 99 in {root}/train (2 such lines); data.images is"),
        (GOOD + "0002,\n", "train.csv, line 4: 0002 has no label; add it, or remove the line"),
        (GOOD + ",dog\n", "train.csv, line 4: the name of the image is missing"),
        (GOOD + "0001,dog\n", "train.csv, line 4: 0001.jpg is already in {root}/train.csv, line 3; keep one"),
        (GOOD + "0001.jpg,cat\n", "line 4: 0001.jpg is already in {root}/train.csv, line 3 with two labels, dog and"),
        (GOOD + "0002,dog,x\n", "train.csv, line 4: 3 cells, but 2 in the header"),
        (GOOD + '0002,"dog\n', "line 4: not a CSV"),
        (GOOD.encode() + b"0002,caf\xe9\n", "train.csv, line 4: not a text in UTF-8; save the table in"),
        (GOOD.encode("utf-16"), "train.csv, line 1: not a text in UTF-8"),
        ("0000,cat\n0001,dog\n", "train.csv, line 1: no header that names one column of files and one of labels (0000"),
        ("id,healthy,rust\n0000,1,0\n", "train.csv, line 1: no header that names one column of files"),
        ("", "train.csv, line 1: no header"),
        ("id,image,label\n0,0000,cat\n", "train.csv, line 1: the columns id and image may each contain the names of"),
        ("id,breed,class\n0000,pug,dog\n", "line 1: the columns breed and class may each contain the labels; rename"),
        ("id,label\n", "train.csv: names no image"),
        ("id,label\n0000,cat\n0001,cat\n", "train.csv: every label is cat; expected two classes or more"),
    ],
)  # fmt: skip
def test_each_fault_is_one_line_that_names_the_place(root, text, message):
    write(root, text)
    with pytest.raises(DataError) as error:
        parts_of(root)
    assert message.format(root=root) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_that_fits_two_files_is_refused(root):
    (root / "train" / "0001.png").write_bytes(encoded(photo(1), "PNG"))
    with pytest.raises(DataError, match=r"train.csv, line 3: 0001 is 0001.jpg and 0001.png; write the suffix into"):
        parts_of(root)


def test_a_line_of_a_list_without_a_label_is_named(root):
    write(root, "0000.jpg 0\n0001.jpg\n", "list.txt")
    with pytest.raises(DataError, match=r"list.txt, line 2: `0001.jpg` is not of the form `path label`"):
        parts_of(root, table="list.txt")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"table": None}, ConfigError, "data.table: missing; name the file with the labels"),
        ({"table": "labels.csv"}, DataError, "labels.csv: no such file; data.table counts from data.root"),
        ({"images": "pictures"}, DataError, "pictures: no such folder; data.images counts from data.root"),
        ({"test": "tests"}, DataError, "tests: no such file; data.test counts from data.root"),
        ({"name": "folder"}, ConfigError, "data.table: is for data.name table, not folder; leave it out"),
    ],
)
def test_a_wrong_key_is_named(root, options, error, message):
    with pytest.raises(error, match=message):
        parts_of(root, **options) if "name" not in options else opened("folder", root, table="train.csv")


def test_a_table_is_checked_split_trained_moved_and_submitted(tool, capsys, root, tmp_path):
    config = tmp_path / "table.yaml"
    config.write_text(RUN.format(root=root))
    assert tool("check-data", "-c", config, "--out", tmp_path / "figures", "--json") == 0
    assert json.loads(capsys.readouterr().out)["parts"]["train"]["classes"] == {"cat": 12, "dog": 12}
    assert tool("split", "-c", config, "--out", tmp_path / "split") == 0
    assert (tmp_path / "split" / "val.txt").read_text().splitlines()[0].startswith("00")
    run, moved = tmp_path / "run", tmp_path / "moved"
    assert tool("train", "-c", config, "--run", run, "-o", f"data.split={tmp_path / 'split'}") == 0
    root.rename(moved)
    assert tool("eval", run, "--data-root", moved) == 0
    assert tool("submit", run, "--data-root", moved, "--out", tmp_path / "out.csv") == 0
    table = pd.read_csv(tmp_path / "out.csv", dtype=str)
    assert table["id"].tolist() == ["0024", "0025", "0026"]
    assert set(table["label"]) <= {"cat", "dog"}
    text = (moved / "train.csv").read_text()
    write(moved, text.replace("0000,cat", "0000,dog"))
    capsys.readouterr()
    assert tool("eval", run, "--data-root", moved) == 2
    assert "split.json: made for images other than those of table now" in capsys.readouterr().err


def test_the_folds_of_a_table_have_each_image_once(root):
    folds = [opened("table", root, table="train.csv", images="train", folds=3, fold=fold) for fold in range(3)]
    assert sorted(name for one in folds for name in one.val.ids) == [f"{number:04}" for number in range(24)]


def test_the_features_of_frozen_layers_are_kept(tool, root, tmp_path):
    config = tmp_path / "table.yaml"
    config.write_text(RUN.format(root=root))
    frozen = ("-o", "model.freeze=features", "-o", f"train.feature_cache={tmp_path / 'cache'}")
    assert tool("train", "-c", config, "--run", tmp_path / "run", *frozen) == 0
    assert any((tmp_path / "cache").iterdir())


def test_keys_that_are_not_set_leave_the_hash_of_a_config():
    plain = {
        "data": {"name": "digits"},
        "model": {"name": "lenet5"},
        "train": {"epochs": 1, "engine": "auto", "report": True},
    }
    assert config_hash(load_config(plain)) == "c1519f2d1247"  # as version 0.2 computed it
    assert config_hash(load_config(plain)) != config_hash(load_config(plain, {"data.table": "a.csv"}))
