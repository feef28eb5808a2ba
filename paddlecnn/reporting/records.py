"""The figures of an experiment as a small JSON file; docs/results.md is generated from such files alone.

A file is a list: the machine, then what was measured on it. `paddlecnn benchmark --json` writes speeds in this form,
`training_record` gives a finished run.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from paddlecnn.config import TEST_VIEWS
from paddlecnn.configfile import PATHS, config_hash, differences, flat, load_config, load_run_config, without_folders
from paddlecnn.errors import RunError, UserError
from paddlecnn.evaluation.evaluate import suffix
from paddlecnn.evaluation.intervals import Estimate, accuracy_estimate
from paddlecnn.evaluation.out_of_fold import measured_views, stored_folds
from paddlecnn.runs.checkpoint import Checkpoint
from paddlecnn.runs.fold_job import FoldJob
from paddlecnn.runs.provenance import cpu_name
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.runs.state import EpochRecord, Scores
from paddlecnn.training.checkpointer import MAY_CHANGE

NOT_THE_EXPERIMENT = ("seed", "train.log_every", *MAY_CHANGE)
SHOWN_ELSEWHERE = ("train.epochs", "train.engine")  # in columns of their own


class ResultError(UserError):
    """A file of results that is damaged, or a page that does not agree with the files."""


class Part(BaseModel):
    """A part of a file. Keys that a table does not need are kept."""

    model_config = ConfigDict(extra="allow")


class Machine(Part):
    """Where and with which versions was measured."""

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
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """cifar10/alexnet_lrn for configs/cifar10/alexnet_lrn.yaml; the run's name without a config file."""
        file = self.config_file
        return self.run if file is None else str(Path(file).with_suffix("")).removeprefix("configs/")

    @property
    def label(self) -> str:
        """The name, with what tells it from the others of its config file."""
        changes = [
            f"{key.rpartition('.')[2]} {short(after)}"
            for key, (_, after) in (self.changed or {}).items()
            if key not in SHOWN_ELSEWHERE
        ]
        return ", ".join([self.name, *changes])


def short(value: Any) -> str:
    """A value of a config in a label."""
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


class Training(Trained):
    """A finished run."""

    what: Literal["training"] = "training"
    epochs: int
    images_per_second: float | None  # the median over the epochs
    val: Accuracy | None  # of the best epoch; None without validation images
    val_views: dict[str, Accuracy] = {}  # with several views of each image, by `--tta` of `paddlecnn eval`
    test: Accuracy | None  # of the checkpoint that `paddlecnn eval --split test` measured last
    test_views: dict[str, Accuracy] = {}  # the same with several views of each image, by `--tta`
    test_evaluations: int  # how often the test data were used
    history: list[EpochRecord]

    @property
    def experiment(self) -> str:
        """A hash of the config without the seed and without what does not change a result: equal for its seeds."""
        keys = flat(load_run_config(self.config).model_dump(mode="json"))
        kept = {key: value for key, value in keys.items() if not key.startswith(NOT_THE_EXPERIMENT)}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


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
        """The name, with what tells it from the others of its config file, and the views if there are several."""
        return super().label + ("" if self.tta == "none" else f", {self.tta} at test time")


class Graded(Trained):
    """A submission of a finished run or cross-validation that was scored on known labels."""

    what: Literal["graded"] = "graded"
    answers: str  # the name of the file of labels
    n: int
    checkpoint: str  # what was predicted with: epoch, views
    expected: Estimate  # the log loss that the validation images promised, before the labels were seen
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
    fill: float | None  # views per second while the cache was filled
    cached_loss: float  # of the first epoch
    uncached_loss: float


class Speed(Part):
    """The figures of `paddlecnn benchmark train|infer|start|loop` for one workload, by contender."""

    what: Literal["train", "infer", "start", "loop"]
    workload: str
    contenders: dict[str, dict[str, Any]]


class Growth(Part):
    """The figures of `paddlecnn benchmark growth`: the speed of each contender at each value of what grows."""

    what: Literal["growth"]
    grows: str
    unit: str
    values: list[int]
    speeds: dict[str, list[float | None]]


