"""`train_run`: the one way from a config to a finished run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import signal
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paddlecnn import distributed, runtime
from paddlecnn.config import Config
from paddlecnn.errors import ConfigError, RunError
from paddlecnn.files import write_json
from paddlecnn.runs.checkpoint import Checkpoint, latest_valid, newest_first
from paddlecnn.runs.provenance import describe_environment, peak_memory_mib
from paddlecnn.runs.run_dir import RunDir, seeds_in
from paddlecnn.runs.state import BestEpoch, LogPosition, ModuleIdentity, Progress
from paddlecnn.text_tables import counted
from paddlecnn.training.checkpointer import (
    Checkpointer,
    StopRequest,
    TrainingStopped,
    check_same_config,
    check_same_setup,
    checkpoint_to_resume,
    stop_on_signals,
)
from paddlecnn.training.fit import OnEpoch, fit
from paddlecnn.training.init_from import Source, judged, read_source, record_for, recorded_source
from paddlecnn.training.initial_scale import scale_fresh_layers
from paddlecnn.training.logger import MetricLogger
from paddlecnn.training.memory import out_of_memory_explained
from paddlecnn.training.profile import StepProfiler
from paddlecnn.training.setup import TrainingSetup, build_training
from paddlecnn.training.state import TrainState

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinishedRun:
    """A finished run and the validation scores of its best epoch."""

    run: RunDir
    best: BestEpoch


def train_run(
    config: Config,
    path: Path,
    *,
    resume: bool = False,
    extend: Sequence[str] = (),
    device: str = "auto",
    profile: int = 0,
    init_from: RunDir | None = None,
    again: str | None = None,
    seeds: Sequence[int] = (),
    on_epoch: OnEpoch | None = None,
) -> FinishedRun:
    """Train `config` in the folder `path` to its end, or resume the run that is there.

    init_from: start from this run's best weights instead of model.weights; a resumed run no longer needs it
    extend: key paths that may differ from the run's own config when it is resumed
    profile: the number of steps to measure
    again: the options that continue after a signal, if the run is part of a longer training
    seeds: those of the longer training that a new run is part of, for its record
    on_epoch: see `fit`
    Raises a UserError for every error that a user can cause; an existing run is then unchanged.
    """
    device = runtime.choose_device(device)
    distributed.start()
    with runtime.denormals_flushed() if device == "cpu" else contextlib.nullcontext():
        try:
            if resume:
                return resume_run(config, RunDir(path), device, extend, profile, on_epoch)
            return start_run(config, path, device, init_from, profile, seeds, on_epoch)
        except TrainingStopped as stopped:
            stopped.args = (f"{stopped}; {again or f'--resume {path}'} continues from there (in Python: resume=True)",)
            raise


def planned_run(
    config: Config, path: Path, *, resume: bool = False, extend: Sequence[str] = (), init_from: RunDir | None = None
) -> TrainingSetup:
    """The setup that `train_run` would train, after the same initial checks. Nothing is written."""
    uncached = config.model_copy(update={"data": config.data.model_copy(update={"cache": None})})
    if resume:
        run = RunDir(path)
        check_same_config(run, config, extend)
        setup = setup_to_resume(uncached, run, latest_valid(run.checkpoints)[0], extend)
    else:
        RunDir.check_new(path)
        setup = build_training(uncached, start=read_source(init_from).checkpoint if init_from else None)
    return dataclasses.replace(setup, config=config)


def start_run(
    config: Config,
    path: Path,
    device: str,
    init_from: RunDir | None,
    profile: int,
    seeds: Sequence[int],
    on_epoch: OnEpoch | None,
) -> FinishedRun:
    """Create a run and train it."""
    source = read_source(init_from) if init_from else None
    setup = build_training(config, start=source.checkpoint if source else None)
    run = create_run(path, setup, device, source, seeds)
    with reserved(run), interruption_named(run):
        state = prepared(setup, run=run)
        return train_to_the_end(setup, run, state, device, profile, on_epoch)


def resume_run(
    config: Config, run: RunDir, device: str, extend: Sequence[str], profile: int, on_epoch: OnEpoch | None
) -> FinishedRun:
    """Continue a run from its last checkpoint, or from its beginning if it has none yet."""
    check_same_config(run, config, extend)
    with reserved(run), interruption_named(run):
        checkpoint = checkpoint_to_resume(run)
        saved = checkpoint.state if checkpoint else None
        setup = setup_to_resume(config, run, checkpoint, extend)
        # All epochs are done, or early stopping ended the run and stays in force.
        if saved and (saved.epoch >= config.train.epochs or (run.is_finished(saved) and not extend)):
            text = "%s: already finished, after %s; --extend train.epochs=N (in Python: extend=) continues it"
            logger.info(text, run.path, counted(saved.epoch, "epoch"))
            complete(run, saved)  # what a kill after the last checkpoint left undone
            return finished(run, saved)
        state = prepared(setup, checkpoint, run)
        if extend and distributed.rank() == 0:
            run.replace_config(config, extend, saved.step if saved else 0)
        return train_to_the_end(setup, run, state, device, profile, on_epoch, saved.metrics if saved else None)


def setup_to_resume(config: Config, run: RunDir, checkpoint: Checkpoint | None, extend: Sequence[str]) -> TrainingSetup:
    """The setup that continues a run from a checkpoint, or from its start without one; checked to fit the run."""
    saved = checkpoint.state if checkpoint else None
    # auto is the run's own engine, unless the user extends it to another one.
    own = saved and config.train.engine == "auto" and "train.engine" not in extend
    module = saved.module if saved else recorded_module(run)
    setup = build_training(config, saved.engine if saved and own else None, checkpoint or run.load_initial(), module)
    if saved:
        check_same_setup(run, saved, setup, extend)
    return setup


def recorded_module(run: RunDir) -> ModuleIdentity | None:
    """The user's module that a run began with; None without one, and for runs before 0.2."""
    record = run.read_environment().get("module")
    return ModuleIdentity.model_validate(record) if record else None


