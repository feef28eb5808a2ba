"""A checkpoint is a folder that is either complete or refused.

    model.safetensors       the weights to predict with (their moving average, where one is kept)
    optimizer.safetensors   what only training needs: momentum and the like, and the raw weights beside an average
    state.json              the position of training, preprocessing and class names (state.py)
    SHA256SUMS              the digest of each file above; `sha256sum -c` reads it

It is written aside, flushed to disk and renamed, so a kill leaves the old one or the new one. Nothing in it
can run code: safetensors hold numbers, JSON holds text.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors.numpy
from pydantic import ValidationError
from safetensors import SafetensorError

from paddlecnn.errors import CheckpointError, did_you_mean, first_problem
from paddlecnn.files import file_digest, sync
from paddlecnn.runs.state import RunState

SUMS = "SHA256SUMS"
FILES = ("model.safetensors", "optimizer.safetensors", "state.json")
NAMED = ("best", "last")  # the checkpoints that a user can name
ATTEMPTS, PAUSE = 5, 0.01  # of a reader while its checkpoint is being replaced; seconds between them
Arrays = dict[str, np.ndarray]
Loaded = TypeVar("Loaded")


@dataclass
class Checkpoint:
    """The content of a checkpoint folder."""

    model: Arrays
    optimizer: Arrays
    state: RunState


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int = 1, best: bool = False) -> None:
    """Write a checkpoint as `folder`/last, and as `folder`/best too if it is the best so far.

    The two share no file: if one is damaged later, the other is intact.
    The `keep` - 1 checkpoints before it are kept as step-00000123. An error while writing (a full disk) leaves
    everything in place. Returns when all files are on disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if best:  # before `last`: a kill in between repeats the epoch and writes the same best again
        replace_best(folder, write_aside(folder, checkpoint))
    aside = write_aside(folder, checkpoint)
    last = folder / "last"
    if last.exists():
        older = folder / f"step-{step_of(last):08d}"
        shutil.rmtree(older, ignore_errors=True)  # the same step, written before a resume
        os.rename(last, older)
    os.rename(aside, last)
    sync(folder)
    earlier = sorted(folder.glob("step-*"), key=step_of)
    for outdated in earlier[: max(len(earlier) - keep + 1, 0)]:
        shutil.rmtree(outdated)
    for unfinished in folder.glob(".writing-*"):  # left by a kill
        shutil.rmtree(unfinished)


