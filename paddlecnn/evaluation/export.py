"""Export of a run: a Paddle inference program, an ONNX file, or the weights alone. exported.py describes the formats.

Each is written aside, compared with the run's network if requested, and then renamed into place.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import paddle
import safetensors.numpy
from paddle import nn

from paddlecnn.data.audit.inspection import filter_readable
from paddlecnn.data.datasets import open_dataset
from paddlecnn.data.pipeline.transforms import preprocess_image
from paddlecnn.errors import ExportError, require_extra
from paddlecnn.evaluation.exported import KEY, MANIFEST, PARAMETERS, Form, Manifest, open_exported, program_file
from paddlecnn.evaluation.load_run import LoadedRun, load_run
from paddlecnn.files import file_digest, folder_written_aside, require_space, sync, write_text, written_aside
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.runs.state import RunIdentity

if TYPE_CHECKING:
    import onnx

NAMES: dict[Form, str] = {"paddle": "paddle", "onnx": "model.onnx", "safetensors": "model.safetensors"}
TOLERANCES: dict[Form, float] = {"paddle": 1e-5, "onnx": 1e-4, "safetensors": 1e-5}
CHECKED_IMAGES = 8
OPSET = 17  # of ONNX; paddle2onnx raises it if an operator of the network needs a later one
LARGEST_ONNX = (2 << 30) - (16 << 20)  # a protobuf is limited to 2 GiB; this leaves room for the graph


@dataclass(frozen=True)
class Export:
    """A finished export. difference: between its logits and the run's, as `check` measures it; None if unchecked."""

    path: Path
    difference: float | None


def export_run(
    run: RunDir,
    form: Form,
    target: Path | None = None,
    *,
    which: str = "best",
    module: str | None = None,
    check: bool = False,
) -> Export:
    """Write the network of a run's checkpoint, in float32, with its class names and preprocessing.

    target: a folder for `paddle`, a file for the others; None: RUN/export/
    check: compare with the run's network on images of its data before anything appears at `target`
    Raises ExportError if `target` exists, the network cannot be converted, or the check fails.
    """
    target = target or run.path / "export" / NAMES[form]
    if form != "paddle" and target.suffix.lower() != f".{form}":
        raise ExportError(f"{target}: must end in .{form}, so that `paddlecnn predict` recognises it")
    if target.exists():
        raise ExportError(f"{target}: already exists; remove it, or choose another place with --out")
    if form == "onnx":
        require_extra("onnx", "onnx", "onnxruntime", "paddle2onnx")
    loaded = load_run(run, which, module, engine="paddle", precision="float32")
    size = 4 * sum(parameter.size for parameter in loaded.model.parameters())
    if form == "onnx" and size > LARGEST_ONNX:
        raise ExportError(f"{run.path}: {size:,} bytes of weights do not fit into an ONNX file; use --format paddle")
    # Before anything is converted: conversion changes the model, and missing data should cost no time.
    images = images_to_check(loaded) if check else None
    expected = None if images is None else logits_of(loaded.model, images)
    target.parent.mkdir(parents=True, exist_ok=True)
    require_space(target.parent, 2 * size, "choose another place with --out")
    identity = {name: getattr(loaded.state, name) for name in RunIdentity.model_fields}
    source, epoch = run.path.resolve().name, loaded.state.epoch
    manifest = Manifest(**identity, paddle=paddle.__version__, source=source, epoch=epoch)
    write, aside = WRITERS[form]
    with aside(target) as path:
        write(loaded.model, manifest, path)
        difference = None
        if images is not None and expected is not None:
            difference = largest_difference(expected, logits_of(open_exported(path, form, module).model, images))
            if not difference <= TOLERANCES[form]:
                raise ExportError(
                    f"{target}: not written; its logits differ from the run's by {difference:.2g}, more than the "
                    f"{TOLERANCES[form]:g} allowed; use another --format, and please report this"
                )
    return Export(target, difference)


def images_to_check(run: LoadedRun) -> np.ndarray:
    """Network inputs, float32 [n, 3, S, S], of images spread over the validation data, or else the training data."""
    splits = open_dataset(run.config.data, run.config.seed)
    dataset = splits.val if len(splits.val) else filter_readable(splits.train)[0]
    positions = np.linspace(0, len(dataset) - 1, min(CHECKED_IMAGES, len(dataset)), dtype=int)
    return np.stack([preprocess_image(dataset.image(position), run.preprocess) for position in positions])


