"""Result files: their format and how they are read. docs/results.md is generated from such files alone.

A file is a list: the machine, then what was measured on it. `paddlecnn benchmark --json` writes speeds in this format,
records.py the figures of finished runs.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from paddlecnn.configfile import UNHASHED_IF_UNSET, flat, load_run_config
from paddlecnn.errors import ConfigError, UserError, first_problem
from paddlecnn.evaluation.intervals import Estimate
from paddlecnn.runs.state import EpochRecord
from paddlecnn.training.checkpointer import MAY_CHANGE

NOT_THE_EXPERIMENT = ("seed", "train.log_every", *MAY_CHANGE)
SHOWN_ELSEWHERE = ("train.epochs", "train.engine")  # in columns of their own


class ResultError(UserError):
    """A file of results that is damaged, or a page that does not agree with the files."""


class Part(BaseModel):
    """A part of a file. Keys that a table does not need are kept."""

    model_config = ConfigDict(extra="allow")


class Machine(Part):
    """The machine and the versions of a measurement."""

    cpu: str | None
    cores: int | None = None
    engine: str | None = None
    threads: str | None = None
    python: str
    packages: dict[str, str]
    git: dict[str, Any] | None

    @property
    def place(self) -> str:
        """The processor and the number of threads, for a table."""
        return f"{self.cpu or 'unknown CPU'}, {self.threads or '?'} thread{'' if self.threads == '1' else 's'}"

    @property
    def uncommitted(self) -> str | None:
        """A note for a table on a working tree with uncommitted changes, which nobody else can check out."""
        git = self.git or {}
        return f"with uncommitted changes at {str(git.get('commit'))[:7]}" if git.get("dirty") else None


class Accuracy(Part):
    """Scores on a split, with the 95 % interval of Clopper and Pearson."""

    n: int
    loss: float
    top1: float
    low: float
    high: float
    epoch: int


class Trained(Part):
    """The origin and the cost of a finished run or cross-validation."""

    run: str  # the folder's name
    config_file: str | None  # as named on the command line, from configs/ on if it is there
    config_hash: str
    seed: int
    changed: dict[str, tuple[Any, Any]] | None  # key: its value in the file and in the run; None if the file is lost
    model: str
    parameters: int
    data: str
    seconds: float  # of training, all sessions and folds together
    feature_seconds: float | None = None  # before that: the outputs of frozen layers that no earlier run had computed
    config: dict[str, Any]
    lineage: dict[str, str] = {}  # what the weights depend on beside it: `RunDir.lineage`

    @field_validator("changed")
    @classmethod
    def lengths_are_numbers(cls, changed: dict[str, tuple[Any, Any]] | None) -> dict[str, tuple[Any, Any]] | None:
        """The label shows by them whether a run was shortened."""
        if not all(isinstance(value, int) and value > 0 for value in (changed or {}).get("train.epochs", ())):
            raise ValueError("train.epochs: not two numbers of epochs")
        return changed

    @property
    def name(self) -> str:
        """cifar10/alexnet_lrn for configs/cifar10/alexnet_lrn.yaml; the run's name without a config file."""
        file = self.config_file
        return self.run if file is None else str(Path(file).with_suffix("")).removeprefix("configs/")

    @property
    def changes(self) -> list[str]:
        """The differences from the config file, as `-o` takes it, except the number of epochs and the engine; then the
        lineage."""
        changed = {key: after for key, (_, after) in (self.changed or {}).items() if key not in SHOWN_ELSEWHERE}
        plain = [f"{key}={as_typed(value)}" for key, value in changed.items()]
        return plain + [f"{name}: {what}" for name, what in self.lineage.items()]

    @property
    def label(self) -> str:
        """The name, and the differences from the others of its config file."""
        return ", ".join([self.name, *self.changes])


def as_typed(value: Any) -> str:
    """A value as written in YAML."""
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False).replace('"', "")


class Training(Trained):
    """A finished run."""

    what: Literal["training"] = "training"
    epochs: int
    images_per_second: float | None  # the median over the epochs
    val: Accuracy | None  # of the best epoch; None without validation images
    val_views: dict[str, Accuracy] = {}  # with several views of each image, by `--tta` of `paddlecnn eval`
    test: Accuracy | None  # as `paddlecnn eval --split test` measured it
    test_views: dict[str, Accuracy] = {}  # the same with several views of each image, by `--tta`
    test_evaluations: int  # how often the test data were used
    history: list[EpochRecord]
    notes: list[str] = []  # what makes the figures optimistic, apart from an epoch that the run itself selected

    @property
    def experiment(self) -> str:
        """A hash of the lineage and of the config without the seed and the keys that do not change a result: equal for
        all its seeds. A key that an earlier version did not have counts only if it is set."""
        known = flat(self.config).items()
        settings = {key: value for key, value in known if value or (value is not None and key not in UNHASHED_IF_UNSET)}
        kept = {key: value for key, value in settings.items() if not key.startswith(NOT_THE_EXPERIMENT)}
        return hashlib.sha256(json.dumps(kept | self.lineage, sort_keys=True).encode()).hexdigest()[:12]