def reserved(run: RunDir) -> contextlib.AbstractContextManager[None]:
    """Reserve the run for this training alone. Process 0 does so for all."""
    return contextlib.nullcontext() if distributed.rank() else run.locked()


@contextlib.contextmanager
def interruption_named(run: RunDir) -> Iterator[None]:
    """Raise TrainingStopped for a Ctrl-C that the training loop does not catch: the run exists and can be resumed."""
    try:
        yield
    except KeyboardInterrupt:
        request = StopRequest()
        request.signal_number = signal.SIGINT
        place = "its last checkpoint" if any(newest_first(run.checkpoints)) else "its beginning"
        raise TrainingStopped(f"interrupted; {run.path} is at {place}", request) from None


def create_run(path: Path, setup: TrainingSetup, device: str, source: Source | None, seeds: Sequence[int]) -> RunDir:
    """Create the new run's folder, recording what it starts from and what it is part of."""
    environment = describe_environment(setup.config, device, setup.engine.describe())
    environment["module"] = setup.module.model_dump() if setup.module else None
    if seeds:
        environment["seeds"] = list(seeds)
    if source:
        environment["init_from"] = record_for(source, setup.identity.data)
    elif setup.weights_record:
        environment["weights_from"] = judged(setup.weights_record, setup.identity.data)
    if distributed.rank() == 0:
        RunDir.create(path, setup.config, environment, source.checkpoint if source else None)
    distributed.wait_for_all()
    return RunDir(path)


def prepared(setup: TrainingSetup, checkpoint: Checkpoint | None = None, run: RunDir | None = None) -> TrainState:
    """The state to train from: that of the checkpoint, or a new one. The cache of frozen layers is filled first.

    run: where the time taken is recorded
    """
    started = time.perf_counter()
    try:
        compute_features(setup)
    finally:
        if run and setup.features and distributed.rank() == 0:
            known = run.read_environment()
            seconds = known.get("feature_seconds", 0) + time.perf_counter() - started
            write_json(run.environment, known | {"feature_seconds": round(seconds, 1)})
    if checkpoint is None and setup.fresh:
        scale_fresh_layers(setup)
    state = TrainState(
        setup.model, setup.config, len(setup.train), checkpoint, setup.trained, setup.engine, setup.class_weights
    )
    state.progress.finished = False
    return state


