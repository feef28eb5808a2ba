"""An exported network, opened for prediction: the file or folder contains everything that it needs.

FOLDER/               a Paddle inference program: inference.json, inference.pdiparams, paddlecnn.json (manifest)
NAME.onnx             an ONNX model; the manifest is its metadata entry `paddlecnn`
NAME.safetensors      the weights alone; the manifest is the metadata entry `paddlecnn`
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import paddle
from paddle import nn
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open

from paddlecnn.errors import UserError, WeightsError, first_problem, require_extra
from paddlecnn.evaluation.predict_images import Classifier
from paddlecnn.files import file_digest
from paddlecnn.models import create_empty_model
from paddlecnn.runs.checkpoint import set_weights
from paddlecnn.runs.state import RunIdentity
from paddlecnn.runs.user_module import check_module
from paddlecnn.runtime import compute_threads

Form = Literal["paddle", "onnx", "safetensors"]
KEY = "paddlecnn"  # of the manifest in a file's metadata
MANIFEST = "paddlecnn.json"  # the manifest of a folder
PARAMETERS = "inference.pdiparams"


class Manifest(RunIdentity):
    """The record inside exported weights: network, classes, preprocessing and origin."""

    paddle: str  # version of PaddlePaddle
    source: str  # name of the run's folder
    epoch: Annotated[int, Field(ge=0)]
    sha256: dict[str, str] = Field(default_factory=dict)  # of each file of a folder


class ExportedNetwork(nn.Layer):
    """Images [N, 3, S, S] to logits [N, C], computed by another library."""

    def __init__(self, compute: Callable[[np.ndarray], np.ndarray], name: str) -> None:
        super().__init__()
        self.compute, self.name = compute, name

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        return paddle.to_tensor(self.compute(images.numpy()))


def form_of(path: Path) -> Form | None:
    """The format of an exported network, by the file's suffix or the folder's manifest; None for anything else."""
    if (path / MANIFEST).is_file():
        return "paddle"
    forms: dict[str, Form] = {".onnx": "onnx", ".safetensors": "safetensors"}
    return forms.get(path.suffix.lower()) if not path.is_dir() else None


def open_exported(path: Path, form: Form, module: str | None = None) -> Classifier:
    """The exported network with its classes and preprocessing.

    module: the file with the run's own networks, which weights alone need
    Raises WeightsError, naming the path, for a damaged file and for one that paddlecnn has not written.
    """
    try:
        with open(path / MANIFEST if form == "paddle" else path, "rb"):
            pass  # a file that is missing or may not be read has an error of its own
        if form == "safetensors":
            manifest, network = open_safetensors(path, module)
        else:
            manifest, network = {"paddle": open_paddle, "onnx": open_onnx}[form](path)
    except (UserError, OSError):
        raise
    except ValidationError as error:
        raise WeightsError(
            f"{path}: contains no manifest of paddlecnn ({first_problem(error)}); "
            "`paddlecnn export RUN` writes files that contain classes and preprocessing"
        ) from None
    except Exception as error:  # a damaged file can fail in any way that its reader can
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsError(f"{path}: damaged, or not written by `paddlecnn export` ({reason})") from None
    network.eval()
    return Classifier(network, manifest.classes, manifest.preprocess)


def open_paddle(folder: Path) -> tuple[Manifest, nn.Layer]:
    """A folder, run by Paddle's inference library."""
    from paddle import inference
    from paddle.base import core

    manifest = Manifest.model_validate(json.loads((folder / MANIFEST).read_bytes()))
    for name in (program_file(folder).name, PARAMETERS):
        if manifest.sha256.get(name) != file_digest(folder / name):
            raise WeightsError(f"{folder}: {name} does not match its SHA-256; export the run again")
    config = inference.Config(str(program_file(folder)), str(folder / PARAMETERS))
    config.disable_glog_info()
    if paddle.get_device().startswith("gpu"):
        config.enable_use_gpu(256, int(paddle.get_device().partition(":")[2]))  # MiB to begin with
    else:
        if hasattr(config, "disable_mkldnn"):  # on by default since 3.0, with open bugs (Paddle issues 77340, 79749)
            config.disable_mkldnn()
        config.set_cpu_math_library_num_threads(compute_threads())
    predictor = inference.create_predictor(config)
    entry = predictor.get_input_handle(predictor.get_input_names()[0])
    result = predictor.get_output_handle(predictor.get_output_names()[0])

    def compute(images: np.ndarray) -> np.ndarray:
        entry.reshape(images.shape)
        entry.copy_from_cpu(images)
        predictor.run()
        core.set_num_threads(compute_threads())  # the predictor leaves the whole process with one thread
        return result.copy_to_cpu()

    return manifest, ExportedNetwork(compute, manifest.model.name)


def program_file(folder: Path) -> Path:
    """The program beside the parameters: Paddle 3 writes JSON, Paddle 2.6 a .pdmodel."""
    former = folder / "inference.pdmodel"
    return former if former.is_file() else folder / "inference.json"


def open_onnx(path: Path) -> tuple[Manifest, nn.Layer]:
    """An ONNX file, run by onnxruntime on the CPU."""
    require_extra("onnx", "onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = compute_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    text = session.get_modelmeta().custom_metadata_map.get(KEY, "{}")
    manifest = Manifest.model_validate(json.loads(text))
    (entry,), (result,) = session.get_inputs(), session.get_outputs()
    found = entry.shape[1:], result.shape[1:]
    if found != ([3, manifest.preprocess.size, manifest.preprocess.size], [len(manifest.classes)]):
        raise WeightsError(f"{path}: the manifest does not belong to a network from {found[0]} to {found[1]}")
    return manifest, ExportedNetwork(
        lambda images: session.run([result.name], {entry.name: images})[0], manifest.model.name
    )


def read_manifest(path: Path) -> Manifest | None:
    """The manifest in a .safetensors file; None if paddlecnn has not exported it. Raises WeightsError for a bad one."""
    with safe_open(path, framework="numpy") as file:
        text = (file.metadata() or {}).get(KEY)
    try:
        return None if text is None else Manifest.model_validate_json(text)
    except ValidationError as error:
        raise WeightsError(f"{path}: its manifest is damaged ({first_problem(error)}); export the run again") from None


def open_safetensors(path: Path, module: str | None) -> tuple[Manifest, nn.Layer]:
    """Weights alone: the network is built by this package."""
    try:
        with safe_open(path, framework="numpy") as file:
            manifest = Manifest.model_validate(json.loads((file.metadata() or {}).get(KEY, "{}")))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is not iterable)
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a safetensors file ({error})") from None
    check_module(module, manifest.module, path)
    model = create_empty_model(manifest.model.name, num_classes=manifest.model.num_classes, **manifest.model.options)
    set_weights(model, arrays, str(path))
    return manifest, model
