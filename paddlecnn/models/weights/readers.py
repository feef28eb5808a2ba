"""Weight files read as layers of plain arrays: {"conv1": {"weight": ..., "bias": ...}}, with axes as in the file."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paddlecnn.errors import WeightsError
from paddlecnn.models.weights.torch_reader import read_torch
from paddlecnn.restricted_unpickler import RefusedName, unpickle

Layers = dict[str, dict[str, np.ndarray]]

# The formats' names for a layer's arrays.
ROLES = {
    **dict.fromkeys(("weight", "weights", "W", "kernel", "gamma"), "weight"),
    **dict.fromkeys(("bias", "biases", "b", "beta"), "bias"),
    **dict.fromkeys(("running_mean", "_mean", "moving_mean"), "mean"),
    **dict.fromkeys(("running_var", "_variance", "moving_variance"), "variance"),
}
MAX_BYTES = 4 << 30  # of a file and of its arrays; VGG19 in float64 has 1.15e9
SAFETENSORS_DTYPES = {"F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}
# The end of a Keras weight's name: fc1/kernel:0, or fc1_W_1:0 in Keras 1.
KERAS_ROLE = re.compile(r"(?:^|[/_])(kernel|bias|gamma|beta|moving_mean|moving_variance|W|b)(?:_\d+)?(?::0)?$")


@dataclass(frozen=True)
class WeightFile:
    """The layers of a file in their order, and the format, which determines their axes."""

    path: str
    format: str  # a key of conversion.LAYOUTS
    layers: Layers


def read_weight_file(path: Path) -> WeightFile:
    """Read a weight file as float32, in the format of its extension. Raises WeightsError, naming the file."""
    suffix = path.suffix.lower()
    if suffix not in READERS and not path.is_dir():
        raise WeightsError(
            f"{path}: the extension {suffix or '(none)'} is not a known weight format; known: {', '.join(READERS)}"
        )
    require_file(path)
    read, format_name = READERS[suffix]
    with open(path, "rb"):
        pass  # a file without read permission raises its own error
    try:
        check_size(path.stat().st_size)
        with warnings.catch_warnings(action="ignore"):  # NumPy's on headers and casts; what matters is checked
            form, layers = read(path)
            return WeightFile(str(path), form, checked(layers))
    except RefusedName as error:
        raise WeightsError(
            f"{path}: asks to run {error}, which plain weights never do; nothing in it was run. "
            "Save the state dict alone, or as .safetensors"
        ) from None
    except Refused as error:
        raise WeightsError(f"{path}: {error}") from None
    except Exception as error:  # a damaged file can make its format's reader fail in any way
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsError(f"{path}: damaged or not a {format_name} file ({reason})") from None


def require_file(path: Path) -> None:
    """Raise WeightsError if this path is a folder or does not exist."""
    if path.is_dir():
        raise WeightsError(f"{path}: is a folder; name the weight file in it")
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")


class Refused(Exception):
    """A file that its reader understands but refuses."""


def check_size(size: int) -> None:
    """Raise Refused for more bytes than any network of this package has."""
    if size > MAX_BYTES:
        raise Refused(f"{size:,} bytes, more than the limit of {MAX_BYTES:,}")


def checked(layers: Layers) -> Layers:
    """The layers that have a weight or statistics, as finite float32. Raises Refused, naming the layer."""
    layers = {name: arrays for name, arrays in layers.items() if {"weight", "mean"} & arrays.keys()}
    if not layers:
        raise Refused("contains no layers with weights")
    check_size(4 * sum(array.size for arrays in layers.values() for array in arrays.values()))
    return {
        name: {role: numbers(name, role, array) for role, array in arrays.items()} for name, arrays in layers.items()
    }


def numbers(layer: str, role: str, array: np.ndarray) -> np.ndarray:
    """An array as float32. Raises Refused unless all its values are finite numbers."""
    if array.dtype.kind not in "fiu" or array.ndim == 0:
        raise Refused(f"{layer:.80}: its {role} is not an array of numbers; the file is damaged")
    array = np.asarray(array, np.float32)
    if not np.isfinite(array).all():
        raise Refused(f"{layer:.80}: its {role} has NaN, infinity or values beyond float32; the file is damaged")
    return array


def read_npy(path: Path) -> tuple[str, Layers]:
    """caffe-tensorflow's pickled dict: {layer: {"weights", "biases"}} or {layer: [weights, biases]}."""
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        _, _, dtype = header[version](file)
        tree = unpickle(file) if dtype.hasobject else None
    if not isinstance(tree, dict):
        raise Refused("one array, not a dict of layers")
    layers: Layers = {}
    for name, arrays in tree.items():
        named = dict(zip(("weights", "biases"), arrays, strict=False)) if isinstance(arrays, (list, tuple)) else arrays
        if not isinstance(named, dict):
            raise Refused(f"{name!s:.80}: expected weights and biases, found {type(arrays).__name__}")
        layers[str(name)] = {
            ROLES[role]: array for role, array in named.items() if role in ROLES and isinstance(array, np.ndarray)
        }
    return "npy", layers


