"""Files that are not what their names say: one line, exit code 2, and nothing hangs or fills memory."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from helpers.commands import run_command
from helpers.images import encoded, opened, photo
from paddlecnn.data.audit.inspection import filter_readable
from paddlecnn.data.pipeline.transforms import resize_image, square
from paddlecnn.data.splits import read_split, split_by_fraction, write_split
from paddlecnn.data.storage.images import MAX_SIDE, decode_image, read_image
from paddlecnn.errors import DataError


def fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def endless_device(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def sparse_file(path: Path) -> None:
    path.unlink(missing_ok=True)
    with open(path, "wb") as file:
        file.truncate(200 << 30)


def folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


SPECIAL = pytest.mark.parametrize("make", [fifo, endless_device, sparse_file])


def limited(python: str, code: str, seconds: int = 60, memory: int = 4 << 30) -> subprocess.CompletedProcess:
    """Run code in a process with bounded processor time and memory: a bomb ends it instead of the machine."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    return subprocess.run([python, "-c", code], capture_output=True, text=True, preexec_fn=limit, timeout=600)


def config_of(tmp_path: Path, name: str, root: Path, **data) -> Path:
    file = tmp_path / "c.yaml"
    file.write_text(
        yaml.safe_dump(
            {"data": {"name": name, "root": str(root), **data}, "model": {"name": "simple_cnn"}, "train": {"epochs": 1}}
        )
    )
    return file


@SPECIAL
def test_an_image_that_is_not_a_regular_file(tree, tmp_path, make):
    """check-data and training list it; prediction names it."""
    path = tree / "cat" / "cat.1.jpg"
    make(path)
    config = config_of(tmp_path, "folder", tree, preprocess={"size": 32})
    assert run_command("check-data", "-c", config, "--out", tmp_path / "figures") == (1, [])
    splits = opened("folder", tree)
    excluded = [pair for part in (splits.train, splits.val) for pair in filter_readable(part)[1]]
    ((name, reason),) = excluded
    assert name == "cat/cat.1.jpg"
    assert "not a regular file" in reason or "more than the limit of 268,435,456" in reason
    with pytest.raises(DataError, match=r"cat/cat.1.jpg: cannot be read \("):
        read_image(path)


@SPECIAL
def test_a_batch_that_is_not_a_regular_file(cifar_folder, tmp_path, make):
    make(cifar_folder / "data_batch_3")
    code, lines = run_command("split", "-c", config_of(tmp_path, "cifar10", tmp_path), "--out", tmp_path / "split")
    assert code == 2
    assert len(lines) == 1
    assert "data_batch_3: cannot be read (" in lines[0]


@SPECIAL
def test_a_split_list_that_is_not_a_regular_file(tree, tmp_path, make):
    (tmp_path / "val.txt").write_text("cat/cat.1.jpg 0\n")
    make(tmp_path / "train.txt")
    with pytest.raises(DataError, match=r"train.txt: cannot be read \("):
        read_split(tmp_path, opened("folder", tree).train)


@pytest.mark.parametrize("make", [fifo, endless_device, folder])
@pytest.mark.parametrize("name", ["cifar10", "dogs_vs_cats"])
def test_an_archive_that_is_not_a_regular_file(tmp_path, make, name):
    make(tmp_path / "archive.zip")
    code, lines = run_command("download", name, "--dest", tmp_path / "data", "--from", tmp_path / "archive.zip")
    assert code == 2
    assert len(lines) == 1
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fsencode") or os.name == "nt", reason="names are bytes on Unix only")
@pytest.mark.parametrize("name", [b"caf\xe9.jpg", b"two\nlines.jpg", b"tab\there.jpg", "line\u2028.jpg".encode()])
def test_a_name_that_no_text_file_can_hold(tree, tmp_path, name):
    Path(os.fsdecode(os.fsencode(tree / "cat") + b"/" + name)).write_bytes(encoded(photo(1)))
    code, lines = run_command("split", "-c", config_of(tmp_path, "folder", tree), "--out", tmp_path / "split")
    assert code == 2
    assert len(lines) == 1
    assert "has a control character or is not UTF-8; rename the file or folder" in lines[0]


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"


def test_only_the_promised_formats_are_opened(tmp_path):
    """Pillow would start Ghostscript for an EPS."""
    with pytest.raises(DataError, match=r"x.jpg: not an image \(.* none of JPEG, PNG, BMP, GIF, TIFF, WEBP, PPM\)"):
        decode_image(EPS, "x.jpg")
    for format in ("TGA", "PCX", "ICO", "SGI", "JPEG2000"):
        with pytest.raises(DataError, match=r"x.png: not an image"):
            decode_image(encoded(photo(1), format), "x.png")


