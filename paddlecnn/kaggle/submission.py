"""A submission as a table: built from probabilities, checked against the rules of its competition, written, read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from paddlecnn.data.storage.file_storage import ZipStorage
from paddlecnn.errors import SubmissionError
from paddlecnn.files import require_writable
from paddlecnn.kaggle.competitions import Competition
from paddlecnn.kaggle.ledger import Ledger
from paddlecnn.text_tables import counted

COLUMNS = ["id", "label"]


def submission_table(
    competition: Competition, ids: Sequence[str], classes: Sequence[str], probabilities: np.ndarray
) -> pd.DataFrame:
    """The table for a competition.

    ids: the data set's own; for a competition on Kaggle the file's stem becomes the id (`test/12.jpg` is 12)
    probabilities: [N, C], columns in the order of `classes`
    """
    if competition.label != "name" and competition.positive not in classes:
        raise SubmissionError(
            f"the run has the classes {', '.join(classes)}; {competition.slug} requires the class "
            f"{competition.positive}"
        )
    if competition.label == "name":
        labels = np.asarray(classes, dtype=object)[probabilities.argmax(axis=1)]
    else:
        column = list(classes).index(competition.positive)
        is_positive = probabilities.argmax(axis=1) == column
        labels = is_positive.astype(int) if competition.label == "binary" else probabilities[:, column].astype(float)
    names = [Path(name).stem if competition.slug else name for name in ids]
    return pd.DataFrame({"id": names, "label": labels})


def in_order_of(table: pd.DataFrame, expected: Sequence[str], where: str) -> pd.DataFrame:
    """The table's rows in the order of the expected ids.

    Raises SubmissionError, with the first few ids, if some are missing or unexpected.
    """
    have, want = set(table["id"]), set(expected)
    if missing := want - have:
        raise SubmissionError(
            f"the submission has no row for {len(missing):,} of {len(want):,} ids of {where} ({first_of(missing)}); "
            "is the test part complete, and data.limit not set?"
        )
    if unexpected := have - want:
        raise SubmissionError(
            f"the submission has {counted(len(unexpected), 'id')} outside the {len(want):,} of {where} "
            f"({first_of(unexpected)}); does it predict the same images?"
        )
    return table.set_index("id").loc[list(expected)].reset_index()


def first_of(ids: set[str]) -> str:
    """The first three ids, for a message."""
    few = sorted(ids, key=lambda name: (len(name), name))[:3]
    return ", ".join([*few, "..."] if len(ids) > 3 else few)


def check_submission(
    table: pd.DataFrame, competition: Competition, where: str, expected: Sequence[str] | None = None
) -> None:
    """Raise SubmissionError, naming the first wrong row, if the table breaks a rule.

    Rules: the columns id and label; at least one row; ids unique, not empty, and (where `expected` is
    given) the expected ones in their order; labels in range, none missing.
    """
    if list(table.columns) != COLUMNS:
        raise SubmissionError(f"{where}: the columns are {','.join(map(str, table.columns))}; they must be id,label")
    if table.empty:
        raise SubmissionError(f"{where}: there are no rows")
    ids = table["id"].astype(str)
    check_rows(where, ids, ids.duplicated(), "duplicate id")
    check_rows(where, ids, table["id"].isna() | (ids == ""), "the id is empty")
    if expected is not None:
        in_order_of(table.assign(id=ids), expected, "the sample submission")
        wrong = ids.to_numpy() != np.asarray(expected, dtype=object)
        check_rows(where, ids, pd.Series(wrong), "not in the order of the sample submission")
    check_rows(where, ids, table["label"].isna(), "the label is missing")
    check_rows(where, ids, ~pd.Series(valid_labels(table["label"], competition)), LABEL_RULES[competition.label])


LABEL_RULES = {
    "probability": "the label must be a probability between 0 and 1",
    "binary": "the label must be 0 or 1",
    "name": "the label must be the name of a class",
}


def valid_labels(labels: pd.Series, competition: Competition) -> np.ndarray:
    """For each label whether it is valid in the competition, [N] bool."""
    if competition.label == "name":
        names = labels.astype(str)
        return (names.isin(competition.classes) if competition.classes else names != "").to_numpy()
    numbers = pd.to_numeric(labels, errors="coerce").to_numpy(dtype=np.float64)
    if competition.label == "binary":
        return np.isin(numbers, (0, 1))
    return (numbers >= 0) & (numbers <= 1)


def check_rows(where: str, ids: pd.Series, wrong: pd.Series, rule: str) -> None:
    """Raise SubmissionError with the first wrong row, if there is one."""
    if wrong.any():
        row = int(np.flatnonzero(wrong.to_numpy())[0])
        more = f" (and {wrong.sum() - 1:,} more)" if wrong.sum() > 1 else ""
        raise SubmissionError(f"{where}: row {row + 1}, id {ids.iloc[row]}: {rule}{more}")


def check_writable(path: Path) -> None:
    """Raise UserError if the CSV cannot be written, or would replace a file that may be the only copy.

    Checked before hours of prediction, not after.
    """
    if path.suffix != ".csv" or path.is_dir():
        raise SubmissionError(f"--out {path}: must be the name of a file that ends in .csv")
    if path.with_suffix("").is_file():
        raise SubmissionError(f"--out {path}: {path.with_suffix('')} is a file; the figures need a folder of that name")
    require_writable(path, "--out")
    Ledger(path.parent).entries()  # raises SubmissionError for a damaged one, which the file cannot be added to
    if path.exists():
        check_replaceable(path)


def check_replaceable(path: Path) -> None:
    """Raise SubmissionError unless the ledger lists the file as not uploaded, so that it can be written again."""
    ledger = Ledger(path.parent)
    known = ledger.find(path)
    if known is None or known.ref:
        reason = f"was uploaded as number {known.ref}" if known else f"{ledger.path} does not list it"
        raise SubmissionError(f"--out {path}: would be replaced, and {reason}; name another file, or move it away")


def read_submission(path: Path) -> pd.DataFrame:
    """Read a submission's CSV, ids as text. Raises SubmissionError if it is not one."""
    if not path.exists():
        raise SubmissionError(f"{path}: no such file; write one with `paddlecnn submit RUN`")
    return parse_submission(path, str(path))