def train_to_the_end(
    setup: TrainingSetup,
    run: RunDir,
    state: TrainState,
    device: str,
    profile: int,
    on_epoch: OnEpoch | None,
    position: LogPosition | None = None,
) -> FinishedRun:
    """Train from the current state. position: the end of metrics.csv at the checkpoint of a resumed run"""
    setup.engine.report()
    if runtime.denormals_are_zero():
        logger.debug("denormal numbers (below 1.2e-38) are treated as zero in training: they slow a CPU down")
    checkpointer = Checkpointer(run, setup.config.train.checkpoint, setup.identity)
    metric_logger = MetricLogger(run, setup.config.train, state.progress, position)
    with contextlib.closing(metric_logger), stop_on_signals() as checkpointer.stop, out_of_memory_explained(setup):
        metric_logger.log_start(setup.excluded, None if state.progress.step else setup.train)
        state.profiler = StepProfiler(profile, run.path / "profile")
        fit(state, setup.train, setup.val, metric_logger, checkpointer, on_epoch)
    if distributed.rank() == 0:
        write_json(run.environment, run.read_environment() | {"peak_memory_mib": peak_memory_mib(device)})
    complete(run, state.progress)
    return finished(run, state.progress)


def complete(run: RunDir, progress: Progress) -> None:
    """Remove the weights that a finished run started from, and record the seconds of its training."""
    if distributed.rank() == 0:
        run.drop_initial()
        known, seconds = run.read_environment(), round(progress.seconds, 1)
        if known.get("training_seconds") != seconds:
            write_json(run.environment, known | {"training_seconds": seconds})


def finished(run: RunDir, progress: Progress) -> FinishedRun:
    """The result of a run with at least one finished epoch."""
    assert progress.best is not None
    return FinishedRun(run, progress.best)


def compute_features(setup: TrainingSetup) -> None:
    """Fill the cache of frozen layers. On SIGINT or SIGTERM, raises TrainingStopped after the current batch."""
    if setup.features is None:
        return
    with stop_on_signals() as stop:
        setup.features.compute(setup.missing_features(), lambda: bool(stop.signal_number))
        if stop.signal_number:
            raise TrainingStopped(
                f"stopped with {len(setup.missing_features()):,} views of images left to compute; what is computed is "
                f"kept in {setup.features.store.folder}",
                stop,
            )


def train_seeds(
    config: Config,
    path: Path,
    count: int,
    *,
    device: str = "auto",
    resume: bool = False,
    init_from: RunDir | None = None,
    **options: Any,
) -> tuple[list[FinishedRun], dict[str, dict[str, Any]]]:
    """Train the config with `count` seeds, from its own upwards, each in PATH/seed-N.

    Mean, sample standard deviation and range of `loss` and `top1` are written to PATH/seeds.json and also returned.
    """
    folders = seed_folders(config, path, count, resume)
    device = runtime.choose_device(device)
    distributed.start()
    begun = [resume and folder.exists() for folder in folders]
    if resume and not all(begun):  # the others start from the run that the first one started from
        init_from = recorded_source(RunDir(seeds_in(path)[0]))
    distributed.wait_for_all()  # before process 0 creates the next folder
    finished, seeds = [], range(config.seed, config.seed + count)
    for seed, folder, is_begun in zip(seeds, folders, begun, strict=True):
        logger.info("seed %d", seed)
        one, source = config.model_copy(update={"seed": seed}), None if is_begun else init_from
        finished.append(
            train_run(one, folder, device=device, resume=is_begun, init_from=source, seeds=seeds, **options)
        )
    scores = {name: spread([getattr(one.best, name) for one in finished]) for name in ("loss", "top1")}
    if distributed.rank() == 0:
        write_json(path / "seeds.json", {"seeds": [one.run.config.seed for one in finished], **scores})
    return finished, scores


def seed_folders(config: Config, path: Path, count: int, resume: bool) -> list[Path]:
    """The folders of the runs of `train_seeds`. Raises a UserError for what it would refuse before it begins."""
    if count < 2:
        raise ConfigError(f"--seeds {count}: must be at least 2; a plain run has one seed")
    if (path / "config.yaml").exists():
        raise RunError(f"{path}: is a run of one seed; choose another folder for --seeds with --run")
    if resume and not seeds_in(path):
        raise RunError(f"{path}: contains no seed to resume; leave --resume out")
    folders = [path / f"seed-{seed}" for seed in range(config.seed, config.seed + count)]
    for folder in [] if resume else folders:
        RunDir.check_new(folder)
    return folders


def spread(values: list[float]) -> dict[str, Any]:
    """Mean, sample standard deviation and range."""
    return {
        "values": values,
        "mean": statistics.fmean(values),
        "deviation": statistics.stdev(values),
        "range": [min(values), max(values)],
    }
