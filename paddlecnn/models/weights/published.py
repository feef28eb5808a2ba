"""Published weight files by name: address, checksum, licence, and the folder that keeps them.

Each address, checksum and licence is copied from the page in `source`. If the publisher states no
checksum, the file's SHA-256 at its first use is kept beside it and compared from then on.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from paddlecnn.errors import WeightsError, did_you_mean
from paddlecnn.files import Checksum, file_digest
from paddlecnn.models.weights.readers import READERS

TORCHVISION = "github.com/pytorch/vision, torchvision/models/alexnet.py and vgg.py"
KERAS = "github.com/keras-team/keras, keras/src/applications/vgg16.py and vgg19.py"
PADDLE = "paddle/vision/models/alexnet.py and vgg.py of PaddlePaddle"
# README.md of torchvision, "Pre-trained Model License".
IMAGENET_TERMS = "torchvision's code is BSD-3-Clause; its weights may be under terms of their training data (ImageNet)"
# docs.openvino.ai/2021.2/omz_models_public_vgg16_vgg16.html on Simonyan and Zisserman's VGG16.
OXFORD = "CC BY 4.0, converted from Simonyan and Zisserman's weights"


@dataclass(frozen=True)
class PublishedFile:
    """One published file. Its extension determines its layout (conversion.py)."""

    name: str
    file: str
    networks: tuple[str, ...]
    url: str | None  # None if it can only be downloaded in a browser
    checksum: Checksum | None  # as the publisher states it, perhaps its first digits only; None if none is stated
    licence: str
    source: str

    @property
    def command(self) -> str:
        """The command that installs the file."""
        by_hand = "" if self.url else f" --from FILE (FILE: {self.file}, see {self.source})"
        return f"paddlecnn download weights {self.name}{by_hand}"


def torchvision(stem: str) -> PublishedFile:
    """A file of torchvision; the digits in its name are the first of its SHA-256."""
    network, _, digits = stem.rpartition("-")
    name, networks = f"torchvision_{network.removesuffix('-owt')}", (network.replace("-", "_"),)
    file, checksum = f"{stem}.pth", Checksum("sha256", digits)
    url = f"https://download.pytorch.org/models/{file}"
    return PublishedFile(name, file, networks, url, checksum, IMAGENET_TERMS, TORCHVISION)


def keras(network: str, part: str, md5: str) -> PublishedFile:
    """A file of Keras. part: `_notop`, without the fully connected layers, or empty."""
    file = f"{network}_weights_tf_dim_ordering_tf_kernels{part}.h5"
    url = f"https://storage.googleapis.com/tensorflow/keras-applications/{network}/{file}"
    return PublishedFile(f"keras_{network}{part}", file, (network,), url, Checksum("md5", md5), OXFORD, KERAS)


def paddle_vision(network: str, url: str, md5: str) -> PublishedFile:
    """A file of paddle.vision.models."""
    name, file = f"paddle_{network.removesuffix('_owt')}", url.rpartition("/")[2]
    licence = "none stated for the weights; PaddlePaddle is Apache-2.0"
    return PublishedFile(name, file, (network,), url, Checksum("md5", md5), licence, PADDLE)


def machrisaa(network: str) -> PublishedFile:
    source = "the link to mega.nz in github.com/machrisaa/tensorflow-vgg"
    return PublishedFile(f"machrisaa_{network}", f"{network}.npy", (network,), None, None, OXFORD, source)


FILES = (
    torchvision("alexnet-owt-7be5be79"),
    torchvision("vgg11-8a719046"),
    torchvision("vgg11_bn-6002323d"),
    torchvision("vgg13-19584684"),
    torchvision("vgg13_bn-abd245e5"),
    torchvision("vgg16-397923af"),
    torchvision("vgg16_bn-6c64b313"),
    torchvision("vgg19-dcbb9e9d"),
    torchvision("vgg19_bn-c79401a0"),
    keras("vgg16", "", "64373286793e3c8b2b4e3219cbf3544b"),
    keras("vgg16", "_notop", "6d6bbae143d832006294945121d1f1fc"),
    keras("vgg19", "", "cbe5617147190e668d6c5d5026f83318"),
    keras("vgg19", "_notop", "253f8cb515780f3b799900260a226db6"),
    paddle_vision(
        "alexnet_owt",
        "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/AlexNet_pretrained.pdparams",
        "7f0f9f737132e02732d75a1459d98a43",
    ),
    paddle_vision(
        "vgg16", "https://paddle-hapi.bj.bcebos.com/models/vgg16.pdparams", "89bbffc0f87d260be9b8cdc169c991c4"
    ),
    paddle_vision(
        "vgg19", "https://paddle-hapi.bj.bcebos.com/models/vgg19.pdparams", "23b18bb13d8894f60f54e642be79a0dd"
    ),
    PublishedFile(
        "bvlc_alexnet",
        "bvlc_alexnet.npy",
        ("alexnet_caffe", "alexnet_two_tower"),
        "http://www.cs.toronto.edu/~guerzhoy/tf_alexnet/bvlc_alexnet.npy",
        None,
        "unrestricted (github.com/BVLC/caffe, models/bvlc_alexnet/readme.md), converted by M. Guerzhoy",
        "github.com/guerzh/tf_weights",
    ),
    PublishedFile(
        "frossard_vgg16",
        "vgg16_weights.npz",
        ("vgg16",),
        "https://www.cs.toronto.edu/~frossard/vgg16/vgg16_weights.npz",
        None,
        OXFORD,
        "www.cs.toronto.edu/~frossard/post/vgg16",
    ),
    machrisaa("vgg16"),
    machrisaa("vgg19"),
)
PUBLISHED = {one.name: one for one in FILES}


def published_file(name: str) -> PublishedFile:
    """The file with this name. Raises WeightsError if it is unknown."""
    if name not in PUBLISHED:
        raise WeightsError(f"weights {name}: no published file with this name{did_you_mean(name, PUBLISHED)}")
    return PUBLISHED[name]


def default_folder() -> Path:
    """The folder of the published files: $PADDLECNN_WEIGHTS, or else ~/.cache/paddlecnn/weights."""
    return Path(os.environ.get("PADDLECNN_WEIGHTS") or "~/.cache/paddlecnn/weights").expanduser()


def sum_file(file: Path) -> Path:
    """The path of a file's SHA-256, in the format of `sha256sum -c`."""
    return file.with_name(f"{file.name}.sha256")


