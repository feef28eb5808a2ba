"""Where a run stands: small enough to read, and all that a resume needs beside the weights."""
from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from paddlecnn.config import TrainConfig
from paddlecnn.evaluation.metrics import Scores


@dataclass
class RunningMean:
    """Running sums over images."""

    loss: float = 0.0
    correct: int = 0
    images: int = 0

    def add(self, loss: float, correct: int, images: int) -> None:
        self.loss += loss
        self.correct += correct
        self.images += images

    @property
    def means(self) -> dict[str, float]:
        """Mean loss and top-1."""
        count = max(self.images, 1)
        return {"loss": self.loss / count, "top1": self.correct / count}


@dataclass
class Progress:
    """Counts are of what is done: epoch 0, step 0 is a run that has not begun."""

    epoch: int = 0
    step: int = 0
    step_in_epoch: int = 0
    best: dict[str, Any] | None = None  # {epoch, step, n, loss, top1} of the best validation so far
    epochs_since_best: int = 0
    finished: bool = False
    since_log: RunningMean = field(default_factory=RunningMean)
    this_epoch: RunningMean = field(default_factory=RunningMean)
    history: list[dict[str, Any]] = field(default_factory=list)  # one entry an epoch
    seconds: float = 0.0  # of training, all sessions together
    lr: float = 0.0  # learning rate of the last step

    def end_step(self, loss: float, correct: int, images: int) -> None:
        """Count a step by its sums over all processes."""
        self.step += 1
        self.step_in_epoch += 1
        self.since_log.add(loss, correct, images)
        self.this_epoch.add(loss, correct, images)

    def end_epoch(self, scores: Scores, config: TrainConfig) -> bool:
        """Count an epoch and its validation; True where it is the best so far."""
        self.epoch += 1
        entry = {"epoch": self.epoch, "step": self.step, "train": self.this_epoch.means,
                 "val": dataclasses.asdict(scores)}
        self.history.append(entry)
        min_delta = config.early_stop.min_delta if config.early_stop else 0.0
        is_best = self.best is None or gain(scores, self.best, config.monitor) > 0
        is_progress = self.best is None or gain(scores, self.best, config.monitor) > min_delta
        if is_best:
            self.best = {"epoch": self.epoch, "step": self.step, **entry["val"]}
        self.epochs_since_best = 0 if is_progress else self.epochs_since_best + 1
        stop_early = config.early_stop is not None and self.epochs_since_best >= config.early_stop.patience
        self.finished = stop_early or self.epoch >= config.epochs
        self.step_in_epoch = 0
        self.since_log, self.this_epoch = RunningMean(), RunningMean()
        return is_best

    def to_state(self) -> dict[str, Any]:
        """Plain values, for state.json. Floats come back from JSON to the bit."""
        return dataclasses.asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Progress:
        known = {item.name: state[item.name] for item in dataclasses.fields(cls)}
        known["since_log"] = RunningMean(**known["since_log"])
        known["this_epoch"] = RunningMean(**known["this_epoch"])
        return cls(**known)


def gain(scores: Scores, best: dict[str, Any], monitor: str) -> float:
    """By how much the scores are better than the best; loss counts downwards."""
    if math.isnan(scores.loss):
        return -math.inf
    return best["loss"] - scores.loss if monitor == "loss" else scores.top1 - best["top1"]
