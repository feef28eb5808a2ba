"""`TrainState`: everything that a training step changes, and the step itself."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import paddle

from paddlecnn import distributed
from paddlecnn.config import Config
from paddlecnn.data.pipeline.loader import Batch
from paddlecnn.models.freezing import is_frozen
from paddlecnn.onednn import Engine, failed_checks, restore_failed_checks
from paddlecnn.randomness import random_seed
from paddlecnn.runs.checkpoint import Arrays, Checkpoint, set_weights
from paddlecnn.runs.state import LogPosition, Progress, RunIdentity, RunState
from paddlecnn.training.loss import summed_cross_entropy
from paddlecnn.training.momentum import move_average
from paddlecnn.training.optim import (
    build_optimizer,
    build_schedule,
    clip_gradients,
    gradient_norm,
    load_optimizer_arrays,
    optimizer_arrays,
    trained_parameters,
)
from paddlecnn.training.profile import StepProfiler
from paddlecnn.training.statistics import share_statistics

RAW = "raw/"  # in optimizer.safetensors: the weights being trained, if model.safetensors holds their average


@dataclass
class StepSums:
    """Sums over the images of a step or of several, on the device: reading them is left to the caller."""

    loss: paddle.Tensor = field(default_factory=lambda: paddle.zeros([], "float64"))
    correct: paddle.Tensor = field(default_factory=lambda: paddle.zeros([], "float64"))

    def add(self, loss: paddle.Tensor, correct: paddle.Tensor) -> None:
        self.loss = self.loss + loss.detach().astype("float64")
        self.correct = self.correct + correct.astype("float64")


class TrainState:
    """Model, optimizer, schedule, loss scaling, moving average and progress.

    Equal (config, weights, step number, batch) give an equal update, whatever ran earlier in the process.
    """

    def __init__(
        self,
        model: paddle.nn.Layer,
        config: Config,
        steps_per_epoch: int,
        checkpoint: Checkpoint | None = None,
        trained: paddle.nn.Layer | None = None,
        engine: Engine | None = None,
        class_weights: np.ndarray | None = None,
    ) -> None:
        """A new state, or the one that `checkpoint` saved. Raises CheckpointError if its weights do not fit the model.

        trained: the layers of the model that a batch runs through, if not all
        engine: what runs the layers; by default, Paddle in float32
        class_weights: float32 [C], of the loss (`loss.class_weights`)
        """
        self.model = model
        self.layers = trained or model
        self.config = config
        self.progress = progress_of(checkpoint)
        done, history = self.progress.step, self.progress.history
        self.schedule = build_schedule(config.optim, steps_per_epoch, config.train.epochs, done, history)
        self.optimizer = build_optimizer(model, config.optim, self.schedule)
        self.parallel_model = distributed.wrap(self.layers)
        self.trained = [parameter for _, parameter in trained_parameters(model, config.optim)]
        self.engine = engine or Engine()
        self.class_weights = None if class_weights is None else paddle.to_tensor(class_weights)
        self.scaler = paddle.amp.GradScaler() if self.engine.precision == "float16" else None
        self.average = copy_of(model) if config.train.ema else None
        self.profiler = StepProfiler()
        if checkpoint:
            self.restore(checkpoint)

    def step(self, batch: Batch, batch_size: int, sums: StepSums, *, want_norm: bool = False) -> paddle.Tensor | None:
        """Update the weights with this process's share of a batch of `batch_size` images.

        Adds the loss and the number of correct predictions to `sums`. Returns the Euclidean norm of all gradients
        before clipping, a tensor on the device, if it was computed.
        """
        parts = split(batch, self.config.train.accumulate)
        for index, part in enumerate(parts):
            # Each process and each part has dropout masks of its own.
            paddle.seed(random_seed(self.config.seed, "dropout", self.progress.step, index, distributed.rank()))
            with self.gradients_kept_local(is_last=index == len(parts) - 1):
                with self.profiler("forward"), self.engine.autocast():
                    logits = self.parallel_model(part.images)
                    loss = summed_cross_entropy(logits, part, self.config.train.label_smoothing, self.class_weights)
                with self.profiler("backward"):
                    # DataParallel averages over processes; the gradient wanted is that of the batch's mean loss.
                    scaled = loss * (distributed.world_size() / batch_size)
                    (self.scaler.scale(scaled) if self.scaler else scaled).backward()
            sums.add(loss, (logits.argmax(axis=1) == part.labels).sum())
        with self.profiler("optimizer"):
            share_statistics(self.layers)
            norm = self.update(want_norm)
        self.progress.step += 1
        self.progress.step_in_epoch += 1
        return norm

    def update(self, want_norm: bool) -> paddle.Tensor | None:
        """Clip, step, and advance the average and the schedule. Returns the gradients' norm if it was computed."""
        clip = self.config.optim.clip_norm
        self.progress.lr = self.optimizer.get_lr()
        if self.scaler:
            self.scaler.unscale_(self.optimizer)
        norm = gradient_norm(self.trained) if want_norm or clip else None
        if clip and norm is not None:
            clip_gradients(self.optimizer, self.trained, norm, clip)
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        # Including those with a rate of 0, which the optimizer does not have. To None, not to zeros: a parameter that
        # the next batch does not reach is then left alone, as after a resume.
        for parameter in self.model.parameters():
            parameter.clear_gradient(False)  # by position: Paddle ignores the keyword
        self.schedule.step()
        if self.average is not None and self.config.train.ema:
            self.move_average(self.average, self.config.train.ema)
        return norm

    def gradients_kept_local(self, is_last: bool) -> contextlib.AbstractContextManager[Any]:
        """A context in which processes exchange gradients only for the last part, so once per step."""
        if is_last or distributed.world_size() == 1:
            return contextlib.nullcontext()
        return self.parallel_model.no_sync()

    def move_average(self, average: dict[str, paddle.Tensor], decay: float) -> None:
        """average = decay * average + (1 - decay) * weights; running statistics of batch norm are copied."""
        trained = {parameter.name for parameter in self.trained}
        layers = self.model.sublayers(include_self=True)
        frozen = {p.name for layer in layers if is_frozen(layer) for p in layer.parameters(include_sublayers=False)}
        with paddle.no_grad():
            for name, value in self.model.state_dict().items():
                if value.name in trained:
                    move_average(average[name], value, decay)
                elif value.name not in frozen:
                    average[name] = value.detach().clone()

    @contextlib.contextmanager
    def weights_for_prediction(self) -> Iterator[paddle.nn.Layer]:
        """The layers that a batch runs through; within the context they have the averaged weights, if any."""
        if self.average is None:
            yield self.layers
            return
        raw = copy_of(self.model)
        self.model.set_state_dict(self.average)
        try:
            yield self.layers
        finally:
            self.model.set_state_dict(raw)

    def largest_weight(self) -> float:
        """The largest absolute value among the trained weights; NaN or infinite if any of them is."""
        return float(paddle.stack([parameter.abs().max() for parameter in self.trained]).max().numpy())

    def checkpoint(self, identity: RunIdentity, metrics: LogPosition | None) -> Checkpoint:
        """Everything that a resume or a prediction needs, as arrays and plain values."""
        model = {name: value.numpy() for name, value in self.model.state_dict().items()}
        optimizer = optimizer_arrays(self.model, self.optimizer)
        if self.average is not None:
            optimizer |= {RAW + name: value for name, value in model.items()}
            model = {name: value.numpy() for name, value in self.average.items()}
        scaler: Any = self.scaler.state_dict() if self.scaler else None
        if scaler:
            scaler["scale"] = np.atleast_1d(scaler["scale"]).tolist()  # Paddle indexes it at a resume
        failed = failed_checks(self.layers)
        state = RunState(**dict(identity), **dict(self.progress), metrics=metrics, scaler=scaler, failed_checks=failed)
        return Checkpoint(model, optimizer, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Load weights, average, optimizer and loss scaling. No step may have been taken before."""
        saved = checkpoint.optimizer
        raw: Arrays = {name.removeprefix(RAW): value for name, value in saved.items() if name.startswith(RAW)}
        if raw or self.average is not None:
            self.average = {name: paddle.to_tensor(value) for name, value in checkpoint.model.items()}
        set_weights(self.model, raw or checkpoint.model, "the checkpoint")
        rest = {name: value for name, value in saved.items() if not name.startswith(RAW)}
        load_optimizer_arrays(self.model, self.optimizer, self.schedule, rest)
        restore_failed_checks(self.layers, checkpoint.state.failed_checks)
        if self.scaler and checkpoint.state.scaler:
            scaler: Any = dict(checkpoint.state.scaler)
            scaler["scale"] = np.atleast_1d(scaler["scale"])  # version 0.1: a float
            self.scaler.load_state_dict(scaler)


def progress_of(checkpoint: Checkpoint | None) -> Progress:
    """The progress that a checkpoint saved; without one, that of a new run."""
    if checkpoint is None:
        return Progress()
    return Progress(**{name: getattr(checkpoint.state, name) for name in Progress.model_fields})


def copy_of(model: paddle.nn.Layer) -> dict[str, paddle.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def split(batch: Batch, parts: int) -> list[Batch]:
    """The batch in at most `parts` pieces; a process without a share of a short batch gets one empty piece."""
    if parts == 1 or not len(batch.indices):
        return [batch]
    assert batch.labels is not None  # training images have labels
    size = math.ceil(len(batch.indices) / parts)
    pieces = []
    for start in range(0, len(batch.indices), size):
        rows = slice(start, start + size)
        soft: Any = None if batch.soft_labels is None else batch.soft_labels[rows]
        pieces.append(Batch(batch.images[rows], batch.labels[rows], batch.indices[rows], soft))
    return pieces
