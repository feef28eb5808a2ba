"""The networks: their published sizes, what goes in and comes out, how they start and how they freeze."""

from __future__ import annotations

import copy
import math
import re

import numpy as np
import paddle
import pytest

from paddlecnn.errors import ModelError
from paddlecnn.models import LocalResponseNorm, create_model, freeze
from paddlecnn.models.registry import NETWORKS
from paddlecnn.models.summary import count_parameters

PUBLISHED = {
    "alexnet": 62_378_344,
    "alexnet_lrn": 62_378_344,
    "alexnet_two_tower": 60_965_224,
    "alexnet_caffe": 60_965_224,
    "caffenet": 60_965_224,
    "alexnet_owt": 61_100_840,
    "alexnet_cifar": 21_622_154,
    "alexnet_cifar_lrn": 21_622_154,
    "alexnet_owt_cifar": 28_733_258,
    "alexnet_cifar100_k11s2": 8_674_788,
    "vgg11": 132_863_336,
    "vgg11_lrn": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16_c": 133_638_952,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840,
    "vgg13_bn": 133_053_736,
    "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
}
WITH_OPTIONS = [
    ("alexnet", {"norm": "batch"}, 62_381_096),
    ("vgg11_lrn", {"batch_norm": True}, 132_868_840),
    ("vgg11_cifar", {"depth": "C"}, 10_526_538),
]
SMALL = {"hidden": [16, 16]}  # a small classifier: the features are what is tested


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(name):
    with paddle.LazyGuard():
        network = create_model(name)
    assert count_parameters(network) == PUBLISHED[name]


@pytest.mark.parametrize(("name", "options", "parameters"), WITH_OPTIONS)
def test_unpublished_combinations_are_options(name, options, parameters):
    with paddle.LazyGuard():
        assert count_parameters(create_model(name, **options)) == parameters


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_numbers_of_a_published_network_pass_the_checks_of_options(name):
    with paddle.LazyGuard():
        assert create_model(name, **vars(NETWORKS[name].variant.config)).name == name


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("alexnet_lrn", 227, [256, 6, 6]),
        ("alexnet_two_tower", 227, [256, 6, 6]),
        ("caffenet", 227, [256, 6, 6]),
        ("alexnet_owt", 224, [256, 6, 6]),
        ("alexnet", 64, None),
        ("alexnet_lrn", 67, [256, 1, 1]),
        ("alexnet_cifar", 32, [256, 1, 1]),
        ("alexnet_cifar", 64, [256, 1, 1]),
        ("alexnet_cifar_lrn", 32, [256, 1, 1]),
        ("alexnet_owt_cifar", 32, [256, 3, 3]),
        ("alexnet_tf_cifar", 32, [256, 1, 1]),
        ("alexnet_cifar100_k11s2", 32, [256, 1, 1]),
        ("vgg11", 224, [512, 7, 7]),
        ("vgg11_lrn", 64, [512, 2, 2]),
        ("vgg13", 227, [512, 7, 7]),
        ("vgg16_c", 64, [512, 2, 2]),
        ("vgg16_cifar", 32, [512, 1, 1]),
        ("vgg19_bn_cifar", 32, [512, 1, 1]),
        ("lenet5", 32, [16, 5, 5]),
        ("simple_cnn", 28, [50, 4, 4]),
    ],
)
def test_forward_shapes(name, size, shape):
    options = {} if name in ("lenet5", "simple_cnn") else SMALL
    if shape is None:
        with pytest.raises(ModelError, match="too small"):
            create_model(name, num_classes=7, input_size=size, **options)
        return
    network = create_model(name, num_classes=7, input_size=size, **options)
    network.eval()
    image = paddle.randn([1, 3, size, size])
    assert network.feature_shape == shape
    assert list(network.features(image).shape) == [1, *shape]
    assert list(network(image).shape) == [1, 7]


def test_the_two_towers_do_not_see_each_other():
    network = create_model("alexnet_two_tower", num_classes=2, **SMALL)
    conv2 = network.features.conv2
    x = paddle.randn([1, 96, 27, 27])
    changed = x.clone()
    changed[:, 48:] = 0.0
    before, after = conv2(x).numpy(), conv2(changed).numpy()
    np.testing.assert_array_equal(before[:, :128], after[:, :128])
    assert np.abs(before[:, 128:] - after[:, 128:]).max() > 0.1


def names(network):
    return [name for name, _ in network.features.named_children()]


def test_normalisation_is_where_the_paper_and_caffe_have_it():
    paper, caffe = (names(create_model(name, **SMALL)) for name in ("alexnet_lrn", "caffenet"))
    assert paper[:8] == ["conv1", "relu1", "norm1", "pool1", "conv2", "relu2", "norm2", "pool2"]
    assert caffe[:4] == ["conv1", "relu1", "pool1", "norm1"]
    assert names(create_model("vgg11_lrn", input_size=32, **SMALL))[:4] == ["conv1_1", "relu1_1", "lrn1_1", "pool1"]
    layer = create_model("alexnet_caffe", **SMALL).features.norm1
    assert (layer.alpha, layer.k) == (2e-5, 1.0)
    assert isinstance(create_model("alexnet", norm="lrn", **SMALL).features.norm2, LocalResponseNorm)


def test_a_map_of_one_pixel_is_not_pooled():
    assert "pool5" not in names(create_model("alexnet_cifar"))
    assert "pool5" in names(create_model("alexnet_cifar", input_size=64))


def test_tensorflows_same_padding_is_uneven():
    assert create_model("alexnet_tf_cifar", **SMALL).features.conv1.window.padding == (3, 4)
    assert create_model("alexnet_cifar100_k11s2", **SMALL).features.conv1.window.padding == (4, 5)


