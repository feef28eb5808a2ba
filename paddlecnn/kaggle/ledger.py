"""ledger.csv, beside the submissions: the origin of each file, its expected score, and its score on Kaggle.

A file is identified by the SHA-256 of its content, so a renamed copy is still the same submission.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from paddlecnn.errors import SubmissionError
from paddlecnn.files import file_digest, written_aside
from paddlecnn.text_tables import text_table


@dataclass(frozen=True)
class Entry:
    """One line of the ledger; every field is text as in the CSV, empty if unknown."""

    file: str
    sha256: str
    written: str = ""  # UTC
    competition: str = ""  # Kaggle's name
    runs: str = ""  # run folders, or the files of a blend, separated by ;
    checkpoint: str = ""
    config_hash: str = ""
    git_commit: str = ""
    calibration: str = ""
    metric: str = ""
    expected: str = ""  # the metric on validation images, cross-fitted
    low: str = ""  # its 95 % confidence interval
    high: str = ""
    status: str = ""  # uploaded, scored or refused
    uploaded: str = ""  # UTC
    ref: str = ""  # Kaggle's number of the upload
    public_score: str = ""
    private_score: str = ""


COLUMNS = tuple(field.name for field in dataclasses.fields(Entry))


class Ledger:
    """The ledger of one folder. Every change reads and replaces the file under a lock, so that none is lost."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / "ledger.csv"

    def entries(self) -> list[Entry]:
        """All entries, oldest first; none if there is no ledger. Raises SubmissionError if it is damaged."""
        try:
            with open(self.path, encoding="utf-8-sig", newline="") as file:  # spreadsheet programs write the mark
                rows = list(csv.reader(file))
        except FileNotFoundError:
            return []
        except (UnicodeDecodeError, csv.Error) as error:
            raise SubmissionError(f"{self.path}: cannot be read as a CSV ({error}); fix it or move it away") from None
        for number, row in enumerate(rows, 1):
            if len(row) != len(COLUMNS) or (number == 1 and tuple(row) != COLUMNS):
                raise SubmissionError(
                    f"{self.path}: line {number} is not a line of a ledger (expected "
                    f"{len(COLUMNS)} fields, found {len(row)}); fix it or move the file away"
                )
        return [Entry(*row) for row in rows[1:]]

    def find(self, path: Path) -> Entry | None:
        """The newest entry of a file with this name and content."""
        wanted = path.name, file_digest(path)
        return next((entry for entry in reversed(self.entries()) if (entry.file, entry.sha256) == wanted), None)

    def add(self, entry: Entry) -> None:
        """Add a written file; it replaces entries of this name that were never uploaded.

        The entry of an uploaded file that is written again unchanged is kept.
        """
        with self.changed() as entries:
            if any((old.file, old.sha256) == (entry.file, entry.sha256) and old.ref for old in entries):
                return
            entries[:] = [old for old in entries if old.file != entry.file or old.ref]
            entries.append(entry)

    def replace(self, old: Entry | None, new: Entry) -> None:
        """Replace `old` with `new`, or append `new` if `old` is not there."""
        with self.changed() as entries:
            if old in entries:
                entries[entries.index(old)] = new
            else:
                entries.append(new)

    @contextlib.contextmanager
    def changed(self) -> Iterator[list[Entry]]:
        """The entries, to be changed in place; they are on disk when the block ends without an error."""
        with FileLock(self.folder / ".ledger.lock"):
            entries = self.entries()
            yield entries
            with written_aside(self.path) as aside, open(aside, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(COLUMNS)
                writer.writerows(dataclasses.astuple(entry) for entry in entries)


def now() -> str:
    """The time in UTC to the second, e.g. 2026-11-22T07:56:00Z."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


SHOWN = ("file", "competition", "expected", "interval", "status", "public", "private", "runs", "calibration")


def ledger_table(entries: list[Entry]) -> str:
    """The ledger as a text table, one line per file."""
    rows: list[Sequence[str]] = [SHOWN]
    for entry in entries:
        interval = f"{entry.low} to {entry.high}" if entry.low else ""
        scores = {"public": entry.public_score, "private": entry.private_score}
        cells = {**vars(entry), **scores, "interval": interval}
        rows.append([cells[name] for name in SHOWN])
    return text_table(rows, left=len(SHOWN))
