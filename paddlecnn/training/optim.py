"""The optimizer, the learning-rate schedule and gradient clipping of a config, built on `paddle.optimizer`."""

from __future__ import annotations

import logging
import math
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import paddle
from paddle.optimizer import lr as schedules

from paddlecnn.config import Config, Constant, Cosine, Custom, Exponential, MultiStep, OneCycle, OptimConfig, Step
from paddlecnn.errors import ConfigError, did_you_mean, user_code
from paddlecnn.runs.checkpoint import Arrays
from paddlecnn.training.momentum import BlockedMomentum, scale_gradients

logger = logging.getLogger(__name__)

NORMS = (paddle.nn.BatchNorm2D, paddle.nn.BatchNorm1D, paddle.nn.LayerNorm, paddle.nn.GroupNorm)


def build_schedule(config: OptimConfig, steps_per_epoch: int, epochs: int, done: int = 0) -> schedules.LRScheduler:
    """The learning rate by step, advanced to step `done`.

    The config counts in epochs; the schedule advances every step. It is replayed to `done`, so a resumed run
    needs no saved schedule and uses exactly the rates of an uninterrupted one.
    """
    schedule = make_schedule(config, steps_per_epoch, steps_per_epoch * epochs)
    for _ in range(done):
        schedule.step()
    return schedule


def make_schedule(config: OptimConfig, steps_per_epoch: int, total: int) -> schedules.LRScheduler:
    """Warm-up is a factor on a schedule whose epochs count from the start of training; a cosine begins after it."""
    spec, lr = config.schedule, config.lr
    if isinstance(spec, OneCycle):
        # Paddle cannot divide a phase of no steps, which a run of a few steps or a short warm-up would have.
        steps = max(total, 4)
        return schedules.OneCycleLR(
            lr,
            steps,
            divide_factor=1 / spec.initial_factor,
            end_learning_rate=spec.final_factor * lr,
            phase_pct=max(spec.warmup_fraction, 2 / steps),
            anneal_strategy="cos" if spec.shape == "cosine" else "linear",
        )
    warmup = round(spec.warmup * steps_per_epoch)
    if isinstance(spec, Cosine):
        main = schedules.CosineAnnealingDecay(lr, max(total - warmup, 1), spec.final_factor * lr)
        return schedules.LinearWarmup(main, warmup, 0.0, lr) if warmup else main
    factor = factor_by_step(spec, steps_per_epoch, total)
    return schedules.LambdaDecay(lr, lambda step: factor(step) * (min(step / warmup, 1) if warmup else 1))


