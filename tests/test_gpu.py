"""Whether a GPU can be used, decided from records of machines, and on the machine of this test."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import paddle
import pytest

from paddlecnn import gpu, runtime
from paddlecnn.errors import DeviceError
from paddlecnn.gpu import Card, GpuFacts

# Kaggle's machine with two T4 and a driver for CUDA 12.6, and PaddlePaddle 3.3 for CUDA 12.6.
T4 = Card("Tesla T4", 75)
KAGGLE = GpuFacts(
    packages=("paddlepaddle-gpu",),
    paddle="3.3.0",
    cuda="12.6",
    code=(70, 75, 80, 86, 89, 90),
    cards=(T4, T4),
    driver="560.35.03",
    usable=2,
    visible=None,
)
PUBLIC_INDEX = replace(KAGGLE, paddle="2.6.2", cuda="11.8", code=gpu.CODE_OF_2_6)
NONE_SEEN = replace(KAGGLE, usable=0)
CPU_BUILD = replace(KAGGLE, packages=("paddlepaddle",), cuda=None, code=(), usable=0)


def one_card(facts: GpuFacts, name: str, capability: int) -> GpuFacts:
    return replace(facts, cards=(Card(name, capability),), usable=min(facts.usable, 1))


@pytest.mark.parametrize(
    ("facts", "number"),
    [
        (KAGGLE, 0),
        (KAGGLE, 1),
        (PUBLIC_INDEX, 0),
        (one_card(PUBLIC_INDEX, "NVIDIA L4", 89), 0),  # runs the code for sm_86: the same major version
        (replace(KAGGLE, code=()), 0),
    ],
    ids=["T4", "the second T4", "2.6.2", "minor version", "code unknown"],
)
def test_a_card_with_code_and_driver_is_accepted(facts, number):
    assert gpu.gpu_problem(facts, number) is None


@pytest.mark.parametrize(
    ("facts", "number", "words"),
    [
        (
            CPU_BUILD,
            0,
            ["3.3.0 (CPU build) computes on the CPU only", "Tesla T4 (sm_75)", "GPU=1 CUDA=cu126 make install"],
        ),
        (KAGGLE, 2, ["2 usable GPU(s)", "Tesla T4 (sm_75)", "--device cpu"]),
        (
            one_card(PUBLIC_INDEX, "NVIDIA H100 80GB HBM3", 90),
            0,
            ["2.6.2 (CUDA 11.8) has no code for NVIDIA H100 80GB HBM3 (sm_90)", "sm_86", "CUDA=cu126"],
        ),
        (one_card(PUBLIC_INDEX, "Tesla P100-PCIE-16GB", 60), 0, ["no code for Tesla P100-PCIE-16GB (sm_60)"]),
        (one_card(KAGGLE, "NVIDIA GeForce RTX 5090", 120), 0, ["(sm_120)", "CUDA=cu129"]),
        (
            replace(NONE_SEEN, driver=None, cards=()),
            0,
            ["3.3.0 (CUDA 12.6) sees no GPU", "no NVIDIA driver", "--gpus all"],
        ),
        (
            replace(NONE_SEEN, driver="535.104.05"),
            0,
            ["driver 535.104.05 of Tesla T4 (sm_75) is older than 550.54", "CUDA 12.6", "CUDA=cu118"],
        ),
        (replace(NONE_SEEN, cuda="13.0", driver="570.86.10"), 0, ["older than 580", "CUDA 13.0"]),
        (replace(NONE_SEEN, visible=""), 0, ["CUDA_VISIBLE_DEVICES is ''", "Tesla T4 (sm_75)"]),
        (NONE_SEEN, 0, ["driver 560.35.03 lists Tesla T4 (sm_75)", "cannot open", "/dev/nvidia"]),
    ],
    ids=[
        "CPU build",
        "number",
        "H100 with 2.6.2",
        "P100 with 2.6.2",
        "RTX 50",
        "no driver",
        "old driver",
        "CUDA 13",
        "hidden",
        "cannot open",
    ],
)
def test_a_card_that_cannot_be_used_is_one_line_with_versions_and_remedy(facts, number, words):
    problem = gpu.gpu_problem(facts, number)
    assert problem is not None
    assert "\n" not in problem
    for word in words:
        assert word in problem


def test_a_wrong_computation_names_card_build_and_driver():
    line = gpu.wrong_result(PUBLIC_INDEX, 1, "gives a wrong result")
    for word in ("GPU 1, Tesla T4 (sm_75)", "2.6.2 (CUDA 11.8)", "560.35.03", "wrong result", "make install"):
        assert word in line


class Wrong(ModuleType):
    """Paddle with the matrix product of a card that its build has no code for: one number is wrong, or an error."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__("paddle")
        self.error = error

    def __getattr__(self, name: str):
        return getattr(paddle, name)

    def matmul(self, a: paddle.Tensor, b: paddle.Tensor) -> paddle.Tensor:
        if self.error:
            raise self.error
        product = paddle.matmul(a, b)
        product[3, 4] += 1
        return product


