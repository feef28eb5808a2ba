"""Training from Python."""

from __future__ import annotations

from collections.abc import Mapping
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
from paddlecnn.training.folds import train_folds as train_job
from paddlecnn.training.train import train_run


@dataclass(frozen=True)
class TrainingResult:
    """A finished training."""

    run: Run
    best_epoch: int

    @property
    def history(self) -> pd.DataFrame:
        """A row for each epoch; see `Run.history`."""
        return self.run.history


def train(
    config: str | Path | Mapping[str, Any] | Config,
    *,
    overrides: Mapping[str, Any] | None = None,
    run: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    init_from: str | Path | None = None,
    verbose: bool = True,
) -> TrainingResult:
    """Train a config to its end, or resume the run in the folder `run`.

    config: a YAML file, a nested mapping, or a Config
    overrides: values by key path, e.g. {"train.epochs": 2}
    run: the run's folder; without it runs/CONFIG/TIME
    init_from: a run (as for `load_run`) whose best weights a new run starts from, in place of model.weights
    verbose: print a line for each epoch, as the command does, unless your own logging shows it already
    Raises a UserError, with one line, for everything that a user can cause.
    """
    resolved, path = config_and_path(config, overrides, run, resume)
    source = next(iter(find_sources(init_from, resume)), None)
    with information_shown(verbose):
        finished = train_run(resolved, path, resume=resume, device=device, init_from=source)
    return TrainingResult(Run(finished.run, module=resolved.model.module), finished.best.epoch)


def train_folds(
    config: str | Path | Mapping[str, Any] | Config,
    *,
    overrides: Mapping[str, Any] | None = None,
    run: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    init_from: str | Path | None = None,
    verbose: bool = True,
) -> Folds:
    """Train all `data.folds` of a config to their end, or resume the job in the folder `run`.

    init_from: a run for all folds, or a job of as many folds, to start from
    The other arguments are those of `train`; so are the errors.
    """
    resolved, path = config_and_path(config, overrides, run, resume)
    sources = find_sources(init_from, resume, several=True)
    with information_shown(verbose):
        train_job(resolved, path, resume=resume, device=device, init_from=sources)
    return Folds(FoldJob(path), resolved.model.module)


def config_and_path(
    config: str | Path | Mapping[str, Any] | Config,
    overrides: Mapping[str, Any] | None,
    run: str | Path | None,
    resume: bool,
) -> tuple[Config, Path]:
    """The resolved config and the folder of a training. Raises ConfigError for one to resume without a name."""
    check_type("config", config, (str, Path, Mapping, Config), "a YAML file, a nested mapping or a Config")
    check_type(
        "overrides", {} if overrides is None else overrides, Mapping, 'a mapping by key path, as {"train.epochs": 2}'
    )
    check_type("run", "" if run is None else run, (str, Path), "the path of a folder")
    source = config.model_dump() if isinstance(config, Config) else config
    resolved = load_config(source, overrides or {})
    if run is None:
        if resume:
            raise ConfigError("resume=True: name the run's folder with run=")
        run = new_run_path(source if isinstance(source, (str, Path)) else f"{resolved.model.name}.yaml")
    return resolved, Path(run)