def factor_by_step(
    spec: Constant | Step | MultiStep | Exponential | Custom, steps_per_epoch: int, total: int
) -> Callable[[int], float]:
    """The factor on the learning rate at a step. Raises ConfigError for an unknown function."""
    match spec:
        case Constant():
            return lambda step: 1.0
        case Step():
            size = max(round(spec.step_size * steps_per_epoch), 1)
            return lambda step: spec.gamma ** (step // size)
        case MultiStep():
            milestones = [round(epoch * steps_per_epoch) for epoch in spec.milestones]
            return lambda step: spec.gamma ** bisect_right(milestones, step)
        case Exponential():
            return lambda step: spec.gamma ** (step / steps_per_epoch)
        case Custom():
            function, epochs = custom_schedule(spec.function), total / steps_per_epoch
            # A schedule is also asked for the rate after the last step, which no step uses.
            return lambda step: function(min(step, total - 1) / steps_per_epoch, epochs)


ScheduleFunction = Callable[[float, float], float]
CUSTOM_SCHEDULES: dict[str, ScheduleFunction] = {}


def register_schedule(function: ScheduleFunction) -> ScheduleFunction:
    """Register a schedule under its function's name: factor = function(epoch, epochs), 0 <= epoch < epochs.

    `epoch` is fractional. The learning rate is optim.lr times the factor.
    """
    CUSTOM_SCHEDULES[function.__name__] = function
    return function


def custom_schedule(name: str) -> ScheduleFunction:
    """A registered schedule, whose factors are checked. Raises ConfigError for an unknown name."""
    if name not in CUSTOM_SCHEDULES:
        raise ConfigError(
            f"optim.schedule.function: {name} is not registered by model.module"
            f"{did_you_mean(name, CUSTOM_SCHEDULES) if CUSTOM_SCHEDULES else ''}"
        )

    def checked(epoch: float, epochs: float) -> float:
        call = f"optim.schedule.function: {name}({epoch:g}, {epochs:g})"
        with user_code(call, ConfigError):
            factor = float(CUSTOM_SCHEDULES[name](epoch, epochs))
        if not 0 <= factor < math.inf:
            raise ConfigError(f"{call}: returned {factor:g}; a factor on the learning rate is finite and at least 0")
        return factor

    return checked


def build_optimizer(
    model: paddle.nn.Layer, config: OptimConfig, schedule: schedules.LRScheduler
) -> paddle.optimizer.Optimizer:
    """The optimizer over the parameters that are trained; frozen parameters are left out."""
    groups = parameter_groups(model, config)
    shared: dict[str, Any] = {"learning_rate": schedule, "parameters": groups, "weight_decay": config.weight_decay}
    if config.name == "sgd":
        return paddle.optimizer.SGD(**shared)
    if config.name in ("momentum", "nesterov"):
        return BlockedMomentum(momentum=config.momentum, use_nesterov=config.name == "nesterov", **shared)
    kind = paddle.optimizer.AdamW if config.name == "adamw" else paddle.optimizer.Adam
    return kind(beta1=config.betas[0], beta2=config.betas[1], epsilon=config.eps, **shared)


def check_optimizer(model: paddle.nn.Layer, config: Config, steps_per_epoch: int) -> None:
    """Raise ConfigError for a schedule or an optimizer that cannot be built, before anything is written.

    Warns about a schedule with which nothing is learned.
    """
    total = steps_per_epoch * config.train.epochs
    schedule = make_schedule(config.optim, steps_per_epoch, total)
    if not any(rates(schedule, total)):
        logger.warning(
            "optim.schedule: the learning rate is 0 at every step of this run (%d), so nothing is learned; shorten the "
            "warm-up or train more epochs",
            total,
        )
    parameter_groups(model, config.optim)


def rates(schedule: schedules.LRScheduler, total: int) -> Iterator[float]:
    """The learning rate of each step of a run; the schedule advances with it."""
    for _ in range(total):
        yield schedule()
        schedule.step()


def parameter_groups(model: paddle.nn.Layer, config: OptimConfig) -> list[dict[str, Any]]:
    """Trained parameters, grouped by weight decay and the factor on their learning rate; 0 leaves them out."""
    spared = set() if config.decay_biases_and_norms else biases_and_norms(model)
    names = [name for name, _ in model.named_parameters()]
    for key in config.lr_scale:
        if not any(matches(name, key) for name in names):
            like = next((f": {name.rpartition('.')[0]}" for name in names if f".{key}." in name), "")
            raise ConfigError(
                f"optim.lr_scale: no parameter's name starts with {key!r}; write the layer's full name{like}"
            )
    groups: dict[tuple[float, float], list[paddle.Tensor]] = {}
    for name, parameter in trained_parameters(model, config):
        scale, decay = lr_scale(name, config.lr_scale), 0.0 if name in spared else config.weight_decay
        groups.setdefault((scale, decay if config.lr_scale_decay else decay / scale), []).append(parameter)
    if not groups:
        raise ConfigError("model.freeze, optim.lr_scale: nothing is left to train")
    return [
        {"params": parameters, "learning_rate": scale, "weight_decay": decay}
        for (scale, decay), parameters in groups.items()
    ]


def trained_parameters(model: paddle.nn.Layer, config: OptimConfig) -> list[tuple[str, paddle.Tensor]]:
    """The parameters that the optimizer changes, with their names."""
    named = model.named_parameters()
    return [(name, each) for name, each in named if not each.stop_gradient and lr_scale(name, config.lr_scale)]


def lr_scale(name: str, scales: dict[str, float]) -> float:
    """The factor of the longest key that matches the parameter's name; 1 if there is none."""
    matching = [key for key in scales if matches(name, key)]
    return scales[max(matching, key=len)] if matching else 1.0


def matches(name: str, key: str) -> bool:
    """Whether a parameter's name starts with a key or, if the key is a glob pattern, matches it."""
    return name.startswith(key) or fnmatchcase(name, key)


def gradient_norm(parameters: list[paddle.Tensor]) -> paddle.Tensor:
    """The Euclidean norm of all gradients together, float64 [], on the device.

    The product of a vector with itself runs in the math library: on a CPU that is far faster than Paddle's own
    norms and clipping, which would take longer than the update itself (`--profile` shows it).
    """
    # A branch that a batch does not reach has no gradient.
    flat = [parameter.grad.flatten() for parameter in parameters if parameter.grad is not None]
    return paddle.stack([paddle.matmul(gradient, gradient) for gradient in flat]).astype("float64").sum().sqrt()


def clip_gradients(
    optimizer: paddle.optimizer.Optimizer, parameters: list[paddle.Tensor], norm: paddle.Tensor, limit: float
) -> None:
    """Scale all gradients by min(1, limit / norm) (Pascanu et al. 2013), at the optimizer's next step if it can."""
    factor = paddle.clip(limit / norm, max=1.0).astype("float32")
    if isinstance(optimizer, BlockedMomentum):
        optimizer.gradient_factor = factor
    else:
        scale_gradients(parameters, factor)


def biases_and_norms(model: paddle.nn.Layer) -> set[str]:
    """The names of all biases and of the scales of normalisation layers."""
    norms = {
        f"{prefix}.{name}"
        for prefix, layer in model.named_sublayers()
        if isinstance(layer, NORMS)
        for name, _ in layer.named_parameters()
    }
    return norms | {name for name, _ in model.named_parameters() if name.rpartition(".")[2] == "bias"}


def optimizer_arrays(model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer) -> Arrays:
    """The optimizer's state, by the names of the model's parameters.

    Paddle's keys, such as conv2d_3.w_0_velocity_0, count every layer built so far in the process; here the key is
    features.conv1.weight/velocity_0, which means the same in every process.
    """
    names = {parameter.name: name for name, parameter in model.named_parameters()}
    arrays = {}
    for key, value in optimizer.state_dict().items():
        if isinstance(value, paddle.Tensor):
            owner = max((name for name in names if key.startswith(f"{name}_")), key=len)
            arrays[f"{names[owner]}/{key[len(owner) + 1 :]}"] = value.numpy()
    return arrays


def load_optimizer_arrays(
    model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer, schedule: schedules.LRScheduler, arrays: Arrays
) -> None:
    """Load the state that `optimizer_arrays` returned into an optimizer that has taken no step yet."""
    parameters = dict(model.named_parameters())
    # Paddle requires a schedule's state: that of the schedule already replayed.
    state: dict[str, Any] = {"LR_Scheduler": schedule.state_dict()}
    for key, value in arrays.items():
        name, _, suffix = key.rpartition("/")
        state[f"{parameters[name].name}_{suffix}"] = paddle.to_tensor(np.asarray(value))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There are some unused values")  # from every schedule with warm-up
        optimizer.set_state_dict(state)
