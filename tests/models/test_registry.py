"""Networks by name, and the messages about a wrong one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import paddle
import pytest
import yaml
from paddle import nn

from paddlecnn.errors import ModelError, WeightsError
from paddlecnn.models import create_model, freeze, list_models, register
from paddlecnn.models.registry import FORMER
from paddlecnn.models.summary import summarize, summarize_by_name
from paddlecnn.models.weights import load_weights

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_names_match_a_glob():
    assert list_models("lenet*") == ["lenet5"]
    assert set(list_models("vgg1?")) == {"vgg11", "vgg13", "vgg16", "vgg19"}
    assert list_models("resnet*") == []
    assert {"vgg11_lrn", "vgg16_c", "vgg_fast"} | {
        f"vgg{net}{bn}{size}" for net in (11, 13, 16, 19) for bn in ("", "_bn") for size in ("", "_cifar")
    } == set(list_models("vgg*"))


@pytest.mark.parametrize(
    ("name", "near"),
    [("vgg-16", "vgg16"), ("VGG16", "vgg16"), ("alexnt", "alexnet"), ("alexnet_cifar_ln", "alexnet_cifar_lrn")],
)
def test_an_unknown_name_gets_the_nearest(name, near):
    with pytest.raises(ModelError, match=f"{name}: no such model; did you mean .*{near}"):
        create_model(name)


@pytest.mark.parametrize("name", ["inception_v3", "resnet50", "googlenet", "mobilenet_v2"])
def test_a_network_of_another_family_gets_the_families(name):
    with pytest.raises(ModelError, match=f"{name}: no such model; there are AlexNet, VGG, .*paddlecnn summary --list"):
        create_model(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"droput": 0.3}, "unknown option droput; did you mean dropout"),
        ({"zzz": 1}, "unknown option zzz; valid: .*widths"),
        ({"dropout": 1.0}, "option dropout: input should be less than 1, not 1.0"),
        ({"dropout": "much"}, "option dropout: .*not 'much'"),
        ({"norm": "layer"}, "option norm: input should be 'none', 'lrn' or 'batch', not 'layer'"),
        ({"groups": 3}, "option groups: input should be 1 or 2"),
        ({"widths": [8, 8]}, "option widths"),
        ({"num_classes": 0}, "option num_classes: input should be greater than 0"),
        ({"input_size": -1}, "option input_size"),
        ({"input_size": 8}, "input_size is too small"),
        ({"hidden": [10**9]}, "option hidden.0: input should be less than or equal to 1048576, not .*1000000000"),
        ({"hidden": [10**5000]}, "option hidden.0: .*not a number of more than 4,300 digits"),
        ({"hidden": [1 << 12, 1 << 20]}, "a layer of 4096x1048576 weights exceeds the limit"),
        ({"widths": [1 << 12, 1 << 20, 8, 8, 8]}, "a layer of 1048576x4096x5x5 weights exceeds the limit"),
        ({"groups": 2, "widths": [95, 256, 384, 384, 256]}, "95 to 256 channels cannot have 2 groups; change widths"),
        ({"groups": 2, "widths": [96, 255, 384, 384, 256]}, "from 96 to 255 channels cannot have 2 groups"),
        ({"num_classes": 10**400}, "option num_classes: input should be less than or equal to 1048576"),
        ({"input_size": 10**400}, "option input_size: input should be less than or equal to"),
        ({"stem": [11, 4, 10**9]}, "option stem.2: "),
        ({"pools": [[3, 10**9], None, None]}, "option pools.0.1: "),
        ({"pools": [[1, 4], None, None]}, "a pool of 1x1 with stride 4 cannot have ceil_pools; change pools"),
        ({"dropout": float("nan")}, "option dropout: "),
        ({"lrn": [5, float("nan"), 0.75, 2.0]}, "option lrn.1: input should be .*finite"),
        ({"lrn": [5, 1e-4, float("inf"), 2.0]}, "option lrn.2: "),
        ({"lrn": [5, 1e-4, 0.75, 0.0]}, "option lrn.3: input should be greater than 0"),
        ({"lrn": [5, -1e-4, 0.75, 2.0]}, "option lrn.1: "),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(ModelError, match=message) as caught:
        create_model("alexnet_cifar", **options)
    assert len(str(caught.value)) < 250


def test_vgg_takes_32_pixels_and_more():
    with pytest.raises(ModelError, match="vgg16: option input_size: input should be greater than or equal to 32"):
        create_model("vgg16", input_size=31)


def test_without_a_number_of_classes_it_is_that_of_the_published_data():
    assert create_model("lenet5").num_classes == 10
    assert create_model("alexnet_cifar100_k11s2", hidden=[8]).num_classes == 100


class Tiny(nn.Layer):
    """A user's network, with nothing from the package and not all of its options annotated."""

    def __init__(self, num_classes, width: int = 4, depth=1):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2D(3, width, 3, padding=1), nn.BatchNorm2D(width), nn.Silu())
        self.head = nn.Linear(width, num_classes)

    def forward(self, images):
        return self.head(self.features(images).mean([2, 3]))


