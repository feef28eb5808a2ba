"""`train_and_evaluate`: the one entry from a config to a finished run folder."""
from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paddlecnn import distributed, runtime
from paddlecnn.config import Config
from paddlecnn.configfile import config_hash, to_yaml
from paddlecnn.errors import RunError
from paddlecnn.evaluation.metrics import Scores
from paddlecnn.files import write_json, write_text
from paddlecnn.runs.checkpoint import Checkpoint, latest_valid, restore_best
from paddlecnn.runs.provenance import describe_environment, peak_memory_mib
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.training.fit import fit
from paddlecnn.training.interrupt import stop_on_signals
from paddlecnn.training.logger import Recorder
from paddlecnn.training.memory import out_of_memory_explained
from paddlecnn.training.profile import StepProfiler
from paddlecnn.training.progress import Progress
from paddlecnn.training.resume import check_same_config
from paddlecnn.training.setup import TrainingSetup, build_training
from paddlecnn.training.state import Learner


@dataclass(frozen=True)
class Outcome:
    """A finished run and the validation scores of its best epoch."""

    run: RunDir
    best_epoch: int
    scores: Scores


def train_and_evaluate(config: Config, run_path: Path, *, resume: bool = False, extend: Sequence[str] = (),
                       device: str = "auto", profile: int = 0) -> Outcome:
    """Train `config` in the folder `run_path` to its end, or go on with the run that is there.

    extend: key paths that may differ from the run's own config on a resume. profile: time that many steps.
    Raises a UserError for all that a user can cause; then nothing of an existing run has changed.
    """
    device = runtime.choose_device(device)
    distributed.start()
    run = RunDir(run_path) if resume else None
    if run:
        check_same_config(run, config, extend)
    job = build_training(config)
    if run is None:
        if distributed.rank() == 0:
            RunDir.create(run_path, config, describe_environment(config, device))
        distributed.wait_for_all()
        run = RunDir(run_path)
    checkpoint = find_checkpoint(run) if resume else None
    if checkpoint and checkpoint.state["data"] != job.describe()["data"]:
        raise RunError(f"{run.path}: the images or labels in {config.data.root} are not those that the run was trained "
                       "on; resume with its own data, or train a new run")
    progress = Progress.from_state(checkpoint.state) if checkpoint else Progress()
    progress.finished = progress.epoch >= config.train.epochs or (progress.finished and not extend)
    if extend and distributed.rank() == 0:
        write_text(run.path / "config.yaml", to_yaml(config))
    if progress.finished:
        print(f"{run.path}: finished already, after {progress.epoch} epochs; "
              "--extend train.epochs=N goes on from its last one")
    else:
        with contextlib.nullcontext() if distributed.rank() else run.locked():
            run_to_its_end(job, run, checkpoint, progress, profile)
            finish_environment(run, progress, device)
    best = progress.best
    return Outcome(run, best["epoch"], Scores(best["n"], best["loss"], best["top1"]))


def find_checkpoint(run: RunDir) -> Checkpoint | None:
    """The newest sound checkpoint; says which newer ones were refused. None where none was written yet."""
    if distributed.rank() == 0:
        restore_best(run.checkpoints)
    distributed.wait_for_all()
    checkpoint, folder, refused = latest_valid(run.checkpoints)
    if refused and checkpoint is None:
        raise RunError(f"{refused[0]}; no sound checkpoint is left, so there is nothing to resume")
    if distributed.rank() == 0:
        for line in refused:
            print(f"{line}; going on from {folder}")
        if checkpoint is None:
            print(f"{run.path}: no checkpoint yet; starting from the beginning")
    return checkpoint


def run_to_its_end(job: TrainingSetup, run: RunDir, checkpoint: Checkpoint | None, progress: Progress,
                   profile: int) -> None:
    """Train from where `progress` stands."""
    learner = Learner(job.model, job.config, len(job.train), done=progress.step)
    if checkpoint:
        learner.restore(checkpoint)
    phases = StepProfiler(profile, run.path / "profile")
    fixed = {**job.describe(), "config_hash": config_hash(job.config)}
    with contextlib.closing(Recorder(run, learner, progress, fixed)) as recorder, stop_on_signals() as stop:
        for line in job.notes:
            recorder.say(line)
        recorder.list_excluded(job.excluded)
        with out_of_memory_explained(job):
            fit(learner, job.train, job.val, progress, recorder, stop, phases)


def finish_environment(run: RunDir, progress: Progress, device: str) -> None:
    """Add to environment.json what is known only at the end."""
    if distributed.rank() == 0:
        path = run.path / "environment.json"
        known = json.loads(path.read_text(encoding="utf-8"))
        write_json(path, {**known, "training_seconds": round(progress.seconds, 1),
                          "peak_memory_mib": peak_memory_mib(device)})
