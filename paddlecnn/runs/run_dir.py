"""The folder of a run. Everything that reads a run reads this folder and nothing else.

config.yaml         the resolved config, every key written out
environment.json    the id of the run, its config as trained, versions, device, commit, command line, wall time
checkpoints/        last, best and the ones before them (checkpoint.py)
initial/            the weights of --init-from, until the first checkpoint
metrics.csv         every logged number; vdl/ has the same for VisualDL
predictions_*.csv   written by `paddlecnn eval`
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from paddlecnn.data.splits import names_test
from paddlecnn.errors import CheckpointError, RunError
from paddlecnn.files import only_process
from paddlecnn.runs.checkpoint import NAMED, Checkpoint, Loaded, load_checkpoint, load_named, load_state
from paddlecnn.runs.config_dir import ConfigDir
from paddlecnn.runs.state import RunState

JOB = "job.yaml"  # in the folder of a cross-validation (fold_job.py)
SEED = re.compile(r"seed-\d+")  # the folder of one of several seeds
EPOCH_NOTE = "the epoch was selected on the same images, so these figures are slightly optimistic"


class RunDir(ConfigDir):
    """A run's folder. Raises RunError if `path` is not one."""

    FOLDERS = ("checkpoints",)

    def __init__(self, path: str | Path, data_root: str | Path | None = None) -> None:
        super().__init__(path, data_root)
        self.checkpoints, self.metrics, self.vdl = (self.path / name for name in ("checkpoints", "metrics.csv", "vdl"))
        if self.path.is_file():
            raise RunError(f"{self.path}: is a file, not a run folder; name the folder that `paddlecnn train` created")
        if not self.path.is_dir():
            raise RunError(f"{self.path}: no such run folder; `paddlecnn train` creates one")
        if (self.path / JOB).is_file():
            raise RunError(f"{self.path}: is a cross-validation; name one of its runs, e.g. {self.path / 'fold-0'}")
        if seeds := seeds_in(self.path):
            raise RunError(f"{self.path}: contains several seeds; name one of them, e.g. {seeds[0]}")
        if not (self.path / "config.yaml").is_file():
            raise RunError(f"{self.path}: not a run folder (it has no config.yaml); {run_to_name(self.path)}")

    @property
    def id(self) -> str | None:
        """A random identifier given to the run when it is created; None if environment.json does not have one."""
        return self.recorded("id")

    def recorded(self, key: str) -> Any:
        """A value of environment.json; None without it."""
        return self.read_environment().get(key) if self.environment.exists() else None

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Reserve the run for one training process; a kill releases it. Raises RunError if it is reserved already."""
        busy = RunError(f"{self.path}: another process is training this run; wait for it or stop it")
        return only_process(self.path / ".lock", busy)

    def is_finished(self, state: RunState) -> bool:
        """Whether the run ended with this checkpoint: its last one, and not the start of an extension."""
        return state.finished and all(one["step"] != state.step for one in self.recorded("extensions") or ())

    def load_checkpoint(self, name: str = "best") -> tuple[Checkpoint, Path]:
        """The checkpoint best or last, and its path.

        Raises RunError if there is none, CheckpointError if it is damaged or of another run.
        """
        checkpoint, folder = self.read_checkpoint(name, load_checkpoint)
        self.check_own(checkpoint.state, folder)
        return checkpoint, folder

    def load_state(self, name: str = "best") -> RunState:
        """The state of the checkpoint best or last, without its weights. Raises the errors of `load_checkpoint`."""
        state, folder = self.read_checkpoint(name, load_state)
        self.check_own(state, folder)
        return state

    def read_checkpoint(self, name: str, load: Callable[[Path], Loaded]) -> tuple[Loaded, Path]:
        """The result of `load` for the checkpoint best or last, and its path. Raises RunError if there is none."""
        try:
            found = load_named(self.checkpoints, name, load)
        except CheckpointError as error:
            if name not in NAMED:
                raise
            others = [other for other in NAMED if other != name and (self.checkpoints / other).is_dir()]
            instead = "".join(f", or use checkpoint {other} of the run instead" for other in others)
            raise CheckpointError(f"{error}; restore the files from a copy of the run{instead}") from None
        if found is None:
            text = f"; `paddlecnn eval {self.path} --checkpoint last` measures the unfinished one"
            other = text if (self.checkpoints / "last").is_dir() else ""
            raise RunError(f"{self.path}: has no checkpoint {name} yet; finish an epoch of training first{other}")
        return found

    def check_own(self, state: RunState, folder: Path) -> None:
        """Raise CheckpointError for a checkpoint that another run wrote. Version 0.1 did not record the writer."""
        writer = state.run
        if writer is not None and self.id not in (None, writer):
            raise CheckpointError(
                f"{folder}: was written by another run (id {writer}, {self.path} is {self.id}); "
                "restore the run's own checkpoint"
            )

    def load_initial(self) -> Checkpoint | None:
        """The weights of --init-from; None if there are none. Raises CheckpointError if they are damaged."""
        return load_checkpoint(self.path / "initial") if (self.path / "initial").is_dir() else None

    def drop_initial(self) -> None:
        """Remove the weights of --init-from, which a run with a checkpoint of its own no longer needs."""
        shutil.rmtree(self.path / "initial", ignore_errors=True)

    def reservations(self, selected: bool = True, split: str = "val") -> Iterator[str]:
        """The reasons why the run's scores on a split are optimistic, in itself or in the runs that it started from.

        selected: whether the scores are those of the best epoch
        """
        if split == "val":
            if selected and self.is_selected:
                yield EPOCH_NOTE
            for source in self.sources:
                yield from source["reservations"] if source.get("same_data", True) else ()
        images = {"val": "validation", "test": "test"}[split]
        for source in self.sources if split == "val" or self.splits_test_off else ():
            if source["trained_on_other_images"]:
                yield f"{self.path} started from {source['run']}, which may have been trained on its {images} images"

    @property
    def is_selected(self) -> bool:
        """Whether validation images, of the config's split or published, selected the epoch of checkpoint best."""
        train, best = self.config.train, self.load_state("best").best
        return train.monitor != "last" and train.epochs > 1 and best is not None and best.n > 0

    @property
    def sources(self) -> list[dict[str, Any]]:
        """The records of the run, or of the export, that this one started from, then of the one before, and so on."""
        source = self.recorded("init_from") or self.recorded("weights_from")
        return [source, *source.get("ancestors", ())] if source else []

    @property
    def lineage(self) -> dict[str, str]:
        """The causes of the weights besides the config and the seed: `init_from`, the experiment of the run that they
        started from, and `extended`, the former values of keys that were changed during training."""
        found = {}
        if source := self.recorded("init_from"):  # the config names all other weights
            found["init_from"] = source.get("experiment", f"config {source['config_hash']}")
        former = [
            f"{key} from {before} at step {extension['step']}"
            for extension in self.recorded("extensions") or ()
            for key, (before, _) in extension["changed"].items()
            if extension["step"]  # otherwise the run is as if it had begun with them
        ]
        return found | ({"extended": ", ".join(former)} if former else {})

    @property
    def splits_test_off(self) -> bool:
        """Whether data.split takes the test images from the training part: it has a test.csv, or may have had one."""
        split = self.config.data.split
        return split is not None and (names_test(split) or not Path(split).exists())

    def predictions(self, split: str) -> Path:
        """The CSV of predictions on a split: id, label, predicted, then one probability per class."""
        return self.path / f"predictions_{split}.csv"