def read_npz(path: Path) -> tuple[str, Layers]:
    """One array per parameter, conv1_1_W and conv1_1_b."""
    check_members(path)
    with np.load(path, allow_pickle=False) as archive:
        return "npz", grouped({name: archive[name] for name in archive.files}, "_")


def check_members(path: Path) -> None:
    """Raise Refused for a zip whose members are encrypted or unpack to too many bytes."""
    with zipfile.ZipFile(path) as archive:
        if any(member.flag_bits & 1 for member in archive.infolist()):
            raise Refused("is encrypted; unpack it with its password and pack it again without one")
        check_size(sum(member.file_size for member in archive.infolist()))


def read_h5(path: Path) -> tuple[str, Layers]:
    """Keras: `layer_names` and each layer's `weight_names`, at the top or under model_weights."""
    try:
        import h5py
    except ImportError:
        raise Refused("reading .h5 needs h5py; install it with pip install h5py") from None
    layers: Layers = {}
    with h5py.File(path, "r") as file:
        top = inside(file, "model_weights") if "model_weights" in file else file
        if "layer_names" not in top.attrs:
            raise Refused("no layer_names in it, as in Keras 3's .weights.h5; save the whole model: save('model.h5')")
        for name in map(text, top.attrs["layer_names"]):
            group = inside(top, name)
            for weight in map(text, group.attrs["weight_names"]):
                if role := KERAS_ROLE.search(weight):
                    layers.setdefault(name, {})[ROLES[role[1]]] = own_numbers(inside(group, weight), weight)
    return "keras", layers


def inside(group: Any, name: str) -> Any:
    """A member of an HDF5 group. Raises Refused if the path to it leaves the file."""
    import h5py

    for part in filter(None, name.split("/")):
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise Refused(f"{name:.80}: a link or missing; links are not followed, since they could read other files")
        group = group[part]
    return group


def own_numbers(dataset: Any, name: str) -> np.ndarray:
    """The values of a data set stored in its file. Raises Refused for external storage and virtual data sets."""
    if dataset.external or dataset.is_virtual:
        raise Refused(f"{name:.80}: its values are in another file, which is not read")
    check_size(dataset.size * dataset.dtype.itemsize)
    return np.asarray(dataset)


def text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def read_pth(path: Path) -> tuple[str, Layers]:
    """A PyTorch state dict, alone or under state_dict or model in a training checkpoint."""
    if zipfile.is_zipfile(path):
        check_members(path)
    return "torch", state_dict_layers(read_torch(path))


def read_pdparams(path: Path) -> tuple[str, Layers]:
    """A state dict as paddle.save writes it: a pickled dict of arrays."""
    with open(path, "rb") as file:
        return "paddle", state_dict_layers(unpickle(file))


def read_safetensors(path: Path) -> tuple[str, Layers]:
    """A state dict as safetensors; PyTorch's carry `format: pt` and keep their axes."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        names = sorted(file.keys(), key=natural)
        for name in names:
            if (dtype := file.get_slice(name).get_dtype()) not in SAFETENSORS_DTYPES:
                raise Refused(f"{name:.80}: stored as {dtype}, which NumPy lacks; convert it to F32 or F16")
        tree = {name: file.get_tensor(name) for name in names}
        form = "torch" if (file.metadata() or {}).get("format") == "pt" else "paddle"
    return form, state_dict_layers(tree)


READERS = {  # by file extension: the reader, and the format's name for a message
    ".npy": (read_npy, ".npy"),
    ".npz": (read_npz, ".npz"),
    ".h5": (read_h5, "Keras .h5"),
    ".hdf5": (read_h5, "Keras .h5"),
    ".pth": (read_pth, "PyTorch"),
    ".pt": (read_pth, "PyTorch"),
    ".pdparams": (read_pdparams, ".pdparams"),
    ".safetensors": (read_safetensors, "safetensors"),
}


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key in which features.2 comes before features.10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def state_dict_layers(tree: Any) -> Layers:
    """The layers of a state dict; DataParallel's `module.` is stripped from the names."""
    for key in ("state_dict", "model"):
        if isinstance(tree, Mapping) and isinstance(tree.get(key), Mapping):
            tree = tree[key]
    if not isinstance(tree, Mapping):
        raise Refused("no state dict in it")
    arrays = {}
    for name, item in tree.items():
        array = item[1] if isinstance(item, tuple) and len(item) == 2 else item  # paddle.save can write (name, array)
        if isinstance(array, np.ndarray):
            arrays[re.sub(r"(^|\.)module\.", r"\1", str(name))] = array
    return grouped(arrays, ".")


def grouped(arrays: Mapping[str, np.ndarray], separator: str) -> Layers:
    """{"conv1_W": w, "conv1_b": b} as {"conv1": {"weight": w, "bias": b}}; other arrays are left out."""
    layers: Layers = {}
    for name, array in arrays.items():
        layer, _, role = name.rpartition(separator)
        if role in ROLES:
            layers.setdefault(layer, {})[ROLES[role]] = array
    return layers
