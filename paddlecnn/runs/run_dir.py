"""The folder of a run. Everything that reads a run reads this folder and nothing else.

config.yaml         the resolved config, every key written out
environment.json    the id of the run, its config as trained, versions, device, commit, command line, wall time
checkpoints/        last, best and the ones before them (checkpoint.py)
metrics.csv         every logged number; vdl/ has the same for VisualDL
predictions_*.csv   written by `paddlecnn eval`
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from paddlecnn.config import Config
from paddlecnn.configfile import load_run_config, to_yaml
from paddlecnn.errors import CheckpointError, RunError
from paddlecnn.files import sync, write_json, write_text
from paddlecnn.runs.checkpoint import Checkpoint, Loaded, load_checkpoint, load_named, load_state
from paddlecnn.runs.state import RunState


class RunDir:
    """A run's folder. Raises RunError if `path` is not one."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise RunError(f"{self.path}: no such run folder; `paddlecnn train` creates one")
        if not (self.path / "config.yaml").is_file():
            raise RunError(f"{self.path}: not a run folder (it has no config.yaml)")

    @classmethod
    def create(cls, path: str | Path, config: Config, environment: dict[str, Any]) -> RunDir:
        """Create a run folder, complete or not at all. Raises RunError if there is one already."""
        path = Path(path)
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise RunError(f"{path}: already exists; continue it with --resume, or choose another folder with --run")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.{os.getpid()}.part")
            aside.mkdir()
        except OSError as error:
            raise RunError(
                f"{path}: the run folder cannot be created ({error.strerror}); choose another one with --run"
            ) from None
        try:
            (aside / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
            identity = {"id": uuid.uuid4().hex, "config": config.model_dump(mode="json")}
            write_json(aside / "environment.json", identity | environment)
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

    def recorded_config(self) -> Config | None:
        """The config as the run was created or extended with it; None if environment.json does not have it."""
        recorded = self.read_environment().get("config")
        return load_run_config(recorded) if isinstance(recorded, dict) else None

    def replace_config(self, config: Config) -> None:
        """Write the config of a run that is extended."""
        write_text(self.path / "config.yaml", to_yaml(config))
        write_json(self.environment, self.read_environment() | {"config": config.model_dump(mode="json")})

    @property
    def id(self) -> str | None:
        """A random number given to the run when it is created; None if environment.json does not have one."""
        return self.read_environment().get("id") if self.environment.exists() else None

    def read_environment(self) -> dict[str, Any]:
        """The content of environment.json. Raises RunError if it is missing or damaged."""
        path = self.environment
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError("not a JSON object")
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(
                f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); restore the file, or "
                "write {} into it if its content is lost"
            ) from None
        return content

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Reserve the run for one training process; a kill releases it. Raises RunError if it is reserved already."""
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise RunError(f"{self.path}: another process is training this run; wait for it or stop it") from None
        try:
            yield
        finally:
            lock.release()

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def vdl(self) -> Path:
        return self.path / "vdl"

    def load_checkpoint(self, name: str = "best") -> tuple[Checkpoint, Path]:
        """The checkpoint best or last, and its place.

        Raises RunError if there is none, CheckpointError if it is damaged or of another run.
        """
        checkpoint, folder = self.read_checkpoint(name, load_checkpoint)
        self.check_own(checkpoint.state, folder)
        return checkpoint, folder

    def load_state(self, name: str = "best") -> RunState:
        """The state of the checkpoint best or last, without its weights. Raises as `load_checkpoint`."""
        state, folder = self.read_checkpoint(name, load_state)
        self.check_own(state, folder)
        return state

    def read_checkpoint(self, name: str, load: Callable[[Path], Loaded]) -> tuple[Loaded, Path]:
        """What `load` reads of the checkpoint best or last, and its place. Raises RunError if there is none."""
        found = load_named(self.checkpoints, name, load)
        if found is None:
            other = "; --checkpoint last uses the unfinished epoch" if (self.checkpoints / "last").is_dir() else ""
            raise RunError(f"{self.path}: has no checkpoint {name} yet; finish an epoch of training first{other}")
        return found

    def check_own(self, state: RunState, folder: Path) -> None:
        """Raise CheckpointError for a checkpoint that another run wrote. Version 0.1 did not record which one did."""
        writer = state.run
        if writer is not None and self.id not in (None, writer):
            raise CheckpointError(
                f"{folder}: was written by another run (id {writer}, {self.path} is {self.id}); "
                "restore the run's own checkpoint"
            )

    def predictions(self, split: str) -> Path:
        """The CSV of predictions on a split: id, label, predicted, then one probability a class."""
        return self.path / f"predictions_{split}.csv"


def new_run_path(config_path: str | Path, root: str | Path = "runs") -> Path:
    """runs/cifar10/alexnet/2026-11-23_09-30-00 for configs/cifar10/alexnet.yaml."""
    return run_family(config_path, root) / datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def find_run(name: str | Path, root: str | Path = "runs") -> RunDir:
    """The run that a person names: its folder, a config (its newest run), or `latest` (the newest of all).

    Raises RunError if there is none.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        family = run_family(path, root)
        return newest(family.glob("*/config.yaml"), f"{family}: contains no run; train one with -c {path}")
    if str(name) == "latest" and not path.exists():
        return newest(Path(root).rglob("config.yaml"), f"{root}: contains no run yet")
    return RunDir(path)


def newest(configs: Iterator[Path], otherwise: str) -> RunDir:
    """The run whose config.yaml was written last."""
    found = sorted(configs, key=lambda path: (path.stat().st_mtime, path))
    if not found:
        raise RunError(otherwise)
    return RunDir(found[-1].parent)


def run_family(config_path: str | Path, root: str | Path) -> Path:
    """The folder for the runs of a config, named after its place under configs/."""
    parts = Path(config_path).with_suffix("").parts
    start = len(parts) - 1 - parts[::-1].index("configs") + 1 if "configs" in parts else len(parts) - 1
    return Path(root).joinpath(*parts[start:])
