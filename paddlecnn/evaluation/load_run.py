"""A trained run, ready to predict: everything it needs is in its checkpoint."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import paddle

from paddlecnn.config import Config, Preprocess
from paddlecnn.errors import CheckpointError
from paddlecnn.models import create_model
from paddlecnn.runs.checkpoint import load_checkpoint
from paddlecnn.runs.run_dir import RunDir


@dataclass(frozen=True)
class LoadedRun:
    """A model in evaluation mode with its class names and preprocessing."""

    run: RunDir
    config: Config
    model: paddle.nn.Layer
    classes: tuple[str, ...]
    preprocess: Preprocess
    state: dict[str, Any]  # state.json of the checkpoint


def load_run(run: RunDir, which: str = "best") -> LoadedRun:
    """The model of a run's checkpoint, `best` or `last`. Raises CheckpointError for one that is damaged."""
    folder = run.checkpoint(which)
    checkpoint = load_checkpoint(folder)
    spec = checkpoint.state["model"]
    model = create_model(spec["name"], num_classes=spec["num_classes"], **spec["options"])
    missing, unexpected = model.set_state_dict(checkpoint.model)
    if missing or unexpected:
        raise CheckpointError(f"{folder}: model.safetensors does not fit {spec['name']} of this version "
                              f"(layers {', '.join([*missing, *unexpected][:3])})")
    model.eval()
    return LoadedRun(run, run.config, model, tuple(checkpoint.state["classes"]),
                     Preprocess(**checkpoint.state["preprocess"]), checkpoint.state)
