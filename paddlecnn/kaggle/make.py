"""From a run to a submission file."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from paddlecnn.inference.predictions import predict_split, softmax
from paddlecnn.inference.predictor import load_run
from paddlecnn.kaggle.competitions import Competition, competition_of, find_sample
from paddlecnn.kaggle.submission import (
    check_submission,
    in_order_of,
    read_submission,
    submission_table,
    write_submission,
)


@dataclass(frozen=True)
class Submission:
    """A file that was written: where, for what, and how many rows."""

    path: Path
    competition: Competition
    rows: int


def default_path(run: Path) -> Path:
    """submissions/alexnet_lrn-2026-11-22.csv for runs/alexnet_lrn/2026-11-22."""
    parts = [part for part in Path(run).parts if part not in ("runs", "/", ".", "..")]
    return Path("submissions") / f"{'-'.join(parts[-2:]) or 'submission'}.csv"


def submit_run(run: Path, out: Path | None = None, split: str = "test", slug: str | None = None) -> Submission:
    """Predict a split with a run's best checkpoint and write it in its competition's form."""
    loaded = load_run(run)
    data = loaded.config.data
    competition = competition_of(data.name, slug)
    predictions = predict_split(loaded, split)
    table = submission_table(competition, predictions.ids, predictions.classes, softmax(predictions.logits))
    sample = find_sample(Path(data.root), competition)
    expected = None
    if sample is not None and split == "test":
        expected = read_submission(sample)["id"].tolist()
        table = in_order_of(table, expected, str(sample))
    path = out or default_path(run)
    check_submission(table, competition, str(path), expected)
    return Submission(write_submission(table, path), competition, len(table))
