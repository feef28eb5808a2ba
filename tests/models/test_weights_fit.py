"""Weight files that do not fit: the messages, and a network that stays unchanged."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from safetensors.numpy import save_file

from helpers import reference_networks as reference
from helpers import weight_files as writers
from paddlecnn.errors import WeightsError
from paddlecnn.models import create_model
from paddlecnn.models.weights import load_weights


def state(network):
    return {name: value.numpy().copy() for name, value in network.state_dict().items()}


def saved(network, path, **changes):
    """The network's weights as safetensors, with some arrays changed or (None) left out."""
    save_file(
        {name: np.ascontiguousarray(value) for name, value in (state(network) | changes).items() if value is not None},
        path,
    )
    return path


@pytest.fixture
def net():
    return create_model("lenet5")


def refused(network, path, message, **options):
    before = state(network)
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(network, path, **options)
    assert "\n" not in str(caught.value)
    for name, value in state(network).items():
        np.testing.assert_array_equal(value, before[name])


def test_a_wrong_shape_names_layer_found_and_expected(net, tmp_path):
    wide = np.zeros((16, 7, 5, 5), np.float32)
    path = saved(net, tmp_path / "w.safetensors", **{"features.conv2.weight": wide})
    refused(net, path, r"conv2: found \[16, 7, 5, 5\], expected \[16, 6, 5, 5\] for features.conv2.weight of lenet5")


def test_without_strict_a_wrong_shape_is_left_out_and_listed(net, tmp_path):
    path = saved(create_model("lenet5", input_size=28), tmp_path / "w.safetensors")
    refused(net, path, r"classifier.fc3: found \[256, 120\], expected \[400, 120\].*another input size")
    report = load_weights(net, path, strict=False)
    assert report.missing == ["classifier.fc3.weight", "classifier.fc3.bias"]  # no partly loaded layers
    assert report.unexpected == ["classifier.fc3: found [256, 120], expected [400, 120]"]
    assert "features.conv1.weight" in report.loaded


def test_what_is_missing_is_named(net, tmp_path):
    path = saved(net, tmp_path / "w.safetensors", **{"classifier.fc3.weight": None, "classifier.fc3.bias": None})
    refused(net, path, "lacks classifier.fc3.weight, classifier.fc3.bias")
    report = load_weights(net, path, strict=False)
    assert report.missing == ["classifier.fc3.weight", "classifier.fc3.bias"]
    assert "not in the file: classifier.fc3.weight, classifier.fc3.bias" in report.lines()


def test_training_names_the_key_that_loads_what_fits(net, tool, tiny, tmp_path, capsys):
    path = saved(create_model("lenet5", input_size=28), tmp_path / "w.safetensors")
    start = ("train", "-c", tiny, "-o", f"model.weights={path}", "-o", "train.epochs=1")
    assert tool(*start, "--run", tmp_path / "refused") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("another input size; model.strict: false loads what fits and lists the rest")
    assert tool(*start, "--run", tmp_path / "run", "-o", "model.strict=false") == 0


def test_unexpected_layers_are_named(net, tmp_path):
    path = saved(net, tmp_path / "w.safetensors", **{"features.conv9.weight": np.zeros((1, 1, 1, 1), np.float32)})
    refused(net, path, "unlike the network, features.conv9")
    assert load_weights(net, path, strict=False).unexpected == ["features.conv9"]


def test_another_number_of_classes_replaces_the_last_layer(net, tmp_path):
    path = saved(create_model("lenet5", num_classes=7), tmp_path / "w.safetensors")
    before = state(net)
    report = load_weights(net, path)
    assert report.replaced == "fc5: 7 classes in the file, 10 here"
    assert "new last layer: fc5: 7 classes in the file, 10 here" in report.lines()
    np.testing.assert_array_equal(net.classifier.fc5.weight.numpy(), before["classifier.fc5.weight"])
    assert (net.classifier.fc4.weight.numpy() != before["classifier.fc4.weight"]).any()


