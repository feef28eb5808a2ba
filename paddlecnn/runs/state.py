"""The typed record in a checkpoint's state.json: the position of training, and everything that prediction needs.

The record is flat JSON. Floats survive JSON bit for bit, so a resumed run continues with equal numbers.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from paddlecnn.config import Monitor, Preprocess
from paddlecnn.text_tables import counted

Count = Annotated[int, Field(ge=0, le=10**12)]


class Record(BaseModel):
    """Plain values, checked when they are read. Keys of a later version are ignored."""

    model_config = ConfigDict(extra="ignore")


class ReadOnly(Record):
    """A record that is given to the user's code."""

    model_config = ConfigDict(frozen=True)


class Means(ReadOnly):
    """Mean training loss and top-1 accuracy of an epoch."""

    loss: float
    top1: float


class RunningMean(Record):
    """Sums over images."""

    loss: float = 0.0
    correct: Count = 0
    images: Count = 0

    def add(self, loss: float, correct: int, images: int) -> None:
        self.loss += loss
        self.correct += correct
        self.images += images

    @property
    def means(self) -> Means:
        count = max(self.images, 1)
        return Means(loss=self.loss / count, top1=self.correct / count)


class Scores(ReadOnly):
    """The numbers that select an epoch."""

    n: Count
    loss: float  # mean cross-entropy of the labels in nats, without label smoothing
    top1: float  # share of images whose most probable class is the label, 0..1
    # Mean of that share over the classes (scikit-learn's `balanced_accuracy_score`); None in runs of version 0.2.
    balanced: float | None = None

    def __str__(self) -> str:
        if not self.n:
            return "without validation images; the last epoch counts"
        return f"loss {self.loss:.6f}  top-1 {self.top1:.2%}  ({counted(self.n, 'image')})"


class BestEpoch(Scores):
    """The epoch with the best validation so far, or the last one with `train.monitor: last`; without validation images
    (n = 0) the last one, with its scores in training."""

    epoch: Count
    step: Count


class EpochRecord(ReadOnly):
    """One finished epoch."""

    epoch: Count
    step: Count
    train: Means
    val: Scores | None  # None without validation images
    lr: float | None = None  # of the epoch's last step; None in runs of version 0.1
    seconds: float | None = None  # of training, without validation
    images_per_second: float | None = None


class Progress(Record):
    """The position of training. Only what is done counts: epoch 0, step 0 is a run that has not begun."""

    epoch: Count = 0
    step: Count = 0
    step_in_epoch: Count = 0
    best: BestEpoch | None = None
    epochs_since_best: Count = 0  # since validation last improved by more than early_stop.min_delta ...
    improved: Scores | None = None  # ... and its scores then
    averaged: Count = 0  # epochs in the average of train.swa
    finished: bool = False
    since_log: RunningMean = Field(default_factory=RunningMean)
    this_epoch: RunningMean = Field(default_factory=RunningMean)
    history: list[EpochRecord] = []
    seconds: float = 0.0  # of training, all sessions together
    lr: float = 0.0  # learning rate of the last step

    def end_epoch(self, record: EpochRecord, monitor: Monitor, min_delta: float) -> bool:
        """Count a finished epoch; True if it is the best so far, or if nothing selects an epoch.

        `epochs_since_best` counts the epochs since validation last improved by more than `min_delta`; small steps add
        up until they exceed it.
        """
        self.epoch += 1
        self.history.append(record)
        scores = record.val or Scores(n=0, loss=record.train.loss, top1=record.train.top1)
        gain = improvement(scores, self.best, monitor)
        self.epochs_since_best += 1
        if improvement(scores, self.improved or self.best, monitor) > min_delta:
            self.improved, self.epochs_since_best = scores, 0
        if gain > 0:
            self.best = BestEpoch(epoch=self.epoch, step=self.step, **scores.model_dump())
        self.step_in_epoch = 0
        self.since_log, self.this_epoch = RunningMean(), RunningMean()
        return gain > 0


def improvement(scores: Scores, best: Scores | None, monitor: Monitor) -> float:
    """The difference from the best scores, positive if better; infinite if no earlier epoch competes."""
    if best is None or not scores.n or monitor == "last":
        return math.inf
    gain: float = getattr(scores, monitor) - getattr(best, monitor)
    return -gain if monitor == "loss" else gain


class ModelIdentity(Record):
    """The arguments of `create_model`."""

    name: str
    num_classes: Annotated[int, Field(gt=0)]
    options: dict[str, Any] = {}


class ModuleIdentity(Record):
    """A user's module with networks or data sets (`model.module`)."""

    name: str
    sha256: str


class DataIdentity(Record):
    """The data of a run: its name and the fingerprints of its training and validation images."""

    name: str
    train: str
    val: str


class RunIdentity(Record):
    """The part of state.json that does not change during a run."""

    model: ModelIdentity
    preprocess: Preprocess
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    data: DataIdentity
    config_hash: str
    run: str | None = None  # the id of the run that wrote it; None in runs of version 0.1
    module: ModuleIdentity | None = None
    engine: str = "paddle"  # the one that ran the layers: paddle or onednn
    precision: str = "float32"  # of the activations

    @field_validator("preprocess")
    @classmethod
    def preprocess_is_complete(cls, preprocess: Preprocess) -> Preprocess:
        missing = [key for key, value in preprocess if value is None and key != "fit"]
        if missing:
            raise ValueError(f"{missing[0]} is missing")
        return preprocess.model_copy(update={"fit": preprocess.fit or "crop"})  # no other one in version 0.2


class LogPosition(Record):
    """The length and the SHA-256 of metrics.csv at a checkpoint."""

    bytes: Count
    sha256: str


class RunState(Progress, RunIdentity):
    """All of state.json."""

    metrics: LogPosition | None = None  # None in runs of version 0.1
    scaler: dict[str, Any] | None = None  # of the loss scaling with float16
    failed_checks: tuple[tuple[int, int, int, tuple[int, ...]], ...] = ()  # layers left to Paddle: onednn/engine.py
