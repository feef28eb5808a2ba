"""Published weights by name: from a server on loopback or from disk, checked, kept, and loaded."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest

from helpers import reference_networks as reference
from helpers import weight_files as writers
from paddlecnn.data.install_weights import install_weights
from paddlecnn.errors import DataError, ServiceError, WeightsError
from paddlecnn.files import Checksum, file_digest
from paddlecnn.models import create_model
from paddlecnn.models.weights import load_weights
from paddlecnn.models.weights.published import PUBLISHED, PublishedFile, find_weights

NETWORK = "alexnet_two_tower"


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> tuple[dict, bytes]:
    """Random weights of a small AlexNet, and the bytes of their .npy file."""
    weights = reference.random_weights(NETWORK)
    path = tmp_path_factory.mktemp("weights") / "bvlc_alexnet.npy"
    writers.npy_of_dicts(path, weights)
    return weights, path.read_bytes()


@pytest.fixture
def published(server, content) -> PublishedFile:
    """bvlc_alexnet, for which no checksum is stated, on the server."""
    server.data = content[1]
    return replace(PUBLISHED["bvlc_alexnet"], url=server.url)


@pytest.fixture
def with_checksum(published) -> PublishedFile:
    """The same with the first digits of its SHA-256 stated, as torchvision does."""
    return replace(published, checksum=Checksum("sha256", reference_sum(published)[:8]))


def reference_sum(published: PublishedFile) -> str:
    import hashlib
    import urllib.request

    return hashlib.sha256(urllib.request.urlopen(published.url).read()).hexdigest()


def test_a_named_file_gives_the_logits_of_its_weights(published, content, tmp_path):
    install_weights(published, tmp_path)
    side = reference.NETWORKS[NETWORK][1]
    network = create_model(NETWORK, input_size=side, hidden=list(reference.HIDDEN))
    network.eval()
    load_weights(network, "bvlc_alexnet", folder=tmp_path)
    images = np.random.default_rng(7).standard_normal((2, side, side, 3)).astype(np.float32)
    found = network(paddle.to_tensor(images.transpose(0, 3, 1, 2))).numpy()
    np.testing.assert_allclose(found, reference.forward(NETWORK, content[0], images), rtol=1e-3, atol=1e-4)


def test_an_installed_file_is_not_fetched_again(published, server, tmp_path):
    install_weights(published, tmp_path)
    asked = len(server.ranges)
    assert install_weights(published, tmp_path) == tmp_path / "bvlc_alexnet.npy"
    assert len(server.ranges) == asked


def test_a_broken_connection_is_resumed(with_checksum, server, content, tmp_path):
    asked, server.breaks_after = len(server.ranges), 100_000
    with pytest.raises(ServiceError, match=r"could not be downloaded .*--from"):
        install_weights(with_checksum, tmp_path)
    assert not (tmp_path / "bvlc_alexnet.npy").exists()
    server.breaks_after = None
    assert install_weights(with_checksum, tmp_path).read_bytes() == content[1]
    assert server.ranges[asked:] == [None, "bytes=65536-"]


def test_content_other_than_the_published_is_refused(with_checksum, server, tmp_path):
    server.data = server.data[:-1] + b"x"
    with pytest.raises(DataError, match=rf"SHA256 \w+, not the published {with_checksum.checksum.digits}"):
        install_weights(with_checksum, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_stated_checksum_only_readable_weights_are_kept(published, server, tmp_path):
    server.data = b"<html>Please log in to the network</html>"
    with pytest.raises(WeightsError, match=r"bvlc_alexnet\.npy: damaged or not a \.npy file"):
        install_weights(published, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_sum_of_the_first_use_is_compared_afterwards(published, tmp_path):
    file = install_weights(published, tmp_path / "cache")
    assert (tmp_path / "cache" / "bvlc_alexnet.npy.sha256").read_text() == f"{file_digest(file)}  {file.name}\n"
    other = tmp_path / "other.npy"
    other.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"other\.npy: .* not the published"):
        install_weights(published, tmp_path / "cache", other)
    file.write_bytes(other.read_bytes())
    network = create_model(NETWORK, input_size=reference.NETWORKS[NETWORK][1], hidden=list(reference.HIDDEN))
    with pytest.raises(
        WeightsError, match=r"does not match its SHA-256 .*paddlecnn download weights bvlc_alexnet --dest"
    ):
        load_weights(network, "bvlc_alexnet", folder=tmp_path / "cache")


def test_another_file_from_disk_is_named_without_advice_to_remove_it(published, content, tool, tmp_path, capsys):
    """The user's own good file: bvlc_alexnet.npy in place of frossard_vgg16's .npz, first into an empty folder."""
    other, cache = tmp_path / "bvlc_alexnet.npy", tmp_path / "cache"
    other.write_bytes(content[1])
    install = ("download", "weights", "frossard_vgg16", "--dest", cache, "--from", other)
    assert tool(*install) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{other}: is not vgg16_weights.npz of frossard_vgg16 (")
    assert error.endswith("; choose vgg16_weights.npz from www.cs.toronto.edu/~frossard/post/vgg16\n")
    assert list(cache.iterdir()) == []
    np.savez(cache / "vgg16_weights.npz", conv1_1_W=np.ones((3, 3, 3, 64), np.float32))
    assert tool("download", "weights", "frossard_vgg16", "--dest", cache) == 0
    assert tool(*install) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{other}: {len(content[1]):,} bytes")
    assert "remove" not in error


def test_without_a_network_the_file_can_come_from_disk(published, content, tool, tmp_path, capsys):
    nowhere = replace(published, url="http://127.0.0.1:9/bvlc_alexnet.npy")
    with pytest.raises(ServiceError, match="no connection"):
        install_weights(nowhere, tmp_path / "cache")
    source = tmp_path / "downloaded.npy"
    source.write_bytes(content[1])
    assert tool("download", "weights", "bvlc_alexnet", "--dest", tmp_path / "cache", "--from", source) == 0
    assert "model.weights: bvlc_alexnet, model.weights_dir: " in capsys.readouterr().out
    assert (tmp_path / "cache" / "bvlc_alexnet.npy").read_bytes() == content[1]


def test_a_file_that_was_not_checked_is_never_given_a_sum(published, content, tool, tmp_path, capsys):
    source, cache = tmp_path / "good.npy", tmp_path / "cache"
    source.write_bytes(content[1])
    cache.mkdir()
    own = cache / "bvlc_alexnet.npy"
    own.write_bytes(b"someone's own")
    install = ("download", "weights", "bvlc_alexnet", "--dest", cache)
    assert tool(*install, "--from", source) == 2
    assert f"{own}: differs from {source} and has no SHA-256 beside it" in capsys.readouterr().err
    assert tool(*install) == 2
    assert f"{own}: damaged or not a .npy file" in capsys.readouterr().err
    assert own.read_bytes() == b"someone's own"
    assert not (cache / "bvlc_alexnet.npy.sha256").exists()
    own.write_bytes(content[1])
    assert tool(*install, "--from", source) == 0


def test_an_installed_file_that_was_damaged_since_is_replaced_by_the_same_from_disk(published, content, tmp_path):
    source = tmp_path / "good.npy"
    source.write_bytes(content[1])
    file = install_weights(published, tmp_path / "cache", source)
    file.write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"bvlc_alexnet\.npy: 7 bytes"):
        install_weights(published, tmp_path / "cache")
    assert install_weights(published, tmp_path / "cache", source).read_bytes() == content[1]
    assert find_weights("bvlc_alexnet", NETWORK, tmp_path / "cache") == file


@pytest.mark.parametrize("kept", [b"", b"\xff\xfe\x00", b"0123  bvlc_alexnet.npy\n", b"z" * 64])
def test_an_invalid_checksum_is_refused(published, tool, tmp_path, capsys, kept):
    file = install_weights(published, tmp_path)
    beside = tmp_path / "bvlc_alexnet.npy.sha256"
    beside.write_bytes(kept)
    message = f"{beside}: is not a SHA-256 of 64 hex digits; remove it and {file.name}, then run: "
    assert tool("download", "weights", "bvlc_alexnet", "--dest", tmp_path) == 2
    assert message in capsys.readouterr().err
    with pytest.raises(WeightsError, match=re.escape(message)):
        find_weights("bvlc_alexnet", NETWORK, tmp_path)


@pytest.mark.parametrize("name", ["files.npz", "files"])
def test_a_folder_in_place_of_a_weight_file_is_called_a_folder(tool, tmp_path, capsys, name):
    folder = tmp_path / name
    folder.mkdir()
    assert tool("download", "weights", "bvlc_alexnet", "--dest", tmp_path / "cache", "--from", folder) == 2
    assert capsys.readouterr().err == f"{folder}: is a folder; name the weight file in it\n"
    (tmp_path / "vgg.yaml").write_text(VGG)
    options = ["-o", f"model.weights={folder}", "--run", tmp_path / "run"]
    assert tool("train", "-c", tmp_path / "vgg.yaml", *options) == 2
    assert capsys.readouterr().err == f"{folder}: is a folder; name the weight file in it\n"
    assert tool("download", "weights", "bvlc_alexnet", "--dest", tmp_path / "cache", "--from", tmp_path / "no") == 2
    assert capsys.readouterr().err == f"{tmp_path / 'no'}: no such file\n"


VGG = """
data: {name: digits, limit: 64, preprocess: {size: 32}}
model: {name: vgg16, options: {input_size: 32, hidden: [8]}}
train: {epochs: 1}
"""


@pytest.mark.parametrize(
    ("setting", "command"),
    [
        (["model.weights=torchvision_vgg16"], "download weights torchvision_vgg16"),
        (["model.weights=paddle"], "download weights paddle_vgg16"),
        (["model.weights=files/vgg16-397923af.pth"], "download weights torchvision_vgg16` installs it"),
        (["model.weights=machrisaa_vgg16"], "download weights machrisaa_vgg16 --from FILE (FILE: vgg16.npy"),
        (
            ["model.weights=torchvision_vgg16", "model.weights_dir=here"],
            "download weights torchvision_vgg16 --dest here",
        ),
        (
            ["model.weights=torchvison_vgg16"],
            "download weights NAME` installs a published one; did you mean torchvision_vgg16?",
        ),
    ],
)
def test_a_missing_file_names_the_command_that_installs_it(tool, tmp_path, monkeypatch, capsys, setting, command):
    monkeypatch.setenv("PADDLECNN_WEIGHTS", str(tmp_path / "cache"))
    config = tmp_path / "vgg.yaml"
    config.write_text(VGG)
    options = [word for one in setting for word in ("-o", one)]
    assert tool("train", "-c", config, *options, "--run", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert f"paddlecnn {command}" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_list_names_address_and_licence_of_each_file(tool, capsys):
    assert tool("download", "weights") == 0
    listed = capsys.readouterr().out
    for one in PUBLISHED.values():
        assert f"{one.name}: " in listed
        assert (one.url or one.source) in listed
        assert one.licence in listed
        assert one.networks[0] in listed


def test_what_cannot_be_downloaded_is_one_line(tool, tmp_path, capsys):
    assert tool("download", "weights", "machrisaa_vgg19", "--dest", tmp_path) == 2
    assert "weights machrisaa_vgg19 --from FILE (FILE: vgg19.npy" in capsys.readouterr().err
    assert tool("download", "weights", "vgg61", "--dest", tmp_path) == 2
    assert "weights vgg61: no published file with this name" in capsys.readouterr().err
    assert tool("download", "cifar10", "vgg16", "--dest", tmp_path) == 2
    assert "only weights take a name" in capsys.readouterr().err
    assert not any(path.is_file() for path in Path(tmp_path).rglob("*"))
