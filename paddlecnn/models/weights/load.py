"""Load a weight file into a network; everything is checked before the first parameter is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from paddlecnn.errors import WeightsError, WeightsMismatch
from paddlecnn.models.alexnet import CAFFE_LRN, AlexNet
from paddlecnn.models.layers import LocalResponseNorm
from paddlecnn.models.network import ConvClassifier
from paddlecnn.models.weights.conversion import in_our_terms, listed, published_preprocess, weighted_layers
from paddlecnn.models.weights.published import find_weights
from paddlecnn.models.weights.readers import Layers, WeightFile, read_weight_file

PARAMETERS = {"weight": "weight", "bias": "bias", "mean": "_mean", "variance": "_variance"}  # role: attribute


@dataclass
class WeightsReport:
    """The outcome of loading a weight file."""

    path: str
    loaded: list[str] = field(default_factory=list)  # parameters of the network whose values come from the file
    missing: list[str] = field(default_factory=list)  # parameters that the file lacks, which keep their values
    unexpected: list[str] = field(default_factory=list)  # layers of the file that the network lacks
    replaced: str | None = None  # the last layer if its number of classes differs; it keeps its initial values
    preprocess: dict[str, Any] | None = None  # of images for these weights (keys of data.preprocess), if known
    notes: list[str] = field(default_factory=list)  # anything else to report

    def lines(self) -> list[str]:
        """The report, one line per item."""
        lines = [f"{self.path}: {len(self.loaded)} arrays loaded"]
        if self.replaced:
            lines.append(f"new last layer: {self.replaced}")
        for title, names in (("not in the file", self.missing), ("in the file, not loaded", self.unexpected)):
            if names:
                lines.append(f"{title}: {listed(names)}")
        return lines + self.notes


def load_weights(
    network: paddle.nn.Layer, path: str | Path, strict: bool = True, folder: Path | None = None
) -> WeightsReport:
    """Load published or trained weights into a network.

    `path` is a .npy, .npz, .h5, .pth, .pdparams or .safetensors file, or the name of a published file in `folder`
    (docs/weights.md). A last layer with another number of classes is left as it is. With `strict` any other
    difference is an error; without, what fits is loaded and the rest listed.

    Raises WeightsMismatch for a difference that `strict` does not allow, WeightsError for a file that cannot be used
    at all; the network is then unchanged.
    """
    if not isinstance(network, ConvClassifier):
        raise WeightsError(
            f"model.weights: {path}: only the package's own networks take weight files; "
            f"let the code of {network.name} load it"
        )
    file = read_weight_file(find_weights(path, network.name, folder))
    layers, file_names = in_our_terms(file, network)
    report = WeightsReport(str(path), preprocess=published_preprocess(file, layers, network))
    report.notes = normalisation_note(file, network)
    for parameter, value in matched(network, layers, file_names, report, strict):
        parameter.set_value(np.ascontiguousarray(value))
    return report


def matched(
    network: ConvClassifier, layers: Layers, file_names: dict[str, str], report: WeightsReport, strict: bool
) -> list[tuple[paddle.Tensor, np.ndarray]]:
    """(parameter, new value) pairs; fills the report. Raises WeightsMismatch for a forbidden difference."""
    ours = weighted_layers(network)
    pairs = []
    report.unexpected = [file_names[name] for name in layers if name not in ours]
    for name, layer in ours.items():
        arrays = layers.get(name, {})
        if name == list(ours)[-1] and other_classes(layer, arrays):
            report.replaced = f"{name}: {arrays['weight'].shape[1]} classes in the file, {network.num_classes} here"
            continue
        found = list(parameters_of(name, layer, arrays))
        if wrong := [
            (full_name, list(value.shape), list(parameter.shape))
            for full_name, parameter, value in found
            if value is not None and list(value.shape) != list(parameter.shape)
        ]:
            full_name, shape, expected = wrong[0]
            shapes = f"{file_names[name]}: found {shape}, expected {expected}"
            if strict:
                advice = hint(shape, expected)
                raise WeightsMismatch(f"{report.path}: {shapes} for {full_name} of {network.name}{advice}")
            report.unexpected.append(shapes)
            found = [(full_name, parameter, None) for full_name, parameter, _ in found]  # no partly loaded layers
        report.missing += [full_name for full_name, _, value in found if value is None]
        report.loaded += [full_name for full_name, _, value in found if value is not None]
        pairs += [(parameter, value) for _, parameter, value in found if value is not None]
    check_complete(network, report, strict)
    return pairs


def parameters_of(
    name: str, layer: nn.Layer, arrays: dict[str, np.ndarray]
) -> Iterator[tuple[str, paddle.Tensor, np.ndarray | None]]:
    """(full name, parameter, the file's array or None) for each of a layer's parameters."""
    part = "classifier" if isinstance(layer, (nn.Linear, nn.BatchNorm1D)) else "features"
    for role, attribute in PARAMETERS.items():
        parameter = getattr(layer, attribute, None)
        if parameter is not None:
            yield f"{part}.{name}.{attribute}", parameter, arrays.get(role)


def hint(found: Sequence[int], expected: Sequence[int]) -> str:
    """A likely cause of a difference in shape."""
    if len(found) == len(expected) == 4 and found[0] == expected[0] and 2 * found[1] == expected[1]:
        return "; the file has two groups there, as alexnet_two_tower has"
    if len(found) == len(expected) == 2 and found[1] == expected[1]:
        return "; the file is for another input size"
    return ""


def check_complete(network: ConvClassifier, report: WeightsReport, strict: bool) -> None:
    """Raise WeightsError if nothing fits; with `strict`, WeightsMismatch if either lacks a part of the other."""
    if not report.loaded:
        raise WeightsError(f"{report.path}: nothing in it fits {network.name}")
    if strict and (report.missing or report.unexpected):
        differences = (("lacks", report.missing), ("has, unlike the network,", report.unexpected))
        what = [f"{title} {listed(names)}" for title, names in differences if names]
        raise WeightsMismatch(f"{report.path}: {'; '.join(what)}")


def other_classes(layer: nn.Layer, arrays: dict[str, np.ndarray]) -> bool:
    """Whether a last layer differs in its number of outputs only."""
    found, own = arrays.get("weight", np.empty(0)).shape, layer.weight.shape
    return len(found) == 2 and found[0] == own[0] and found[1] != own[1]


def normalisation_note(file: WeightFile, network: ConvClassifier) -> list[str]:
    """A note if the network's local response normalisation is not the one that Caffe's weights were trained with."""
    used = {
        (layer.size, layer.alpha, layer.beta, layer.k)
        for layer in network.features.children()
        if isinstance(layer, LocalResponseNorm)
    }
    if file.format == "npy" and type(network) is AlexNet and used - {CAFFE_LRN}:
        return ["trained with Caffe's normalisation (alpha 1e-4 / 5, k 1), which alexnet_caffe has"]
    return []