def test_a_small_computation_finds_wrong_results_and_errors():
    assert runtime.faulty_arithmetic(paddle) is None
    assert runtime.faulty_arithmetic(Wrong()) == "gives a wrong result"
    missing = OSError("(External) CUDA error(209), no kernel image is available for execution on the device.")
    assert runtime.faulty_arithmetic(Wrong(missing)) == f"fails ({missing})"


@pytest.mark.parametrize(
    ("precision", "card", "accepted"),
    [
        ("float32", Card("Tesla P100-PCIE-16GB", 60), True),
        ("float16", Card("Tesla P100-PCIE-16GB", 60), False),
        ("float16", T4, True),
        ("bfloat16", T4, False),
        ("bfloat16", Card("NVIDIA A100-SXM4-40GB", 80), True),
    ],
)
def test_precision_by_card(precision, card, accepted):
    problem = gpu.precision_problem(precision, card)
    assert (problem is None) == accepted
    if problem:
        assert card.name in problem
        assert f"sm_{card.capability}" in problem


def test_the_driver_table_of_nvidia_smi():
    assert gpu.parse_nvidia_smi("Tesla T4, 560.35.03, 7.5\nTesla T4, 560.35.03, 7.5\n") == ((T4, T4), "560.35.03")
    assert gpu.parse_nvidia_smi("NVIDIA GeForce RTX 5090, 570.86.10, 12.0\n")[0][0].capability == 120
    assert gpu.parse_nvidia_smi("Tesla K80, 470.57.02\n") == ((Card("Tesla K80", None),), "470.57.02")
    assert gpu.parse_nvidia_smi("No devices were found\n") == ((), None)


def test_both_builds_at_once_are_refused():
    assert gpu.two_builds(gpu.BUILDS) is not None
    assert gpu.two_builds(("paddlepaddle-gpu",)) is None


@pytest.mark.parametrize("wanted", ["cuda", "gpu:x", "npu", ""])
def test_an_unknown_device_is_refused(wanted):
    with pytest.raises(DeviceError, match="use auto, cpu, gpu or gpu:N"):
        runtime.choose_device(wanted)


@pytest.mark.skipif(paddle.device.is_compiled_with_cuda(), reason="this PaddlePaddle is a GPU build")
def test_a_gpu_is_never_replaced_by_the_cpu():
    assert runtime.choose_device("auto") == runtime.choose_device("cpu") == "cpu"
    with pytest.raises(DeviceError, match=r"--device gpu:1: PaddlePaddle .* \(CPU build\).*make install"):
        runtime.choose_device("gpu:1")


@pytest.mark.gpu
@pytest.mark.skipif(
    not paddle.device.is_compiled_with_cuda() or not paddle.device.cuda.device_count(),
    reason="no GPU that this PaddlePaddle can use",
)
def test_the_gpu_of_this_machine_is_chosen_and_computes():
    assert runtime.choose_device("auto") == "gpu:0"
    assert runtime.numeric_modes("gpu:0")["cudnn_deterministic"]
