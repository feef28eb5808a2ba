"""One training step: forward, backward, update. And what of it a checkpoint must hold."""
from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import paddle
import paddle.nn.functional as F

from paddlecnn import distributed
from paddlecnn.config import Config
from paddlecnn.data.pipeline.loader import Batch
from paddlecnn.randomness import random_seed
from paddlecnn.runs.checkpoint import Arrays, Checkpoint
from paddlecnn.training.optim import build_optimizer, build_schedule, load_optimizer_arrays, optimizer_arrays
from paddlecnn.training.profile import StepProfiler

RAW = "raw/"  # in optimizer.safetensors: the weights being trained, where model.safetensors holds their average


@dataclass(frozen=True)
class StepResult:
    """Sums over the images of one step that this process computed."""

    loss: float
    correct: int
    images: int
    grad_norm: float | None  # Euclidean norm of all gradients before clipping; None where nobody asked


class Learner:
    """A model with all that changes it: optimizer, schedule, loss scaling, moving average.

    Equal (config, weights, step number, batch) give an equal update, whatever ran before in the process.
    """

    def __init__(self, model: paddle.nn.Layer, config: Config, steps_per_epoch: int, done: int = 0) -> None:
        self.model = model
        self.config = config
        self.schedule = build_schedule(config.optim, steps_per_epoch, config.train.epochs, done)
        self.optimizer = build_optimizer(model, config.optim, self.schedule)
        self.parallel_model = distributed.wrap(model)
        self.trained = [parameter for parameter in model.parameters() if not parameter.stop_gradient]
        on_gpu = paddle.get_device().startswith("gpu")
        self.amp = config.train.amp if on_gpu else "off"
        self.scaler = paddle.amp.GradScaler() if self.amp == "float16" else None
        self.average = self.copy_weights() if config.train.ema else None

    def step(self, batch: Batch, number: int, batch_size: int, want_norm: bool, phases: StepProfiler) -> StepResult:
        """Update the weights with this process's share of a batch of `batch_size` images."""
        loss_sum, correct = 0.0, 0
        parts = split(batch, self.config.train.accumulate)
        for index, part in enumerate(parts):
            # Each process and each part draws its own dropout masks.
            paddle.seed(random_seed(self.config.seed, "dropout", number, index, distributed.rank()))
            with self.gradients_kept_local(is_last=index == len(parts) - 1):
                with phases("forward"), self.autocast():
                    logits = self.parallel_model(part.images)
                    loss = loss_of(logits, part, self.config.train.label_smoothing)
                with phases("backward"):
                    # DataParallel takes the mean over processes; the gradient wanted is that of the batch's mean loss.
                    share = loss * (distributed.world_size() / batch_size)
                    (self.scaler.scale(share) if self.scaler else share).backward()
            loss_sum += loss.item()
            correct += int((logits.argmax(axis=1) == part.labels).sum().item())
        with phases("optimizer"):
            norm = self.update(want_norm)
        return StepResult(loss_sum, correct, sum(len(part.indices) for part in parts), norm)

    def update(self, want_norm: bool) -> float | None:
        """Clip, step, move the average and the schedule. Returns the gradients' norm where it was computed."""
        clip = self.config.optim.clip_norm
        if self.scaler:
            self.scaler.unscale_(self.optimizer)
        norm = gradient_norm(self.trained) if want_norm or clip else None
        if clip and norm > clip:
            with paddle.no_grad():
                for parameter in self.trained:
                    parameter.grad.scale_(clip / norm)
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        self.optimizer.clear_grad()
        self.schedule.step()
        if self.average is not None:
            self.move_average()
        return norm

    def largest_weight(self) -> float:
        """The largest absolute value among the trained weights; NaN or infinite where any of them is."""
        return float(np.max([parameter.abs().max().item() for parameter in self.trained]))

    def autocast(self) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext() if self.amp == "off" else paddle.amp.auto_cast(dtype=self.amp)

    def gradients_kept_local(self, is_last: bool) -> contextlib.AbstractContextManager:
        """Gradients cross the processes once a step: with the last part."""
        if is_last or distributed.world_size() == 1:
            return contextlib.nullcontext()
        return self.parallel_model.no_sync()

    def copy_weights(self) -> dict[str, paddle.Tensor]:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def move_average(self) -> None:
        """average = decay * average + (1 - decay) * weights; statistics of batch norm are copied as they are."""
        decay = self.config.train.ema
        trained = {parameter.name for parameter in self.trained}
        with paddle.no_grad():
            for name, value in self.model.state_dict().items():
                if value.name in trained:
                    self.average[name].scale_(decay).add_(value.detach() * (1 - decay))
                else:
                    self.average[name] = value.detach().clone()

    @contextlib.contextmanager
    def weights_for_prediction(self) -> Iterator[paddle.nn.Layer]:
        """The model with the averaged weights in it, where an average is kept; the raw ones come back after."""
        if self.average is None:
            yield self.model
            return
        raw = self.copy_weights()
        self.model.set_state_dict(self.average)
        try:
            yield self.model
        finally:
            self.model.set_state_dict(raw)

    def arrays(self) -> tuple[Arrays, Arrays]:
        """The arrays of model.safetensors and of optimizer.safetensors."""
        raw = {name: value.numpy() for name, value in self.model.state_dict().items()}
        of_optimizer = optimizer_arrays(self.model, self.optimizer)
        if self.average is None:
            return raw, of_optimizer
        of_optimizer |= {RAW + name: value for name, value in raw.items()}
        return {name: value.numpy() for name, value in self.average.items()}, of_optimizer

    def restore(self, checkpoint: Checkpoint) -> None:
        """Stand where the checkpoint stood. The learner must not have stepped yet."""
        raw = {name.removeprefix(RAW): value for name, value in checkpoint.optimizer.items() if name.startswith(RAW)}
        if self.average is not None:
            self.average = {name: paddle.to_tensor(value) for name, value in checkpoint.model.items()}
        self.model.set_state_dict(raw or checkpoint.model)
        rest = {name: value for name, value in checkpoint.optimizer.items() if not name.startswith(RAW)}
        load_optimizer_arrays(self.model, self.optimizer, self.schedule, rest)
        if self.scaler and checkpoint.state.get("scaler"):
            self.scaler.load_state_dict(checkpoint.state["scaler"])

    def scaler_state(self) -> dict | None:
        """The loss scaling's state as plain values; None without it."""
        if self.scaler is None:
            return None
        return {name: value.item() if hasattr(value, "item") else value
                for name, value in self.scaler.state_dict().items()}


