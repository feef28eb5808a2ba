"""The cache of resized images: keyed by content, safe to kill, written by one process."""

from __future__ import annotations

import signal
import subprocess
import time

import numpy as np
import pytest

from helpers.images import encoded, photo
from paddlecnn.config import DataConfig
from paddlecnn.data.datasets import open_parts
from paddlecnn.data.pipeline.cache import cached
from paddlecnn.data.pipeline.transforms import square
from paddlecnn.data.storage.array_file import array_file
from paddlecnn.errors import DataError


def dataset(tree):
    return open_parts(DataConfig(name="folder", root=str(tree))).train


def test_it_contains_the_squares_and_has_the_fingerprint_of_the_images(tree, tmp_path):
    source = dataset(tree)
    copy = cached(source, 40, tmp_path / "cache")
    assert isinstance(copy.images, np.memmap)
    assert all(np.array_equal(copy.image(i), square(source.image(i), 40)) for i in range(len(source)))
    assert copy.fingerprint == source.fingerprint


def test_a_complete_file_is_read_without_writing_beside_it(tree, tmp_path):
    first = cached(dataset(tree), 40, tmp_path / "cache")
    for lock in (tmp_path / "cache").glob("*.lock"):
        lock.unlink()
    assert np.array_equal(cached(dataset(tree), 40, tmp_path / "cache").images, first.images)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".npy"]


def test_other_images_have_another_file(tree, tmp_path):
    cached(dataset(tree), 40, tmp_path / "cache")
    (tree / "cat" / "cat.1.jpg").write_bytes(encoded(photo(555)))
    copy = cached(dataset(tree), 40, tmp_path / "cache")
    assert np.array_equal(copy.image(1), square(dataset(tree).image(1), 40))
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2


def test_an_unreadable_image_leaves_no_file(tree, tmp_path):
    (tree / "dog" / "dog.2.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"dog.2.jpg: empty"):
        cached(dataset(tree), 40, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.npy"))
    assert not list((tmp_path / "cache").glob(".*.part"))


def test_missing_disk_space_is_reported_before_anything_is_written(tmp_path):
    with pytest.raises(DataError, match=r"MiB needed and [\d,]+ MiB free; free some space or choose another"):
        array_file(tmp_path / "x.npy", (1 << 50,), lambda file: None)
    assert not list(tmp_path.glob("*.npy"))


def test_a_killed_writer_leaves_no_cache_and_the_next_one_cleans_up(tmp_path, python):
    code = (
        "import time; from pathlib import Path; from paddlecnn.data.storage.array_file import array_file\n"
        "def write(file):\n    file.write(b'x' * 100); file.flush(); time.sleep(60)\n"
        f"array_file(Path({str(tmp_path / 'x.npy')!r}), (1000,), write)"
    )
    process = subprocess.Popen([python, "-c", code])
    while process.poll() is None and not any(path.stat().st_size > 100 for path in tmp_path.glob(".*.part")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "x.npy").exists()
    images = array_file(tmp_path / "x.npy", (1000,), lambda file: file.write(bytes(1000)))
    assert images.sum() == 0
    assert "x.npy" in {path.name for path in tmp_path.iterdir()} <= {"x.lock", "x.npy"}
