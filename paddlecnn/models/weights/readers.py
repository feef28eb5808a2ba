"""Each weight file as layers of plain arrays: {"conv1": {"weight": ..., "bias": ...}}, axes as in the file."""
from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paddlecnn.errors import WeightsError
from paddlecnn.models.weights.restricted_unpickler import unpickle
from paddlecnn.models.weights.torch_reader import read_torch

Layers = dict[str, dict[str, np.ndarray]]

# What the formats call a layer's arrays.
ROLES = {"weight": "weight", "weights": "weight", "W": "weight", "kernel": "weight", "gamma": "weight",
         "bias": "bias", "biases": "bias", "b": "bias", "beta": "bias",
         "running_mean": "mean", "_mean": "mean", "moving_mean": "mean",
         "running_var": "variance", "_variance": "variance", "moving_variance": "variance"}
# The end of a Keras weight's name: fc1/kernel:0, and of Keras 1 fc1_W_1:0.
KERAS_ROLE = re.compile(r"(?:^|[/_])(kernel|bias|gamma|beta|moving_mean|moving_variance|W|b)(?:_\d+)?(?::0)?$")


@dataclass(frozen=True)
class WeightFile:
    """The layers of a file in their order, and the format that says how their axes run."""

    path: str
    format: str  # a key of layouts.LAYOUTS
    layers: Layers


def read_weight_file(path: Path) -> WeightFile:
    """Read a weight file of a format known by its ending. Raises WeightsError, naming the file."""
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise WeightsError(f"{path}: the ending {suffix or '(none)'} is no weight format known here; "
                           f"known are {', '.join(READERS)}")
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    form, layers = READERS[suffix](path)
    layers = {name: arrays for name, arrays in layers.items() if "weight" in arrays}
    if not layers:
        raise WeightsError(f"{path}: holds no layers with weights")
    for name, arrays in layers.items():
        for role, array in arrays.items():
            if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
                raise WeightsError(f"{path}: {name}: its {role} holds NaN, infinity or no numbers; the file is damaged")
    return WeightFile(str(path), form, layers)


def read_npy(path: Path) -> tuple[str, Layers]:
    """caffe-tensorflow's pickled dict: {layer: {"weights", "biases"}} or {layer: [weights, biases]}."""
    with open(path, "rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            _, _, dtype = header[version](file)
        except (ValueError, KeyError) as error:
            raise WeightsError(f"{path}: not a .npy file ({error})") from None
        tree = unpickle(file, str(path)) if dtype.hasobject else None
    if not isinstance(tree, dict):
        raise WeightsError(f"{path}: one array, not a dict of layers")
    layers: Layers = {}
    for name, arrays in tree.items():
        named = arrays if isinstance(arrays, Mapping) else dict(zip(("weights", "biases"), arrays, strict=False))
        layers[str(name)] = {ROLES[role]: array for role, array in named.items()
                             if role in ROLES and isinstance(array, np.ndarray)}
    return "npy", layers


def read_npz(path: Path) -> tuple[str, Layers]:
    """One array a parameter, conv1_1_W and conv1_1_b."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return "npz", grouped({name: archive[name] for name in archive.files}, "_")
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path}: damaged, or holds pickled objects, which are not read ({error})") from None


def read_h5(path: Path) -> tuple[str, Layers]:
    """Keras: `layer_names` and each layer's `weight_names`, at the top or under model_weights."""
    try:
        import h5py
    except ImportError:
        raise WeightsError(f"{path}: reading .h5 needs h5py; install it with pip install h5py") from None
    layers: Layers = {}
    try:
        with h5py.File(path, "r") as file:
            top = file.get("model_weights", file)
            if "layer_names" not in top.attrs:
                raise WeightsError(f"{path}: no layer_names in it; save it with Keras' save_weights as .h5")
            for name in map(text, top.attrs["layer_names"]):
                for weight in map(text, top[name].attrs["weight_names"]):
                    if role := KERAS_ROLE.search(weight):
                        layers.setdefault(name, {})[ROLES[role[1]]] = np.asarray(top[name][weight])
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise WeightsError(f"{path}: damaged or not a Keras weight file ({error})") from None
    return "keras", layers


def text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def read_pth(path: Path) -> tuple[str, Layers]:
    """A PyTorch state dict, alone or under state_dict or model in a training checkpoint."""
    return "torch", state_dict_layers(read_torch(path), path)


def read_pdparams(path: Path) -> tuple[str, Layers]:
    """What paddle.save writes of a state dict: a pickled dict of arrays."""
    with open(path, "rb") as file:
        return "paddle", state_dict_layers(unpickle(file, str(path)), path)


def read_safetensors(path: Path) -> tuple[str, Layers]:
    """A state dict as safetensors; PyTorch's carry `format: pt` and keep their axes."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            tree = {name: file.get_tensor(name) for name in sorted(file.keys(), key=natural)}
            form = "torch" if (file.metadata() or {}).get("format") == "pt" else "paddle"
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: damaged or not a safetensors file ({error})") from None
    return form, state_dict_layers(tree, path)


READERS = {".npy": read_npy, ".npz": read_npz, ".h5": read_h5, ".hdf5": read_h5, ".pth": read_pth, ".pt": read_pth,
           ".pdparams": read_pdparams, ".safetensors": read_safetensors}


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key in which features.2 comes before features.10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def state_dict_layers(tree: Any, path: Path) -> Layers:
    """The layers of a state dict; DataParallel's `module.` is taken off the names."""
    for key in ("state_dict", "model"):
        if isinstance(tree, Mapping) and isinstance(tree.get(key), Mapping):
            tree = tree[key]
    if not isinstance(tree, Mapping):
        raise WeightsError(f"{path}: holds no state dict")
    arrays = {str(name).replace("module.", ""): item[1] if isinstance(item, tuple) and len(item) == 2 else item
              for name, item in tree.items()}  # paddle.save can write a tensor as (name, array)
    return grouped({name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}, ".")


def grouped(arrays: Mapping[str, np.ndarray], separator: str) -> Layers:
    """{"conv1_W": w, "conv1_b": b} as {"conv1": {"weight": w, "bias": b}}; other arrays are kept under their name."""
    layers: Layers = {}
    for name, array in arrays.items():
        layer, _, role = name.rpartition(separator)
        if role in ROLES:
            layers.setdefault(layer, {})[ROLES[role]] = array
    return layers
