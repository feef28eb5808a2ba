"""Weight files as other libraries write them, from {layer: (weight, bias)} in TensorFlow's axes."""

from __future__ import annotations

import re
import struct
import zipfile
from itertools import pairwise

import numpy as np
from paddle import nn
from safetensors.numpy import save_file

from paddlecnn.models import create_model


def npy_of_dicts(path, weights):
    """caffe-tensorflow: bvlc_alexnet.npy."""
    tree = {layer: {"weights": weight, "biases": bias} for layer, (weight, bias) in weights.items()}
    with open(path, "wb") as file:
        np.save(file, np.array(tree), allow_pickle=True)


def npy_of_lists(path, weights):
    """The same from Guerzhoy's and from machrisaa's ports."""
    with open(path, "wb") as file:
        np.save(file, np.array({layer: list(pair) for layer, pair in weights.items()}), allow_pickle=True)


def npz(path, weights):
    """Frossard's vgg16_weights.npz."""
    arrays = {f"{layer}_W": weight for layer, (weight, _) in weights.items()}
    np.savez(path, **arrays, **{f"{layer}_b": bias for layer, (_, bias) in weights.items()})


def h5(path, weights, names=("/kernel:0", "/bias:0"), top=None):
    """keras.applications' layout, old or new; `top` is the group in which a whole saved model has it."""
    import h5py

    layers = {keras_name(layer): pair for layer, pair in weights.items()}
    with h5py.File(path, "w") as file:
        group = file.create_group(top) if top else file
        group.attrs["layer_names"] = [name.encode() for name in ["input_1", *layers]]
        group.create_group("input_1").attrs["weight_names"] = np.zeros(0, "S1")
        for name, arrays in layers.items():
            own = group.create_group(name)
            members = [name + end for end in names]
            own.attrs["weight_names"] = [member.encode() for member in members]
            for member, array in zip(members, arrays, strict=True):
                own.create_dataset(member, data=array)


def keras_name(layer):
    """conv1_1 as block1_conv1, fc8 as predictions; AlexNet's have Keras' default names."""
    if match := re.fullmatch(r"conv(\d)_(\d)", layer):
        return f"block{match[1]}_conv{match[2]}"
    return {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}.get(layer, layer.replace("conv", "conv2d_"))


def torch_network(layers, hidden, side, torch):
    """The same network of torch.nn modules, with torchvision's names."""
    nn, features, channels = torch.nn, [], 3
    for kind, *rest in layers:
        if kind == "conv":
            _, kernel, stride, padding, width, groups = rest
            features.append(nn.Conv2d(channels, width, kernel, stride, padding, groups=groups))
            channels = width
        elif kind == "relu":
            features.append(nn.ReLU())
        elif kind == "lrn":
            features.append(nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0))  # PyTorch averages
        else:
            features.append(nn.MaxPool2d(*rest))
    widths = [channels * side * side, *hidden]
    classifier = [
        module
        for inputs, outputs in pairwise(widths)
        for module in (nn.Dropout(), nn.Linear(inputs, outputs), nn.ReLU())
    ]

    class Network(nn.Module):  # type: ignore[name-defined]
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(*features)
            self.classifier = nn.Sequential(*classifier, nn.Linear(hidden[-1], 1000))

        def forward(self, x):
            return self.classifier(torch.flatten(self.features(x), 1))

    return Network().eval()


def pth_of_one_tensor(path, offset, size, stride, content=None):
    """A .pth whose one tensor has any view into a storage of 8 numbers."""
    view = integer(offset) + sequence(size) + sequence(stride)
    pickled = (
        b"\x80\x02}X\x11\x00\x00\x00features.0.weightctorch._utils\n_rebuild_tensor_v2\n"
        b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x08tQ"
        + view
        + b"\x89}tRs."
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("a/data/0", np.arange(8, dtype=np.float32).tobytes() if content is None else content)


def integer(value):
    return b"J" + struct.pack("<i", value)


def sequence(values):
    return b"(" + b"".join(map(integer, values)) + b"t"


def convolutions_of(name, path, **options):
    """The random convolutions of a network as a published weight file without fully connected layers."""
    layers = create_model(name, num_classes=2, **options).features.named_children()
    convolutions = [(name, layer) for name, layer in layers if isinstance(layer, nn.Conv2D)]
    npz(path, {name: (layer.weight.numpy().transpose(2, 3, 1, 0), layer.bias.numpy()) for name, layer in convolutions})


def in_torchs_layout(path, network):
    """The weights of a network of this package as safetensors with PyTorch's names and order of axes."""
    arrays = {}
    for part in ("features", "classifier"):
        for index, (name, layer) in enumerate(getattr(network, part).named_children()):
            for role, value in layer.state_dict().items():
                array = value.numpy()
                is_matrix = name.startswith("fc") and role == "weight"
                arrays[f"{part}.{index}.{role}"] = np.ascontiguousarray(array.T if is_matrix else array)
    save_file(arrays, path, metadata={"format": "pt"})