def parse_submission(source: Path | IO[bytes], where: str) -> pd.DataFrame:
    """The table in a file; an empty label or nan counts as missing, everything else is kept as it is."""
    try:
        return pd.read_csv(source, dtype={"id": str}, keep_default_na=False, na_values={"label": ["", "nan", "NaN"]})
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise SubmissionError(f"{where}: cannot be read as a CSV ({reason})") from None


def sample_ids(root: Path, competition: Competition) -> list[str] | None:
    """The ids of the competition's sample submission, in its order; None if there is none.

    It is looked for in the data folder, in the competition's folder inside it, and in the bundle. Raises
    SubmissionError or DataError if it is damaged.
    """
    if not competition.sample:
        return None
    for folder in (root, root / competition.slug):
        file = folder / competition.sample
        if file.is_file():
            return ids_of_sample(read_submission(file), str(file))
    for path in (root, root / f"{competition.slug}.zip"):
        if path.is_file() and competition.sample in (bundle := ZipStorage(path)).names():
            where, content = bundle.describe(competition.sample), bundle.read(competition.sample)
            return ids_of_sample(parse_submission(io.BytesIO(content), where), where)
    return None


def ids_of_sample(table: pd.DataFrame, where: str) -> list[str]:
    if list(table.columns) != COLUMNS:
        raise SubmissionError(
            f"{where}: the columns are {','.join(map(str, table.columns))}; those of a sample submission are id,label; "
            "download the competition's data again"
        )
    return table["id"].tolist()
