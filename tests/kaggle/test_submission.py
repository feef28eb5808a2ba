"""The rules of a submission: each broken one is named with its row."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.images import zipped
from paddlecnn.config import DataConfig
from paddlecnn.errors import DataError, SubmissionError, UserError
from paddlecnn.files import file_digest, write_csv
from paddlecnn.kaggle.competitions import CIFAR10, DOGS_2013, PLAIN, REDUX, competition_named, competition_of
from paddlecnn.kaggle.ledger import Entry, Ledger
from paddlecnn.kaggle.submission import (
    check_submission,
    check_writable,
    in_order_of,
    read_submission,
    sample_ids,
    submission_table,
)

PROBABILITIES = np.array([[0.9, 0.1], [0.25, 0.75]])


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame({"id": ["1", "2", "3"], "label": [0.1, 0.2, 0.3]} | columns)


@pytest.mark.parametrize(("classes", "dog"), [(("cat", "dog"), [0.1, 0.75]), (("dog", "cat"), [0.9, 0.25])])
def test_redux_wants_the_probability_of_a_dog_whatever_the_order_of_classes(classes, dog):
    made = submission_table(REDUX, ["test/7.jpg", "test/12.jpg"], classes, PROBABILITIES)
    assert made["id"].tolist() == ["7", "12"]
    assert made["label"].tolist() == dog


def test_the_2013_competition_wants_one_for_a_dog():
    made = submission_table(DOGS_2013, ["7.jpg", "12.jpg"], ("cat", "dog"), PROBABILITIES)
    assert made["label"].tolist() == [0, 1]


def test_a_data_set_without_a_competition_keeps_its_ids_and_gets_class_names():
    made = submission_table(PLAIN, ["digit.7", "digit.12"], ("zero", "one"), PROBABILITIES)
    assert made.values.tolist() == [["digit.7", "zero"], ["digit.12", "one"]]


def test_a_run_without_the_requested_class():
    with pytest.raises(SubmissionError, match=r"the run has the classes kitten, puppy; .* requires the class dog"):
        submission_table(REDUX, ["1", "2"], ("kitten", "puppy"), PROBABILITIES)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"id": ["1", "2", "2"]}, "row 3, id 2: duplicate id"),
        ({"id": ["1", "", "3"]}, "row 2, id : the id is empty"),
        ({"label": [0.1, np.nan, 0.3]}, "row 2, id 2: the label is missing"),
        ({"label": [0.1, 0.2, 1.5]}, "row 3, id 3: the label must be a probability between 0 and 1"),
        ({"label": [-0.1, 0.2, 1.5]}, r"row 1, id 1: the label must be a probability between 0 and 1 \(and 1 more\)"),
        ({"label": ["cat", "dog", "dog"]}, "must be a probability"),
        ({"id": ["1", "3", "2"]}, "row 2, id 3: not in the order of the sample submission"),
        ({"id": ["1", "2", "4"]}, r"has no row for 1 of 3 ids of the sample submission \(3\)"),
    ],
)
def test_a_broken_rule_is_named_with_its_row(broken, message):
    with pytest.raises(SubmissionError, match=message):
        check_submission(table(**broken), REDUX, "x.csv", expected=["1", "2", "3"])


def test_columns_and_rows_must_be_there():
    with pytest.raises(SubmissionError, match="the columns are label,id; they must be id,label"):
        check_submission(table()[["label", "id"]], REDUX, "x.csv")
    with pytest.raises(SubmissionError, match="there are no rows"):
        check_submission(table().iloc[:0], REDUX, "x.csv")


def test_names_must_be_names_of_the_competition():
    check_submission(table(label=["cat", "dog", "frog"]), CIFAR10, "x.csv")
    with pytest.raises(SubmissionError, match="row 3, id 3: the label must be the name of a class"):
        check_submission(table(label=["cat", "dog", "puma"]), CIFAR10, "x.csv")
    with pytest.raises(SubmissionError, match="the label must be 0 or 1"):
        check_submission(table(), DOGS_2013, "x.csv")


def test_rows_take_the_order_of_the_sample_and_a_missing_one_is_named():
    assert in_order_of(table(), ["3", "1", "2"], "sample")["label"].tolist() == [0.3, 0.1, 0.2]
    with pytest.raises(SubmissionError, match=r"has no row for 12 of 15 ids of sample \(4, 5, 6, \.\.\.\)"):
        in_order_of(table(), [str(number) for number in range(1, 16)], "sample")
    with pytest.raises(SubmissionError, match=r"has 1 id outside the 2 of sample \(3\)"):
        in_order_of(table(), ["1", "2"], "sample")


def test_what_was_written_is_read_back_to_the_last_digit(tmp_path):
    written = table(label=[1 / 3, 1e-12, 1 - 1e-12])
    path = tmp_path / "x.csv"
    write_csv(path, written)
    assert read_submission(path).equals(written)
    assert path.read_text().splitlines()[0] == "id,label"
    assert [file.name for file in path.parent.iterdir()] == ["x.csv"]


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_predicted(tmp_path):
    check_writable(tmp_path / "new" / "x.csv")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written there \((File exists|Not a directory)\)"):
        check_writable(tmp_path / "file" / "x.csv")
    with pytest.raises(UserError, match="cannot be written there"):
        check_writable(Path("/proc/x.csv"))
    with pytest.raises(SubmissionError, match=r"must be the name of a file that ends in \.csv"):
        check_writable(tmp_path)
    with pytest.raises(SubmissionError, match=r"file is a file; the figures need a folder of that name"):
        check_writable(tmp_path / "file.csv")


def test_a_file_that_may_be_the_only_copy_is_not_replaced(tmp_path):
    path, ledger = tmp_path / "x.csv", Ledger(tmp_path)
    path.write_text("my only copy")
    with pytest.raises(SubmissionError, match=r"x\.csv: would be replaced, and .*ledger\.csv does not list it; name"):
        check_writable(path)
    made = Entry("x.csv", file_digest(path))
    ledger.add(made)
    check_writable(path)
    ledger.replace(made, replace(made, ref="123"))
    with pytest.raises(SubmissionError, match=r"would be replaced, and was uploaded as number 123; name another file"):
        check_writable(path)
    path.unlink()
    check_writable(path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x80", b'id,label\n1,"0.5\n'])
def test_a_file_that_is_not_csv_is_named(tmp_path, content):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(SubmissionError, match=r"x\.csv: cannot be read as a CSV"):
        read_submission(path)
    with pytest.raises(SubmissionError, match="no such file"):
        read_submission(tmp_path / "y.csv")


def test_competitions_are_found_by_data_set_and_by_name():
    assert competition_of(DataConfig(name="dogs_vs_cats")) is REDUX
    assert competition_of(DataConfig(name="digits")) is PLAIN
    assert competition_named("dogs-vs-cats") is DOGS_2013
    with pytest.raises(SubmissionError, match=r"unknown; did you mean cifar-10\?"):
        competition_named("cifar10")


@pytest.mark.parametrize("place", ["sample_submission.csv", f"{REDUX.slug}/sample_submission.csv", f"{REDUX.slug}.zip"])
def test_the_sample_submission_is_found_beside_the_data_and_inside_the_bundle(tmp_path, place):
    assert sample_ids(tmp_path, REDUX) is None
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as bundle:
            bundle.writestr("sample_submission.csv", "id,label\n3,0.5\n1,0.5\n")
        assert sample_ids(path, REDUX) == ["3", "1"]
    else:
        path.write_text("id,label\n3,0.5\n1,0.5\n")
    assert sample_ids(tmp_path, REDUX) == ["3", "1"]
    assert sample_ids(tmp_path, CIFAR10) is None
    assert sample_ids(tmp_path, PLAIN) is None


@pytest.mark.parametrize("place", ["sample_submission.csv", f"{REDUX.slug}.zip"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Id,Label\n1,0.5\n", "the columns are Id,Label; those of a sample submission are id,label; download"),
        (b"", "cannot be read as a CSV"),
    ],
    ids=["columns", "empty"],
)
def test_a_wrong_sample_submission_is_one_line(tmp_path, place, content, message):
    path = tmp_path / place
    path.write_bytes(content if path.suffix == ".csv" else zipped({"sample_submission.csv": content}))
    with pytest.raises(SubmissionError, match=f"sample_submission.csv: {message}"):
        sample_ids(tmp_path, REDUX)


def test_a_damaged_bundle_is_named(tmp_path):
    bundle = tmp_path / f"{REDUX.slug}.zip"
    whole = zipped({"sample_submission.csv": b"id,label\n1,0.5\n"})
    for harm in (whole[:-30], whole.replace(b"1,0.5", b"1,0.6")):
        bundle.write_bytes(harm)
        with pytest.raises(DataError, match=bundle.name):
            sample_ids(tmp_path, REDUX)
