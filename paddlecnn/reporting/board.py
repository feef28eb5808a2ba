"""Additions to the VisualDL log of a finished run: the network's graph and filters, and its validation in figures."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from paddlecnn.errors import ROOT, DataError
from paddlecnn.evaluation.load_run import LoadedRun
from paddlecnn.reporting.activations import first_filters
from paddlecnn.reporting.evidence import Evidence, gather
from paddlecnn.reporting.figures import class_curves_figure, confusion_figure, pictures_figure, shortened
from paddlecnn.reporting.report import calibrated, calibration_figure
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.training.curves import appending

logger = logging.getLogger(__name__)
WORST = 16  # images
CAPTION = 16  # characters of a class name below an image
GRAPH = "vdlgraph.paddlecnn.log"  # VisualDL looks for the first word


def complete_board(run: RunDir, module: str | None = None, device: str = "auto") -> None:
    """Add the graph and the figures of the best epoch to RUN/vdl. `module`: the file with the run's own networks."""
    evidence = gather(run, module, device, data_changed=False)
    with contextlib.closing(appending(run.vdl)) as writer:
        for tag, pixels in pictures(evidence):
            writer.add_image(tag, pixels, evidence.loaded.state.step)
    write_graph(evidence.loaded, module)


def pictures(evidence: Evidence) -> Iterator[tuple[str, np.ndarray]]:
    """Tags and pictures, uint8 [H, W, 3]."""
    classes, title = evidence.loaded.classes, f"{evidence.loaded.run.path.name}, epoch {evidence.loaded.state.epoch}"
    filters = first_filters(evidence.loaded.model, evidence.loaded.preprocess.channels)
    if filters is not None:
        yield (
            "network/first_filters",
            np.where(filters[..., 3:] > 0, filters[..., :3], 255).astype(np.uint8),
        )  # on white
    yield "validation/confusion", drawn(confusion_figure(evidence.figures["confusion"], classes, title))
    with contextlib.suppress(DataError):  # too few images to calibrate
        yield "validation/reliability", drawn(calibration_figure(evidence, calibrated(evidence), title))
    for kind, name in (("pr", "precision_recall"), ("roc", "roc")):
        yield f"validation/{name}", drawn(class_curves_figure(evidence.probabilities, evidence.labels, classes, kind))
    if evidence.images is not None:
        yield "validation/worst_images", drawn(worst_images(evidence))


def worst_images(evidence: Evidence) -> Figure:
    """The validation images to whose labels the network gives the lowest probabilities."""
    own = evidence.own
    positions = np.argsort(own, kind="stable")[:WORST]
    classes = [shortened(name, CAPTION) for name in evidence.loaded.classes]
    captions = [
        f"{classes[evidence.labels[one]]} ({own[one]:.1%}),\npredicted {classes[evidence.predicted[one]]}"
        for one in positions
    ]
    return pictures_figure([evidence.pixels(one).transpose(1, 2, 0) for one in positions], captions)


def drawn(figure: Figure) -> np.ndarray:
    figure.set_dpi(110)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def write_graph(run: LoadedRun, module: str | None) -> None:
    """Let VisualDL translate the network's program. If it cannot, there is a warning and no graph.

    VisualDL 2.5 reads only programs in the old format, which Paddle 3 writes if a flag is set before it is imported.
    That needs a process of its own.
    """
    model, needed = run.state.model, module if run.state.module else None
    network = json.dumps([model.name, model.num_classes, model.options, run.preprocess.size, needed])
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "paddlecnn.reporting.graph", folder, network],
            env={**os.environ, "FLAGS_enable_pir_api": "0", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        found = sorted(Path(folder).glob("vdlgraph*"))
        if done.returncode or not found:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
            reason = f"Paddle ended by signal {-done.returncode}" if done.returncode < 0 else lines[-1][:200]
            logger.warning("%s: no graph for VisualDL (%s)", run.run.path, reason)
            return
        aside = run.run.vdl / f".{GRAPH}.part"
        shutil.copyfile(found[0], aside)
        os.replace(aside, run.run.vdl / GRAPH)
