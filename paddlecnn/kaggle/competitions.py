"""What each data set's submission looks like, as a table. Nothing here talks to Kaggle."""
from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from paddlecnn.data.sources.cifar import CIFAR10_CLASSES
from paddlecnn.errors import SubmissionError


@dataclass(frozen=True)
class Competition:
    """The form of a submission: two columns, id and label.

    `label` says what stands in the second column: the probability of the class `positive`, the predicted
    class's name, or 1 where `positive` is predicted and 0 elsewhere. `reference_scores` are published scores.
    """

    slug: str | None  # Kaggle's name for it; None where nothing can be uploaded
    metric: Literal["log_loss", "accuracy"]
    label: Literal["probability", "name", "binary"]
    positive: str | None = None
    classes: tuple[str, ...] | None = None  # the names that may stand in a column of names
    sample: str | None = None  # the sample submission's file name inside the bundle
    reference_scores: tuple[tuple[float, str], ...] = ()  # (score, what reached it), best first


PLAIN = Competition(slug=None, metric="accuracy", label="name")
REDUX = Competition(
    slug="dogs-vs-cats-redux-kernels-edition", metric="log_loss", label="probability", positive="dog",
    sample="sample_submission.csv",
    reference_scores=((0.0414, "rank 20 of 1,314: an ensemble of three networks"),
           (0.0744, "rank 205 of 1,314: VGG16, fine-tuned"),
           (0.69315, "one half for every image")))
DOGS_2013 = Competition(slug="dogs-vs-cats", metric="accuracy", label="binary", positive="dog",
                        sample="sampleSubmission.csv")
CIFAR10 = Competition(slug="cifar-10", metric="accuracy", label="name", classes=CIFAR10_CLASSES,
                      sample="sampleSubmission.csv")

COMPETITIONS = {competition.slug: competition for competition in (REDUX, DOGS_2013, CIFAR10)}
OF_DATA_SET = {"dogs_vs_cats": REDUX, "kaggle_cifar10": CIFAR10}


def competition_of(data_name: str) -> Competition:
    """The competition of a data set; PLAIN for one that has none."""
    return OF_DATA_SET.get(data_name, PLAIN)


def competition_named(slug: str) -> Competition:
    """The competition of this name. Raises SubmissionError for one that is not in the table."""
    if slug not in COMPETITIONS:
        near = difflib.get_close_matches(slug, COMPETITIONS, n=1, cutoff=0.3)
        raise SubmissionError(f"--competition {slug}: not one of {', '.join(COMPETITIONS)}"
                              f"{f'; did you mean {near[0]}?' if near else ''}")
    return COMPETITIONS[slug]
