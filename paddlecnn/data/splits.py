"""Training and validation parts: deterministic, stratified, and never with the same image on both sides.

Every image gets a place between 0 and 1 within its class, in a random order that depends only on the
seed. Validation takes the places below `val_fraction`; fold k of n takes those from k/n to (k+1)/n.
Exact duplicates (equal content) share one place, so that they fall on the same side.

A split can also be a folder with train.txt, val.txt and, for labelled images that are set aside, test.csv.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from paddlecnn.data.base import Dataset
from paddlecnn.data.storage.file_storage import read_file, read_text
from paddlecnn.errors import DataError
from paddlecnn.files import file_digest, write_json, write_text
from paddlecnn.randomness import generator

FILES = ("train.txt", "val.txt")
TEST_FILE = "test.csv"
Pair = tuple[np.ndarray, np.ndarray]  # positions in training and in validation, both increasing


def split_by_fraction(dataset: Dataset, fraction: float, seed: int) -> Pair:
    """`fraction` of each class for validation, to the nearest image."""
    return sides(quantiles(dataset, seed, "split") < fraction)


def split_by_fold(dataset: Dataset, folds: int, fold: int, seed: int) -> Pair:
    """Fold `fold` for validation. Over all folds each image is in validation exactly once.

    Each class begins at a different place; otherwise all small classes would favour the same folds.
    """
    begins = generator(seed, "folds").random(len(dataset.classes))
    return sides(np.floor(quantiles(dataset, seed, "split", begins) * folds) == fold)


def sides(in_validation: np.ndarray) -> Pair:
    return np.flatnonzero(~in_validation), np.flatnonzero(in_validation)


def quantiles(dataset: Dataset, seed: int, purpose: str, begins: np.ndarray | None = None) -> np.ndarray:
    """float64 [N]: each image's place in [0, 1) within its class.

    The places of a class are evenly spaced; a group of duplicates is placed at the middle of its share,
    in the class of its first image. `begins` rotates the places of each class, as on a circle.
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for position, content in enumerate(dataset.content_hashes):
        groups[content].append(position)
    by_class: list[list[list[int]]] = [[] for _ in dataset.classes]
    for members in groups.values():
        by_class[known_labels(dataset)[members[0]]].append(members)
    places = np.empty(len(dataset))
    for label, class_groups in enumerate(by_class):
        order = generator(seed, purpose, label).permutation(len(class_groups))
        total = sum(len(members) for members in class_groups)
        before = 0
        for group in order:
            members = class_groups[group]
            places[members] = ((before + len(members) / 2) / total + (0 if begins is None else begins[label])) % 1
            before += len(members)
    return places


def known_labels(dataset: Dataset) -> np.ndarray:
    """int64 [N]. Raises DataError for a data set without labels, which can be neither split nor trained on."""
    if dataset.labels is None:
        raise DataError(f"{dataset.name}: has no labels; a training part needs them")
    return dataset.labels


def sample(dataset: Dataset, count: int | None, seed: int) -> Dataset:
    """At most `count` images in their original order, with the classes in proportion."""
    if count is None or count >= len(dataset):
        return dataset
    if dataset.labels is None:
        chosen = generator(seed, "limit").permutation(len(dataset))[:count]
    else:
        # Ties between classes are broken at random; otherwise the first classes would get the remaining images.
        ties = generator(seed, "limit-ties").random(len(dataset))
        chosen = np.lexsort((ties, quantiles(dataset, seed, "limit")))[:count]
    return dataset.subset(np.sort(chosen))


def write_split(folder: Path, dataset: Dataset, split: Pair, made_by: dict[str, Any], test: str | None = None) -> None:
    """Write train.txt and val.txt (`path label` lines) and split.json: its origin, and hashes.

    `made_by` contains plain values such as {"seed": 0, "val_fraction": 0.15}.

    test: the text of test.csv, if the split has one
    An earlier split in the folder is replaced. Raises DataError if one of its files was made or changed by other means.
    """
    labels = known_labels(dataset)
    texts = {
        name: "".join(f"{dataset.ids[i]} {labels[i]}\n" for i in positions)
        for name, positions in zip(FILES, split, strict=True)
    }
    if test is not None:
        texts[TEST_FILE] = test
    check_replaceable(folder, texts)
    folder.mkdir(parents=True, exist_ok=True)
    if test is None:
        (folder / TEST_FILE).unlink(missing_ok=True)  # of the earlier split
    for name, text in texts.items():
        write_text(folder / name, text)
    write_json(
        folder / "split.json",
        {
            **made_by,
            "data": dataset.name,
            "classes": list(dataset.classes),
            "counts": {"train": len(split[0]), "val": len(split[1])},
            "fingerprint": dataset.fingerprint,
            "sha256": {name: text_digest(text) for name, text in texts.items()},
        },
    )


def text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def check_replaceable(folder: Path, texts: Mapping[str, str]) -> None:
    """Raise DataError if the folder has a split's file that is not as `write_split` wrote it.

    A file that has its new text already is of a split that was interrupted before split.json.
    """
    hashes, _ = read_split_json(folder) or ({}, "")
    new = {name: text_digest(text) for name, text in texts.items()}
    for file in (folder / name for name in (*FILES, TEST_FILE)):
        if file.exists() and file_digest(file) not in (hashes.get(file.name), new.get(file.name)):
            raise DataError(
                f"{file}: would be replaced, but is not as `paddlecnn split` wrote it; move it away, or write elsewhere"
            )


