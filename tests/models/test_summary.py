"""Costs: against counts made by hand, by hooks on a real forward pass, and through the tool."""

from __future__ import annotations

import json
from pathlib import Path

import paddle
import pytest

from paddlecnn.errors import ModelError
from paddlecnn.models import create_model, list_models
from paddlecnn.models.registry import is_published
from paddlecnn.models.summary import summarize, summarize_by_name


def test_alexnets_convolutions_hold_6_percent_of_parameters_and_do_95_of_the_work():
    parameters, work = summarize_by_name("alexnet").share("Conv")
    assert round(100 * parameters) == 6
    assert round(100 * work) == 95


def test_multiply_adds_by_hand():
    costs = {layer.name: layer for layer in summarize_by_name("alexnet_two_tower").layers}
    assert costs["conv1"].multiply_adds == 96 * 55 * 55 * 11 * 11 * 3
    assert costs["conv2"].multiply_adds == 256 * 27 * 27 * 5 * 5 * 48  # two groups: half the input channels
    assert costs["norm1"].multiply_adds == 96 * 55 * 55 * (5 + 2)
    assert costs["pool1"].multiply_adds == 96 * 27 * 27 * 3 * 3
    assert costs["relu1"].multiply_adds == 96 * 55 * 55
    assert costs["fc6"].multiply_adds == 256 * 6 * 6 * 4096
    assert costs["drop6"].multiply_adds == 0


def test_two_groups_halve_the_work_and_the_kernels():
    one, two = (
        {layer.name: layer for layer in summarize_by_name(name).layers} for name in ("alexnet_lrn", "alexnet_two_tower")
    )
    for name in ("conv2", "conv4", "conv5"):
        assert one[name].multiply_adds == 2 * two[name].multiply_adds


@pytest.mark.parametrize(
    "name",
    [
        "alexnet_cifar_lrn",
        "alexnet_tf_cifar",
        "alexnet_cifar100_k11s2",
        "vgg16_bn_cifar",
        "alexnet_owt_cifar",
        "lenet5",
    ],
)
def test_shapes_by_arithmetic_are_those_of_a_forward_pass(name):
    network = create_model(name)
    network.eval()
    seen = {}
    for part in (network.features, network.classifier):
        for layer_name, layer in part.named_children():
            layer.register_forward_post_hook(
                lambda _, __, output, at=layer_name: seen.update({at: list(output.shape[1:])})
            )
    network(paddle.zeros([1, 3, 32, 32]))
    assert seen == {layer.name: layer.output_shape for layer in summarize(network, 32).layers}


def test_parameters_do_not_count_running_statistics():
    network = create_model("vgg11_bn_cifar")
    trained = sum(parameter.size for parameter in network.parameters() if parameter.trainable)
    assert summarize(network).parameters == trained


def test_the_receptive_field_of_vggs_stack_is_that_of_the_large_kernel():
    costs = {layer.name: layer for layer in summarize_by_name("vgg16").layers}
    assert [costs[name].receptive_field for name in ("conv1_1", "conv1_2", "pool1", "conv2_1")] == [3, 5, 6, 10]
    assert costs["fc6"].receptive_field == 224


def test_memory_grows_with_the_batch_by_activations():
    summary = summarize_by_name("alexnet_cifar")
    assert summary.training_bytes(2) - summary.training_bytes(1) > summary.activation_bytes
    assert summary.training_bytes(1, slots=2) - summary.training_bytes(1) == 4 * summary.parameters


def test_another_input_size_needs_another_network():
    with pytest.raises(ModelError, match="input_size=64"):
        summarize(create_model("lenet5"), 64)


def test_the_tool_prints_the_keys_it_promises(tool, capsys):
    assert tool("summary", "alexnet", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "alexnet"
    assert found["parameters"] == sum(layer["parameters"] for layer in found["layers"]) == 62_378_344
    assert found["multiply_adds"] == sum(layer["multiply_adds"] for layer in found["layers"])
    assert {"name", "output_shape", "parameters", "multiply_adds"} <= set(found["layers"][0])


def test_the_tool_takes_classes_and_size(tool, capsys):
    assert tool("summary", "vgg16", "--num-classes", 2, "--input-size", 64, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["layers"][-1]["output_shape"] == [2]
    assert found["layers"][0]["output_shape"] == [64, 64, 64]


def test_the_table_for_a_reader(tool, capsys):
    assert tool("summary", "alexnet") == 0
    text = capsys.readouterr().out
    assert "convolutions: 6.0 % of the parameters, 94.7 % of the multiply-adds" in text
    assert "62,378,344" in text


def test_two_side_by_side(tool, capsys):
    assert tool("summary", "--compare", "alexnet_lrn", "vgg16") == 0
    text = capsys.readouterr().out
    assert "2.22" in text  # 138 M over 62 M parameters
    assert "conv5_3" in text


def test_a_comparison_shows_every_layer_of_both_with_equal_ones_beside_each_other(tool, capsys):
    assert tool("summary", "--compare", "alexnet_cifar", "alexnet_cifar_lrn") == 0
    table = capsys.readouterr().out.split("\n\n")[1].splitlines()[1:]
    rows = [[half.split() for half in line.split("|")] for line in table]
    for side, name in enumerate(("alexnet_cifar", "alexnet_cifar_lrn")):
        assert [row[side][0] for row in rows if row[side]] == [layer.name for layer in summarize_by_name(name).layers]
    assert [row[1][:2] for row in rows if not row[0]] == [["norm1", "LRN"], ["norm2", "LRN"]]
    assert all(row[0] == row[1] for row in rows if row[0])


def test_docs_models_md_is_what_the_code_generates(tool, capsys):
    assert tool("summary", "--markdown") == 0
    found = capsys.readouterr().out
    assert (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8") == found
    assert "|  |" not in found  # every option has its meaning
    assert all(f"| `{name}` |" in found for name in list_models() if is_published(name))


def test_two_small_kernels_against_a_large_one(tool, capsys):
    assert tool("summary", "--kernels") == 0
    rows = {line.split("  ")[0]: line.split() for line in capsys.readouterr().out.splitlines() if " x " in line}
    assert rows["2 x 3x3"][3] == rows["1 x 5x5"][3] == "5x5"
    assert rows["2 x 3x3"][5:7] == ["72.0", "%"]
    assert rows["3 x 3x3"][5:7] == ["55.1", "%"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["vgg17"],
        ["alexnet", "--input-size", "8"],
        ["alexnet", "--num-classes", "0"],
        ["alexnet", "--num-classes", "9" * 400],
        ["vgg16", "--input-size", "16384"],
        ["--list", "zzz*"],
    ],
)
def test_an_impossible_request_is_one_line_and_exit_2(tool, capsys, arguments):
    assert tool("summary", *arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("arguments", [[], ["alexnet", "--kernels"]])
def test_it_wants_one_thing_at_a_time(tool, arguments, capsys):
    assert tool("summary", *arguments) == 2
    assert "give one of" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--kernels", "--markdown"])
def test_a_table_that_has_no_json_is_not_printed_as_text(tool, capsys, option):
    assert tool("summary", option, "--json") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "--json goes with the name of a model, --compare or --list" in err


def test_the_names_are_listed(tool, capsys):
    assert tool("summary", "--list", "vgg19*") == 0
    assert capsys.readouterr().out.split() == ["vgg19", "vgg19_bn", "vgg19_bn_cifar", "vgg19_cifar"]
