"""The folder of a run: everything that reads a run reads this folder and nothing else.

    config.yaml         the resolved config, every key written out
    environment.json    versions, device, commit, command line, wall time
    checkpoints/        last, best and the ones before (checkpoint.py)
    metrics.csv         every logged number; vdl/ holds the same for VisualDL
    predictions_*.csv   written by tools/eval.py
"""
from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from paddlecnn.config import Config
from paddlecnn.configfile import load_run_config, to_yaml
from paddlecnn.errors import RunError
from paddlecnn.files import sync, write_json
from paddlecnn.runs.checkpoint import restore_best


class RunDir:
    """A run's folder. Raises RunError where `path` is not one."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise RunError(f"{self.path}: no such run folder; tools/train.py makes one")
        if not (self.path / "config.yaml").is_file():
            raise RunError(f"{self.path}: not a run folder (it has no config.yaml)")

    @classmethod
    def create(cls, path: str | Path, config: Config, environment: dict[str, Any]) -> RunDir:
        """Make a new run folder, whole or not at all. Raises RunError where one is there already."""
        path = Path(path)
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise RunError(f"{path}: exists already; go on with it by --resume, or choose another --run")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.{os.getpid()}.part")
            aside.mkdir()
        except OSError as error:
            raise RunError(f"{path}: the run folder cannot be made ({error.strerror}); "
                           "choose another with --run") from None
        try:
            (aside / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
            write_json(aside / "environment.json", environment)
            (aside / "checkpoints").mkdir()
            sync(aside)
            os.rename(aside, path)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        return cls(path)

    @cached_property
    def config(self) -> Config:
        """The resolved config of the run."""
        return load_run_config(self.path / "config.yaml")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for one training process; a kill lets go of it. Raises RunError where another one trains."""
        with open(self.path / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(f"{self.path}: another process is training this run; wait for it or stop it") from None
            yield

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def vdl(self) -> Path:
        return self.path / "vdl"

    def checkpoint(self, name: str = "best") -> Path:
        """The folder of the checkpoint called best or last. Raises RunError where there is none yet."""
        with contextlib.suppress(OSError):  # a run on a read-only disk can still be read
            restore_best(self.checkpoints)
        folder = self.checkpoints / name
        if not folder.is_dir():
            raise RunError(f"{self.path}: has no checkpoint called {name} yet; finish an epoch of training first")
        return folder

    def predictions(self, split: str) -> Path:
        """The CSV of predictions on a split: id, label, predicted, then one probability a class."""
        return self.path / f"predictions_{split}.csv"


def new_run_path(config_path: str | Path, root: str | Path = "runs") -> Path:
    """runs/cifar10/alexnet/2026-11-23_09-30-00 for configs/cifar10/alexnet.yaml."""
    return run_family(config_path, root) / datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def newest_run(config_path: str | Path, root: str | Path = "runs") -> Path:
    """The newest run of a config. Raises RunError where there is none."""
    family = run_family(config_path, root)
    runs = sorted(path.parent for path in family.glob("*/config.yaml"))
    if not runs:
        raise RunError(f"{family}: holds no run to resume; leave out --resume, or name one with --run")
    return runs[-1]


def run_family(config_path: str | Path, root: str | Path) -> Path:
    """The folder for the runs of a config, named after its place under configs/."""
    parts = Path(config_path).with_suffix("").parts
    start = len(parts) - 1 - parts[::-1].index("configs") + 1 if "configs" in parts else len(parts) - 1
    return Path(root).joinpath(*parts[start:])
