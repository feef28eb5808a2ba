"""Summaries as text: one network, two side by side, small kernels against large ones, and docs/models.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import SequenceMatcher

from paddlecnn.field_comments import field_comments
from paddlecnn.models.registry import NETWORKS, default_options
from paddlecnn.models.summary import LayerCost, Summary, summarize_by_name
from paddlecnn.text_tables import text_table


def short(number: float) -> str:
    """1135256096 as 1.14 G."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= limit:
            return f"{number / limit:.2f}{unit}" if number < 10 * limit else f"{number / limit:.1f}{unit}"
    return str(number)


def percent(part: float, whole: float) -> str:
    """A share as `95.0 %`; empty for 0."""
    return f"{100 * part / whole:.1f} %" if part else ""


def sides(shape: Sequence[int]) -> str:
    """[96, 55, 55] as 96x55x55."""
    return "x".join(map(str, shape))


def layer_table(summary: Summary) -> str:
    """The network layer by layer, then the shares of its convolutions and its fully connected layers."""
    rows = [["layer", "kind", "output", "kernel", "sees", "parameters", "", "multiply-adds", ""]]
    for layer in summary.layers:
        cells = [layer.name, layer.kind, sides(layer.output_shape), layer.kernel, str(layer.receptive_field)]
        for part, whole in ((layer.parameters, summary.parameters), (layer.multiply_adds, summary.multiply_adds)):
            cells += [f"{part:,}" if part else "", percent(part, whole)]
        rows.append(cells)
    rows.append(["total", "", "", "", "", f"{summary.parameters:,}", "", f"{summary.multiply_adds:,}", ""])
    title = f"{summary.model} on 3x{summary.input_size}x{summary.input_size}"
    return "\n\n".join([title, text_table(rows, left=2), shares(summary), memory(summary)])


def shares(summary: Summary) -> str:
    """`convolutions: 6.0 % of the parameters, 94.6 % of the multiply-adds`, and the same for fully connected layers."""
    lines = []
    for kind, name in (("Conv", "convolutions"), ("Linear", "fully connected layers")):
        parameters, work = summary.share(kind)
        lines.append(f"{name}: {100 * parameters:.1f} % of the parameters, {100 * work:.1f} % of the multiply-adds")
    return "\n".join(lines)


def memory(summary: Summary, batch_size: int = 128) -> str:
    """The memory of weights and of a training step with momentum."""
    mebibyte = 2**20
    return (
        f"weights: {4 * summary.parameters / mebibyte:,.0f} MiB; activations: "
        f"{summary.activation_bytes / mebibyte:.1f} MiB per image; a training step with momentum, about: "
        f"{summary.training_bytes(1) / mebibyte:,.0f} MiB for 1 image, "
        f"{summary.training_bytes(batch_size) / mebibyte:,.0f} MiB for {batch_size}"
    )


def comparison(left: Summary, right: Summary) -> str:
    """Two networks side by side: totals, then all layers of both."""
    rows = [["", left.model, right.model, "right / left"]]
    for name, *values in (
        ("parameters", left.parameters, right.parameters),
        ("multiply-adds", left.multiply_adds, right.multiply_adds),
        ("activation bytes per image", left.activation_bytes, right.activation_bytes),
    ):
        rows.append([name, *(f"{value:,}" for value in values), f"{values[1] / values[0]:.2f}"])
    for kind, name in (("Conv", "convolutions"), ("Linear", "fully connected")):
        for index, what in enumerate(("parameters", "multiply-adds")):
            rows.append(
                [f"{name}: share of {what}", *(f"{100 * s.share(kind)[index]:.1f} %" for s in (left, right)), ""]
            )
    header = ["layer", "kind", "kernel", "output", "parameters", "multiply-adds"]
    pairs = [[*half_row(one), " | ", *half_row(two)] for one, two in paired_layers(left.layers, right.layers)]
    return f"{text_table(rows)}\n\n{text_table([[*header, ' | ', *header], *pairs], left=13)}"


