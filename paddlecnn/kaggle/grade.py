"""The score of a submission on known labels, by the rule of MLE-bench.

github.com/openai/mle-bench, mlebench/competitions/dogs-vs-cats-redux-kernels-edition/grade.py: the same ids and number
of rows as the answers, labels from 0 to 1, and scikit-learn's log loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paddlecnn.errors import SubmissionError
from paddlecnn.evaluation.intervals import Estimate, log_loss_estimate
from paddlecnn.kaggle.competitions import REDUX
from paddlecnn.kaggle.submission import check_rows, check_submission, in_order_of, read_submission

SKLEARN_EPS = np.finfo(np.float64).eps  # sklearn.metrics.log_loss clips probabilities to this distance from 0 and 1


@dataclass(frozen=True)
class Grade:
    """A log loss with its 95 % interval, over `images`."""

    log_loss: Estimate
    images: int

    def report(self) -> list[str]:
        """Lines for the user: the score, and the reference scores that it and its interval reach."""
        return [f"log loss {self.log_loss} on {self.images:,} labelled images", *REDUX.standing(self.log_loss)]


def grade(submission: Path, answers: Path) -> Grade:
    """Grade a CSV of probabilities (id, label) against a CSV of labels (id, label = 1 or 0).

    Raises SubmissionError for files that cannot be read or compared.
    """
    table, truth = read_submission(submission), read_submission(answers)
    if not {"id", "label"} <= set(truth.columns) or not truth["label"].isin([0, 1]).all():
        raise SubmissionError(
            f"{answers}: not a table of answers; expected the columns id and label, with labels 0 or 1"
        )
    check_rows(str(answers), truth["id"], truth["id"].duplicated(), "duplicate id")
    check_submission(table, REDUX, str(submission))
    positive = in_order_of(table, truth["id"].tolist(), str(answers))["label"].to_numpy(np.float64)
    own = np.where(truth["label"] == 1, positive, 1 - positive)
    losses = -np.log(np.clip(own, SKLEARN_EPS, 1 - SKLEARN_EPS))
    surest = np.minimum(positive, 1 - positive).min()
    worst = float(-np.log(max(surest, SKLEARN_EPS)))  # the loss of an image if the surest answer were wrong
    return Grade(log_loss_estimate(losses, worst, seed=0), len(losses))