def reservations(runs: Iterable[RunDir], split: str = "val") -> list[str]:
    """The reservations about the scores of several runs on a split, each once."""
    return list(dict.fromkeys(note for run in runs for note in run.reservations(split=split)))


def new_run_path(config_path: str | Path, root: str | Path = "runs") -> Path:
    """runs/cifar10/alexnet/2026-11-23_09-30-00 for configs/cifar10/alexnet.yaml.

    Raises RunError in one of several processes, since each would name a different folder by its own clock.
    """
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) > 1:
        raise RunError("--run: several processes train in one folder; name it")
    return run_family(config_path, root) / datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def find_run(name: str | Path, root: str | Path = "runs", data_root: str | Path | None = None) -> RunDir:
    """The run that a user names (see `find_path`). Raises RunError if there is none, or more than one."""
    return RunDir(find_path(name, root), data_root)


def find_path(name: str | Path, root: str | Path = "runs") -> Path:
    """The folder of a run, of a cross-validation or of several seeds: its own path, a config's newest, or `latest`, the
    newest of all.

    Raises RunError for a config without runs, and for `latest` if there is none.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        family = run_family(path, root)
        found = [*begun_in(family, "*/"), *begun_in(family, "*/seed-*/")]
        return newest(found, f"{family}: contains no run; train one with -c {path}")
    if str(name) == "latest" and not path.exists():
        return newest(begun_in(Path(root)), f"{root}: contains no run yet")
    return path


def newest(configs: Sequence[Path], otherwise: str) -> Path:
    """The folder of the run, cross-validation or seeds begun last."""
    if not configs:
        raise RunError(otherwise)
    run = max(configs, key=lambda path: (path.stat().st_mtime, path)).parent
    seeds = seeds_in(run.parent)
    # A single one may be a run that its user gave this name.
    return run.parent if run in seeds and (len(seeds) > 1 or (run.parent / "seeds.json").exists()) else run


def begun_in(folder: Path, below: str = "**/") -> list[Path]:
    """The config of each run and cross-validation in a folder; the runs of a cross-validation count as one with it."""
    found = sorted([*folder.glob(f"{below}config.yaml"), *folder.glob(f"{below}{JOB}")])
    return [path for path in found if not (path.parent.parent / JOB).is_file() and path.parent.name[:1] != "."]


def seeds_in(folder: Path) -> list[Path]:
    """The runs that `train --seeds` began in a folder, in the order of their seeds; none in a run's own folder."""
    if (folder / "config.yaml").exists():
        return []
    found = {path.parent: SEED.fullmatch(path.parent.name) for path in folder.glob("seed-*/config.yaml")}
    return sorted((path for path, name in found.items() if name), key=lambda path: int(path.name.rpartition("-")[2]))


