"""The Python interface, `import paddlecnn as pc`; docs/api.md shows it in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from paddle import nn

from paddlecnn import runtime
from paddlecnn.config import TEST_VIEWS, Config
from paddlecnn.configfile import load_config
from paddlecnn.data.datasets import register_source
from paddlecnn.errors import ConfigError, brief
from paddlecnn.evaluation.evaluate import evaluate_run
from paddlecnn.evaluation.load_run import LoadedRun
from paddlecnn.evaluation.load_run import load_run as load_checkpoint_of_run
from paddlecnn.evaluation.out_of_fold import evaluate_folds
from paddlecnn.evaluation.predict import ImageLike, probabilities_of
from paddlecnn.kaggle.competitions import competition_of
from paddlecnn.models import create_model, list_models
from paddlecnn.models import register as register_model
from paddlecnn.runs.fold_job import FoldJob, find_sources
from paddlecnn.runs.metrics_log import read_metrics
from paddlecnn.runs.run_dir import RunDir, find_path, find_run, new_run_path
from paddlecnn.training.folds import train_folds as train_job
from paddlecnn.training.optim import register_schedule
from paddlecnn.training.train import train_run

__all__ = [
    "Folds",
    "Run",
    "TrainingResult",
    "create_model",
    "list_models",
    "load_folds",
    "load_run",
    "register_model",
    "register_schedule",
    "register_source",
    "train",
    "train_folds",
]

COLUMNS = ["epoch", "step", "lr", "seconds", "images_per_second", "train_loss", "train_top1", "val_loss", "val_top1"]


class Run:
    """A run folder, opened for reading. The model is loaded when it is first needed.

    path: the run's folder
    checkpoint: `best` or `last`
    module: the file with the run's own networks or data sets, if it was trained with one
    """

    def __init__(self, run: RunDir, checkpoint: str = "best", module: str | None = None) -> None:
        self.path = run.path
        self.checkpoint = checkpoint
        self._run = run
        self._module = module

    def __repr__(self) -> str:
        config = self.config
        try:
            state = self._loaded.state
        except Exception as error:  # a repr must not fail
            return f"Run({str(self.path)!r}: {config.model.name} on {config.data.name}, {error})"
        scores = f", val {state.history[-1].val}" if state.history and state.history[-1].val else ""
        return (
            f"Run({str(self.path)!r}: {config.model.name} on {config.data.name}, checkpoint {self.checkpoint} "
            f"of epoch {state.epoch}{scores})"
        )

    @cached_property
    def _loaded(self) -> LoadedRun:
        return load_checkpoint_of_run(self._run, self.checkpoint, self._module)

    @property
    def config(self) -> Config:
        """The resolved config."""
        return self._run.config

    @property
    def model(self) -> nn.Layer:
        """The network with the checkpoint's weights, in evaluation mode."""
        return self._loaded.model

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the network's outputs."""
        return self._loaded.classes

    @property
    def metrics(self) -> pd.DataFrame:
        """metrics.csv: one row per logged training step and per validation; missing values are NaN."""
        table = pd.DataFrame(list(read_metrics(self._run.metrics)))
        return table.assign(**{name: pd.to_numeric(table[name]) for name in table.columns if name != "kind"})

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch so far: learning rate, duration, speed, loss and top-1 of training and validation."""
        rows = [one.model_dump() for one in self._run.load_state("last").history]
        return pd.json_normalize(rows, sep="_").reindex(columns=COLUMNS)

    def predict(self, images: ImageLike | Sequence[ImageLike]) -> pd.DataFrame:
        """The predicted class and the probability of each class, one row per image.

        images: a path, a PIL image, a uint8 array [H, W, 3] in RGB, or a list of them
        Raises DataError for an image that cannot be read.
        """
        many: list[Any] = list(images) if isinstance(images, (list, tuple)) else [images]
        values = probabilities_of(self._loaded, many)
        names = np.array(self.classes, dtype=object)
        table = pd.DataFrame(values, columns=list(self.classes))
        table.insert(0, "class", names[values.argmax(axis=1)], allow_duplicates=True)
        return table

    def evaluate(
        self, split: str = "val", device: str = "auto", tta: str = "none", data_changed: bool = False
    ) -> dict[str, Any]:
        """Loss, top-1, top-5, log loss, per-class figures and confusion matrix on `val` or `test`; kept in the run.

        tta: the views of each image that are averaged, as in `eval --tta`
        data_changed: use the images that are there, even if they are not those of the training
        Raises DataError if the data have no such split, or no labels for it.
        """
        check_choice("split", split, ("val", "test"))
        check_choice("tta", tta, TEST_VIEWS)
        return evaluate_run(self._run, split, self.checkpoint, device, self._module, data_changed, tta=tta)

    def report(self, device: str = "auto", data_changed: bool = False) -> Path:
        """Write report.html, the page that shows the best epoch (docs/report.md), into the run's folder.

        data_changed: use the validation images that are there, even if they are not those of the training
        """
        from paddlecnn.reporting.report import write_report  # here, because matplotlib takes a second to import

        references = competition_of(self.config.data).reference_scores
        return write_report(self._run, self._module, device, data_changed, references)


@dataclass(frozen=True)
class TrainingResult:
    """A finished training."""

    run: Run
    best_epoch: int

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch; see `Run.history`."""
        return self.run.history