def paired_layers(left: list[LayerCost], right: list[LayerCost]) -> list[tuple[LayerCost | None, LayerCost | None]]:
    """All layers of both networks in order; the longest common sequences of kinds are aligned."""
    kinds_left, kinds_right = ([layer.kind for layer in layers] for layers in (left, right))
    pairs: list[tuple[LayerCost | None, LayerCost | None]] = []
    for tag, a, b, c, d in SequenceMatcher(None, kinds_left, kinds_right, autojunk=False).get_opcodes():
        if tag == "equal":
            pairs += zip(left[a:b], right[c:d], strict=True)
        else:
            pairs += [(layer, None) for layer in left[a:b]] + [(None, layer) for layer in right[c:d]]
    return pairs


def half_row(layer: LayerCost | None) -> list[str]:
    """One layer's half of a row in a comparison; empty if only the other network has a layer there."""
    if layer is None:
        return [""] * 6
    shape, work = sides(layer.output_shape), short(layer.multiply_adds)
    return [layer.name, layer.kind, layer.kernel, shape, f"{layer.parameters:,}", work]


def kernel_table(channels: int = 256, side: int = 56) -> str:
    """Stacks of 3x3 convolutions against one larger kernel with the same receptive field (VGG paper, section 2.3)."""
    rows = [["from C to C channels", "sees", "parameters", "of one large", "multiply-adds", "ReLUs"]]
    for stack, kernel in ((1, 5), (2, 3), (1, 7), (3, 3)):
        field = 1 + stack * (kernel - 1)
        weights = stack * kernel**2 * channels**2
        one = field**2 * channels**2
        parameters, work = f"{weights + stack * channels:,}", short(weights * side**2)
        name, sees = f"{stack} x {kernel}x{kernel}", f"{field}x{field}"
        rows.append([name, sees, parameters, percent(weights, one), work, str(stack)])
    return f"C = {channels} on a {side}x{side} map\n\n{text_table(rows)}"


MODELS_PAGE = """# Networks

Generated by `python tools/summary.py --markdown > docs/models.md`; a test compares it with the code. The input is the
side of the square image; the last layer has as many outputs as the data has classes, here those of the data set that
the network was published on. `python tools/summary.py NAME` shows a network layer by layer.

{table}

LRN is local response normalisation. One multiply-add is a multiplication with its addition, for the forward pass of one
image (`paddlecnn/models/summary.py` says what counts). [deviations.md](deviations.md) compares each network with its
paper.

## Options
`model.options` of a config and the keywords of `pc.create_model` change a network: `{{norm: batch}}` gives AlexNet
batch normalisation, `{{dropout: 0.3}}` another dropout. Each table below has the defaults of one network of a family;
the others of the family differ from it in what their row above names (`VARIANTS` in the family's file).

{options}"""
FAMILIES = {"AlexNet": "alexnet", "VGG": "vgg16", "`vgg_fast`": "vgg_fast", "LeNet-5 and `simple_cnn`": "lenet5"}


def options_tables() -> str:
    """For each family the options of its networks: default and meaning, the comment in the source."""
    parts = []
    for title, name in FAMILIES.items():
        config = NETWORKS[name].signature
        comments = field_comments(config)
        lines = [
            f"| `{field}` | `{json.dumps(default).strip(chr(34))}` | {comments[field]} |"
            for field, default in default_options(name).items()
        ]
        head = f"### {title}\nDefaults of `{name}`; `{config.__name__}` in `{config.__module__.replace('.', '/')}.py`."
        parts.append("\n".join([head, "", "| option | default | meaning |", "|---|---|---|", *lines]))
    return "\n\n".join(parts)


def models_page() -> str:
    """docs/models.md: input, classes, parameters, multiply-adds and source of each network; options of each family."""
    rows = ["| name | | input | classes | parameters | multiply-adds | source |", "|---|---|---|---|---|---|---|"]
    for name, network in NETWORKS.items():
        if network.variant is not None:
            summary = summarize_by_name(name)
            rows.append(
                f"| `{name}` | {network.variant.description} | {summary.input_size} | "
                f"{network.variant.config.num_classes:,} | {summary.parameters:,} | "
                f"{short(summary.multiply_adds)} | {network.variant.source} |"
            )
    return MODELS_PAGE.format(table="\n".join(rows), options=options_tables())
