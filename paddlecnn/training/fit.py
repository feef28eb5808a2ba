"""The training loop."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable

import paddle

from paddlecnn import distributed
from paddlecnn.data.pipeline.loader import Loader
from paddlecnn.data.pipeline.prefetch import one_ahead
from paddlecnn.errors import UserError
from paddlecnn.evaluation.metrics import predict_logits, score
from paddlecnn.runs.state import EpochRecord, Scores
from paddlecnn.training.checkpointer import Checkpointer, TrainingStopped
from paddlecnn.training.logger import MetricLogger
from paddlecnn.training.state import StepSums, TrainState
from paddlecnn.training.swa import average_epoch

OnEpoch = Callable[[EpochRecord], object]


class LossNotFinite(UserError):
    """The loss became NaN or infinite; no checkpoint contains the result."""


def fit(
    state: TrainState,
    train: Loader,
    val: Loader,
    logger: MetricLogger,
    checkpointer: Checkpointer,
    on_epoch: OnEpoch | None = None,
) -> None:
    """Train from the current progress to the end of the run.

    on_epoch: called in each process with the record of an epoch, once its checkpoint is on disk: what it raises ends
        the training with nothing lost
    """
    progress, config = state.progress, state.config.train
    min_delta = config.early_stop.min_delta if config.early_stop else 0.0
    while not progress.finished:
        started, done_before = time.perf_counter(), progress.this_epoch.images
        stopping = train_epoch(state, train, logger, checkpointer)
        images = progress.this_epoch.images
        # If the epoch was resumed in the middle, the speed since then is taken for all its images.
        speed = (images - done_before) / (time.perf_counter() - started)
        # No loss of training has seen the last update, and a finite one proves little: ReLU turns NaN into 0.
        check_finite(state.largest_weight(), "largest weight", state, checkpointer)
        average_epoch(state, train)
        scores = validate(state, val)
        if scores:
            check_finite(scores.loss, "validation loss", state, checkpointer)
        record = EpochRecord(
            epoch=progress.epoch + 1,
            step=progress.step,
            train=progress.this_epoch.means,
            val=scores,
            lr=progress.lr,
            seconds=images / speed,
            images_per_second=speed,
        )
        is_best = progress.end_epoch(record, config.monitor, min_delta)
        stop_early = config.early_stop is not None and progress.epochs_since_best >= config.early_stop.patience
        progress.finished = stop_early or progress.epoch >= config.epochs
        logger.log_epoch(record, state.model)
        checkpointer.save(state, logger.position(), is_best)
        logger.report_epoch(record, is_best, time.perf_counter() - started)
        if on_epoch:
            on_epoch(record)
        if stopping and not progress.finished:
            raise stopped(state, checkpointer)
    state.profiler.finish()


def validate(state: TrainState, val: Loader) -> Scores | None:
    """The scores on the validation images; None if there are none."""
    if not len(val):
        return None
    assert val.dataset.labels is not None  # validation images are a part of the labelled ones
    with state.weights_for_prediction() as model:
        return score(predict_logits(model, val, "validation", state.engine.autocast), val.dataset.labels)


def train_epoch(state: TrainState, loader: Loader, logger: MetricLogger, checkpointer: Checkpointer) -> bool:
    """Train the rest of the current epoch. Returns whether a signal asked to stop during its last step.

    Losses are summed on the device. The host waits for the device only where it needs the numbers: at a logged
    step, at a checkpoint and at the end of the epoch. With several processes a signal takes effect only there.
    """
    state.model.train()
    progress, profiler = state.progress, state.profiler
    batches = one_ahead(loader.epoch(progress.epoch, start=progress.step_in_epoch))
    sums, images, stopping = StepSums(), 0, False
    with logger.epoch_bar(progress, len(loader)) as bar, contextlib.closing(batches):
        while progress.step_in_epoch < len(loader):
            with profiler("data"):
                batch = next(batches)
            # Over all processes; the last step of an epoch may have fewer.
            size = min(loader.batch_size, len(loader.dataset) - progress.step_in_epoch * loader.batch_size)
            is_logged = logger.is_logged(progress.step + 1)
            norm = state.step(batch, size, sums, want_norm=is_logged)
            images += size
            is_end = progress.step_in_epoch == len(loader)
            asked = checkpointer.stop.signal_number or checkpointer.is_due(progress.step)
            alone = asked and distributed.world_size() == 1
            with profiler("logging"):
                bar.update()
                if is_logged or is_end or checkpointer.is_due_by_step(progress.step) or alone:
                    stopping, saving = read_sums(state, sums, images, checkpointer)
                    sums, images = StepSums(), 0
                    if is_logged:
                        logger.log_step(progress, norm, bar)
                    if (stopping or saving) and not is_end:  # the end of an epoch saves anyway
                        # The loss of this step was finite, but its update may not be.
                        check_finite(state.largest_weight(), "largest weight", state, checkpointer)
                        checkpointer.save(state, logger.position())
                        if stopping:
                            raise stopped(state, checkpointer)
            profiler.end_step()
    return stopping


def read_sums(state: TrainState, sums: StepSums, images: int, checkpointer: Checkpointer) -> tuple[bool, bool]:
    """Add the sums of the last steps, over all processes, to the progress: one collective, one read from the device.

    Returns whether any process was asked to stop, and whether a checkpoint is due. Raises LossNotFinite.
    """
    flags = [float(checkpointer.stop.signal_number), float(checkpointer.is_due(state.progress.step))]
    values = paddle.concat([paddle.stack([sums.loss, sums.correct]), paddle.to_tensor(flags, "float64")])
    loss, correct, stopping, saving = distributed.all_reduce_sum(values).numpy().tolist()
    check_finite(loss, "loss", state, checkpointer)
    state.progress.since_log.add(loss, int(correct), images)
    state.progress.this_epoch.add(loss, int(correct), images)
    return bool(stopping), bool(saving)


def check_finite(value: float, name: str, state: TrainState, checkpointer: Checkpointer) -> None:
    """Raise LossNotFinite, before anything is saved, if a value is NaN or infinite."""
    if math.isfinite(value):
        return
    latest, progress = checkpointer.latest(), state.progress
    raise LossNotFinite(
        f"{checkpointer.folder.parent}: the {name} is {value} at step {progress.step} (epoch {progress.epoch + 1}), "
        f"learning rate {progress.lr:g}; lower optim.lr, add warm-up (optim.schedule.warmup) or optim.clip_norm. "
        f"{f'The last valid checkpoint is {latest}' if latest else 'No checkpoint has been written yet'}"
    )


def stopped(state: TrainState, checkpointer: Checkpointer) -> TrainingStopped:
    return TrainingStopped(f"stopped at step {state.progress.step:,} with a checkpoint", checkpointer.stop)