def kept_sum(file: Path, command: str) -> str | None:
    """The SHA-256 beside a file; None if there is none. Raises WeightsError, with a command, if malformed."""
    path = sum_file(file)
    if not path.is_file():
        return None
    digits = path.read_bytes().partition(b" ")[0].strip()
    if not re.fullmatch(rb"[0-9a-fA-F]{64}", digits):
        raise WeightsError(f"{path}: is not a SHA-256 of 64 hex digits; remove it and {file.name}, then run: {command}")
    return digits.decode().lower()


def find_weights(weights: str | Path, network: str, folder: Path | None = None) -> Path:
    """The file that `model.weights` names: a path, the name of a published file, or `paddle` for Paddle's own.

    folder: where the published files are; `default_folder()` if not given
    Raises WeightsError, with the command that installs it, if it is missing or if a published file is not the one
    that was installed.
    """
    name, path = str(weights), Path(weights)
    if name == "paddle":
        own = {one.networks[0]: one.name for one in FILES if one.source == PADDLE}
        name = own.get(network, "")
        if not name:
            has = ", ".join(own)
            raise WeightsError(
                f"weights: paddle: Paddle publishes none for {network}, only for {has}; name a weight file instead"
            )
    if name in PUBLISHED:
        return installed(PUBLISHED[name], folder)
    if not path.exists() and path.suffix.lower() in ("", *READERS):
        command = f"`paddlecnn download weights NAME` installs a published one{did_you_mean(name, PUBLISHED)}"
        if known := next((one for one in FILES if one.file == path.name), None):
            command = f"`{known.command}` installs it for model.weights: {known.name}"
        raise WeightsError(f"{path}: no such file; {command}")
    return path


def installed(published: PublishedFile, folder: Path | None) -> Path:
    """A published file in its folder, checked against the SHA-256 of its first use."""
    file = (folder or default_folder()) / published.file
    command = published.command + (f" --dest {folder}" if folder else "")
    kept = kept_sum(file, command)
    if not file.is_file() or kept is None:
        raise WeightsError(f"weights {published.name}: not in {file.parent}; install it with: {command}")
    if file_digest(file) != kept:
        raise WeightsError(
            f"{file}: does not match its SHA-256 in {sum_file(file).name}; remove both, then run: {command}"
        )
    return file