class Profile(Part):
    """A profile of `paddlecnn benchmark primitives`, kept for docs/performance.md; no page of results shows it."""

    what: Literal["primitives"]


Result = Training | OutOfFold | Graded | Transfer | Speed | Growth | Profile


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
    try:
        machine, *results = json.loads(path.read_text(encoding="utf-8"))
        return ResultFile(name=path.stem, machine=machine, results=PARTS.validate_python(results))
    except ValidationError as error:
        first = error.errors()[0]
        raise ResultError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (OSError, ValueError, TypeError) as error:
        raise ResultError(f"{path}: not a file of results ({error})") from None


def training_record(run: RunDir, config: Path | None = None) -> list[dict[str, Any]]:
    """The content of a file for a finished run: the machine and the figures, as plain values.

    config: the config file that the run belongs to; the one on its command line if not given
    Raises RunError for a run that is not finished, ConfigError for a config that cannot be read.
    """
    checkpoint = finished(run)
    state = checkpoint.state
    speeds = [record.images_per_second for record in state.history if record.images_per_second is not None]
    training = Training(
        **trained(run, config, checkpoint),
        epochs=state.epoch,
        seconds=round(state.seconds, 1),
        images_per_second=round(median(speeds), 1) if speeds else None,
        val=with_interval(state.best, state.best.epoch) if state.best and state.best.n else None,
        val_views=scores_by_views(run, "val"),
        test=evaluated(run, "test", "none"),
        test_views=scores_by_views(run, "test"),
        test_evaluations=sum(entry.get("split") == "test" for entry in evaluations(run)),
        history=state.history,
    )
    return [machine_of(run).model_dump(mode="json"), training.model_dump(mode="json")]


def folds_record(job: FoldJob, config: Path | None = None) -> list[dict[str, Any]]:
    """The content of a file for a finished cross-validation, a result for each `--tta` that it was measured with.

    Raises RunError, too, if it has not been measured out of fold since it was trained; see `training_record`.
    """
    checkpoints = [finished(run) for run in job.runs]
    records = [
        OutOfFold(
            **trained(job, config, checkpoints[0]),
            **table["all"],
            folds=len(checkpoints),
            tta=tta,
            seconds=round(sum(one.state.seconds for one in checkpoints), 1),
            epochs=[row["epoch"] for row in table["folds"]],
            notes=table["notes"],
        )
        for tta, table in ((tta, stored_folds(job, tta)[0]) for tta in measured_views(job))
    ]
    return [one.model_dump(mode="json") for one in (machine_of(job.runs[0]), *records)]


def graded_record(
    source: RunDir | FoldJob, submission: Path, answers: Path, found: Estimate, images: int, config: Path | None = None
) -> list[dict[str, Any]]:
    """The content of a file for a submission of a finished run or cross-validation; see `training_record`.

    found, images: its log loss on the labels in `answers`
    Raises RunError, too, if the submission is not of `source`.
    """
    runs = source.runs if isinstance(source, FoldJob) else [source]
    checkpoints = [finished(run) for run in runs]
    kept = submission.with_suffix("") / "calibration.json"
    try:
        evidence = json.loads(kept.read_text(encoding="utf-8"))
        hashes, expected = evidence["config_hash"].split(";"), Estimate(**evidence["log_loss_after"])
        checkpoint = evidence["checkpoint"].split(";")[0]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{kept}: not the evidence of a submission ({error}); write one with `paddlecnn submit`"
        ) from None
    if hashes != [one.state.config_hash for one in checkpoints]:
        raise RunError(f"{submission}: is not a submission of {source.path}; its configs are other ones")
    record = Graded(
        **trained(source, config, checkpoints[0]),
        seconds=round(sum(one.state.seconds for one in checkpoints), 1),
        answers=answers.name,
        n=images,
        checkpoint=checkpoint,
        expected=expected,
        found=found,
    )
    return [one.model_dump(mode="json") for one in (machine_of(runs[0]), record)]


