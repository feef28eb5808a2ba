"""tools/check_data.py on the command line: faults are found and named, and nothing is changed."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from PIL import Image

from helpers.images import encoded, photo


@pytest.fixture
def check(tool, tmp_path, capsys):
    """`check(name, root, "key=value", ...)` gives the exit code and the JSON report."""
    config = tmp_path / "c.yaml"

    def run(name, root, *overrides):
        config.write_text(
            yaml.safe_dump(
                {"data": {"name": name, "root": str(root)}, "model": {"name": "alexnet_cifar"}, "train": {"epochs": 1}}
            )
        )
        options = [part for override in overrides for part in ("-o", override)]
        code = tool("check_data", "-c", config, "--json", "--out", tmp_path / "pictures", *options)
        return code, json.loads(capsys.readouterr().out)

    return run


def findings(report, level):
    return {finding["what"]: finding["names"] for finding in report["findings"] if finding["level"] == level}


def test_sound_data(check, tree, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    code, report = check("folder", tree)
    assert code == 0
    assert report["sound"]
    assert report["findings"] == []
    assert report["parts"]["train"]["classes"] == {"cat": 12, "dog": 12}
    assert report["parts"]["split"] == {"train": 20, "val": 4}
    for name in ("train_samples.png", "train_sizes.png"):
        with Image.open(tmp_path / "pictures" / name) as picture:
            assert min(picture.size) > 200
    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*")} == before


def test_the_digits_are_sound(check):
    code, report = check("digits", "data")
    assert code == 0
    assert (report["parts"]["train"]["images"], report["parts"]["test"]["images"]) == (1438, 359)


def test_everything_wrong_with_images_is_named(check, tree):
    cat = tree / "cat"
    (cat / "cat.0.jpg").write_bytes(b"")
    (cat / "cat.1.jpg").write_bytes((cat / "cat.2.jpg").read_bytes()[:-100])
    Image.fromarray(photo(1)).convert("CMYK").save(cat / "cat.3.jpg")
    (cat / "cat.4.jpg").write_bytes(encoded(photo(4), "PNG"))
    (cat / "cat.5.jpg").write_bytes(encoded(photo(5, (20, 20))))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo(6)).save(cat / "cat.6.jpg", exif=exif)
    (cat / "cat.7.jpg").write_bytes((cat / "cat.8.jpg").read_bytes())
    (tree / "dog" / "dog.0.jpg").write_bytes((cat / "cat.9.jpg").read_bytes())
    (cat / "cat.10.jpg").write_bytes(encoded(photo(11), quality=60))
    code, report = check("folder", tree)
    assert code == 1
    errors, warnings = findings(report, "error"), findings(report, "warning")
    faults = errors.pop("train: 2 images cannot be read")
    assert "cat.0.jpg: empty (0 bytes)" in faults[0]
    assert "cat.1.jpg: damaged or truncated" in faults[1]
    assert errors == {"train: 1 image under different labels": ["cat/cat.9.jpg (cat), dog/dog.0.jpg (dog)"]}
    assert warnings == {
        "train: 1 image in CMYK, not RGB; will be converted": ["cat/cat.3.jpg"],
        "train: 1 image in PNG format under another suffix; will be read by content": ["cat/cat.4.jpg"],
        "train: 1 image rotated by EXIF; will be read upright": ["cat/cat.6.jpg"],
        "train: 1 image with a side below 32 pixels": ["cat/cat.5.jpg"],
        "train: 1 group of exact duplicates": ["cat/cat.7.jpg, cat/cat.8.jpg"],
        "train: 1 pair of nearly equal images": ["cat/cat.10.jpg cat/cat.11.jpg"],
    }


def test_counts_and_checksums_against_the_publisher(check, cifar_folder, dogs_bundle):
    code, report = check("cifar10", cifar_folder)
    assert code == 1
    errors = findings(report, "error")
    assert len(errors["7 files do not have their published MD5"]) == 7
    assert "train has 200 images; the publisher states 50,000" in errors
    code, report = check("dogs_vs_cats", dogs_bundle)
    assert code == 1
    assert set(findings(report, "error")) == {
        "train has 24 images; the publisher states 25,000",
        "test has 5 images; the publisher states 12,500",
    }


def test_missing_data_is_a_finding(check, tmp_path):
    code, report = check("cifar10", tmp_path / "nowhere")
    assert code == 1
    assert "paddlecnn download cifar10" in next(iter(findings(report, "error")))


def test_a_split_with_one_image_on_both_sides(check, tree, tmp_path):
    (tree / "cat" / "copy.jpg").write_bytes((tree / "cat" / "cat.1.jpg").read_bytes())
    (tmp_path / "train.txt").write_text("cat/cat.1.jpg 0\ndog/dog.1.jpg 1\n")
    (tmp_path / "val.txt").write_text("cat/copy.jpg 0\n")
    code, report = check("folder", tree, f"data.split={tmp_path}")
    assert code == 1
    assert findings(report, "error") == {"1 image both in training and in validation": ["cat/cat.1.jpg cat/copy.jpg"]}


def test_an_image_of_the_test_part_in_training_or_validation(check, tree, tmp_path):
    parts = tmp_path / "parts"
    for number, name in enumerate(("train/a/1.png", "train/b/2.png", "val/a/3.png", "val/b/4.png", "test/5.png")):
        (parts / name).parent.mkdir(parents=True, exist_ok=True)
        (parts / name).write_bytes(encoded(photo(number), "PNG"))
    (parts / "test" / "6.png").write_bytes((parts / "val" / "a" / "3.png").read_bytes())
    code, report = check("folder", parts)
    assert code == 0
    assert findings(report, "warning") == {"1 image both in val and in test": ["val/a/3.png test/6.png"]}

    for number, kind in ((1, "cat"), (2, "dog")):
        (tree / kind / "copy.jpg").write_bytes((tree / kind / f"{kind}.{number}.jpg").read_bytes())
    (tmp_path / "train.txt").write_text("cat/cat.1.jpg 0\ndog/dog.1.jpg 1\n")
    (tmp_path / "val.txt").write_text("dog/dog.2.jpg 1\ncat/cat.3.jpg 0\n")
    (tmp_path / "test.csv").write_text("id,path,label\n1,cat/copy.jpg,0\n2,dog/copy.jpg,1\n")
    code, report = check("folder", tree, f"data.split={tmp_path}")
    assert code == 0
    found = findings(report, "warning")
    assert found[f"1 image both in training and in the test part of {tmp_path}"] == ["cat/cat.1.jpg 1"]
    assert found[f"1 image both in validation and in the test part of {tmp_path}"] == ["dog/dog.2.jpg 2"]


def test_a_rare_class(check, tree):
    for number in range(12, 140):
        (tree / "dog" / f"dog.{number}.jpg").write_bytes(encoded(photo(number + 5000)))
    code, report = check("folder", tree)
    assert code == 0
    assert findings(report, "warning") == {
        "train: 1 class with less than a tenth of the largest (140 images)": ["cat: 12"]
    }


def test_many_duplicates_are_one_finding(check, tree):
    for path in sorted((tree / "cat").iterdir()):
        shutil.copy(path, path.with_name(f"copy of {path.name}"))
    _, report = check("folder", tree)
    found = findings(report, "warning")["train: 12 groups of exact duplicates"]
    assert len(found) == 12
    assert found[0] == "cat/cat.0.jpg, cat/copy of cat.0.jpg"


def test_names_that_no_font_or_formula_can_show(check, tree, recwarn):
    for number, name in enumerate(("a $x_{$.jpg", "\U00013000 猫.jpg")):  # an unfinished formula; a hieroglyph
        (tree / "cat" / name).write_bytes(encoded(photo(50 + number)))
    assert check("folder", tree)[0] == 0
    assert not recwarn.list


def test_the_text_is_short(tool, tree, tmp_path, capsys):
    for number in range(8):
        (tree / "cat" / f"cat.{number}.jpg").write_bytes(b"")
    (tmp_path / "c.yaml").write_text(
        f"data: {{name: folder, root: {tree}}}\nmodel: {{name: alexnet_cifar}}\ntrain: {{epochs: 1}}\n"
    )
    assert tool("check_data", "-c", tmp_path / "c.yaml", "--out", tmp_path / "pictures") == 1
    lines = capsys.readouterr().out.splitlines()
    assert "ERROR: train: 8 images cannot be read" in lines
    assert "    and 3 more (--json lists all)" in lines
    assert lines[-1] == "folder: errors found"
