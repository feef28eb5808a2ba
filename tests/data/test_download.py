"""Downloads from a real server on loopback, and installation from disk: resumed, checked, all or nothing."""

from __future__ import annotations

import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.images import inner_zips
from paddlecnn.config import DataConfig
from paddlecnn.data.datasets import open_parts
from paddlecnn.data.install import install_cifar, install_competition
from paddlecnn.data.sources import cifar
from paddlecnn.errors import DataError, ServiceError


@pytest.fixture
def edition(cifar_folder, cifar_tar, server) -> cifar.Edition:
    """CIFAR-10 with few images, published on the server with its own checksums."""
    real = cifar.CIFAR10
    files = {
        part: {name: cifar.md5_of((cifar_folder / name).read_bytes()) for name in getattr(real, part)}
        for part in ("train", "test", "meta")
    }
    archive = cifar_tar / real.archive
    server.data = archive.read_bytes()
    return replace(
        real, **files, archive_md5=cifar.md5_of(server.data), mirrors=("http://127.0.0.1:9/gone", server.url)
    )


@pytest.fixture
def dest(tmp_path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def test_the_second_mirror_serves_when_the_first_does_not(edition, cifar_folder, dest):
    folder = install_cifar(edition, dest)
    assert {path.name for path in folder.iterdir()} == {path.name for path in cifar_folder.iterdir()}
    assert len(open_parts(DataConfig(name="cifar10", root=str(dest))).train) == 200


def test_an_installed_data_set_is_not_fetched_again(edition, server, dest):
    install_cifar(edition, dest)
    asked = len(server.ranges)
    install_cifar(edition, dest)
    assert len(server.ranges) == asked


def test_a_broken_download_is_resumed(edition, server, dest):
    server.breaks_after = 150_000
    with pytest.raises(ServiceError, match=r"could not be downloaded .*--from"):
        install_cifar(edition, dest)
    assert not (dest / edition.folder).exists()
    server.breaks_after = None
    install_cifar(edition, dest)
    assert server.ranges == [None, "bytes=131072-"]


def test_a_second_download_of_a_file_does_not_disturb_the_first(edition, server, dest):
    server.goes_on = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(install_cifar, edition, dest)
        while not server.ranges:
            time.sleep(0.01)
        server.goes_on, first_goes_on = None, server.goes_on
        with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: another process is writing it; wait for it or"):
            install_cifar(edition, dest)
        first_goes_on.set()
        assert len(list(first.result().iterdir())) == 7
    assert [path.name for path in dest.iterdir() if path.name.startswith(".")] == []


def test_a_server_without_ranges_restarts_the_download(edition, server, dest):
    server.breaks_after, server.knows_ranges = 150_000, False
    with pytest.raises(ServiceError):
        install_cifar(edition, dest)
    server.breaks_after = None
    install_cifar(edition, dest)


def test_a_wrong_md5_is_refused_and_not_kept(edition, server, dest):
    server.data = server.data[:-1] + b"x"
    with pytest.raises(DataError, match=r"MD5 \w+, not the published \w+"):
        install_cifar(edition, dest)
    assert list(dest.iterdir()) == []


def test_from_an_archive_and_from_a_folder(edition, tmp_path, cifar_tar, cifar_folder):
    for number, source in enumerate((cifar_tar / edition.archive, cifar_folder, cifar_folder.parent)):
        dest = tmp_path / f"data{number}"
        dest.mkdir()
        assert install_cifar(edition, dest, source) == dest / "cifar-10-batches-py"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-5]), r"bytes with MD5 \w+, not the published"),
        (lambda file: file.write_bytes(file.read_bytes()[:-1] + b"x"), r"MD5 \w+, not the published"),
        (lambda file: file.unlink(), r"no such file; --from takes an archive or a folder"),
    ],
)
def test_a_bad_archive_given_by_hand(edition, cifar_tar, harm, message, dest):
    harm(cifar_tar / edition.archive)
    with pytest.raises(DataError, match=message):
        install_cifar(edition, dest, cifar_tar / edition.archive)


