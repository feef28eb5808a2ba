"""The weights of another run as the start of a new one (`--init-from`, or a file of them as `model.weights`)."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from paddlecnn.config import Preprocess
from paddlecnn.configfile import config_hash
from paddlecnn.errors import RunError, WeightsError
from paddlecnn.files import file_digest
from paddlecnn.models.weights.conversion import listed
from paddlecnn.runs.checkpoint import Arrays, Checkpoint, load_state
from paddlecnn.runs.run_dir import RunDir, reservations
from paddlecnn.runs.state import DataIdentity, RunIdentity, RunState

logger = logging.getLogger(__name__)


# Kaggle's competition has the training images of CIFAR-10 under other names.
SAME_DATA = {"kaggle_cifar10": "cifar10"}


@dataclass(frozen=True)
class Source:
    """The checkpoint `best` of the run that another one starts from, and what environment.json records about it and
    about the runs before it."""

    checkpoint: Checkpoint
    records: list[dict[str, Any]]


def read_source(run: RunDir) -> Source:
    """Read the best checkpoint. Raises RunError if the run has no best epoch yet, CheckpointError if it is damaged."""
    checkpoint, _ = run.load_checkpoint("best")
    logger.info("starting from %s, checkpoint best of epoch %d", run.path, checkpoint.state.epoch)
    record = {
        "run": str(run.path.resolve()),
        "epoch": checkpoint.state.epoch,
        "config_hash": checkpoint.state.config_hash,
        "sha256": digest_of_best(run),
        "experiment": described(run, checkpoint.state),
        "data": checkpoint.state.data.model_dump(),
        "reservations": reservations([run]),
    }
    before = [one for one in run.sources if "data" in one]  # version 0.2 recorded no data
    return Source(dataclasses.replace(checkpoint, optimizer={}), [record, *before])


def record_of_file(path: Path, origin: RunIdentity) -> dict[str, Any]:
    """The record of a run's weights, as a file, as the start of another one (`model.weights`); see `judged`."""
    return {
        "run": str(path.resolve()),
        "config_hash": origin.config_hash,
        "sha256": file_digest(path),
        "data": origin.data.model_dump(),
        "reservations": [],
    }


def described(run: RunDir, state: RunState) -> str:
    """A run's network, data and config, and what its weights depend on beside them: equal for all seeds."""
    config = run.config.model_copy(update={"seed": 0})
    beside = [f"{name}: {what}" for name, what in run.lineage.items()]
    return ", ".join([f"{state.model.name} on {state.data.name}", f"config {config_hash(config)}", *beside])


def recorded_source(run: RunDir) -> RunDir | None:
    """The run that a run started from; None if it started from none. Raises RunError if it is gone or has changed."""
    record = run.read_environment().get("init_from")
    if not record:
        return None
    source = RunDir(record["run"])
    check_unchanged(source, record["sha256"], run.path)
    return source


def check_unchanged(source: RunDir, digest: str, user: Path) -> None:
    """Raise RunError if a run's best weights are not those that `user` started from."""
    if digest_of_best(source) != digest:
        raise RunError(f"{source.path}: its best weights are no longer those that {user} started from")


def digest_of_best(run: RunDir) -> str:
    """The SHA-256 of the weights in checkpoint best."""
    _, folder = run.read_checkpoint("best", load_state)
    return file_digest(folder / "model.safetensors")


def take_over(model: paddle.nn.Layer, arrays: Arrays) -> list[str]:
    """Give a model the layers of `arrays` with the same name and shapes; returns the names of their parameters.

    The layers left over on either side are listed in one line. Raises WeightsError if no layer fits.
    """
    ours = model.state_dict()
    differing = {
        layer_of(name)
        for name in ours.keys() | arrays.keys()
        if name not in ours or name not in arrays or tuple(ours[name].shape) != arrays[name].shape
    }
    taken = [name for name in ours if layer_of(name) not in differing]
    if not taken:
        raise WeightsError("no layer of the run to start from matches one of this network in name and shapes")
    for name in taken:
        ours[name].set_value(np.asarray(arrays[name]))
    if differing:
        fresh, left = (
            listed([name for name in dict.fromkeys(map(layer_of, names)) if name in differing]) or "none"
            for names in (ours, sorted(arrays))  # safetensors gives its arrays in a random order
        )
        logger.info("%d arrays taken over; new layers: %s; left out: %s", len(taken), fresh, left)
    return taken


def layer_of(parameter: str) -> str:
    """features.conv1 for features.conv1.weight."""
    return parameter.rpartition(".")[0]


def preprocess_for(model: paddle.nn.Layer, preprocess: Preprocess) -> Preprocess:
    """A run's preprocessing for a network that starts from it; with another input size, the network's own size."""
    if getattr(model, "input_size", None) in (None, preprocess.size):  # a user's own network need not have one
        return preprocess
    return preprocess.model_copy(update={"size": None, "resize": None})


def record_for(source: Source, own: DataIdentity) -> dict[str, Any]:
    """The record of the source in environment.json of a run on the data `own`; `ancestors` are the runs before it.

    Each has the fingerprints of its images, since a run on another data set in between forgets none that it started
    with. Its reservations concern images of its own data set. A run with `trained_on_other_images` may have been
    trained on validation or test images of this one.
    """
    first, *before = (judged(one, own) for one in source.records)
    return first | {"ancestors": before}


def judged(record: dict[str, Any], own: DataIdentity) -> dict[str, Any]:
    """The record of a source, compared with the data of the run that starts from it; a warning if it saw others."""
    data = DataIdentity.model_validate(record["data"])
    same = SAME_DATA.get(data.name, data.name) == SAME_DATA.get(own.name, own.name)
    others = same and data.train != own.train
    if others:
        logger.warning(
            "%s was trained on other images of %s, perhaps on validation images of this run: its scores may be "
            "optimistic; a run with the same seed and split has the same training images",
            record["run"],
            own.name,
        )
    record = {key: value for key, value in record.items() if key != "ancestors"}
    return record | {"same_data": same, "trained_on_other_images": others}