def loss_of(logits: paddle.Tensor, batch: Batch, smoothing: float) -> paddle.Tensor:
    """The sum over the batch of the cross-entropy, in nats, float32 in mixed precision too."""
    logits = logits.astype("float32")
    if batch.soft_labels is None and not smoothing:
        return F.cross_entropy(logits, batch.labels, reduction="sum")
    targets = batch.soft_labels
    if targets is None:
        targets = F.one_hot(batch.labels, logits.shape[1])
    if smoothing:
        targets = F.label_smooth(targets, epsilon=smoothing)
    return F.cross_entropy(logits, targets, soft_label=True, reduction="sum")


def split(batch: Batch, parts: int) -> list[Batch]:
    """The batch in at most `parts` pieces, none of them empty."""
    size = math.ceil(len(batch.indices) / parts)
    return [batch] if parts == 1 else [
        Batch(batch.images[i:i + size], batch.labels[i:i + size], batch.indices[i:i + size],
              None if batch.soft_labels is None else batch.soft_labels[i:i + size])
        for i in range(0, len(batch.indices), size)]


def gradient_norm(parameters: list[paddle.Tensor]) -> float:
    """The Euclidean norm of all gradients together.

    A product of a vector with itself goes to the math library; on a CPU it is far faster than Paddle's own norms
    and clipping, which would take longer than the update itself (`--profile` shows it).
    """
    total = 0.0
    for parameter in parameters:
        flat = parameter.grad.flatten()
        total += paddle.matmul(flat, flat).item()
    return math.sqrt(total)