def finished(run: RunDir) -> Checkpoint:
    """The last checkpoint of a run. Raises RunError if the run is not finished."""
    checkpoint, _ = run.load_checkpoint("last")
    state = checkpoint.state
    if not state.finished or state.best is None:
        raise RunError(f"{run.path}: not finished (epoch {state.epoch} of {run.config.train.epochs}); resume it first")
    return checkpoint


def trained(source: RunDir | FoldJob, config: Path | None, checkpoint: Checkpoint) -> dict[str, Any]:
    """The values of `Trained` but for the time."""
    config_file, changed = origin_of(source, config or config_on_the_command_line(source.read_environment()))
    names = [name for name in checkpoint.model if not name.endswith(("._mean", "._variance"))]
    return {
        "run": source.path.name,
        "config_file": config_file,
        "config_hash": config_hash(source.config),
        "seed": source.config.seed,
        "changed": changed,
        "model": checkpoint.state.model.name,
        "parameters": sum(checkpoint.model[name].size for name in names),
        "data": checkpoint.state.data.name,
        "config": without_folders(source.config.model_dump(mode="json")),
    }


def machine_of(run: RunDir) -> Machine:
    """Where and with which versions a run was trained."""
    environment = run.read_environment()
    return Machine(
        cpu=environment.get("device_name") or cpu_of_this_machine(environment),
        engine=environment.get("engine"),
        threads=environment.get("threads"),
        python=environment.get("python", "unknown"),
        packages=environment.get("packages", {}),
        git=environment.get("git"),
    )


def with_interval(scores: Scores, epoch: int) -> Accuracy:
    """Scores of a split with the interval of their accuracy."""
    correct = round(scores.top1 * scores.n)
    estimate = accuracy_estimate(np.arange(scores.n) < correct)
    return Accuracy(n=scores.n, loss=scores.loss, top1=scores.top1, low=estimate.low, high=estimate.high, epoch=epoch)


def scores_by_views(run: RunDir, split: str) -> dict[str, Accuracy]:
    """The figures of the run's evaluations with several views of each image, by the kind of views."""
    return {tta: found for tta in TEST_VIEWS[1:] if (found := evaluated(run, split, tta))}


def evaluated(run: RunDir, split: str, tta: str) -> Accuracy | None:
    """The figures of the run's last evaluation; None if there was none. Raises RunError for a damaged file."""
    path = run.path / f"evaluation_{split}{suffix(tta)}.json"
    if not path.exists():
        return None
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
        kept = {name: figures[name] for name in ("checkpoint", "log_loss", "top5")}
        return with_interval(Scores.model_validate(figures), int(figures["epoch"])).model_copy(update=kept)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: damaged ({error}); run `paddlecnn eval {run.path} --split {split}` again") from None


def evaluations(run: RunDir) -> Iterator[dict[str, Any]]:
    """The lines of evaluations.jsonl."""
    path = run.path / "evaluations.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        yield json.loads(line)


def config_on_the_command_line(environment: dict[str, Any]) -> Path | None:
    """The config file that the command of a run names, if it is still there."""
    words = shlex.split(environment.get("command", ""))
    named = [Path(after) for word, after in pairwise(words) if word in ("-c", "--config")]
    return named[-1] if named and named[-1].is_file() else None


def origin_of(source: RunDir | FoldJob, path: Path | None) -> tuple[str | None, dict[str, tuple[Any, Any]] | None]:
    """The name of a config file, from configs/ on, and the keys that the run changed, with both values."""
    if path is None:
        return None, None
    changed = {
        key: (before, Path(after).name if key in PATHS and isinstance(after, str) else after)
        for key, before, after in differences(load_config(path), source.config)
        if not key.startswith(NOT_THE_EXPERIMENT)
    }
    start = path.parts.index("configs") if "configs" in path.parts else len(path.parts) - 1
    return str(Path(*path.parts[start:])), changed


def cpu_of_this_machine(environment: dict[str, Any]) -> str | None:
    """The processor, for a run of version 0.1 that did not record it, if its platform is the one of this machine."""
    return cpu_name() if environment.get("platform") == platform.platform() else None
