"""The figures of finished runs and cross-validations, in the format of result_files.py."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from paddlecnn.config import TEST_VIEWS
from paddlecnn.configfile import PATHS, config_hash, differences, load_config, without_folders
from paddlecnn.errors import RunError
from paddlecnn.evaluation.evaluate import suffix
from paddlecnn.evaluation.intervals import Estimate, accuracy_estimate
from paddlecnn.evaluation.out_of_fold import measured_views, stored_folds
from paddlecnn.files import file_digest
from paddlecnn.reporting.result_files import NOT_THE_EXPERIMENT, Accuracy, Graded, Machine, OutOfFold, Training
from paddlecnn.runs.checkpoint import Checkpoint
from paddlecnn.runs.fold_job import FoldJob
from paddlecnn.runs.provenance import cpu_name
from paddlecnn.runs.run_dir import EPOCH_NOTE, RunDir, below_configs, reservations
from paddlecnn.runs.state import Scores


def training_record(run: RunDir, config: Path | None = None) -> list[dict[str, Any]]:
    """The content of a file for a finished run: the machine and the figures, as plain values.

    config: the config file that the run belongs to; the one on its command line if not given
    Raises RunError for a run that is not finished, ConfigError for a config that cannot be read.
    """
    checkpoint = finished(run)
    state = checkpoint.state
    speeds = [record.images_per_second for record in state.history if record.images_per_second is not None]
    test = evaluated(run, "test", "none")
    training = Training(
        **trained(run, config, checkpoint),
        epochs=state.epoch,
        seconds=round(state.seconds, 1),
        images_per_second=round(median(speeds), 1) if speeds else None,
        val=with_interval(state.best, state.best.epoch) if state.best and state.best.n else None,
        val_views=scores_by_views(run, "val"),
        test=test,
        test_views=scores_by_views(run, "test"),
        test_evaluations=sum(entry.get("split") == "test" for entry in evaluations(run)),
        history=state.history,
        notes=notes(run, measured_test=test is not None),
    )
    return [machine_of(run).model_dump(mode="json"), training.model_dump(mode="json")]


def folds_record(job: FoldJob, config: Path | None = None) -> list[dict[str, Any]]:
    """The content of a file for a finished cross-validation, one result per `--tta` that it was measured with.

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
        checkpoint, sha256 = evidence["checkpoint"].split(";")[0], evidence["sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{kept}: not the evidence of a submission ({error}); write one with `paddlecnn submit`"
        ) from None
    if hashes != [one.state.config_hash for one in checkpoints]:
        raise RunError(f"{submission}: is not a submission of {source.path}; its configs differ")
    if sha256 != file_digest(submission):
        raise RunError(f"{submission}: changed since it was written; write it again with `paddlecnn submit`")
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
    if not run.is_finished(state) or state.best is None:
        raise RunError(f"{run.path}: not finished (epoch {state.epoch} of {run.config.train.epochs}); resume it first")
    return checkpoint


def trained(source: RunDir | FoldJob, config: Path | None, checkpoint: Checkpoint) -> dict[str, Any]:
    """The values of `Trained` except the time."""
    config_file, changed = origin_of(source, config or config_on_the_command_line(source.read_environment()))
    names = [name for name in checkpoint.model if not name.endswith(("._mean", "._variance"))]
    return {
        "run": source.path.name,
        "config_file": config_file,
        "config_hash": config_hash(source.config),
        "seed": source.config.seed,
        "changed": changed,
        "model": checkpoint.state.model.name,
        "feature_seconds": sum(times) if (times := feature_seconds(source)) else None,
        "parameters": sum(checkpoint.model[name].size for name in names),
        "data": checkpoint.state.data.name,
        "config": without_folders(source.config.model_dump(mode="json")),
        "lineage": source.lineage,
    }


def notes(run: RunDir, measured_test: bool) -> list[str]:
    """The reservations about the scores of a run, without the one about its own selected epoch, which is shown."""
    found = [*reservations([run]), *(reservations([run], "test") if measured_test else ())]
    return [note for note in found if not (note == EPOCH_NOTE and run.is_selected)]


def feature_seconds(source: RunDir | FoldJob) -> list[float]:
    """The seconds in which each run of `source` filled the cache of frozen layers; empty if none was recorded."""
    runs = source.runs if isinstance(source, FoldJob) else [source]
    return [seconds for run in runs if (seconds := run.read_environment().get("feature_seconds")) is not None]


def machine_of(run: RunDir) -> Machine:
    """The machine and the versions that a run was trained with."""
    environment = run.read_environment()
    return Machine(
        cpu=environment.get("device_name") or cpu_of_this_machine(environment),
        cores=environment.get("cores"),
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
    """The figures of the run's last evaluation; None if there was none.

    Raises RunError for a damaged file, and for figures of data other than the run's or of an earlier checkpoint.
    """
    path = run.path / f"evaluation_{split}{suffix(tta)}.json"
    if not path.exists():
        return None
    views = "" if tta == "none" else f" --tta {tta}"
    again = f"run `paddlecnn eval {run.path} --split {split}{views}` again"
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
        kept = {name: figures[name] for name in ("checkpoint", "log_loss", "top5")}
        accuracy = with_interval(Scores.model_validate(figures), int(figures["epoch"])).model_copy(update=kept)
        checkpoint, changed = str(figures["checkpoint"]), figures.get("data_changed")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: damaged ({error}); {again}") from None
    if changed:
        raise RunError(f"{path}: measured on data other than the run's (--data-changed); {again}")
    epoch = run.load_state(checkpoint).epoch
    if accuracy.epoch != epoch:
        raise RunError(
            f"{path}: measured in epoch {accuracy.epoch}, but checkpoint {checkpoint} is of {epoch}; {again}"
        )
    return accuracy


def evaluations(run: RunDir) -> Iterator[dict[str, Any]]:
    """The lines of evaluations.jsonl. Raises RunError for a damaged line."""
    path = run.path / "evaluations.jsonl"
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.exists() else [], 1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise RunError(f"{path}: line {number} is damaged ({error}); repair or remove it") from None


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
    below = below_configs(path)
    return str(Path("configs", below) if "configs" in path.parts else below), changed


def cpu_of_this_machine(environment: dict[str, Any]) -> str | None:
    """The processor, for a run of version 0.1 that did not record it, if its platform is the one of this machine."""
    return cpu_name() if environment.get("platform") == platform.platform() else None
