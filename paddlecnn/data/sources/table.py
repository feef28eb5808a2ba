"""Images in a folder and their labels in a table, as most competitions publish them.

    ROOT/train.csv           id,label       data.table: train.csv
    ROOT/train/0001.jpg ...                 data.images: train
    ROOT/test/0002.jpg ...                  data.test: test

A table is a CSV with a header, or a list (any other ending than .csv and .tsv): `path label` lines without a header, as
PaddleClas reads them. Names count from `data.images` and may lack the suffix of the file. The classes are the labels in
the table, numbers in their order and names in alphabetical order. Ids are the names as the table has them.
"""

from __future__ import annotations

import csv
import io
import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from paddlecnn.config import IMAGENET_PREPROCESS, DataConfig
from paddlecnn.data.base import FileDataset, PublishedSplits
from paddlecnn.data.sources.folder import image_names
from paddlecnn.data.storage.file_storage import FolderStorage, read_text
from paddlecnn.data.storage.images import SUFFIXES
from paddlecnn.errors import ConfigError, DataError
from paddlecnn.text_tables import counted

logger = logging.getLogger(__name__)

PREPROCESS = IMAGENET_PREPROCESS
CSV_ENDINGS = (".csv", ".tsv")
NUMBER = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]*)?")
# Headers by which a column is known, lower case and without spaces and underscores.
FILE_HEADERS = (
    "id", "idcode", "image", "imageid", "imagename", "imagefile", "imagepath", "img", "imgid", "file", "fileid",
    "filename", "filepath", "fname", "name", "path",
)  # fmt: skip
LABEL_HEADERS = (
    "label", "labels", "class", "classid", "classname", "category", "categoryid", "target", "breed", "species",
    "diagnosis",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """An image as a table names it, and its label; none in a table of test images."""

    where: str  # file and line, for messages
    name: str
    label: str | None


@dataclass(frozen=True)
class Images:
    """The image files below a folder."""

    folder: Path
    names: Sequence[str]

    def find(self, lines: Sequence[Line]) -> list[str]:
        """The file of each line, by its name with or without the suffix.

        Raises DataError for a name without a file, one that fits several, and a second line for a file.
        """
        whole = set(self.names)
        by_stem = defaultdict(list)
        for name in self.names:
            by_stem[without_suffix(name)].append(name)
        names = [str(PurePosixPath(line.name)) for line in lines]  # without the ./ that `find` writes
        fitting = [[name] if name in whole else by_stem.get(name, []) for name in names]
        if missing := [line for line, files in zip(lines, fitting, strict=True) if not files]:
            more = f" ({len(missing):,} such lines)" if missing[1:] else ""
            raise DataError(
                f"{missing[0].where}: no image {missing[0].name} in {self.folder}{more}; "
                "data.images is the folder, below data.root, that the names count from"
            )
        first: dict[str, Line] = {}
        for line, files in zip(lines, fitting, strict=True):
            if len(files) > 1:
                raise DataError(f"{line.where}: {line.name} is {' and '.join(files)}; write the suffix into the table")
            before = first.setdefault(files[0], line)
            if before is not line:
                labels = "" if before.label == line.label else f" with two labels, {before.label} and {line.label}"
                raise DataError(f"{line.where}: {files[0]} is already in {before.where}{labels}; keep one of the lines")
        return [files[0] for files in fitting]


def load(config: DataConfig) -> PublishedSplits:
    """The images that config.table names, and those of config.test, which have no labels."""
    if config.table is None:
        raise ConfigError("data.table: missing; name the file with the labels, below data.root, as train.csv")
    root = Path(config.root)
    folder = root / (config.images or "")
    for key, path in (("root", root), ("images", folder)):
        if not path.is_dir():
            raise DataError(f"data.{key}: {path}: no such folder; data.images counts from data.root")
    images = Images(folder, image_names(folder))
    lines = read_table(root / config.table, labelled=True)
    members = images.find(lines)
    classes = classes_of(lines, root / config.table)
    place = {name: number for number, name in enumerate(classes)}
    labels = np.array([place[str(line.label)] for line in lines], np.int64)
    train = FileDataset("table", classes, [line.name for line in lines], labels, FolderStorage(folder), members)
    test = test_part(root / config.test, images, train) if config.test else None
    report_left_out(root / config.table, images, [train] if test is None else [train, test])
    return PublishedSplits(train, test)


def test_part(path: Path, images: Images, train: FileDataset) -> FileDataset:
    """The images in a folder, with ids of the same form as in the table, or those that a table of test images names."""
    if path.is_dir():
        store, members = FolderStorage(path), image_names(path)
        if not members:
            raise DataError(f"{path}: contains no images; name the folder of the test images as data.test")
        with_suffix = any(name.lower().endswith(SUFFIXES) for name in train.ids)
        ids = members if with_suffix else [without_suffix(name) for name in members]
    else:
        lines = read_table(path, labelled=False)
        store, members, ids = FolderStorage(images.folder), images.find(lines), [line.name for line in lines]
    return FileDataset("table test", train.classes, ids, None, store, members)


def report_left_out(table: Path, images: Images, parts: Sequence[FileDataset]) -> None:
    used = {part.path(position) for part in parts for position in range(len(part))}
    if unused := [name for name in images.names if str(images.folder / name) not in used]:
        logger.warning(
            "%s: %s of %s left out, without a line here, such as %s",
            *(table, counted(len(unused), "image"), images.folder, unused[0]),
        )


def without_suffix(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def classes_of(lines: Sequence[Line], table: Path) -> tuple[str, ...]:
    """The labels, each once: numbers in their order if all are numbers, else in alphabetical order."""
    found = {str(line.label) for line in lines}
    if len(found) < 2:
        raise DataError(f"{table}: every label is {found.pop()}; expected two classes or more")
    if all(map(NUMBER.fullmatch, found)):
        return tuple(sorted(found, key=lambda name: (float(name), name)))
    return tuple(sorted(found))


def read_table(path: Path, labelled: bool) -> list[Line]:
    """The lines of a CSV or of a list. Raises DataError, with file and line, for what is not one."""
    if not path.is_file():
        key = "table" if labelled else "test"
        raise DataError(f"data.{key}: {path}: no such file; data.{key} counts from data.root")
    text = read_text(path, "save the table in this encoding")
    read_lines = csv_lines if path.suffix.lower() in CSV_ENDINGS else list_lines
    lines = list(read_lines(path, text, labelled))
    if not lines:
        raise DataError(f"{path}: names no image; write one line per image")
    for line in lines:
        if not line.name:
            raise DataError(f"{line.where}: the name of the image is missing")
        if labelled and not line.label:
            raise DataError(f"{line.where}: {line.name} has no label; add it, or remove the line")
    return lines


def list_lines(path: Path, text: str, labelled: bool) -> Iterator[Line]:
    """`path label` lines, or `path` alone without labels. The path may contain spaces, the label does not."""
    for number, line in enumerate(text.split("\n"), start=1):
        name, label = line.strip(), None
        if name and labelled:
            *path_parts, label = name.rsplit(maxsplit=1)
            name = "".join(path_parts)
            if not name:
                raise DataError(f"{path}, line {number}: `{label}` is not of the form `path label`")
        if name:
            yield Line(f"{path}, line {number}", name, label)


def csv_lines(path: Path, text: str, labelled: bool) -> Iterator[Line]:
    """The rows of a CSV, separated by the one of `,`, `;` and tab that its header has most of."""
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        header = next(reader, [])
        file, label = columns_of(path, header, labelled)
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if row and len(row) != len(header):
                raise DataError(f"{where}: {counted(len(row), 'cell')}, but {len(header)} in the header")
            if row:
                yield Line(where, row[file].strip(), row[label].strip() if labelled else None)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not a CSV ({error}); save the table again") from None


def columns_of(path: Path, header: Sequence[str], labelled: bool) -> tuple[int, int]:
    """The columns of the names and of the labels, by their headers; of two columns one header suffices.

    Without labels the second number has no meaning. Raises DataError for columns that cannot be told apart, as those of
    a first line that is no header.
    """
    names = [re.sub(r"[ _-]", "", cell).lower() for cell in header]
    files, labels = ([n for n, name in enumerate(names) if name in known] for known in (FILE_HEADERS, LABEL_HEADERS))
    if len(names) == 2 and (files or labels):
        return (1, 0) if files == [1] or labels == [0] else (0, 1)
    if len(files) == 1 and (len(labels) == 1 or not labelled):
        return files[0], labels[0] if labels else 0
    for found, content in ((files, "names of the images"), (labels if labelled else [], "labels")):
        if len(found) > 1:
            candidates = " and ".join(header[number] for number in found)
            raise DataError(
                f"{path}, line 1: the columns {candidates} may each contain the {content}; rename all but one"
            )
    raise DataError(
        f"{path}, line 1: no header that names one column of files and one of labels ({', '.join(header)}); call them "
        "id and label"
    )