def run_to_name(folder: Path) -> str:
    """Advice for a folder that is not a run: the newest run in it, if there is one.

    Searched only as deep as runs/ is by default (data set, config, time), so not through a whole home folder.
    """
    inside = [config for below in ("*/", "*/*/", "*/*/*/") for config in begun_in(folder, below)]
    if not inside:
        return "name the folder of a run, a config (its newest run), or latest"
    return f"name one of the runs in it; the newest is {newest(inside, '')}"


def count_seeds(folder: Path) -> int:
    """The number of seeds of the training that began the runs in a folder. Raises RunError if it is not on record."""
    planned = RunDir(seeds_in(folder)[-1]).read_environment().get("seeds")
    if not isinstance(planned, list):
        raise RunError(
            f"{folder}: contains several seeds, and their number is not on record; continue them with "
            f"`paddlecnn train -c CONFIG --seeds N --resume {folder}`"
        )
    return len(planned)


def run_family(config_path: str | Path, root: str | Path) -> Path:
    """The folder for the runs of a config, named after its place under configs/."""
    return Path(root) / below_configs(Path(config_path)).with_suffix("")


def below_configs(path: Path) -> Path:
    """The part of a config file's path below the last folder named configs; the file's name if there is none."""
    parts = path.parts
    start = len(parts) - parts[::-1].index("configs") if "configs" in parts else -1
    return Path(*parts[start:])