class Folds:
    """A trained cross-validation: all folds of a config, with their out-of-fold figures.

    path: the job's folder
    module: the file with the runs' own networks or data sets, if they were trained with one
    """

    def __init__(self, job: FoldJob, module: str | None = None) -> None:
        self.path = job.path
        self.runs = [Run(run, module=module) for run in job.runs]
        self._job, self._module = job, module

    def __repr__(self) -> str:
        return f"Folds({str(self.path)!r}: {len(self.runs)} runs)"

    def evaluate(self, device: str = "auto", tta: str = "none", data_changed: bool = False) -> dict[str, Any]:
        """The out-of-fold table; kept in the job's folder.

        `folds` has one row per fold, `all` is the row of all images: n, accuracy, log_loss and log_loss_calibrated,
        each with its mean and the ends of its 95 % interval, `low` and `high`. `notes` are caveats about them.
        The arguments are those of `Run.evaluate`, without `split`: the images are always the out-of-fold ones.
        """
        check_choice("tta", tta, TEST_VIEWS)
        runtime.choose_device(device)
        return evaluate_folds(self._job, self._module, data_changed, tta=tta)

    def report(self) -> Path:
        """Write report.html, the page with the out-of-fold figures, into the job's folder."""
        from paddlecnn.reporting.job_report import write_job_report  # here, because matplotlib is slow to import

        return write_job_report(self._job, competition_of(self._job.config.data).standing)


def train(
    config: str | Path | Mapping[str, Any] | Config,
    *,
    overrides: Mapping[str, Any] | None = None,
    run: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    init_from: str | Path | None = None,
) -> TrainingResult:
    """Train a config to its end, or resume the run in the folder `run`.

    config: a YAML file, a nested mapping, or a Config
    overrides: values by key path, e.g. {"train.epochs": 2}
    run: the run's folder; without it runs/CONFIG/TIME
    init_from: a run (as for `load_run`) whose best weights a new run starts from, in place of model.weights
    Raises a UserError with a one-line message for every error that a user can cause.
    """
    resolved, path = config_and_path(config, overrides, run, resume)
    source = next(iter(find_sources(init_from, resume)), None)
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
) -> Folds:
    """Train all `data.folds` of a config to their end, or resume the job in the folder `run`.

    init_from: a run that all folds start from, or a job with as many folds, one for each
    The other arguments and the errors are those of `train`.
    """
    resolved, path = config_and_path(config, overrides, run, resume)
    sources = find_sources(init_from, resume, several=True)
    train_job(resolved, path, resume=resume, device=device, init_from=sources)
    return Folds(FoldJob(path), resolved.model.module)


def config_and_path(
    config: str | Path | Mapping[str, Any] | Config,
    overrides: Mapping[str, Any] | None,
    run: str | Path | None,
    resume: bool,
) -> tuple[Config, Path]:
    """The resolved config and the folder of a training. Raises ConfigError for `resume` without `run`."""
    check_type("config", config, (str, Path, Mapping, Config), "a YAML file, a nested mapping or a Config")
    check_type(
        "overrides", {} if overrides is None else overrides, Mapping, 'a mapping by key path, e.g. {"train.epochs": 2}'
    )
    check_type("run", "" if run is None else run, (str, Path), "the path of a folder")
    source = config.model_dump() if isinstance(config, Config) else config
    resolved = load_config(source, overrides or {})
    if run is None:
        if resume:
            raise ConfigError("resume=True: name the run's folder with run=")
        run = new_run_path(source if isinstance(source, (str, Path)) else f"{resolved.model.name}.yaml")
    return resolved, Path(run)


def check_type(name: str, value: object, types: type | tuple[type, ...], wanted: str) -> None:
    if not isinstance(value, types):
        raise ConfigError(f"{name} {brief(value)}: must be {wanted}")


def check_choice(name: str, value: str, valid: Sequence[str]) -> None:
    if value not in valid:
        raise ConfigError(f"{name} {value!r}: must be one of {', '.join(valid)}")


def load_run(
    run: str | Path, *, checkpoint: str = "best", module: str | None = None, data_root: str | Path | None = None
) -> Run:
    """Open a trained run: its folder, a config (its newest run), or `latest`.

    module: the file with the run's own networks or data sets, imported only if it has the hash recorded in the run
    data_root: where the run's data are now, in place of data.root in its config
    Raises RunError if there is no such run.
    """
    check_type("run", run, (str, Path), "the path of a folder, a config or latest")
    return Run(find_run(run, data_root=data_root), checkpoint, module)


def load_folds(job: str | Path, *, module: str | None = None, data_root: str | Path | None = None) -> Folds:
    """Open a trained cross-validation: its folder, a config (its newest), or `latest`.

    module, data_root: as for `load_run`
    Raises RunError if there is none, or if one of its folds was not started.
    """
    check_type("job", job, (str, Path), "the path of a folder, a config or latest")
    return Folds(FoldJob(find_path(job), data_root), module)
