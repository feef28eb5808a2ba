"""data.exclude: images that are left out of training and validation."""

from __future__ import annotations

import csv

import pytest

from helpers.images import opened
from paddlecnn.errors import DataError


@pytest.fixture
def file(tmp_path):
    return tmp_path / "wrong.txt"


def test_named_images_are_left_out_and_all_others_stay(tree, file):
    before = [opened("folder", tree, folds=3, fold=fold) for fold in range(3)]
    names = [before[0].val.ids[0], before[1].val.ids[-1]]
    file.write_text(f"\ufeff# wrong labels\r\n{names[0]}\r\n\r\n  {names[1]}\r\n", encoding="utf-8")
    after = [opened("folder", tree, folds=3, fold=fold, exclude=str(file)) for fold in range(3)]
    for old, new in zip(before, after, strict=True):
        for part in ("train", "val"):
            kept = [name for name in getattr(old, part).ids if name not in names]
            assert getattr(new, part).ids == kept
    assert sum(len(one.val) for one in after) == 22


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# x\ncat/none.jpg\n", "wrong.txt, line 2: cat/none.jpg is not an image for training or validation, which"),
        (b"caf\xe9.jpg", "wrong.txt, line 1: not a text in UTF-8; data.exclude is a text file with an id per line"),
        (None, "wrong.txt: cannot be read .No such file or directory.; data.exclude is a text file"),
        ("ALL", "wrong.txt: leaves 0 images for training and 0 for validation"),
    ],
)
def test_a_fault_of_the_file_is_named(tree, file, content, message):
    if content == "ALL":
        content = "".join(f"{path.relative_to(tree).as_posix()}\n" for path in tree.rglob("*.jpg"))
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        opened("folder", tree, exclude=str(file))


def test_a_run_lists_what_was_left_out_and_is_refused_another_file(tool, capsys, tiny, file, tmp_path):
    file.write_text("train/3\n")
    run, exclude = tmp_path / "run", ("-o", f"data.exclude={file}", "-o", "train.epochs=1")
    assert tool("train", "-c", tiny, "--run", run, *exclude) == 2
    assert "train/3 is not an image for training or validation, which are named like" in capsys.readouterr().err
    ids = opened("digits", tmp_path).train.ids[:2]
    file.write_text("\n".join(ids))
    assert tool("train", "-c", tiny, "--run", run, *exclude) == 0
    assert f"data.exclude: {file}: 2 images left out of training and validation" in capsys.readouterr().out
    with open(run / "excluded.csv", newline="") as table:
        assert [(row["id"], row["reason"]) for row in csv.DictReader(table)] == [
            (name, f"named by data.exclude: {file}") for name in ids
        ]
    assert tool("eval", run) == 0
    file.write_text(ids[0])
    capsys.readouterr()
    assert tool("eval", run) == 2
    assert "images are not those of the run" in capsys.readouterr().err
