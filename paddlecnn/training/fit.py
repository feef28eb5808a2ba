"""The training loop."""
from __future__ import annotations

import math
import signal

import numpy as np

from paddlecnn import distributed
from paddlecnn.data.pipeline.loader import Loader
from paddlecnn.errors import UserError
from paddlecnn.evaluation.metrics import predict_logits, score
from paddlecnn.training.interrupt import StopRequest
from paddlecnn.training.logger import Recorder
from paddlecnn.training.profile import StepProfiler
from paddlecnn.training.progress import Progress
from paddlecnn.training.state import Learner


class TrainingStopped(UserError):
    """Training ended before its last epoch, by a signal; a checkpoint is written."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class LossNotFinite(UserError):
    """The loss became NaN or infinite; no checkpoint holds what came of it."""


def fit(learner: Learner, train: Loader, val: Loader, progress: Progress, recorder: Recorder,
        stop: StopRequest, phases: StepProfiler) -> None:
    """Train from where `progress` stands to the end of the run."""
    while not progress.finished:
        stopping = train_epoch(learner, train, progress, recorder, stop, phases)
        with learner.weights_for_prediction() as model:
            scores = score(predict_logits(model, val, "validation"), val.dataset.labels)
        check_finite(scores.loss, "validation loss", progress, recorder)
        is_best = progress.end_epoch(scores, learner.config.train)
        recorder.end_epoch(scores, is_best)
        if stopping and not progress.finished:
            raise stopped(progress, recorder, stop)
    if phases.left and phases.stop():  # the run had fewer steps than were to be profiled
        recorder.say(phases.table())


def train_epoch(learner: Learner, train: Loader, progress: Progress, recorder: Recorder,
                stop: StopRequest, phases: StepProfiler) -> bool:
    """The rest of the epoch that `progress` stands in. Returns whether a signal came during its last step."""
    learner.model.train()
    bar = recorder.epoch_bar(len(train))
    batches = train.epoch(progress.epoch, start=progress.step_in_epoch)
    stopping = False
    while progress.step_in_epoch < len(train):
        with phases("data"):
            batch = next(batches)
        lr = progress.lr = learner.optimizer.get_lr()
        size = images_in_step(train, progress.step_in_epoch)
        result = learner.step(batch, progress.step, size, recorder.is_logging(progress.step + 1), phases)
        with phases("logging"):
            progress.end_step(*agree_on(result.loss, result.correct, result.images))
            check_finite(progress.this_epoch.loss, "loss", progress, recorder)
            recorder.log_step(lr, result.grad_norm, size, bar)
        if phases.end_step():
            recorder.say(phases.table())
        stopping, saving = map(bool, agree_on(stop.signal_number, recorder.wants_checkpoint()))
        if (stopping or saving) and progress.step_in_epoch < len(train):  # an epoch's end saves anyway
            # The loss of this step was finite, but its update need not have been.
            check_finite(learner.largest_weight(), "largest weight", progress, recorder)
            recorder.save()
            if stopping:
                bar.close()
                raise stopped(progress, recorder, stop)
    bar.close()
    return stopping


def agree_on(*values: float) -> list[float]:
    """The sums over all processes, so that all see one loss and stop or save at one step."""
    return distributed.all_reduce_sum(np.array(values, np.float64)).tolist()


def images_in_step(loader: Loader, step: int) -> int:
    """Images in a step over all processes; an epoch's last step may have fewer."""
    return min(loader.batch_size, len(loader.dataset) - step * loader.batch_size)


def check_finite(value: float, name: str, progress: Progress, recorder: Recorder) -> None:
    """Raise LossNotFinite, before anything of it is saved, where a value is NaN or infinite."""
    if math.isfinite(value):
        return
    last = recorder.last_checkpoint()
    raise LossNotFinite(
        f"{recorder.run.path}: the {name} is {value} at step {progress.step} (epoch {progress.epoch + 1}), learning "
        f"rate {progress.lr:g}; lower optim.lr, add warm-up (optim.schedule.warmup) or optim.clip_norm. "
        f"{f'The last sound checkpoint is {last}' if last else 'No checkpoint was written yet'}")


def stopped(progress: Progress, recorder: Recorder, stop: StopRequest) -> TrainingStopped:
    """The error that ends a run on a signal."""
    number = stop.signal_number or signal.SIGTERM  # another process of the job may be the one that got it
    return TrainingStopped(f"stopped at step {progress.step:,}, with a checkpoint; the same command with "
                           f"--run {recorder.run.path} --resume goes on from there", exit_code=128 + number)
