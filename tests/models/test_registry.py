"""Networks by name, and what is said about a wrong one."""
from __future__ import annotations

import pytest

from paddlecnn.errors import ModelError
from paddlecnn.models import create_model, list_models
from paddlecnn.models.alexnet import AlexNet, alexnet_cifar


def test_names_match_a_glob():
    assert list_models("lenet*") == ["lenet5"]
    assert set(list_models("vgg1?")) == {"vgg11", "vgg13", "vgg16", "vgg19"}
    assert list_models("resnet*") == []
    assert {f"vgg{net}{bn}{size}" for net in ("11", "11_lrn", "13", "16_c", "16", "19") for bn in ("", "_bn")
            for size in ("", "_cifar")} == set(list_models("vgg*"))


@pytest.mark.parametrize(("name", "near"), [("vgg-16", "vgg16"), ("VGG16", "vgg16"), ("alexnt", "alexnet"),
                                            ("alexnet_cifar_ln", "alexnet_cifar_lrn")])
def test_an_unknown_name_gets_the_nearest(name, near):
    with pytest.raises(ModelError, match=f"{name}: no such model; did you mean .*{near}"):
        create_model(name)


def test_a_name_like_no_other_gets_the_list():
    with pytest.raises(ModelError, match=r"summary\.py --list"):
        create_model("inception")


@pytest.mark.parametrize(("options", "message"), [
    ({"droput": 0.3}, "unknown option droput; did you mean dropout"),
    ({"zzz": 1}, "unknown option zzz; it takes .*widths"),
    ({"dropout": 1.0}, "option dropout: input should be less than 1, not 1.0"),
    ({"dropout": "much"}, "option dropout: .*not 'much'"),
    ({"norm": "layer"}, "option norm: input should be 'none', 'lrn' or 'batch', not 'layer'"),
    ({"groups": 3}, "option groups: input should be 1 or 2"),
    ({"widths": [8, 8]}, "option widths"),
    ({"num_classes": 0}, "option num_classes: input should be greater than 0"),
    ({"input_size": -1}, "option input_size"),
    ({"input_size": 8}, "input_size is too small"),
])
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(ModelError, match=message):
        create_model("alexnet_cifar", **options)


def test_vgg_takes_32_pixels_and_more():
    with pytest.raises(ModelError, match="vgg16: option input_size: input should be greater than or equal to 32"):
        create_model("vgg16", input_size=31)


def test_a_factory_called_by_itself_checks_too():
    network = alexnet_cifar(4, hidden=[8])
    assert isinstance(network, AlexNet)
    assert (network.name, network.num_classes) == ("alexnet_cifar", 4)
    with pytest.raises(ModelError, match="did you mean dropout"):
        alexnet_cifar(drop=0.1)


def test_without_a_number_of_classes_it_is_that_of_the_published_data():
    assert create_model("lenet5").num_classes == 10
    assert create_model("alexnet_cifar100_k11s2", hidden=[8]).num_classes == 100
