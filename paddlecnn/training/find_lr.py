"""The learning-rate range test: a short training whose rate grows, to see where the loss falls and where it diverges.

Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3. There the rate grows linearly
and accuracy is read; here it grows by the same factor at each step, which covers many orders of magnitude, and the
smoothed training loss is read, which needs no validation.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from itertools import chain, count, islice

from paddle.optimizer.lr import LambdaDecay

from paddlecnn import runtime
from paddlecnn.config import Config, Constant
from paddlecnn.errors import ConfigError
from paddlecnn.progress_bar import ProgressBar
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.training.init_from import read_source
from paddlecnn.training.memory import out_of_memory_explained
from paddlecnn.training.optim import build_optimizer
from paddlecnn.training.setup import TrainingSetup, build_training
from paddlecnn.training.state import StepSums
from paddlecnn.training.train import prepared

SMOOTHING = 0.95  # decay of the moving average of the loss
DIVERGED = 3.0  # the test ends when the smoothed loss exceeds this many times its minimum
RULE = "a tenth of the rate at which the smoothed loss is lowest"


@dataclass(frozen=True, repr=False)
class RangeTest:
    """A finished range test; the lists have one value per step."""

    rates: list[float]
    losses: list[float]  # mean loss of the step's batch, before the update with the step's rate
    smoothed: list[float]
    diverged: bool = False

    def __repr__(self) -> str:
        if self.suggestion is None:
            advice = f"no suggestion: {RULE} is less than the first rate; a smaller --start shows more"
        else:
            advice = f"suggested: optim.lr={self.suggestion:.2g} ({RULE})"
        ending = "then it diverged" if self.diverged else "it did not diverge; a larger --end shows more"
        return (
            f"{len(self.rates)} steps, rates {self.rates[0]:.3g} to {self.rates[-1]:.3g}: the smoothed loss went from "
            f"{self.smoothed[0]:.4g} to {min(self.smoothed):.4g} at rate {self.lowest:.2g}; {ending}\n{advice}"
        )

    @property
    def lowest(self) -> float:
        """The rate at which the smoothed loss is lowest."""
        return self.rates[min(range(len(self.rates)), key=self.smoothed.__getitem__)]

    @property
    def suggestion(self) -> float | None:
        """The rate by RULE: at `lowest` itself, the loss is about to stop falling. None if it is below those tested."""
        rate = self.lowest / 10
        return rate if rate >= self.rates[0] else None


def find_lr(
    config: Config,
    start: float = 1e-6,
    end: float = 10.0,
    steps: int = 100,
    device: str = "auto",
    init_from: RunDir | None = None,
) -> RangeTest:
    """Train a fresh network of the config for at most `steps` steps with rates from `start` to `end`.

    init_from: start from this run's best weights in place of fresh ones, as training with it would
    All of the config is used except its rate and schedule; only its caches are written, data.cache and
    train.feature_cache. Raises ConfigError for impossible bounds, and for a first rate at which the loss is not finite.
    """
    if not (0 < start < end and end / start < math.inf):
        raise ConfigError(
            f"--start {start:g} --end {end:g}: the first rate must be above 0 and below a finite last one"
        )
    if steps < 10:
        raise ConfigError(f"--steps {steps}: at least 10 are needed for a curve")
    runtime.choose_device(device)
    optim = config.optim.model_copy(update={"lr": start, "schedule": Constant()})
    source = read_source(init_from).checkpoint if init_from else None
    setup = build_training(config.model_copy(update={"optim": optim}), start=source)
    setup.engine.report()
    with out_of_memory_explained(setup):
        test = range_test(setup, start, (end / start) ** (1 / (steps - 1)), steps)
    if not test.rates:
        raise ConfigError(f"--start {start:g}: the loss of the first step is not finite, before any update")
    return test


def range_test(setup: TrainingSetup, start: float, factor: float, steps: int) -> RangeTest:
    """Multiply the rate by `factor` after each step, from `start` on, until the loss diverges or `steps` are done."""
    state = prepared(setup)
    state.schedule = LambdaDecay(start, lambda step: factor**step)
    state.optimizer = build_optimizer(setup.model, setup.config.optim, state.schedule)
    setup.model.train()
    batches = islice(chain.from_iterable(map(setup.train.epoch, count())), steps)
    test = RangeTest([], [], [])
    average = 0.0
    for batch in ProgressBar(batches, desc="range test", total=steps, unit="step", leave=False):
        sums = StepSums()
        state.step(batch, len(batch.indices), sums)
        loss = float(sums.loss.numpy()) / len(batch.indices)
        if not math.isfinite(loss):
            return dataclasses.replace(test, diverged=True)
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        test.rates.append(state.progress.lr)
        test.losses.append(loss)
        test.smoothed.append(average / (1 - SMOOTHING ** len(test.losses)))  # the average of few steps is too small
        if test.smoothed[-1] > DIVERGED * min(test.smoothed):
            return dataclasses.replace(test, diverged=True)
    return test
