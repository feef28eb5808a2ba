"""Cross-validation: all folds of a config, one after the other, as one job that can be resumed."""

from __future__ import annotations

import contextlib
import gc
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from paddlecnn import distributed, runtime
from paddlecnn.config import Config
from paddlecnn.errors import ConfigError, UserError
from paddlecnn.evaluation.out_of_fold import evaluate_folds
from paddlecnn.runs.fold_job import FoldJob
from paddlecnn.runs.provenance import describe_environment
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.training.checkpointer import check_same_config
from paddlecnn.training.init_from import check_unchanged, digest_of_best
from paddlecnn.training.train import train_run

logger = logging.getLogger(__name__)


def train_folds(
    config: Config,
    path: Path,
    *,
    resume: bool = False,
    extend: Sequence[str] = (),
    device: str = "auto",
    profile: int = 0,
    init_from: Sequence[RunDir] = (),
    again: str | None = None,
) -> dict[str, Any]:
    """Train all folds of `config` in the folder `path`, or resume the job that is there; returns its table.

    A finished fold is left as it is; an interrupted one is resumed (see `train_run`).

    init_from: the run that all folds start from, or one run for each fold
    again: the options that continue the job if a signal stops it
    Raises a UserError for every error that a user can cause.
    """
    check_job(config, path, resume, extend, init_from)
    device = runtime.choose_device(device)
    distributed.start()
    distributed.wait_for_all()  # before process 0 creates the folder
    job = FoldJob(path) if resume else create_job(path, config, device, init_from)
    environment = job.read_environment()
    sources, digests = environment.get("init_from", []), environment.get("init_from_sha256", [])
    begun = [folder.exists() for folder in job.folds]
    distributed.wait_for_all()  # before process 0 creates the first fold's folder
    with contextlib.nullcontext() if resume else removed_if_empty(job):
        for fold, folder in enumerate(job.folds):
            logger.info("%s (%d of %d)", folder, fold + 1, len(begun))
            source = RunDir(sources[fold % len(sources)]) if sources and not begun[fold] else None
            if source and digests:
                check_unchanged(source, digests[fold % len(digests)], path)
            train_run(
                config.model_copy(update={"data": config.data.model_copy(update={"fold": fold})}),
                folder,
                resume=begun[fold],
                extend=extend if begun[fold] else (),
                device=device,
                profile=profile,
                init_from=source,
                again=again or f"--resume {path}",
            )
            gc.collect()  # free the fold's weights and optimizer before the next fold
    if extend and distributed.rank() == 0:
        job.replace_config(config, extend)
    return evaluate_folds(FoldJob(path), config.model.module)


def check_job(config: Config, path: Path, resume: bool, extend: Sequence[str], init_from: Sequence[RunDir]) -> None:
    """Raise a UserError for what `train_folds` refuses before it begins."""
    folds = config.data.folds
    if folds is None or config.data.fold:
        raise ConfigError("--all-folds: set data.folds to the number of folds, and leave data.fold out")
    if len(init_from) not in (0, 1, folds):
        raise ConfigError(
            f"--init-from: {len(init_from)} runs for {folds} folds; name one run, or a job with as many folds"
        )
    if resume:
        check_same_config(FoldJob(path), config, extend)
    else:
        FoldJob.check_new(path)


def create_job(path: Path, config: Config, device: str, init_from: Sequence[RunDir]) -> FoldJob:
    """Create the folder of a new job, recording what it starts from."""
    if distributed.rank() == 0:
        environment = describe_environment(config, device, config.train.engine)
        if init_from:
            environment["init_from"] = [str(run.path.resolve()) for run in init_from]
            environment["init_from_sha256"] = [digest_of_best(run) for run in init_from]
        FoldJob.create(path, config, environment)
    distributed.wait_for_all()
    return FoldJob(path)


@contextlib.contextmanager
def removed_if_empty(job: FoldJob) -> Iterator[None]:
    """Remove the folder of a new job if an error ends the block before its first fold begins."""
    try:
        yield
    except UserError:
        if distributed.rank() == 0 and not any(folder.exists() for folder in job.folds):
            shutil.rmtree(job.path)
        raise