def test_the_file_of_another_network_is_not_mistaken_for_this_one(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.save({f"features.{i}.weight": torch.zeros(4, 4, 3, 3) for i in range(13)}, tmp_path / "vgg16.pth")
    refused(create_model("vgg11_cifar"), tmp_path / "vgg16.pth", "convolutions: found 13, expected 8 for vgg11_cifar")


def test_nothing_that_fits_is_an_error_even_without_strict(net, tmp_path):
    save_file({"features.conv1.weight": np.zeros((1, 1, 1, 1), np.float32)}, tmp_path / "w.safetensors")
    refused(net, tmp_path / "w.safetensors", "w.safetensors: nothing in it fits lenet5$", strict=False)


def test_statistics_alone_do_not_replace_a_layer(tmp_path):
    network = create_model("alexnet_cifar", widths=[8] * 5, hidden=[4, 4])
    arrays = {name: value for name, value in state(network).items() if not name.startswith("classifier.fc6")}
    save_file(arrays | {"_fc6._mean": np.zeros(4, np.float32)}, tmp_path / "w.safetensors")
    assert load_weights(network, tmp_path / "w.safetensors", strict=False).missing == [
        "classifier.fc6.weight",
        "classifier.fc6.bias",
    ]


def test_grouped_weights_say_which_network_has_groups(tmp_path):
    writers.npy_of_dicts(tmp_path / "two.npy", reference.random_weights("alexnet_two_tower"))
    refused(
        create_model("alexnet_lrn", hidden=list(reference.HIDDEN)),
        tmp_path / "two.npy",
        r"conv2: found \[256, 48, 5, 5\], expected \[256, 96, 5, 5\].*alexnet_two_tower",
    )


def test_caffes_normalisation_is_mentioned(tmp_path):
    writers.npy_of_dicts(tmp_path / "two.npy", reference.random_weights("alexnet_two_tower"))
    notes = {
        name: load_weights(create_model(name, hidden=list(reference.HIDDEN)), tmp_path / "two.npy").notes
        for name in ("alexnet_two_tower", "alexnet_caffe")
    }
    assert "alexnet_caffe" in notes["alexnet_two_tower"][0]
    assert notes["alexnet_caffe"] == []


def test_weights_that_are_nan_are_refused(net, tmp_path):
    broken = np.full((16, 6, 5, 5), np.nan, np.float32)
    refused(
        net, saved(net, tmp_path / "w.safetensors", **{"features.conv2.weight": broken}), "conv2: its weight has NaN"
    )


def test_a_missing_file_and_an_unknown_extension(net, tmp_path):
    refused(net, tmp_path / "none.pth", "none.pth: no such file")
    refused(net, tmp_path / "weights.onnx", "the extension .onnx is not a known weight format; known: .npy")


@pytest.mark.parametrize("ending", ["npy", "npz", "h5", "pth", "pdparams", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all, " * 20], ids=["empty", "text"])
def test_a_file_that_is_something_else_is_named(net, tmp_path, ending, content):
    path = tmp_path / f"weights.{ending}"
    path.write_bytes(content)
    refused(net, path, f"weights.{ending}: ")


@pytest.mark.parametrize("ending", ["npy", "npz", "h5", "pth", "legacy.pth", "pdparams", "safetensors"])
def test_a_file_cut_short_is_named(net, tmp_path, ending):
    path = tmp_path / f"weights.{ending}"
    values = {"conv1": (np.zeros((5, 5, 3, 6), np.float32), np.zeros(6, np.float32))}
    if ending in ("npy", "npz", "h5"):
        getattr(writers, {"npy": "npy_of_dicts"}.get(ending, ending))(path, values)
    elif ending == "safetensors":
        saved(net, path)
    elif ending == "pdparams":
        paddle.save(net.state_dict(), str(path))
    else:
        torch = pytest.importorskip("torch", reason="PyTorch is not installed")
        torch.save(
            {name: torch.from_numpy(value) for name, value in state(net).items()},
            path,
            _use_new_zipfile_serialization=ending == "pth",
        )
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    refused(net, path, f"weights.{ending}: ")


def test_paddles_own_weights_only_where_paddle_has_them(net):
    refused(net, "paddle", "Paddle publishes none for lenet5, only for alexnet_owt, vgg16, vgg19")
