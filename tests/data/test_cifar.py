"""CIFAR from its official files; a fault in a file is reported in one line."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.images import opened, pickled
from paddlecnn.config import DataConfig
from paddlecnn.data.sources import cifar
from paddlecnn.errors import ConfigError, DataError


@pytest.mark.parametrize("where", ["parent folder", "the folder itself", "tar.gz", "the tar.gz itself"])
def test_each_form_gives_the_same_data(cifar_folder, cifar_tar, where):
    root = {
        "parent folder": cifar_folder.parent,
        "the folder itself": cifar_folder,
        "tar.gz": cifar_tar,
        "the tar.gz itself": cifar_tar / "cifar-10-python.tar.gz",
    }[where]
    splits = opened("cifar10", root)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (170, 30, 40)
    assert splits.train.classes[:2] == ("airplane", "automobile")
    assert splits.train.fingerprint == opened("cifar10", cifar_folder).train.fingerprint


def test_pixels_labels_and_ids_are_those_of_the_batch(cifar_folder):
    test = opened("cifar10", cifar_folder).test
    batch = pickle.loads((cifar_folder / "test_batch").read_bytes(), encoding="bytes")
    assert test.ids[17] == "test/17"
    assert test.labels[17] == batch[b"labels"][17]
    assert np.array_equal(test.image(17), batch[b"data"][17].reshape(3, 32, 32).transpose(1, 2, 0))
    assert {name.split("/")[0] for name in opened("cifar10", cifar_folder).train.ids} == {
        f"data_batch_{i}" for i in range(1, 6)
    }


@pytest.mark.parametrize(("labels", "classes"), [("fine", 100), ("coarse", 20)])
def test_cifar100_has_fine_and_coarse_labels(cifar100_folder, labels, classes):
    splits = opened("cifar100", cifar100_folder, labels=labels, val_fraction=0.5)
    assert len(splits.train.classes) == classes
    assert splits.test.labels[150] == 150 % classes


def test_labels_that_a_data_set_does_not_have_are_refused():
    with pytest.raises(
        ConfigError, match=r"data.labels: coarse: digits has no superclasses, only cifar100 does; leave"
    ):
        opened("digits", "data", labels="coarse")


def test_missing_data_says_where_it_looked_and_how_to_get_it(tmp_path):
    with pytest.raises(
        DataError,
        match=r"no cifar10 in .* cifar-10-batches-py/ or cifar-10-python.tar.gz.*"
        r"paddlecnn download cifar10 --dest",
    ):
        opened("cifar10", tmp_path)


class RunsCode:
    """Unpickling it would write a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def cut(folder: Path) -> None:
    file = folder / "data_batch_3"
    file.write_bytes(file.read_bytes()[:50_000])


def remove(folder: Path) -> None:
    (folder / "data_batch_3").unlink()


def run_code(folder: Path) -> None:
    (folder / "data_batch_1").write_bytes(pickled({b"data": RunsCode(folder / "ran")}))


def label_of_eleven(folder: Path) -> None:
    batch = {b"data": np.zeros((3, 3072), np.uint8), b"labels": [0, 10, 1]}
    (folder / "data_batch_2").write_bytes(pickled(batch))


def wrong_shape(folder: Path) -> None:
    (folder / "data_batch_2").write_bytes(pickled({b"data": np.zeros((3, 100), np.uint8), b"labels": [0, 1, 1]}))


def no_dict(folder: Path) -> None:
    (folder / "data_batch_2").write_bytes(pickled([1, 2]))


def no_pickle(folder: Path) -> None:
    (folder / "data_batch_2").write_bytes(b"<html>not found</html>")


def missing_labels(folder: Path) -> None:
    (folder / "test_batch").write_bytes(pickled({b"data": np.zeros((3, 3072), np.uint8), b"fine_labels": [0, 1, 2]}))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut, "data_batch_3: damaged or truncated after 50,000 bytes"),
        (remove, "data_batch_3: missing"),
        (run_code, "data_batch_1: refused: it asks for .*open, and only NumPy arrays are allowed"),
        (label_of_eleven, "data_batch_2: label 10 of image 1 is outside the range 0 to 9"),
        (wrong_shape, r"data_batch_2: not a CIFAR batch; expected data of uint8 \[n, 3072\]"),
        (no_dict, "data_batch_2: not a CIFAR file; expected a dict, found a list"),
        (no_pickle, "data_batch_2: damaged or truncated"),
        (missing_labels, "test_batch: not a cifar10 batch; expected 3 integers as labels"),
    ],
)
def test_a_damaged_file_is_named(cifar_folder, harm, message):
    harm(cifar_folder)
    with pytest.raises(DataError, match=message):
        opened("cifar10", cifar_folder)
    assert not (cifar_folder / "ran").exists()


def test_a_truncated_tar_is_named(cifar_tar):
    file = cifar_tar / "cifar-10-python.tar.gz"
    file.write_bytes(file.read_bytes()[:100_000])
    with pytest.raises(DataError, match=r"cifar-10-python.tar.gz: not a complete tar.gz"):
        opened("cifar10", cifar_tar)


def test_batches_of_another_origin_are_read_with_a_warning(cifar_folder, caplog):
    opened("cifar10", cifar_folder)
    (record,) = caplog.records
    assert "not the official batches of cifar10, by their MD5" in record.getMessage()


def test_official_batches_are_recognised_and_damage_to_one_is_an_error(cifar_folder):
    """Official means the published MD5, here of small batches."""
    md5 = {file.name: cifar.md5_of(file.read_bytes()) for file in cifar_folder.iterdir()}
    edition = replace(
        cifar.CIFAR10,
        **{part: {name: md5[name] for name in getattr(cifar.CIFAR10, part)} for part in ("train", "test", "meta")},
    )
    read = cifar.folder_reader(cifar_folder)
    assert cifar.check_official(edition, read)
    file = cifar_folder / "data_batch_2"
    file.write_bytes(bytes([*file.read_bytes()[:-500], *([7] * 500)]))
    with pytest.raises(DataError, match=r"data_batch_2: MD5 is not the published \w+, while other files are official"):
        cifar.check_official(edition, read)


def test_unofficial_files_are_listed_and_refused(cifar_folder):
    assert len(cifar.unofficial_files(DataConfig(name="cifar10", root=str(cifar_folder)))) == 7
    with pytest.raises(DataError, match="not the published"):
        cifar.check_folder(cifar.CIFAR10, cifar_folder)
    shutil.rmtree(cifar_folder)
    with pytest.raises(DataError, match="no cifar10 in"):
        cifar.unofficial_files(DataConfig(name="cifar10", root=str(cifar_folder)))
