"""A trained run, ready to predict: everything it needs is in its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

import paddle

from paddlecnn.config import Config, Preprocess
from paddlecnn.models import create_empty_model
from paddlecnn.onednn import Engine, engine_for_run
from paddlecnn.runs.checkpoint import set_weights
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.runs.state import RunState
from paddlecnn.runs.user_module import check_module


@dataclass(frozen=True)
class LoadedRun:
    """A model in evaluation mode with its class names and preprocessing."""

    run: RunDir
    config: Config
    model: paddle.nn.Layer
    state: RunState
    engine: Engine
    by_another_engine: bool  # not the one that predicts for this run by default

    @property
    def classes(self) -> tuple[str, ...]:
        return self.state.classes

    @property
    def preprocess(self) -> Preprocess:
        return self.state.preprocess


def load_run(
    run: RunDir, which: str = "best", module: str | None = None, engine: str | None = None, precision: str | None = None
) -> LoadedRun:
    """The model of a run's checkpoint, `best` or `last`.

    module: the file with the run's own networks or data sets, if it was trained with one
    engine, precision: used in place of those that the run was trained with; see onednn/engine.py
    Raises CheckpointError for a damaged checkpoint, ModuleError for a missing or different module, DeviceError for an
    engine or precision that is impossible here.
    """
    checkpoint, folder = run.load_checkpoint(which)
    check_module(module, checkpoint.state.module, run.path)
    identity = checkpoint.state.model
    model = create_empty_model(identity.name, num_classes=identity.num_classes, **identity.options)
    set_weights(model, checkpoint.model, f"{folder}/model.safetensors")
    model.eval()
    trained = Engine(checkpoint.state.engine, checkpoint.state.precision)
    chosen = engine_for_run(trained, engine, precision, paddle.get_device())
    chosen.report()
    is_another = chosen != engine_for_run(trained, None, None, paddle.get_device())
    return LoadedRun(run, run.config, chosen.apply(model), checkpoint.state, chosen, is_another)