def png_of(width: int, height: int) -> bytes:
    """A small PNG with another size in its header."""
    data = bytearray(encoded(np.zeros((8, 8), np.uint8), "PNG"))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize("size", [(2_000_000, 1), (1, MAX_SIDE + 1), (9000, 9000), (60_000, 60_000)])
def test_an_image_too_large_is_refused_before_it_is_decoded(size):
    with pytest.raises(DataError, match=r"x.png: (more than )?[\d,]+(x[\d,]+)? pixels"):
        decode_image(png_of(*size), "x.png")


def test_a_long_image_is_resized_in_bounded_memory(python):
    """32,768x1 pixels with the short side at 256 would be 6 GB; only the central square is needed."""
    done = limited(
        python,
        "import numpy as np; from paddlecnn.data.pipeline.transforms import square\n"
        "print(square(np.full((1, 32768, 3), 7, np.uint8), 256).mean())",
    )
    assert (done.returncode, done.stdout.strip()) == (0, "7.0"), done.stderr


def test_a_large_reduction_costs_no_more_than_its_pixels(python):
    """64 megapixels to 8x8: a blur of the whole factor would take minutes."""
    done = limited(
        python,
        "import numpy as np; from paddlecnn.data.pipeline.transforms import square\n"
        "print(square(np.full((8192, 8192, 3), 7, np.uint8), 8).mean())",
    )
    assert (done.returncode, done.stdout.strip()) == (0, "7.0"), done.stderr


@pytest.mark.parametrize("size", [(20, 15), (8, 8), (40, 3)])
def test_a_large_reduction_agrees_with_a_blur_of_the_whole_factor(size):
    """White noise over a photograph: both the detail and the average must be right."""
    noise = np.random.default_rng(0).integers(0, 100, (1500, 2000, 3), np.uint8)
    image = cv2.resize(photo(4, (500, 375)), (2000, 1500)) // 2 + noise
    sigmas = [((length / goal) ** 2 - 1) ** 0.5 / 6**0.5 for length, goal in zip((2000, 1500), size, strict=True)]
    blurred = cv2.GaussianBlur(image, (0, 0), sigmas[0], sigmaY=sigmas[1], borderType=cv2.BORDER_REPLICATE)
    expected = cv2.resize(blurred, size, interpolation=cv2.INTER_LINEAR).astype(int)
    assert np.abs(resize_image(image, size[1], size[0]) - expected).mean() < 1


def test_the_square_of_a_long_image_is_that_of_its_middle():
    image = cv2.resize(photo(5, (500, 375)), (3000, 100))
    whole = resize_image(image, 64, 1920)[:, 928:992]
    assert np.abs(square(image, 64).astype(int) - whole).mean() < 0.1


@pytest.mark.parametrize("classes", [("1", "2", "3"), ("2", "1", "0"), ("golden retriever", "poodle", "retriever")])
def test_a_split_of_classes_with_numbers_or_spaces_is_read_back(tmp_path, classes):
    root = tmp_path / "tree"
    for number, name in enumerate(classes):
        for i in range(6):
            path = root / name / (f" {i} .png" if i else "nel\u00a0x.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(photo(10 * number + i), "PNG"))
    dataset = opened("folder", root).train
    split = split_by_fraction(dataset, 0.3, 0)
    write_split(tmp_path / "split", dataset, split, {"seed": 0})
    assert all(
        np.array_equal(one, other) for one, other in zip(read_split(tmp_path / "split", dataset), split, strict=True)
    )
    by_name = [" ".join([dataset.ids[i], dataset.classes[dataset.labels[i]]]) for i in range(len(dataset))]
    (tmp_path / "train.txt").write_text("\n".join(by_name[1:]))
    (tmp_path / "val.txt").write_text(by_name[0])
    assert read_split(tmp_path, dataset)[1].tolist() == [0]


def test_a_padding_beyond_the_image_is_refused(tree, tmp_path):
    config = config_of(tmp_path, "folder", tree, augment={"pad": 8000}, preprocess={"size": 32})
    code, lines = run_command("train", "-c", config, "--run", tmp_path / "run")
    assert (code, len(lines)) == (2, 1)
    assert "data.augment.pad: 8000 is larger than the image of 32" in lines[0]
    assert not (tmp_path / "run").exists()


def test_the_mode_of_a_file_does_not_matter_only_its_kind(tree):
    file = tree / "cat" / "cat.1.jpg"
    file.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert opened("folder", tree).train.image(0).shape == (48, 64, 3)