def own_alexnet(num_classes: int = 7, input_size: int = 32, **options):
    return create_model("alexnet_cifar", num_classes, input_size=input_size, hidden=[8], **options)


def unresolved(num_classes: int, widths: Sequence[int] = (3,)):
    return Tiny(num_classes, widths[0])


def wrong_width(num_classes: int = 3):
    return Tiny(num_classes + 1)


def no_layer(num_classes: int = 3):
    return "a network"


@pytest.fixture(autouse=True, scope="module")
def own_networks():
    for factory in (Tiny, own_alexnet, unresolved, wrong_width, no_layer):
        assert register(factory) is factory


def test_a_users_class_is_a_network_of_its_name():
    network = create_model("Tiny", 5, width=6)
    assert (network.name, network.num_classes, network.input_size) == ("Tiny", 5, None)
    assert list(network(paddle.zeros([2, 3, 9, 9])).shape) == [2, 5]
    assert "Tiny" in list_models("T*")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Tiny", {"num_classes": 5, "width": "wide"}, "Tiny: option width: input should be a valid integer"),
        ("Tiny", {"num_classes": 5, "widht": 3}, "Tiny: unknown option widht; did you mean width?"),
        ("Tyny", {}, "Tyny: no such model; did you mean Tiny"),
        ("own_alexnet", {"drop": 0.1}, "alexnet_cifar: unknown option drop; did you mean dropout"),
        ("no_layer", {}, "no_layer: returned str, not a paddle.nn.Layer"),
    ],
)
def test_a_users_network_is_checked_where_it_is_annotated(name, options, message):
    with pytest.raises(ModelError, match=message):
        create_model(name, **options)


def test_options_without_annotation_or_with_one_that_does_not_resolve_are_passed_on():
    assert create_model("Tiny", 2, depth="any").num_classes == 2
    assert create_model("unresolved", 2, widths=[5]).features[0].weight.shape[0] == 5


def test_a_users_function_may_build_on_the_packages_networks():
    network = create_model("own_alexnet", norm="lrn")
    assert (network.num_classes, network.input_size) == (7, 32)
    assert list(network(paddle.zeros([1, 3, 32, 32])).shape) == [1, 7]


def test_logits_of_another_width_are_refused_at_the_first_call():
    with pytest.raises(ModelError, match=r"wrong_width: forward must return logits \[N, 3\], not \[2, 4\]"):
        create_model("wrong_width")(paddle.zeros([2, 3, 8, 8]))


def test_a_users_features_freeze():
    network = create_model("Tiny", 5)
    freeze(network, "features")
    network.train()
    before = network.features[1]._mean.numpy().copy()
    network(paddle.randn([4, 3, 8, 8]) + 3.0).sum().backward()
    assert (network.features[1]._mean.numpy() == before).all()
    assert network.features[0].weight.grad is None
    assert network.head.weight.grad is not None