def read_split(folder: Path, dataset: Dataset) -> Pair:
    """Positions from train.txt and val.txt in a folder, written by `write_split` or by hand.

    Raises DataError for an unknown image, a label that differs from the data's, a duplicate image, and a split.json
    that does not fit the files or the data.
    """
    check_split_json(folder, dataset)
    lines_of: dict[int, str] = {}
    pair = []
    for file in (folder / name for name in FILES):
        positions = []
        for number, line in enumerate(read_lines(file), start=1):
            position = read_line(line, dataset, f"{file}, line {number}")
            if position in lines_of:
                raise DataError(
                    f"{file}, line {number}: {dataset.ids[position]} is already in {lines_of[position]}; "
                    "name each image once"
                )
            lines_of[position] = f"{file.name}, line {number}"
            positions.append(position)
        if not positions:
            raise DataError(f"{file}: names no image; write one `path label` line per image")
        pair.append(np.array(positions))
    return pair[0], pair[1]


def names_test(folder: str | None) -> bool:
    """Whether data.split is a folder that names a test part."""
    return folder is not None and (Path(folder) / TEST_FILE).exists()


def read_test(folder: Path, dataset: Dataset, used: np.ndarray) -> Dataset | None:
    """The test part listed in test.csv (id, path, label) of a split's folder, under the ids there; None without it.

    used: positions of the training and validation images
    Raises DataError for an unknown image, a label that differs from the data's, and an image that is also in `used`.
    """
    file = folder / TEST_FILE
    if not file.exists():
        return None
    ids, positions = [], []
    reader = csv.reader(read_lines(file))
    try:
        header, *rows = list(reader) or [[]]
    except csv.Error as error:
        raise DataError(
            f"{file}, line {reader.line_num}: not a CSV ({error}); write the columns id,path,label"
        ) from None
    for number, row in enumerate(rows, start=2):
        if header != ["id", "path", "label"] or len(row) != 3:
            raise DataError(f"{file}, line {number}: expected the columns id,path,label")
        positions.append(read_line(f"{row[1]} {row[2]}", dataset, f"{file}, line {number}"))
        ids.append(row[0])
    if not ids:
        raise DataError(f"{file}: names no image; write the columns id,path,label, or remove it")
    both = np.intersect1d(positions, used)
    if len(both):
        raise DataError(f"{file}: {dataset.ids[both[0]]} is also in train.txt or val.txt; name each image once")
    test = dataset.subset(np.array(positions, np.int64))
    test.ids = ids
    test.check_names()
    return test


def read_lines(file: Path) -> list[str]:
    if not file.exists():
        raise DataError(f"{file}: no such file; data.split takes a folder with train.txt and val.txt")
    text = read_text(file, "write one `path label` line per image")
    lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def read_line(line: str, dataset: Dataset, source: str) -> int:
    """The position of the image that a `path label` line names. The label is a number or a class name."""
    path, label = split_line(line.rstrip(), dataset)
    if not path:
        raise DataError(f"{source}: `{line}` is not of the form `path label`")
    if path not in dataset.position_of:
        raise DataError(
            f"{source}: {path} is not in the training part of {dataset.name}; "
            f"its images are named like {dataset.ids[0]}"
        )
    position = dataset.position_of[path]
    expected = int(known_labels(dataset)[position])
    if label in (str(expected), dataset.classes[expected]):  # class names may be numbers too
        return position
    if label not in dataset.classes and label not in map(str, range(len(dataset.classes))):
        raise DataError(
            f"{source}: label {label} is outside the range of {dataset.name}: "
            f"0 to {len(dataset.classes) - 1}, or one of its class names"
        )
    raise DataError(f"{source}: label {label} for {path}; the data has {expected} ({dataset.classes[expected]})")


def split_line(line: str, dataset: Dataset) -> tuple[str, str]:
    """The path and the label of a line. Both may contain spaces; a known image decides where the path ends."""
    for name in dataset.classes:
        if " " in name and line.endswith(f" {name}") and line[: -len(name) - 1] in dataset.position_of:
            return line[: -len(name) - 1], name
    path, _, label = line.rpartition(" ")
    return path, label


def read_split_json(folder: Path) -> tuple[dict[str, str], str] | None:
    """The hashes of the files by name and the fingerprint of the data, from split.json; None without that file.

    Raises DataError if `write_split` cannot have written it.
    """
    file = folder / "split.json"
    if not file.exists():
        return None
    try:
        made = json.loads(read_file(file, "remove it, or write the split again"))
        hashes, fingerprint = dict(made["sha256"]), made["fingerprint"]
        if not hashes.keys() >= {*FILES}:
            raise ValueError("a hash is missing")
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError(f"{file}: not the JSON of a split; remove it, or write the split again") from None
    return hashes, fingerprint


def check_split_json(folder: Path, dataset: Dataset) -> None:
    """Raise DataError unless split.json, if it exists, fits its two files and the data."""
    made = read_split_json(folder)
    if made is None:
        return
    hashes, fingerprint = made
    for name in FILES:
        text = "".join(f"{line}\n" for line in read_lines(folder / name))
        if hashlib.sha256(text.encode()).hexdigest() != hashes[name]:
            raise DataError(
                f"{folder / name}: changed since split.json was written; if that was on purpose, remove split.json"
            )
    if fingerprint != dataset.fingerprint:
        raise DataError(
            f"{folder / 'split.json'}: made for images other than those of {dataset.name} now; write the split again, "
            "or restore the data"
        )