def logits_of(model: nn.Layer, images: np.ndarray) -> np.ndarray:
    """Logits [n, C], from a batch of one image and a batch of the others: an export takes batches of any size."""
    with paddle.no_grad():
        parts = [model(paddle.to_tensor(part)).numpy() for part in (images[:1], images[1:]) if len(part)]
    return np.concatenate(parts)


def largest_difference(expected: np.ndarray, found: np.ndarray) -> float:
    """The largest absolute difference, as a share of the largest logit if that exceeds 1."""
    if expected.shape != found.shape:
        return float("inf")
    return float(np.abs(expected - found).max() / max(1.0, np.abs(expected).max()))


def write_paddle(model: nn.Layer, manifest: Manifest, folder: Path) -> None:
    """The program and its parameters, and the manifest with their digests."""
    save_program(model, folder, manifest)
    files = (program_file(folder), folder / PARAMETERS)
    digests = {file.name: file_digest(file) for file in files}
    write_text(folder / MANIFEST, manifest.model_copy(update={"sha256": digests}).model_dump_json(indent=1) + "\n")
    for file in files:
        sync(file)


def write_onnx(model: nn.Layer, manifest: Manifest, path: Path) -> None:
    """An ONNX file with one input `images` [N, 3, S, S] and one output `logits` [N, C]."""
    import onnx

    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        save_program(model, Path(folder), manifest)
        converted = Path(folder) / "converted.onnx"
        convert_to_onnx(Path(folder), converted)
        graph = onnx.load(converted)
    name_ends(graph.graph)
    onnx.helper.set_model_props(graph, {KEY: manifest.model_dump_json()})
    onnx.save(graph, path)


def write_safetensors(model: nn.Layer, manifest: Manifest, path: Path) -> None:
    """The arrays of the state_dict under their names."""
    arrays = {name: np.ascontiguousarray(value.numpy()) for name, value in model.state_dict().items()}
    path.write_bytes(safetensors.numpy.save(arrays, metadata={KEY: manifest.model_dump_json()}))


Write = Callable[[nn.Layer, Manifest, Path], None]
WRITERS: dict[Form, tuple[Write, Callable[[Path], AbstractContextManager[Path]]]] = {
    "paddle": (write_paddle, folder_written_aside),
    "onnx": (write_onnx, written_aside),
    "safetensors": (write_safetensors, written_aside),
}


def save_program(model: nn.Layer, folder: Path, manifest: Manifest) -> None:
    """Trace the model and write its inference program into a folder. The model is not usable afterwards."""
    size = manifest.preprocess.size
    images = paddle.static.InputSpec([None, 3, size, size], "float32", "images")
    try:
        paddle.jit.save(paddle.jit.to_static(model, input_spec=[images], full_graph=True), str(folder / "inference"))
    except Exception as error:  # Paddle's tracer fails in many ways on code that it cannot follow
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise ExportError(
            f"{manifest.model.name}: cannot be traced by Paddle ({lines[-1][:200]}); avoid branches on values in its "
            "forward, or use --format safetensors, which needs no trace"
        ) from None


def convert_to_onnx(folder: Path, target: Path) -> None:
    """Run paddle2onnx in a process of its own: it prints, and a fault in it must not end this one.

    Its optimisation by Polygraphy, on by default, installs packages at run time; onnxruntime folds constants anyway.
    """
    command = [sys.executable, "-P", "-m", "paddle2onnx.command", "--model_dir", str(folder)]
    command += ["--model_filename", program_file(folder).name, "--params_filename", PARAMETERS]
    command += ["--save_file", str(target), "--opset_version", str(OPSET), "--optimize_tool", "None"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    if done.returncode or not target.is_file():
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if "rror" in line]
        reason = lines[-1][:200] if lines else f"exit code {done.returncode}"
        raise ExportError(f"paddle2onnx cannot convert the network ({reason}); use --format paddle")


def name_ends(graph: onnx.GraphProto) -> None:
    """Name the output `logits` and the free dimension `N`."""
    (result,) = graph.output
    for node in graph.node:
        node.output[:] = ["logits" if name == result.name else name for name in node.output]
        node.input[:] = ["logits" if name == result.name else name for name in node.input]
    result.name = "logits"
    for value in (*graph.input, result):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