def write_aside(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write the files of a checkpoint into a new folder beside the others; returns it, flushed to disk."""
    aside = folder / f".writing-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        write_files(aside, checkpoint)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return aside


def write_files(folder: Path, checkpoint: Checkpoint) -> None:
    contents = (
        safetensors.numpy.save(checkpoint.model),
        safetensors.numpy.save(checkpoint.optimizer),
        json.dumps(checkpoint.state.model_dump(), indent=1, allow_nan=False).encode(),
    )
    for name, content in zip(FILES, contents, strict=True):
        (folder / name).write_bytes(content)
        sync(folder / name)
    (folder / SUMS).write_text("".join(f"{file_digest(folder / name)}  {name}\n" for name in FILES), encoding="utf-8")
    sync(folder / SUMS)
    sync(folder)


def replace_best(folder: Path, aside: Path) -> None:
    """Rename `aside` to best. A folder cannot replace another atomically: between the two renames, best.new exists."""
    best, new, old = folder / "best", folder / "best.new", folder / "best.old"
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    os.rename(aside, new)
    if best.exists():
        os.rename(best, old)
    os.rename(new, best)
    sync(folder)
    shutil.rmtree(old, ignore_errors=True)


def restore_best(folder: Path) -> None:
    """Complete a replacement that was killed between the two renames of `replace_best`."""
    best, new = folder / "best", folder / "best.new"
    if not best.exists() and new.exists():
        os.rename(new, best)


def step_of(folder: Path) -> int:
    """The step in a checkpoint folder's name or, for `last`, in its state; -1 if it cannot be read."""
    named = re.fullmatch(r"step-(\d+)", folder.name)
    if named:
        return int(named[1])
    try:
        return int(json.loads((folder / "state.json").read_text(encoding="utf-8"))["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1


def load_named(folder: Path, name: str, load: Callable[[Path], Loaded]) -> tuple[Loaded, Path] | None:
    """The result of `load` for the checkpoint `best` or `last` of a run, and its path; None if there is none.

    Training replaces a checkpoint by two renames; a reader that comes between them or finds the files gone tries
    again. Raises CheckpointError for any other name.
    """
    if name not in NAMED:
        raise CheckpointError(f"{folder}: no checkpoint is called {name!r}{did_you_mean(name, NAMED)}")
    places = [folder / name] if name == "last" else [folder / "best", folder / "best.new"]
    for _ in range(ATTEMPTS):
        for place in places:
            before = identity_of(place)
            if before is None:
                continue
            try:
                return load(place), place
            except CheckpointError:
                if identity_of(place) == before:
                    raise
        time.sleep(PAUSE)
    return None


def identity_of(folder: Path) -> int | None:
    """A number that changes when a folder is replaced by another one; None if there is no folder."""
    try:
        return folder.stat().st_ino
    except OSError:
        return None


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint after checking every byte of it.

    Raises CheckpointError, which names the folder and the file, for one that is incomplete, altered or not ours.
    """
    with explained(folder):
        verify(folder, FILES)
        model, optimizer = (safetensors.numpy.load((folder / name).read_bytes()) for name in FILES[:2])
        return Checkpoint(model, optimizer, RunState.model_validate(json.loads((folder / FILES[2]).read_bytes())))


def set_weights(model: Any, arrays: Arrays, source: str) -> None:
    """Give a network all of its weights. Raises CheckpointError, which names `source`, if names, shapes or types
    differ.

    Without `set_state_dict`, which before PaddlePaddle 3 skips weights that have no initial values.
    """
    tensors = model.state_dict()
    misfits = [name for name in dict.fromkeys([*tensors, *arrays]) if not fits(tensors.get(name), arrays.get(name))]
    if misfits:
        raise CheckpointError(f"{source}: does not fit {model.name} of this version (layers {', '.join(misfits[:3])})")
    for name, tensor in tensors.items():
        tensor.set_value(arrays[name])


def fits(tensor: Any, array: np.ndarray | None) -> bool:
    """Whether there are both, with one shape and one type."""
    if tensor is None or array is None:
        return False
    return tuple(tensor.shape) == array.shape and str(tensor.dtype) == f"paddle.{array.dtype}"


def load_state(folder: Path) -> RunState:
    """Read state.json alone, after checking it. Raises CheckpointError."""
    with explained(folder):
        verify(folder, ("state.json",))
        return RunState.model_validate(json.loads((folder / "state.json").read_bytes()))


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Raise any error in reading a checkpoint as CheckpointError."""
    try:
        yield
    except ValidationError as error:
        raise CheckpointError(f"{folder}: not a checkpoint of paddlecnn (state.json: {first_problem(error)})") from None
    except (ValueError, RecursionError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: not a checkpoint of paddlecnn ({error})") from None
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read ({error.strerror})") from None


def verify(folder: Path, names: Sequence[str]) -> None:
    """Check files of a checkpoint against their SHA-256. Raises CheckpointError naming the first that differs."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such checkpoint")
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    except FileNotFoundError:
        raise CheckpointError(f"{folder}: {SUMS} is missing") from None
    except (OSError, ValueError):
        sums = {}
    for name in names:
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder}: {name} is missing")
        if name not in sums:
            raise CheckpointError(f"{folder}: {SUMS} has no sum for {name}")
        if file_digest(folder / name) != sums[name]:
            raise CheckpointError(f"{folder}: {name} does not match its SHA-256")
    if set(sums) != set(FILES):
        raise CheckpointError(f"{folder}: {SUMS} lists files other than {', '.join(FILES)}")


def latest_valid(folder: Path) -> tuple[Checkpoint | None, Path | None, list[str]]:
    """The newest intact checkpoint, its path, and a line for each newer one that is damaged.

    (None, None, lines) if there is no valid one.
    """
    refused: list[str] = []
    for candidate in newest_first(folder):
        try:
            return load_checkpoint(candidate), candidate, refused
        except CheckpointError as error:
            refused.append(str(error))
    return None, None, refused


def newest_first(folder: Path) -> Iterator[Path]:
    """Checkpoint folders to resume from, the newest first: last, then the earlier ones and the best by their steps."""
    if (folder / "last").exists():
        yield folder / "last"
    yield from sorted([*folder.glob("step-*"), *folder.glob("best")], key=step_of, reverse=True)