def test_the_papers_initialisation():
    network = create_model("alexnet_lrn", init="paper", hidden=[64, 64])
    ones = {
        name
        for name, parameter in network.named_parameters()
        if name.endswith("bias") and (parameter.numpy() == 1).all()
    }
    zeros = {
        name
        for name, parameter in network.named_parameters()
        if name.endswith("bias") and (parameter.numpy() == 0).all()
    }
    assert ones == {
        "features.conv2.bias",
        "features.conv4.bias",
        "features.conv5.bias",
        "classifier.fc6.bias",
        "classifier.fc7.bias",
    }
    assert zeros == {"features.conv1.bias", "features.conv3.bias", "classifier.fc8.bias"}
    for name, parameter in network.named_parameters():
        if name.endswith("weight"):
            assert parameter.numpy().std() == pytest.approx(0.01, rel=0.05), name


@pytest.mark.parametrize(("init", "lowest", "highest"), [("he", 0.3, 3.0), ("glorot", 1e-4, 0.3)])
def test_a_deep_network_keeps_its_signal_at_the_start(init, lowest, highest):
    """He keeps the scale through 16 layers; Glorot lets it fall by sqrt(2) per layer; N(0, 0.01) would leave 1e-12."""
    paddle.seed(0)
    network = create_model("vgg19_cifar", init=init)
    network.eval()
    last = network.features(paddle.randn([4, 3, 32, 32]))
    assert lowest < last.square().mean().sqrt().item() < highest


@pytest.mark.parametrize("name", ["alexnet_cifar_lrn", "alexnet_owt_cifar", "lenet5"])
def test_a_fresh_network_is_undecided(name):
    paddle.seed(0)
    network = create_model(name)
    loss = paddle.nn.functional.cross_entropy(network(paddle.randn([16, 3, 32, 32])), paddle.arange(16) % 10)
    assert loss.item() == pytest.approx(math.log(10), abs=0.7)


def test_training_is_repeatable_from_its_seeds():
    def weights():
        paddle.seed(1)
        network = create_model("alexnet_cifar_lrn", widths=[8, 8, 8, 8, 8], **SMALL)
        optimizer = paddle.optimizer.Momentum(0.05, parameters=network.parameters())
        for step in range(3):
            paddle.seed(step)
            images = paddle.to_tensor(np.random.default_rng(step).standard_normal((8, 3, 32, 32)).astype("float32"))
            paddle.nn.functional.cross_entropy(network(images), paddle.arange(8)).backward()
            optimizer.step()
            optimizer.clear_grad()
        return b"".join(parameter.numpy().tobytes() for parameter in network.parameters())

    assert weights() == weights()


def test_frozen_features_stay_as_they_are_in_training():
    network = create_model("vgg11_bn_cifar", num_classes=3)
    freeze(network, "features")
    network.train()
    before = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    optimizer = paddle.optimizer.Momentum(0.1, parameters=network.parameters(), weight_decay=0.1)
    paddle.nn.functional.cross_entropy(network(paddle.randn([4, 3, 32, 32])), paddle.to_tensor([0, 1, 2, 0])).backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if (value.numpy() != before[name]).any()}
    assert changed == {name for name in before if name.startswith("classifier.")}
    assert network.classifier.training
    assert not network.features.training


def test_a_copy_of_a_frozen_network_trains_itself_and_not_the_original():
    network = create_model("vgg11_bn_cifar", num_classes=3)
    freeze(network, "pool2")
    copied = copy.deepcopy(network)
    for one in (network, copied):
        one.eval()
    copied.train()
    assert not network.training
    assert not network.features.norm5_1.training
    assert copied.training
    assert copied.features.norm5_1.training
    assert copied.classifier.drop6.training
    assert not copied.features.norm1_1.training


def test_map_statistics_are_mean_maximum_and_mean_root_of_each_map():
    network = create_model("vgg11", input_size=64, pooled=True, hidden=[])
    maps = np.random.default_rng(0).random((3, 512, 4)).astype("float32")
    expected = np.concatenate([maps.mean(2), maps.max(2), np.sqrt(maps).mean(2)], axis=1)
    found = network.classifier.pool(paddle.to_tensor(maps.reshape(3, -1)))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert network.classifier.fc6.weight.shape == [3 * 512, 1000]


def test_features_that_are_not_frozen_learn_statistics():
    network = create_model("vgg11_bn_cifar", num_classes=3)
    before = network.features.norm1_1._mean.numpy().copy()
    network(paddle.randn([4, 3, 32, 32]) + 1.0)
    assert (network.features.norm1_1._mean.numpy() != before).any()


@pytest.mark.parametrize("shape", [[2, 3, 28, 28], [2, 1, 32, 32], [3, 32, 32]])
def test_images_of_another_shape_are_refused_by_name(shape):
    with pytest.raises(ModelError, match=re.escape("takes images [N, 3, 32, 32]")):
        create_model("lenet5")(paddle.zeros(shape))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("alexnet_cifar_lrn", {}),
        ("alexnet_tf_cifar", {}),
        ("vgg11_bn_cifar", {}),
        ("alexnet", {"pooled": True, "input_size": 95}),
    ],
)
def test_in_a_graph_a_network_is_the_same_function_for_any_batch(tmp_path, name, options):
    network = create_model(name, hidden=[16], **options)
    network.eval()
    side = network.input_size
    spec = [paddle.static.InputSpec([None, 3, side, side], "float32", "images")]
    paddle.jit.save(paddle.jit.to_static(network, input_spec=spec, full_graph=True), str(tmp_path / "network"))
    loaded = paddle.jit.load(str(tmp_path / "network"))
    for count in (1, 3):
        images = paddle.randn([count, 3, side, side])
        np.testing.assert_allclose(loaded(images).numpy(), network(images).numpy(), atol=1e-5)