def test_freezing_needs_features():
    network = create_model("Tiny", 5)
    del network.features
    with pytest.raises(ModelError, match=r"model\.freeze: features: Tiny has no layer `features`"):
        freeze(network, "features")


def test_a_users_network_is_summarised_by_running_it():
    with pytest.raises(ModelError, match="Tiny: unknown input size"):
        summarize_by_name("Tiny", 5)
    network = create_model("Tiny", 5)
    network.train()
    summary = summarize(network, 9)
    assert network.training
    assert [layer.kind for layer in summary.layers] == ["Conv", "BatchNorm", "Silu", "Linear"]
    assert summary.parameters == 4 * 27 + 4 + 8 + 4 * 5 + 5
    assert summary.layers[0].multiply_adds == 27 * 4 * 81


class Nothing(nn.Layer):
    def forward(self, images):
        return None


class Named(nn.Layer):
    def forward(self, images):
        return {"maps": images}


class Unusual(nn.Layer):
    """Layers that are called by keyword, or return two tensors, a tensor with a state, a dictionary or nothing."""

    input_size = 8

    def __init__(self, num_classes):
        super().__init__()
        self.conv, self.act = nn.Conv2D(3, 4, 3, padding=1), nn.ReLU()
        self.pool = nn.MaxPool2D(2, return_mask=True)
        self.cell, self.head = nn.LSTMCell(4, 5), nn.Linear(5, num_classes)
        self.nothing, self.named = Nothing(), Named()

    def forward(self, images):
        pooled, _ = self.pool(self.act(x=self.conv(images)))
        assert self.nothing(pooled) is None
        pooled = self.named(pooled)["maps"]
        return self.head(self.cell(pooled.mean([2, 3]))[0])


def test_unusual_calls_are_summarised():
    register(Unusual)
    layers = {layer.name: layer for layer in summarize(create_model("Unusual", 2)).layers}
    assert {name: layer.output_shape for name, layer in layers.items()} == {
        "conv": [4, 8, 8],
        "act": [4, 8, 8],
        "pool": [4, 4, 4],
        "named": [4, 4, 4],
        "cell": [5],
        "head": [2],
    }
    assert layers["act"].multiply_adds == 4 * 8 * 8


def test_an_option_without_a_default_is_named_if_it_is_missing():
    def needs_width(num_classes, width):
        return Tiny(num_classes, width)

    register(needs_width)
    with pytest.raises(
        ModelError, match=r"needs_width: missing a required argument: 'width'; set it in model\.options"
    ):
        create_model("needs_width", 3)
    assert create_model("needs_width", 3, width=5).head.weight.shape == [5, 3]


def test_a_users_network_loads_its_own_weights(tmp_path):
    with pytest.raises(WeightsError, match="let the code of Tiny load it"):
        load_weights(create_model("Tiny", 5), tmp_path / "w.pdparams")


def test_names_of_the_package_cannot_be_registered():
    def alexnet(num_classes):
        return Tiny(num_classes)

    with pytest.raises(ModelError, match="alexnet: the package has a network with this name"):
        register(alexnet)


def test_a_network_must_take_a_number_of_classes():
    def fixed(width: int = 4):
        return Tiny(10, width)

    with pytest.raises(ModelError, match="fixed: needs a parameter num_classes"):
        register(fixed)


@pytest.mark.parametrize("name", FORMER)
def test_a_name_of_version_0_1_is_refused_with_its_replacement(name):
    with pytest.raises(ModelError, match=f"{name}: no longer a separate network; use ") as error:
        create_model(name)
    words = str(error.value).partition("; use ")[2]
    network, _, options = words.partition(" with model.options: ")
    small = {"input_size": 67 if network == "alexnet" else 32, "hidden": [8]}
    create_model(network, **yaml.safe_load(options), **small)
