"""The rules for saving and stopping a run, and the checkpoint from which it resumes."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from paddlecnn import distributed
from paddlecnn.config import CheckpointConfig, Config
from paddlecnn.configfile import differences
from paddlecnn.errors import RunError, UserError
from paddlecnn.runs.checkpoint import Checkpoint, latest_valid, newest_first, restore_best, save_checkpoint
from paddlecnn.runs.config_dir import ConfigDir
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.runs.state import LogPosition, RunIdentity, RunState
from paddlecnn.training.setup import TrainingSetup
from paddlecnn.training.state import TrainState

logger = logging.getLogger(__name__)

# Keys that change where or how fast a run computes, but not its result; `is_neutral` knows two exceptions.
MAY_CHANGE = (
    "data.root",
    "data.workers",
    "data.cache",
    "train.checkpoint.",
    "train.feature_cache",
    "train.report",
    "model.module",
    "model.weights_dir",
)
EXTENDABLE = (
    "train.epochs",
    "train.early_stop",
    "optim.schedule",
    "train.engine",
    "train.precision",
    "train.feature_cache",
    "data.cache",
)


class StopRequest:
    """The number of the signal that asked to stop; 0 if there was none."""

    signal_number = 0


class TrainingStopped(UserError):
    """Training ended before its last epoch, by a signal."""

    def __init__(self, message: str, stop: StopRequest) -> None:
        super().__init__(message)
        # Without a signal here, another process of the job has received it.
        self.exit_code = 128 + (stop.signal_number or signal.SIGTERM)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Record the first SIGINT or SIGTERM within this context; a second one has its usual effect."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: object) -> None:
        request.signal_number = number
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()


class Checkpointer:
    """Saves a run: at the end of each epoch, by the rules of `train.checkpoint`, and at a stop. Process 0 writes."""

    def __init__(self, run: RunDir, config: CheckpointConfig, identity: RunIdentity) -> None:
        self.run, self.folder = run, run.checkpoints
        self.config = config
        self.identity = identity.model_copy(update={"run": run.id})
        self.stop = StopRequest()
        self.saved_at = self.counted_from = time.perf_counter()

    def is_due_by_step(self, step: int) -> bool:
        """Whether a checkpoint is due by the number of steps: the same in all processes."""
        return self.config.every_steps is not None and step % self.config.every_steps == 0

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint inside an epoch is due. Process 0 decides, because clocks differ."""
        by_clock = (
            self.config.every_minutes is not None
            and time.perf_counter() - self.saved_at >= self.config.every_minutes * 60
        )
        return distributed.rank() == 0 and (self.is_due_by_step(step) or by_clock)

    def save(self, state: TrainState, metrics: LogPosition | None, is_best: bool = False) -> None:
        """Write a checkpoint of the current state; `metrics` is the end of metrics.csv. Returns when it is on disk."""
        now = time.perf_counter()
        state.progress.seconds += now - self.counted_from
        self.counted_from = self.saved_at = now
        if distributed.rank() == 0:
            save_checkpoint(self.folder, state.checkpoint(self.identity, metrics), keep=self.config.keep, best=is_best)
            self.run.drop_initial()

    def latest(self) -> Path | None:
        """The newest checkpoint of the run so far; None if there is none."""
        return next(newest_first(self.folder), None)


def checkpoint_to_resume(run: RunDir) -> Checkpoint | None:
    """The newest valid checkpoint; newer ones that are damaged are reported. None if none was written yet."""
    if distributed.rank() == 0:
        restore_best(run.checkpoints)
    distributed.wait_for_all()
    checkpoint, folder, damaged = latest_valid(run.checkpoints)
    if damaged and checkpoint is None:
        raise RunError(f"{damaged[0]}; no valid checkpoint is left, so there is nothing to resume")
    for line in damaged:
        logger.warning("%s; resuming from %s", line, folder)
    if checkpoint is None or folder is None:
        logger.info("%s: no checkpoint yet; starting from the beginning", run.path)
    else:
        run.check_own(checkpoint.state, folder)
    return checkpoint


def check_same_config(run: ConfigDir, config: Config, extend: Sequence[str]) -> None:
    """Raise RunError, naming the keys, if `config` is another experiment than the run's own.

    The keys in `extend` may differ, and engine auto is the run's own engine. An edit of the run's config.yaml since the
    run was created is refused, too.
    """
    forbidden = [key for key in extend if not key.startswith(EXTENDABLE)]
    if forbidden:
        raise RunError(
            f"--extend {forbidden[0]}: only {', '.join(EXTENDABLE)} can be extended; "
            "anything else is another experiment: train it as a new run"
        )
    edited = list_differences(run.recorded_config() or run.config, run.config, extend)
    if edited:
        raise RunError(
            f"{run.path}/{run.CONFIG}: edited since the run was trained, in {edited}; undo the change, extend the run "
            "on purpose with --extend KEY=VALUE (in Python: extend=), or train a new run"
        )
    differing = list_differences(run.config, config, extend)
    if differing:
        raise RunError(
            f"{run.path}: the config differs from the run's in {differing}; resume with the run's own "
            "config, extend the run on purpose with --extend KEY=VALUE (in Python: extend=), or train a new run"
        )


def list_differences(run: Config, now: Config, extend: Sequence[str]) -> str:
    """The keys that make two configs different experiments, with both values; empty if there are none."""
    return "; ".join(
        f"{key} ({old!r} in the run, {new!r} now)"
        for key, old, new in differences(run, now)
        if not key.startswith(tuple(extend)) and not is_neutral(key, old, new, now)
    )


def is_neutral(key: str, old: object, new: object, config: Config) -> bool:
    """Whether a change of this key leaves the result of the run as it is."""
    if key == "data.cache":  # these two then cut from the cached square instead of the whole image
        augment = config.data.augment
        return not (augment.random_resized_crop or augment.scale) or None not in (old, new)
    if key == "train.feature_cache":  # cached features are rounded to float16
        return config.model.freeze == "none" or "off" not in (old, new)
    return key.startswith(MAY_CHANGE) or (key, new) == ("train.engine", "auto")


def check_same_setup(run: RunDir, saved: RunState, setup: TrainingSetup, extend: Sequence[str]) -> None:
    """Raise RunError for other data, for fewer steps than have been trained and, unless `extend` names it, for another
    engine or precision."""
    now = setup.identity
    if saved.data != now.data:
        raise RunError(
            f"{run.path}: the images or labels in {setup.config.data.root} are not those that the run was trained "
            "on; resume with its own data, or train a new run"
        )
    total = len(setup.train) * setup.config.train.epochs
    if saved.step > total or (saved.step == total and "train.epochs" in extend and not saved.finished):
        raise RunError(
            f"{run.path}: has trained {saved.step:,} steps already, but train.epochs={setup.config.train.epochs} has "
            f"{total:,}; set more epochs"
        )
    engines = (saved.engine, saved.precision), (now.engine, now.precision)
    if len(set(engines)) > 1 and not any(key in ("train.engine", "train.precision") for key in extend):
        raise RunError(
            f"{run.path}: was trained by engine {saved.engine} in {saved.precision}, but here engine "
            f"{now.engine} in {now.precision} would continue it; change it on purpose with "
            f"--extend train.engine={now.engine} (in Python: extend=)"
        )
