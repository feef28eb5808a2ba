"""A submission from several others: the weighted mean of their logits. Needs no Paddle."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from paddlecnn.errors import SubmissionError
from paddlecnn.evaluation.blending import two_class_logits
from paddlecnn.kaggle.build_submission import (
    Images,
    Labelled,
    Settings,
    SubmissionInputs,
    WrittenSubmission,
    write_candidate,
)
from paddlecnn.kaggle.competitions import PLAIN, REDUX, Competition, competition_named, not_uploaded
from paddlecnn.kaggle.ledger import Entry, Ledger
from paddlecnn.kaggle.submission import check_submission, check_writable, in_order_of, read_submission


def blend_files(
    files: Sequence[Path], settings: Settings, out: Path | None = None, slug: str | None = None
) -> WrittenSubmission:
    """Blend submissions of probabilities, and write the blend.

    Weights, temperature and clip are fitted on the validation images that all members predicted, read from the folder
    beside each file. With weights given, files from elsewhere can be blended too; their expected score is unknown.
    Raises SubmissionError if the files do not belong together, or if the blend would replace one of them.
    """
    places = {file.resolve() for file in files}
    if len(files) < 2 or len(places) < len(files):
        raise SubmissionError("--blend: name two or more different files")
    if settings.weights is not None and len(settings.weights) != len(files):
        raise SubmissionError(f"--weights: {len(settings.weights)} weights for {len(files)} files")
    path = out or files[0].parent / "blend.csv"
    if path.resolve() in places:
        raise SubmissionError(f"{path}: is one of the files to blend; choose another file for the blend with --out")
    check_writable(path)
    entries = [entry_of(file) for file in files]
    competition = competition_of_all(entries, slug)
    target = stack_target(files, competition)
    validation = stack_validation(files, entries, competition.positive)
    if validation is None and settings.weights is None:
        raise SubmissionError(
            "--blend: the folders beside the files hold no common validation image for their present versions, so no "
            "weights can be fitted; give --weights, or use `--folds RUN RUN ...` for the runs of a "
            "cross-validation"
        )
    classes, origin = ("other", competition.positive), blended_origin(files, entries)
    note = "where the epoch of a member was selected on the same images, these figures are slightly optimistic"
    inputs = SubmissionInputs(
        competition, classes, target, validation, target.ids, origin, calibrated_members=True, notes=(note,)
    )
    return write_candidate(inputs, settings, path)


def entry_of(file: Path) -> Entry | None:
    """The ledger's entry of a file; None for a file from elsewhere. Raises SubmissionError if it does not exist."""
    if not file.is_file():
        raise SubmissionError(f"{file}: no such file")
    return Ledger(file.parent).find(file)


def competition_of_all(entries: Sequence[Entry | None], slug: str | None) -> Competition:
    """The one competition of all files; for a data set without one, the format of Redux, not to be uploaded.

    Raises SubmissionError if the files are for different competitions or not for `slug`, or contain class names.
    """
    known = [entry for entry in entries if entry is not None]
    slugs = {entry.competition for entry in known}
    names = ", ".join(one or "none on Kaggle" for one in sorted(slugs))
    if len(slugs) > 1:
        raise SubmissionError(f"--blend: the files are for different competitions ({names})")
    if slug is not None and slugs not in (set(), {slug}):
        raise SubmissionError(f"--competition {slug}: the competition of the files is {names}; leave the option out")
    if slugs == {""}:
        competition = not_uploaded(REDUX) if {entry.metric for entry in known} == {REDUX.metric} else PLAIN
    else:
        competition = competition_named(slugs.pop() if slugs else slug or REDUX.slug)
    if competition.label != "probability":
        raise SubmissionError(
            f"--blend: the files contain class names, not probabilities; only submissions to {REDUX.slug} "
            "can be blended. `--folds RUN RUN ...` averages the runs themselves"
        )
    return competition


def stack_target(files: Sequence[Path], competition: Competition) -> Images:
    """The files' probabilities as logits [N, M, 2], rows joined by id, in the order of the first file."""
    tables = [read_submission(file) for file in files]
    for file, table in zip(files, tables, strict=True):
        check_submission(table, competition, str(file))
    ids = tables[0]["id"].tolist()
    columns = [in_order_of(table, ids, str(files[0]))["label"].to_numpy() for table in tables]
    return Images(ids, np.stack([two_class_logits(column) for column in columns], axis=1))


def stack_validation(files: Sequence[Path], entries: Sequence[Entry | None], positive: str) -> Labelled | None:
    """The members' validation probabilities as logits [N, M, 2], for the images that all of them predicted.

    None if there is no such image, or if the validation table beside a file is missing or belongs to another version
    of it. Raises SubmissionError if a table is damaged, and if an image has two labels.
    """
    tables = []
    for file, entry in zip(files, entries, strict=True):
        if entry is None or (table := read_validation(file, entry, positive)) is None:
            return None
        tables.append(table)
    common = functools.reduce(lambda left, right: left[left.isin(right)], (table.index for table in tables))
    if common.empty:
        return None
    labels = [table.loc[common, "label"] == positive for table in tables]  # the others' name may differ
    for file, other in zip(files, labels, strict=True):
        if (wrong := other != labels[0]).any():
            both = files[0], file
            is_positive, is_not = both if labels[0][wrong].iloc[0] else both[::-1]
            raise SubmissionError(
                f"--blend: validation image {wrong.idxmax()} is {positive} beside {is_positive} but not beside "
                f"{is_not}; blend submissions of the same data"
            )
    columns = [table.loc[common, positive].to_numpy() for table in tables]
    return Labelled(
        common.tolist(),
        np.stack([two_class_logits(column) for column in columns], axis=1),
        labels[0].to_numpy().astype(np.int64),
    )


def read_validation(file: Path, entry: Entry, positive: str) -> pd.DataFrame | None:
    """The table of `validation_table` beside a file, by id; None if it is missing or belongs to another version.

    Raises SubmissionError if it is damaged.
    """
    path = file.with_suffix("") / "calibration.json"
    try:
        written_with = json.loads(path.read_text(encoding="utf-8")).get("sha256", entry.sha256)  # 0.1 wrote none
        path = path.with_name("validation.csv")
        types = {"id": str, "label": str, positive: np.float64}
        table = pd.read_csv(path, dtype=types, keep_default_na=False).set_index("id")
        if "label" not in table or not table[positive].between(0, 1).all() or not table.index.is_unique:
            raise ValueError("a label or a probability is missing, or an id is duplicated")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, AttributeError) as error:
        advice = f"write {file} again, or remove {path.parent} and give --weights"
        raise SubmissionError(f"{path}: damaged ({error}); {advice}") from None
    return table if written_with == entry.sha256 else None


def blended_origin(files: Sequence[Path], entries: Sequence[Entry | None]) -> dict[str, str]:
    """The origin of a blend, as columns of the ledger; members are separated by semicolons."""
    known = [entry or Entry(file=file.name, sha256="") for file, entry in zip(files, entries, strict=True)]
    return {
        "runs": ";".join(str(file) for file in files),
        "checkpoint": ";".join(f"sha256 {entry.sha256[:12]}" if entry.sha256 else "" for entry in known),
        "config_hash": ";".join(entry.config_hash for entry in known),
        "git_commit": ";".join(entry.git_commit for entry in known),
    }
