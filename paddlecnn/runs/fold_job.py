"""The folder of a cross-validation: a run for each fold, and what they share.

job.yaml            the resolved config of all folds, written as that of fold 0
environment.json    when, where and with which command it was started, and the runs of --init-from
fold-0, fold-1 ...  the runs (run_dir.py)
out_of_fold.csv     for each image the prediction by the run that was not trained on it
out_of_fold.json    the table of the folds
"""

from __future__ import annotations

from pathlib import Path

from paddlecnn.errors import ConfigError, RunError
from paddlecnn.runs.config_dir import ConfigDir
from paddlecnn.runs.run_dir import JOB, RunDir, find_path, seeds_in


class FoldJob(ConfigDir):
    """The folder of a cross-validation. Raises RunError if `path` is not one."""

    CONFIG = JOB

    def __init__(self, path: str | Path, data_root: str | Path | None = None) -> None:
        super().__init__(path, data_root)
        if not is_job(self.path):
            raise RunError(f"{self.path}: not the folder of a cross-validation (it has no {JOB})")

    @property
    def folds(self) -> list[Path]:
        """The folder of each fold's run, including those not begun."""
        return [self.path / f"fold-{fold}" for fold in range(self.config.data.folds or 0)]

    @property
    def runs(self) -> list[RunDir]:
        """The run of each fold. Raises RunError if one has not begun."""
        missing = [fold for fold in self.folds if not fold.exists()]
        if missing:
            raise RunError(
                f"{missing[0]}: not trained yet; continue the job with `paddlecnn train --resume "
                f"{self.path}` (in Python: resume=True)"
            )
        return [RunDir(fold, self.data_root) for fold in self.folds]

    @property
    def lineage(self) -> dict[str, str]:
        """The same for all its runs, as in `RunDir`."""
        return self.runs[0].lineage


def is_job(path: Path) -> bool:
    """Whether a folder is that of a cross-validation."""
    return (path / JOB).is_file()


def run_around(path: Path) -> Path | None:
    """The folder of the run or of the cross-validation that contains a path; None if there is none."""
    for folder in path.resolve().parents:
        if is_job(folder) or ((folder / "config.yaml").is_file() and (folder / "checkpoints").is_dir()):
            return folder
    return None


def find_runs(name: str | Path, data_root: str | Path | None = None) -> list[RunDir]:
    """All runs that a user names: of a cross-validation, of several seeds, or one. Raises RunError if there is none."""
    path = find_path(name)
    if is_job(path):
        return FoldJob(path, data_root).runs
    return [RunDir(seed, data_root) for seed in seeds_in(path)] or [RunDir(path, data_root)]


def find_sources(name: str | Path | None, resume: bool, several: bool = False) -> list[RunDir]:
    """The runs of --init-from, found by their common name. Raises ConfigError on a resume, or for too many."""
    if name is None:
        return []
    if resume:
        raise ConfigError("--init-from: is for a new run; a resumed one has its weights already")
    found = find_runs(name)
    if len(found) > 1 and not several:
        raise ConfigError(f"--init-from {name}: contains several runs; name one of them")
    return found
