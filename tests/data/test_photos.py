"""Dogs vs. Cats in every form it comes in, and trees of class folders."""

from __future__ import annotations

import os
import shutil
import zipfile

import numpy as np
import pytest

from helpers.images import encoded, inner_zips, opened, photo, zipped
from paddlecnn.config import DataConfig
from paddlecnn.data.audit.inspection import filter_readable
from paddlecnn.data.datasets import open_parts, require_classes
from paddlecnn.errors import DataError


def write_form(form: str, root, files):
    root.mkdir()
    if form == "bundle":
        (root / "dogs-vs-cats-redux-kernels-edition.zip").write_bytes(zipped(inner_zips(files)))
    elif form == "compressed bundle":
        data = zipped(inner_zips(files), zipfile.ZIP_DEFLATED)
        (root / "dogs-vs-cats-redux-kernels-edition.zip").write_bytes(data)
    elif form == "inner zips":
        for name, data in inner_zips(files).items():
            (root / name).write_bytes(data)
    else:
        base = root / "dogs-vs-cats" if form == "2013 folders" else root
        for name, data in files.items():
            path = base / (name.replace("test/", "test1/") if form == "2013 folders" else name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


@pytest.mark.parametrize("form", ["bundle", "compressed bundle", "inner zips", "folders", "2013 folders"])
def test_dogs_vs_cats_reads_each_form_and_writes_nothing(tmp_path, dogs_files, form):
    write_form(form, tmp_path / "data", dogs_files)
    before = sorted(tmp_path.rglob("*"))
    parts = open_parts(DataConfig(name="dogs_vs_cats", root=str(tmp_path / "data")))
    assert parts.train.classes == ("cat", "dog")
    assert parts.train.ids == [f"train/{kind}.{i}.jpg" for kind in ("cat", "dog") for i in range(12)]
    assert parts.train.labels.tolist() == [0] * 12 + [1] * 12
    assert parts.test.ids == ["1", "2", "3", "4", "5"]
    assert parts.test.labels is None
    assert parts.train.image(14).shape == (48, 64, 3)
    assert parts.train.stored_bytes(14) == dogs_files["train/dog.2.jpg"]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_bundle_beside_complete_folders_is_not_opened(tmp_path, dogs_files):
    write_form("folders", tmp_path / "data", dogs_files)
    (tmp_path / "data" / "dogs-vs-cats-redux-kernels-edition.zip").write_bytes(b"PK half")
    parts = open_parts(DataConfig(name="dogs_vs_cats", root=str(tmp_path / "data")))
    assert (len(parts.train), len(parts.test)) == (24, 5)


def test_missing_photos_say_how_to_get_them(tmp_path):
    with pytest.raises(DataError, match=r"paddlecnn download dogs_vs_cats --dest"):
        opened("dogs_vs_cats", tmp_path)


def test_a_truncated_inner_zip_is_named(tmp_path, dogs_files):
    inner = inner_zips(dogs_files)
    inner["train.zip"] = inner["train.zip"][:-1000]
    bundle = tmp_path / "dogs-vs-cats.zip"
    bundle.write_bytes(zipped(inner))
    with pytest.raises(DataError, match=r"dogs-vs-cats.zip/train.zip: not a complete zip"):
        opened("dogs_vs_cats", tmp_path)


def test_a_truncated_bundle_is_named(dogs_bundle):
    dogs_bundle.write_bytes(dogs_bundle.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"kernels-edition.zip: not a complete zip"):
        opened("dogs_vs_cats", dogs_bundle)


def test_a_flipped_bit_in_a_zip_is_named_when_the_image_is_read(dogs_bundle):
    data = bytearray(dogs_bundle.read_bytes())
    data[data.index(b"train/cat.0.jpg") + 600] ^= 1
    dogs_bundle.write_bytes(bytes(data))
    train = open_parts(DataConfig(name="dogs_vs_cats", root=str(dogs_bundle))).train
    with pytest.raises(DataError, match=r"train/cat.0.jpg: cannot be read \(Bad CRC-32"):
        train.image(0)


def test_training_leaves_out_a_member_with_a_flipped_bit(dogs_bundle):
    data = bytearray(dogs_bundle.read_bytes())
    data[data.index(b"train/cat.0.jpg") + 600] ^= 1
    dogs_bundle.write_bytes(bytes(data))
    splits = opened("dogs_vs_cats", dogs_bundle)
    excluded = [name for part in (splits.train, splits.val) for name, _ in filter_readable(part)[1]]
    assert excluded == ["train/cat.0.jpg"]


def test_an_image_in_two_folders_is_named(tmp_path, dogs_files):
    twice = {name.replace("train/", "train/train/"): data for name, data in dogs_files.items()}
    (tmp_path / "train.zip").write_bytes(zipped(dogs_files | twice))
    with pytest.raises(DataError, match=r"dogs_vs_cats: duplicate image train/cat.0.jpg; remove one copy"):
        opened("dogs_vs_cats", tmp_path)


def test_a_number_of_thousands_of_digits_is_not_an_image(tmp_path, dogs_files):
    (tmp_path / "train.zip").write_bytes(zipped(dogs_files | {f"train/cat.{'9' * 6000}.jpg": b"x"}))
    assert len(open_parts(DataConfig(name="dogs_vs_cats", root=str(tmp_path))).train) == 24


def test_a_tree_of_class_folders(tree):
    splits = opened("folder", tree)
    assert splits.train.classes == ("cat", "dog")
    assert (len(splits.train), len(splits.val), splits.test) == (20, 4, None)
    assert splits.train.ids[0].startswith("cat/cat.")


def test_a_tree_with_its_own_parts(tree):
    root = tree.parent / "parts"
    for part in ("train", "val"):
        for kind in ("cat", "dog"):
            (root / part / kind).mkdir(parents=True)
            for i in range(3):
                (root / part / kind / f"{i}.png").write_bytes(encoded(photo(i), "PNG"))
    (root / "test").mkdir()
    (root / "test" / "x.png").write_bytes(encoded(photo(9), "PNG"))
    splits = opened("folder", root)
    assert (len(splits.train), len(splits.val), splits.test.ids) == (6, 6, ["test/x.png"])
    assert splits.test.labels is None
    (root / "test" / ".ipynb_checkpoints").mkdir()  # no class folder
    assert opened("folder", root).test.ids == ["test/x.png"]
    assert opened("folder", root, val_fraction=0).val.ids == splits.val.ids
    folds = [opened("folder", root, folds=3, fold=fold) for fold in range(3)]  # of the training part
    assert sorted(name for one in folds for name in one.val.ids) == sorted(splits.train.ids)
    (root / "val" / "bird").mkdir()
    with pytest.raises(DataError, match=r"val/bird: not a class of .*train"):
        opened("folder", root)


def test_parts_of_other_names_are_neither_classes_nor_left_out_silently(tree, tmp_path, caplog):
    root = tmp_path / "parts"
    shutil.copytree(tree, root / "train")
    shutil.copytree(tree, root / "valid")
    assert open_parts(DataConfig(name="folder", root=str(root))).val is None
    assert f"{root}: valid left out; the parts are called train, val and test" in caplog.text
    (root / "train").rename(root / "Training")
    with pytest.raises(DataError, match="Training, valid are named like parts, not classes; call them train, val and"):
        opened("folder", root)


def test_a_class_folder_without_images_is_named(tree):
    (tree / "bird").mkdir()
    (tree / "bird" / "readme.txt").write_text("none yet")
    with pytest.raises(DataError, match=r"tree/bird: a class folder without images"):
        opened("folder", tree)


def test_images_left_out_are_counted(tree, caplog):
    (tree / "cat" / "phone.HEIC").write_bytes(b"x")
    (tree / "loose.jpg").write_bytes(encoded(photo(1)))
    (tree / "readme.txt").write_text("cats and dogs")
    assert len(open_parts(DataConfig(name="folder", root=str(tree))).train) == 24
    assert "tree: 2 images left out, beside the class folders or with a suffix other than .jpg" in caplog.text
    assert caplog.text.endswith(", such as loose.jpg\n")


def test_a_link_to_a_folder_is_named_unless_it_is_the_class(tree, tmp_path):
    (tree / "cat").rename(tmp_path / "cats")
    (tree / "cat").symlink_to(tmp_path / "cats")
    assert len(open_parts(DataConfig(name="folder", root=str(tree))).train) == 24
    (tree / "dog" / "more").symlink_to(tmp_path / "cats")
    with pytest.raises(DataError, match=r"dog/more: a link to a folder, which is not followed; put the folder itself"):
        opened("folder", tree)


def test_a_folder_that_cannot_be_listed_is_named(tree):
    place = os.open(tree / "cat", os.O_RDONLY)
    for _ in range(20):  # to a path longer than the system allows, which the superuser cannot list either
        os.mkdir("d" * 250, dir_fd=place)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    with pytest.raises(DataError, match=r"cannot be listed \(File name too long\); make the folder readable"):
        opened("folder", tree)


def test_no_folder_and_one_class(tree):
    with pytest.raises(DataError, match="no such folder"):
        opened("folder", tree / "nowhere")
    with pytest.raises(DataError, match="cat: 0 class folders;"):
        opened("folder", tree / "cat")


def test_two_classes_for_a_network_of_ten(tree):
    dataset = opened("folder", tree).train
    require_classes(dataset, ("cat", "dog"), "runs/1")
    with pytest.raises(DataError, match=r"folder: its classes are cat, dog; runs/1 has 10: 0, 1, 2"):
        require_classes(dataset, tuple("0123456789"), "runs/1")


def test_training_leaves_out_what_cannot_be_read_and_lists_it(tree):
    (tree / "cat" / "cat.3.jpg").write_bytes(b"")
    file = tree / "dog" / "dog.7.jpg"
    file.write_bytes(file.read_bytes()[:-40])
    dataset = open_parts(DataConfig(name="folder", root=str(tree))).train
    sound, excluded = filter_readable(dataset)
    assert len(sound) == 22
    assert [name for name, _ in excluded] == ["cat/cat.3.jpg", "dog/dog.7.jpg"]
    assert "empty (0 bytes)" in excluded[0][1]
    assert sorted(sound.ids + [name for name, _ in excluded]) == sorted(dataset.ids)
    assert np.array_equal(sound.labels, [0] * 11 + [1] * 11)
    same, none = filter_readable(sound)
    assert same is sound
    assert none == []


def test_nothing_readable_is_an_error(tree):
    for path in tree.rglob("*.jpg"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="none of its 24 images can be read"):
        filter_readable(open_parts(DataConfig(name="folder", root=str(tree))).train)
