"""The submission format of each data set, as a table. Nothing here connects to Kaggle."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from paddlecnn.config import DataConfig
from paddlecnn.data.sources.cifar import CIFAR10_CLASSES
from paddlecnn.data.splits import names_test
from paddlecnn.errors import SubmissionError, did_you_mean
from paddlecnn.evaluation.intervals import Estimate


@dataclass(frozen=True)
class Competition:
    """The format of a submission: two columns, id and label.

    `label` is the content of the second column: the probability of the class `positive`, the name of the predicted
    class, or 1 where `positive` is predicted and 0 elsewhere.
    """

    slug: str  # Kaggle's name for it; empty if nothing can be uploaded
    metric: Literal["log_loss", "accuracy"]
    label: Literal["probability", "name", "binary"]
    positive: str = ""
    classes: tuple[str, ...] | None = None  # the valid names, if label is a name
    sample: str = ""  # the sample submission's file name inside the bundle
    reference_scores: tuple[tuple[float, str], ...] = ()  # (score, its meaning), best first

    def reached(self, score: float) -> str:
        """The best reference score that `score` reaches; lower is better."""
        return next((f"{meaning} ({line:g})" for line, meaning in self.reference_scores if score <= line), "none")

    def standing(self, score: Estimate) -> list[str]:
        """A line with the reference scores that a score and the ends of its interval reach, if there are any."""
        if not self.reference_scores:
            return []
        low, mean, high = map(self.reached, (score.low, score.mean, score.high))
        return [f"it would reach: {mean}; at the ends of the interval: {low}, {high}"]


PLAIN = Competition(slug="", metric="accuracy", label="name")
REDUX = Competition(
    slug="dogs-vs-cats-redux-kernels-edition",
    metric="log_loss",
    label="probability",
    positive="dog",
    sample="sample_submission.csv",
    # Medal thresholds and median of the leaderboard by MLE-bench's rule, from its published list, not recomputed.
    reference_scores=(
        (0.03882, "gold medal"),
        (0.05038, "silver medal"),
        (0.06127, "bronze medal"),
        (0.12216, "median"),
        (0.69315, "a constant 0.5"),
    ),
)
DOGS_2013 = Competition(
    slug="dogs-vs-cats", metric="accuracy", label="binary", positive="dog", sample="sampleSubmission.csv"
)
CIFAR10 = Competition(
    slug="cifar-10", metric="accuracy", label="name", classes=CIFAR10_CLASSES, sample="sampleSubmission.csv"
)

COMPETITIONS = {competition.slug: competition for competition in (REDUX, DOGS_2013, CIFAR10)}
OF_DATA_SET = {"dogs_vs_cats": REDUX, "kaggle_cifar10": CIFAR10}


def competition_of(data: DataConfig) -> Competition:
    """The competition of a data set; PLAIN if it has none.

    A test part listed in the split's folder is not the competition's, so its predictions cannot be uploaded.
    """
    known = OF_DATA_SET.get(data.name, PLAIN)
    return not_uploaded(known) if names_test(data.split) else known


def not_uploaded(competition: Competition) -> Competition:
    """The same submission format, for images that are not those of the competition."""
    return dataclasses.replace(competition, slug="", sample="")


def competition_named(slug: str) -> Competition:
    """The competition of this name. Raises SubmissionError if it is unknown."""
    if slug not in COMPETITIONS:
        raise SubmissionError(f"--competition {slug}: unknown{did_you_mean(slug, COMPETITIONS, cutoff=0.3)}")
    return COMPETITIONS[slug]
