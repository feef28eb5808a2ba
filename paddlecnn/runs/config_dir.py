"""A folder with a resolved config and environment.json: of a run (run_dir.py) or a cross-validation (fold_job.py)."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from paddlecnn.config import Config
from paddlecnn.configfile import differences, load_run_config, to_yaml
from paddlecnn.errors import RunError
from paddlecnn.files import folder_written_aside, write_json, write_text
from paddlecnn.runs.checkpoint import Checkpoint, write_aside


class ConfigDir:
    """The common part of both kinds of folder."""

    CONFIG = "config.yaml"
    FOLDERS: tuple[str, ...] = ()  # created empty with it

    def __init__(self, path: str | Path, data_root: str | Path | None = None) -> None:
        """data_root: where its data are now, instead of data.root in its config"""
        self.path = Path(path)
        self.data_root = data_root
        self.environment = self.path / "environment.json"

    @classmethod
    def check_new(cls, path: Path) -> None:
        """Raise RunError if the path exists already, except as an empty folder."""
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            if not (path / cls.CONFIG).is_file():
                raise RunError(f"{path}: already exists and is not a run; choose another folder with --run")
            raise RunError(
                f"{path}: already exists; continue it with --resume (in Python: resume=True), or choose "
                "another folder with --run"
            )

    @classmethod
    def create(
        cls, path: str | Path, config: Config, environment: dict[str, Any], initial: Checkpoint | None = None
    ) -> Self:
        """Create a folder, completely or not at all. Raises RunError if there is one already.

        initial: the weights that a run starts from, if they are another run's
        """
        path = Path(path)
        cls.check_new(path)
        try:
            with folder_written_aside(path) as aside:
                write_text(aside / cls.CONFIG, to_yaml(config))
                identity = {"id": uuid.uuid4().hex, "config": config.model_dump(mode="json")}
                write_json(aside / "environment.json", identity | environment)
                for name in cls.FOLDERS:
                    (aside / name).mkdir()
                if initial:
                    os.rename(write_aside(aside, initial), aside / "initial")
        except OSError as error:
            cls.check_new(path)  # another process may have created it since
            raise RunError(
                f"{path}: the run folder cannot be created ({error.strerror}); choose another one with --run"
            ) from None
        return cls(path)

    @cached_property
    def config(self) -> Config:
        config = load_run_config(self.path / self.CONFIG)
        if self.data_root is None:
            return config
        root = str(Path(self.data_root).expanduser())
        return config.model_copy(update={"data": config.data.model_copy(update={"root": root})})

    def recorded_config(self) -> Config | None:
        """The config as it was when the folder was created or extended; None if environment.json does not have it."""
        recorded = self.read_environment().get("config")
        return load_run_config(recorded) if isinstance(recorded, dict) else None

    def replace_config(self, config: Config, extend: Sequence[str], step: int | None = None) -> None:
        """Write the config of an extended run or cross-validation, and record the extension: the values before and
        after of the keys in `extend`, and the step from which on they apply (each fold of a cross-validation records
        its own). The file keeps its time, that of the beginning."""
        known, before = self.read_environment(), self.recorded_config() or self.config
        keys = tuple(extend)
        changed = {key: [old, new] for key, old, new in differences(before, config) if key.startswith(keys)}
        if changed:
            known["extensions"] = [*known.get("extensions", ()), {"step": step, "changed": changed}]
        path = self.path / self.CONFIG
        times = path.stat()
        write_text(path, to_yaml(config))
        self.__dict__.pop("config", None)  # read from now on
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        write_json(self.environment, known | {"config": config.model_dump(mode="json")})

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