def test_a_bad_file_in_a_folder_given_by_hand(edition, cifar_folder, dest):
    (cifar_folder / "data_batch_4").write_bytes(b"x")
    with pytest.raises(DataError, match=r"data_batch_4: 1 bytes with MD5 .*, not the published"):
        install_cifar(edition, dest, cifar_folder)
    assert list(dest.iterdir()) == []


def test_the_tool_takes_a_bundle_from_disk(tool, dogs_bundle, tmp_path, dogs_files, capsys, dest):
    assert tool("download", "dogs_vs_cats", "--dest", tmp_path / "data", "--from", dogs_bundle) == 0
    folder = tmp_path / "data" / "dogs-vs-cats-redux-kernels-edition"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {*dogs_files, "sample_submission.csv"}
    lines = capsys.readouterr().out.splitlines()
    assert "unpacking to" in lines[0]
    assert lines[-1].endswith(f"ready; configs find it with data.root: {tmp_path / 'data'}")
    parts = open_parts(DataConfig(name="dogs_vs_cats", root=str(tmp_path / "data")))
    assert (len(parts.train), len(parts.test)) == (24, 5)


def test_a_source_beside_an_installed_data_set_is_said_to_be_unused_or_to_be_missing(
    tool, dogs_bundle, tmp_path, capsys
):
    install = ("download", "dogs_vs_cats", "--dest", tmp_path / "data", "--from")
    assert tool(*install, dogs_bundle) == 0
    capsys.readouterr()
    assert tool(*install, dogs_bundle) == 0
    assert f"{dogs_bundle}: not used, because {tmp_path / 'data'}" in capsys.readouterr().out
    assert tool(*install, tmp_path / "nope.zip") == 2
    assert f"{tmp_path / 'nope.zip'}: no such file" in capsys.readouterr().err


def test_the_bundle_of_another_competition_is_named_without_advice_to_remove_it(tool, tmp_path, capsys):
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as file:
        file.writestr("train.csv", "id,label\n")
    assert tool("download", "dogs_vs_cats", "--dest", tmp_path / "data", "--from", other) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{other}: not the content of the competition dogs-vs-cats-redux-kernels-edition")
    assert str(tmp_path / "data") not in error
    assert "remove" not in error


def test_an_unpacked_folder_is_copied(dogs_bundle, tmp_path):
    first = install_competition("dogs-vs-cats-redux-kernels-edition", tmp_path, dogs_bundle)
    other = tmp_path / "other"
    other.mkdir()
    copy = install_competition("dogs-vs-cats-redux-kernels-edition", other, first)
    assert sorted(path.name for path in copy.rglob("*")) == sorted(path.name for path in first.rglob("*"))


def test_zips_in_the_folder_that_the_data_go_to_are_unpacked_there(dogs_files, dest):
    for name, data in inner_zips(dogs_files).items():
        (dest / name).write_bytes(data)
    folder = install_competition("dogs-vs-cats-redux-kernels-edition", dest, dest)
    assert sorted(path.name for path in folder.iterdir()) == ["sample_submission.csv", "test", "train"]


def test_a_damaged_inner_zip_leaves_nothing(dogs_bundle, tmp_path, tool, capsys, dest):
    data = dogs_bundle.read_bytes()
    place = data.index(b"train/dog.3.jpg") + 500
    dogs_bundle.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    assert tool("download", "dogs_vs_cats", "--dest", tmp_path / "data", "--from", dogs_bundle) == 2
    assert "Bad CRC-32" in capsys.readouterr().err
    assert list((tmp_path / "data").iterdir()) == []


def test_missing_disk_space_is_reported_before_the_download(edition, server, dest):
    server.announces = 1 << 50
    with pytest.raises(DataError, match=r"1,073,741,824 MiB needed and .* MiB free; free some space or choose"):
        install_cifar(edition, dest)
    assert list(dest.iterdir()) == []
