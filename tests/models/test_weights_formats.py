"""Weights of every format give the logits that an independent evaluation of them gives."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from safetensors.numpy import save_file

from helpers import reference_networks as reference
from helpers import weight_files as writers
from paddlecnn.errors import WeightsMismatch
from paddlecnn.models import create_model
from paddlecnn.models.weights import load_weights

NETWORKS = ["alexnet_two_tower", "alexnet_owt", "vgg16"]
IMAGENET = {"channels": "rgb", "scale": 255.0, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def network_for(name, **options):
    network = create_model(name, input_size=reference.NETWORKS[name][1], hidden=list(reference.HIDDEN), **options)
    network.eval()
    return network


def images_for(name):
    size = reference.NETWORKS[name][1]
    return np.random.default_rng(7).standard_normal((2, size, size, 3)).astype(np.float32)


def logits(network, images):
    return network(paddle.to_tensor(images.transpose(0, 3, 1, 2))).numpy()


@pytest.fixture(scope="module")
def expected():
    """(weights, images, logits) of each network by the NumPy evaluation."""
    found = {}
    for name in NETWORKS:
        weights, images = reference.random_weights(name), images_for(name)
        found[name] = weights, images, reference.forward(name, weights, images)
    return found


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("writer", "ending", "options"),
    [
        ("npy_of_dicts", "npy", {}),
        ("npy_of_lists", "npy", {}),
        ("npz", "npz", {}),
        ("h5", "h5", {}),
        ("h5", "h5", {"names": ("_W_1:0", "_b_1:0"), "top": "model_weights"}),
        ("h5", "h5", {"names": ("/kernel", "/bias"), "top": "model_weights"}),
    ],
    ids=["npy-dicts", "npy-lists", "npz", "h5", "h5-of-keras-1", "h5-of-keras-3"],
)
def test_tensorflow_and_keras(expected, tmp_path, name, writer, ending, options):
    if writer == "h5":
        pytest.importorskip("h5py", reason="h5py is in the test extra")
    weights, images, wanted = expected[name]
    path = tmp_path / f"weights.{ending}"
    getattr(writers, writer)(path, weights, **options)
    network = network_for(name)
    report = load_weights(network, path)
    assert len(report.loaded) == len(network.parameters())
    assert not report.missing
    assert not report.unexpected
    assert np.abs(wanted).max() > 0.5
    np.testing.assert_allclose(logits(network, images), wanted, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("form", ["zip", "legacy", "checkpoint", "safetensors"])
def test_pytorch(tmp_path, name, form):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.manual_seed(0)
    features, _, side = reference.NETWORKS[name]
    theirs = writers.torch_network(features, reference.HIDDEN, side, torch)
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    state = theirs.state_dict()
    if form == "safetensors":
        save_file({key: value.numpy() for key, value in state.items()}, path, metadata={"format": "pt"})
    elif form == "checkpoint":
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    images = images_for(name)
    with torch.no_grad():
        wanted = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    ours = network_for(name)
    report = load_weights(ours, path)
    assert len(report.loaded) == len(state)
    np.testing.assert_allclose(logits(ours, images), wanted, atol=1e-4)
    assert {key: report.preprocess[key] for key in IMAGENET} == IMAGENET


def test_pytorch_batch_normalisation(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    nn, layers, channels = torch.nn, [], 3
    for block, width in enumerate((64, 128, 256, 512, 512)):
        for _ in range(1 if block < 2 else 2):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    theirs = nn.ModuleDict({"features": nn.Sequential(*layers), "classifier": nn.Sequential(nn.Linear(512, 10))})
    images = torch.randn(8, 3, 32, 32)
    theirs["features"](images)  # gives the statistics a value
    theirs.eval()
    torch.save(theirs.state_dict(), tmp_path / "bn.pt")
    ours = create_model("vgg11_bn_cifar", hidden=[])
    ours.eval()
    report = load_weights(ours, tmp_path / "bn.pt")
    with torch.no_grad():
        wanted = theirs["classifier"](torch.flatten(theirs["features"](images), 1)).numpy()
    np.testing.assert_allclose(ours(paddle.to_tensor(images.numpy())).numpy(), wanted, atol=1e-4)
    assert report.preprocess is None  # ten classes: no published preprocessing


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_precisions_become_float32(tmp_path, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours = create_model("lenet5")
    state = {}
    for name, parameter in ours.state_dict().items():
        value = torch.from_numpy(parameter.numpy()).to(getattr(torch, dtype))
        state[name] = value.T if value.dim() == 2 else value  # a transposed view: strides that are not the plain ones
    torch.save(state, tmp_path / "half.pth")
    other = create_model("lenet5")
    load_weights(other, tmp_path / "half.pth")
    for name, parameter in other.state_dict().items():
        wanted = state[name].float().numpy()
        np.testing.assert_array_equal(parameter.numpy(), wanted.T if wanted.ndim == 2 else wanted)


def same_as_paddle_vision(theirs, name, path, protocol):
    theirs.eval()
    paddle.save(theirs.state_dict(), str(path), protocol=protocol)
    ours = create_model(name, num_classes=5, hidden=[4096, 4096] if name == "alexnet_owt" else [48, 40])
    ours.eval()
    load_weights(ours, path)
    image = paddle.randn([1, 3, 224, 224])
    np.testing.assert_allclose(ours(image).numpy(), theirs(image).numpy(), atol=1e-5)


def test_paddle_visions_alexnet_whose_dropout_halves_in_evaluation(tmp_path):
    theirs = paddle.vision.models.alexnet(num_classes=5)
    for layer in (theirs._fc6, theirs._fc7, theirs._fc8):  # its own initialisation leaves logits near 0
        layer.weight.set_value(layer.weight * 4)
    same_as_paddle_vision(theirs, "alexnet_owt", tmp_path / "weights.pdparams", protocol=4)


def test_paddle_visions_vgg16(tmp_path):
    theirs = paddle.vision.models.vgg16(num_classes=0)
    nn = paddle.nn  # a narrower classifier of the same form: the real one writes half a gigabyte
    theirs.classifier = nn.Sequential(
        nn.Linear(25088, 48), nn.ReLU(), nn.Dropout(), nn.Linear(48, 40), nn.ReLU(), nn.Dropout(), nn.Linear(40, 5)
    )
    theirs.num_classes = 5
    same_as_paddle_vision(theirs, "vgg16", tmp_path / "weights.pdparams", protocol=2)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vgg11_bn_cifar", {}),
        ("alexnet_cifar", {"pooled": True, "hidden": []}),
        ("vgg_fast", {}),
        ("lenet5", {"widths": [6]}),  # its fc2 is not Keras'
    ],
)
def test_our_own_weights_are_read_back_unchanged(tmp_path, name, options):
    ours, other = create_model(name, **options), create_model(name, **options)
    for value in ours.state_dict().values():  # statistics are equal in all fresh networks
        value.set_value(paddle.rand(value.shape))
    save_file({name: value.numpy() for name, value in ours.state_dict().items()}, tmp_path / "model.safetensors")
    report = load_weights(other, tmp_path / "model.safetensors")
    assert report.preprocess is None
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), ours.state_dict()[name].numpy())


@pytest.mark.parametrize(
    ("name", "writer", "ending", "wanted"),
    [
        ("alexnet_two_tower", "npy_of_dicts", "npy", {"channels": "bgr", "scale": 1.0, "mean": [104.0, 117.0, 123.0]}),
        ("vgg16", "npz", "npz", {"channels": "rgb", "scale": 1.0, "mean": [123.68, 116.779, 103.939]}),
        ("vgg16", "h5", "h5", {"channels": "bgr", "scale": 1.0, "mean": [103.939, 116.779, 123.68]}),
    ],
)
def test_the_published_preprocessing_comes_along(tmp_path, name, writer, ending, wanted):
    path = tmp_path / f"weights.{ending}"
    getattr(writers, writer)(path, reference.random_weights(name))
    network = network_for(name)
    found = load_weights(network, path).preprocess
    assert found == wanted | {"std": [1.0, 1.0, 1.0], "size": network.input_size}


@pytest.mark.parametrize("ending", ["npz", "pdparams"])
def test_published_weights_fit_a_network_with_another_classifier(tmp_path, ending):
    """configs/dogs_vs_cats/vgg16_pooled.yaml: one linear layer, where a published file has three."""
    path = tmp_path / f"vgg16.{ending}"
    if ending == "npz":
        writers.npz(path, reference.random_weights("vgg16"))
        wanted = {"channels": "rgb", "scale": 1.0, "mean": [123.68, 116.779, 103.939]}
    else:
        nn, theirs = paddle.nn, paddle.vision.models.vgg16(num_classes=0)
        theirs.classifier = nn.Sequential(nn.Linear(512, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1000))
        paddle.save(theirs.state_dict(), str(path))
        wanted = IMAGENET
    network = create_model("vgg16", num_classes=2, input_size=32, pooled=True, hidden=[])
    with pytest.raises(WeightsMismatch, match="classifier"):
        load_weights(network, path)
    report = load_weights(network, path, strict=False)
    assert report.loaded == [f"features.{name}" for name, _ in network.features.named_parameters()]
    assert len(report.unexpected) == 3
    assert {key: report.preprocess[key] for key in wanted} == wanted


def test_torchvisions_and_paddles_images_are_cut_from_256_pixels(tmp_path):
    network = create_model("alexnet_owt", hidden=[4, 4])
    arrays = {name: value.numpy() for name, value in network.state_dict().items() if name.startswith("features")}
    numbered = {
        name.replace(f"conv{i}", str(2 * i)): value
        for i in range(1, 6)
        for name, value in arrays.items()
        if f"conv{i}" in name
    }
    save_file(numbered, tmp_path / "alexnet.safetensors", metadata={"format": "pt"})
    found = load_weights(network, tmp_path / "alexnet.safetensors", strict=False).preprocess
    assert (found["size"], found["resize"], found["scale"], found["channels"]) == (224, 256, 255.0, "rgb")
