"""Where the engine cannot run, Paddle does, with one line that says why; and no reference kernel ever runs."""

from __future__ import annotations

import paddle
import pytest
from paddle import nn

from helpers.onednn_scripts import run_script
from helpers.onednn_stacks import distance
from paddlecnn import onednn


def test_without_the_library_the_engine_is_unavailable_with_a_reason(tmp_path):
    said = run_script(
        """
print(onednn.available())
try:
    onednn.accelerate(nn.Sequential(nn.Conv2D(3, 4, 3)))
except onednn.Unavailable as error:
    print(error)
""",
        PADDLECNN_ONEDNN_LIBRARY=str(tmp_path / "libdnnl.so.3"),
    )
    assert said.splitlines()[0] == "False"
    assert "does not exist" in said.splitlines()[1]


def test_another_library_is_refused(tmp_path):
    said = run_script(
        """
try:
    onednn.require("float32")
except onednn.Unavailable as error:
    print(error)
""",
        PADDLECNN_ONEDNN_LIBRARY=__file__,
    )
    assert "cannot be loaded" in said


def test_bfloat16_is_refused_without_its_instructions():
    said = run_script(
        """
try:
    onednn.require("bfloat16")
except onednn.Unavailable as error:
    print(error)
""",
        ONEDNN_MAX_CPU_ISA="AVX2",
    )
    assert "AVX512-BF16 or AMX" in said


def test_float64_is_left_to_paddle_with_one_line():
    said = run_script("""
network = onednn.accelerate(nn.Sequential(nn.Conv2D(3, 4, 3))).to(dtype="float64")
for _ in range(3):
    print(network(paddle.randn([1, 3, 8, 8]).astype("float64")).dtype)
""")
    assert said.count("paddle.float64") == 3
    assert said.count("engine: Paddle runs the layers, not oneDNN: the input is float64") == 1


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_parameters_that_became_another_type_are_left_to_paddle(dtype, caplog):
    """Paddle refuses them with a float32 input; read as float32, they would be any numbers."""
    network, x = onednn.accelerate(nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4))), paddle.randn([2, 3, 8, 8])
    network.eval()
    network(x)
    network.to(dtype=dtype)
    with pytest.raises(ValueError, match="dtype"):
        network(x)
    assert f"layer 0 (Conv2D), not oneDNN: its parameters are {dtype}, not float32" in caplog.text


def test_a_static_graph_is_left_to_paddle(tmp_path):
    network = nn.Sequential(nn.Conv2D(3, 4, 3), nn.ReLU())
    network.eval()
    x = paddle.randn([1, 3, 8, 8])
    expected = network(x)
    onednn.accelerate(network)
    specification = [paddle.static.InputSpec([None, 3, 8, 8], "float32")]
    paddle.jit.save(paddle.jit.to_static(network, input_spec=specification, full_graph=True), str(tmp_path / "graph"))
    assert distance(paddle.jit.load(str(tmp_path / "graph"))(x), expected) < 1e-5


EVERYTHING = """
from helpers.onednn_stacks import random_stack
from paddlecnn.benchmarks.paddle_worker import build
from paddlecnn.benchmarks.workloads import TRAINING

inputs = [(build(w, plain=False), paddle.randn([4, 3, w.size, w.size])) for w in TRAINING.values()]
inputs += [random_stack(seed) for seed in range(12)]
for precision in ("float32", "bfloat16"):
    if onednn.available(precision):
        for network, x in inputs:
            onednn.accelerate(network, precision)(x).sum().backward()
            with paddle.no_grad():
                network.eval()
                network(x)
                network.train()
"""


@pytest.mark.parametrize("instructions", ["", "AVX2"])
def test_no_reference_implementation_runs(instructions):
    """The measured networks and random chains, training and evaluation. oneDNN itself names what it executes; its
    reference kernels are up to 50 times slower than the others."""
    said = run_script(EVERYTHING, ONEDNN_MAX_CPU_ISA=instructions, ONEDNN_VERBOSE="1")
    executed = [line.split(",") for line in said.splitlines() if ",primitive,exec," in line]
    implementations = {(primitive, implementation) for *_, primitive, implementation in (row[:7] for row in executed)}
    assert {"convolution", "batch_normalization", "pooling", "lrn", "eltwise", "matmul"} <= {
        p for p, _ in implementations
    }
    assert not [pair for pair in implementations if "ref" in pair[1]]
