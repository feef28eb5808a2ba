"""The ledger: atomic, locked, and never losing what was uploaded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from paddlecnn.errors import SubmissionError
from paddlecnn.files import file_digest
from paddlecnn.kaggle.ledger import COLUMNS, Entry, Ledger, ledger_table


def test_a_file_made_anew_replaces_its_line_but_not_that_of_an_upload(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.add(Entry("a.csv", "1"))
    ledger.add(Entry("b.csv", "2", runs='runs/"quoted", with commas'))
    ledger.add(Entry("a.csv", "3"))
    assert [(entry.file, entry.sha256) for entry in ledger.entries()] == [("b.csv", "2"), ("a.csv", "3")]
    ledger.replace(Entry("a.csv", "3"), Entry("a.csv", "3", ref="1000", public_score="0.1"))
    ledger.add(Entry("a.csv", "4"))
    assert [(entry.sha256, entry.ref) for entry in ledger.entries()] == [("2", ""), ("3", "1000"), ("4", "")]
    ledger.add(Entry("a.csv", "3"))  # written again as it was uploaded
    assert [(entry.sha256, entry.ref) for entry in ledger.entries()] == [("2", ""), ("3", "1000"), ("4", "")]
    assert ledger.entries()[0].runs == 'runs/"quoted", with commas'
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["ledger.csv"]


def test_a_file_is_found_by_name_and_content(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,label\n1,0.5\n")
    ledger = Ledger(tmp_path)
    assert ledger.find(path) is None
    ledger.add(Entry("a.csv", file_digest(path)))
    assert ledger.find(path) == Entry("a.csv", file_digest(path))
    path.write_text("id,label\n1,0.6\n")
    assert ledger.find(path) is None


def test_many_writers_at_once_lose_no_line(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: Ledger(tmp_path).add(Entry(f"{number}.csv", str(number))), range(40)))
    assert {entry.file for entry in Ledger(tmp_path).entries()} == {f"{number}.csv" for number in range(40)}


@pytest.mark.parametrize(
    "content", [b"file,score\na.csv,1\n", b"\xff\xfe", (",".join(COLUMNS) + "\na.csv,1\n").encode()]
)
def test_a_damaged_ledger_is_named_and_left_alone(tmp_path, content):
    (tmp_path / "ledger.csv").write_bytes(content)
    with pytest.raises(SubmissionError, match=r"ledger\.csv: .* fix it or move"):
        Ledger(tmp_path).add(Entry("b.csv", "2"))
    assert (tmp_path / "ledger.csv").read_bytes() == content


def test_a_ledger_that_a_spreadsheet_program_has_saved_is_read(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.add(Entry(file="a.csv", sha256="1" * 64))
    entries = ledger.entries()
    ledger.path.write_bytes(b"\xef\xbb\xbf" + ledger.path.read_bytes().replace(b"\n", b"\r\n"))
    assert ledger.entries() == entries


def test_the_table_is_aligned(tmp_path):
    lines = ledger_table([Entry("a.csv", "1", expected="0.07", low="0.06", high="0.08", public_score="0.0712")])
    head, row = lines.splitlines()
    assert row.index("0.06 to 0.08") == head.index("interval")
    assert row.index("0.0712") == head.index("public")