class OutOfFold(Trained):
    """A finished cross-validation: all its images, each predicted by the run that was not trained on it."""

    what: Literal["folds"] = "folds"
    folds: int
    tta: str = "none"  # the views of each image
    n: int
    accuracy: Estimate
    log_loss: Estimate  # as trained
    log_loss_calibrated: Estimate  # each image by a fit on the other folds
    epochs: list[int]  # of the measured checkpoint of each fold
    notes: list[str]  # what makes the figures optimistic

    @property
    def label(self) -> str:
        """The name, the differences from the others of its config file, and the views if there are several."""
        return super().label + ("" if self.tta == "none" else f", {self.tta} at test time")


class Graded(Trained):
    """A submission of a finished run or cross-validation that was scored on known labels."""

    what: Literal["graded"] = "graded"
    answers: str  # the name of the file of labels
    n: int
    checkpoint: str  # what was predicted with: epoch, views
    expected: Estimate  # the log loss estimated from the validation images, before the labels were seen
    found: Estimate


class Transfer(Part):
    """The figures of `paddlecnn benchmark transfer` for one engine."""

    what: Literal["transfer"]
    config_hash: str
    seed: int
    engine: str
    precision: str
    images: int
    cached: float  # training images per second
    uncached: float
    ratio: float
    ratio_of_fastest: float | None = None  # cached by the fastest engine measured until then, against `uncached`
    peak_anonymous_mib: float | None = None  # of the process with the cache, without mapped files
    fill: float | None  # views per second while the cache was filled
    cached_loss: float  # of the first epoch
    uncached_loss: float


class Speed(Part):
    """The figures of `paddlecnn benchmark train|infer|start|loop` for one workload, by contender."""

    what: Literal["train", "infer", "start", "loop"]
    workload: str
    contenders: dict[str, dict[str, Any]]


class Growth(Part):
    """The figures of `paddlecnn benchmark growth`: the speed of each contender at each growing value."""

    what: Literal["growth"]
    grows: str
    unit: str
    values: list[int]
    speeds: dict[str, list[float | None]]


class Profile(Part):
    """A profile of `paddlecnn benchmark primitives`, kept for docs/performance.md; no page of results shows it."""

    what: Literal["primitives"]


Result = Annotated[Training | OutOfFold | Graded | Transfer | Speed | Growth | Profile, Field(discriminator="what")]


class ResultFile(BaseModel):
    """One file: the machine and what was measured on it."""

    name: str
    machine: Machine
    results: list[Result]


PARTS: TypeAdapter[list[Result]] = TypeAdapter(list[Result])


def read_results(folder: Path) -> list[ResultFile]:
    """All files of a folder, by name. Raises ResultError, naming the file, the key and the problem."""
    return [read_result(path) for path in sorted(folder.glob("*.json"))]


def read_result(path: Path) -> ResultFile:
    """One file, the configs in it checked and complete."""
    try:
        machine, *results = json.loads(path.read_text(encoding="utf-8"))
        if key := next(not_finite(results), None):
            raise ResultError(f"{path}: {key}: not a finite number; measure the run again and --add it")
        parts = PARTS.validate_python(results)
        for part in parts:
            if isinstance(part, Trained):
                part.config = load_run_config(part.config).model_dump(mode="json")
        return ResultFile(name=path.stem, machine=machine, results=parts)
    except ValidationError as error:
        raise ResultError(f"{path}: {first_problem(error)}") from None
    except ConfigError as error:
        raise ResultError(f"{path}: config: {str(error).removeprefix('environment.json: ')}") from None
    except (OSError, ValueError, TypeError) as error:
        raise ResultError(f"{path}: not a file of results ({error})") from None


def not_finite(value: Any, key: str = "") -> Iterator[str]:
    """The keys of the numbers that are NaN or infinite."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        if isinstance(part, float) and not math.isfinite(part):
            yield f"{key}{name}"
        yield from not_finite(part, f"{key}{name}.")
