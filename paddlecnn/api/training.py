"""Training from Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from paddlecnn.api.checks import check_type
from paddlecnn.api.runs import Folds, Run
from paddlecnn.config import Config
from paddlecnn.configfile import load_config
from paddlecnn.errors import ConfigError
from paddlecnn.messages import information_shown
from paddlecnn.runs.fold_job import FoldJob, find_sources
from paddlecnn.runs.run_dir import new_run_path
from paddlecnn.training.fit import OnEpoch
from paddlecnn.training.folds import train_folds as train_job
from paddlecnn.training.train import train_run
from paddlecnn.training.train import train_seeds as train_several


@dataclass(frozen=True)
class TrainingResult:
    """A finished training."""

    run: Run
    best_epoch: int

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch; see `Run.history`."""
        return self.run.history


@dataclass(frozen=True, repr=False)
class Seeds:
    """A finished training with several seeds.

    path: the folder of their runs
    scores: one row per seed: seed, best epoch, and its loss and top1 on the validation images (in training if there are
        none)
    """

    path: Path
    runs: list[Run]
    scores: pd.DataFrame

    def __repr__(self) -> str:
        top1 = self.scores["top1"]
        return f"Seeds({str(self.path)!r}: {len(self.runs)} runs, top-1 {top1.mean():.2%} ± {top1.std():.2%})"


def train(
    config: str | Path | Mapping[str, Any] | Config,
    *,
    overrides: Mapping[str, Any] | None = None,
    run: str | Path | None = None,
    resume: bool = False,
    extend: Mapping[str, Any] | None = None,
    device: str = "auto",
    init_from: str | Path | None = None,
    on_epoch: OnEpoch | None = None,
    verbose: bool = True,
) -> TrainingResult:
    """Train a config to its end, or resume the run in the folder `run`.

    config: a YAML file, a nested mapping, or a Config
    overrides: values by key path, e.g. {"train.epochs": 2}
    run: the run's folder; by default runs/CONFIG/TIME
    extend: with resume=True: new values by key path that change the length (train.epochs), schedule, engine or
        precision of the run, even of a finished one
    init_from: a run (as for `load_run`) whose best weights a new run starts from, in place of model.weights
    on_epoch: called with the record of each epoch that this call trains (read-only: epoch, step, train, val, lr,
        seconds), once its checkpoint is on disk. An exception in it ends the training and propagates to the caller; the
        run can then be resumed. With several processes, each of them calls it.
    verbose: print a line for each epoch, as the command does, unless your own logging shows it already
    Raises a UserError with a one-line message for every error that a user can cause; TrainingStopped after Ctrl-C.
    """
    resolved, path = config_and_path(config, overrides, run, resume, extend)
    if on_epoch is not None:
        check_type("on_epoch", on_epoch, Callable, "a function of an epoch's record")  # type: ignore[arg-type]
    options = shared_options(resume, extend, device, init_from)
    with information_shown(verbose):
        finished = train_run(resolved, path, on_epoch=on_epoch, **options)
    return TrainingResult(Run(finished.run, module=resolved.model.module), finished.best.epoch)


def train_seeds(
    config: str | Path | Mapping[str, Any] | Config,
    seeds: int,
    *,
    overrides: Mapping[str, Any] | None = None,
    run: str | Path | None = None,
    resume: bool = False,
    extend: Mapping[str, Any] | None = None,
    device: str = "auto",
    init_from: str | Path | None = None,
    verbose: bool = True,
) -> Seeds:
    """Train a config with several seeds, from its own upwards, each in RUN/seed-N, or resume those in `run`.

    seeds: the number of seeds, at least 2
    The other arguments and the errors are those of `train`.
    """
    resolved, path = config_and_path(config, overrides, run, resume, extend)
    check_type("seeds", seeds, int, "an integer")
    options = shared_options(resume, extend, device, init_from)
    with information_shown(verbose):
        finished, _ = train_several(resolved, path, seeds, **options)
    rows = [(one.run.config.seed, one.best.epoch, one.best.loss, one.best.top1) for one in finished]
    runs = [Run(one.run, module=resolved.model.module) for one in finished]
    return Seeds(path, runs, pd.DataFrame(rows, columns=["seed", "epoch", "loss", "top1"]))


def train_folds(
    config: str | Path | Mapping[str, Any] | Config,
    *,
    overrides: Mapping[str, Any] | None = None,
    run: str | Path | None = None,
    resume: bool = False,
    extend: Mapping[str, Any] | None = None,
    device: str = "auto",
    init_from: str | Path | None = None,
    verbose: bool = True,
) -> Folds:
    """Train all `data.folds` of a config to their end, or resume the job in the folder `run`.

    init_from: a run that all folds start from, or a job with as many folds, one for each
    The other arguments and the errors are those of `train`.
    """
    resolved, path = config_and_path(config, overrides, run, resume, extend)
    sources = find_sources(init_from, resume, several=True)
    with information_shown(verbose):
        train_job(resolved, path, **shared_options(resume, extend, device) | {"init_from": sources})
    return Folds(FoldJob(path), resolved.model.module)


def shared_options(
    resume: bool, extend: Mapping[str, Any] | None, device: str, init_from: str | Path | None = None
) -> dict[str, Any]:
    """The arguments that all three kinds of training take."""
    source = next(iter(find_sources(init_from, resume)), None)
    return {"resume": resume, "extend": list(extend or ()), "device": device, "init_from": source}


def config_and_path(
    config: str | Path | Mapping[str, Any] | Config,
    overrides: Mapping[str, Any] | None,
    run: str | Path | None,
    resume: bool,
    extend: Mapping[str, Any] | None,
) -> tuple[Config, Path]:
    """The resolved config and the folder of a training. Raises ConfigError for `resume` without `run`."""
    check_type("run", "" if run is None else run, (str, Path), "the path of a folder")
    if extend and not resume:
        raise ConfigError("extend: changes the length of an existing run; add resume=True")
    source, resolved = source_and_config(config, overrides, extend)
    if run is None:
        if resume:
            raise ConfigError("resume=True: name the run's folder with run=")
        run = new_run_path(source if isinstance(source, (str, Path)) else f"{resolved.model.name}.yaml")
    return resolved, Path(run)


def source_and_config(
    config: str | Path | Mapping[str, Any] | Config, *overrides: Mapping[str, Any] | None
) -> tuple[str | Path | Mapping[str, Any], Config]:
    """A config as `load_config` takes it, and the resolved one. Raises ConfigError, also for a wrong type."""
    check_type("config", config, (str, Path, Mapping, Config), "a YAML file, a nested mapping or a Config")
    values: dict[str, Any] = {}
    for one in overrides:
        check_type("overrides", {} if one is None else one, Mapping, 'a mapping by key path, e.g. {"train.epochs": 2}')
        values |= one or {}
    source = config.model_dump() if isinstance(config, Config) else config
    return source, load_config(source, values)
