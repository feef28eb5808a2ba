"""The installed PaddlePaddle, the NVIDIA cards, and whether they work together.

`gather` collects facts about this machine. Every decision is a function of such a record, and its answer is one line
that names the card's compute capability, the versions of Paddle and CUDA, and the build to install.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType

BUILDS = ("paddlepaddle", "paddlepaddle-gpu")
# The capabilities compiled into the wheel of 2.6.2 on the public package index, which that version does not report.
CODE_OF_2_6 = (61, 70, 75, 80, 86)
# The oldest NVIDIA driver by CUDA version: PaddlePaddle's installation page for 11.8 and 12.6; otherwise NVIDIA's table
# "Minor Version Compatibility" (docs.nvidia.com/deploy/cuda-compatibility), by the major version.
OLDEST_DRIVER = {"11.8": "450.80", "12.6": "550.54", "11": "450", "12": "525", "13": "580"}


@dataclass(frozen=True)
class Card:
    """An NVIDIA card: its name, and its compute capability as an integer (75 for sm_75; None if unknown)."""

    name: str
    capability: int | None

    def __str__(self) -> str:
        return f"{self.name} (sm_{self.capability or '?'})"


@dataclass(frozen=True)
class GpuFacts:
    """The facts about Paddle's build and the cards that decide whether a network can run on a GPU."""

    packages: tuple[str, ...]  # which of BUILDS are installed
    paddle: str  # version, "3.3.1"
    cuda: str | None  # version that Paddle was built with, "12.6"; None for a CPU build
    code: tuple[int, ...]  # compute capabilities that the build has code for; empty if unknown
    cards: tuple[Card, ...]  # in Paddle's order if Paddle can use them, otherwise as the driver lists them
    driver: str | None  # version, "550.54.15"; None without a working driver
    usable: int  # the number of cards that Paddle can open
    visible: str | None  # CUDA_VISIBLE_DEVICES, if set

    def build(self) -> str:
        return f"PaddlePaddle {self.paddle} ({f'CUDA {self.cuda}' if self.cuda else 'CPU build'})"


def gather(paddle: ModuleType) -> GpuFacts:
    """The facts about this machine and this Paddle; runs nvidia-smi if it is installed."""
    usable = paddle.device.cuda.device_count() if paddle.device.is_compiled_with_cuda() else 0
    cards, driver = ask_driver()
    if usable:
        cards = tuple(
            Card(paddle.device.cuda.get_device_name(n), 10 * major + minor)
            for n in range(usable)
            for major, minor in [paddle.device.cuda.get_device_capability(n)]
        )
    version = paddle.__version__
    reported = tuple(getattr(paddle.version, "compiled_cuda_archs", ()))
    return GpuFacts(
        packages=installed_builds(),
        paddle=version,
        cuda=str(paddle.version.cuda()) if paddle.device.is_compiled_with_cuda() else None,
        code=CODE_OF_2_6 if version.startswith("2.6.2") else reported,
        cards=cards,
        driver=driver,
        usable=usable,
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
    )


def installed_builds() -> tuple[str, ...]:
    """The PaddlePaddle packages that are installed: none, one or, by mistake, both."""
    return tuple(name for name in BUILDS if next(iter(metadata.distributions(name=name)), None))


def ask_driver() -> tuple[tuple[Card, ...], str | None]:
    """The cards and the driver's version, from nvidia-smi; none and None if it is absent or fails."""
    if not shutil.which("nvidia-smi"):
        return (), None
    for fields in ("name,driver_version,compute_cap", "name,driver_version"):  # older drivers lack compute_cap
        try:
            command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
            answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            continue
        return parse_nvidia_smi(answer)
    return (), None


def parse_nvidia_smi(answer: str) -> tuple[tuple[Card, ...], str | None]:
    """Cards and driver from lines such as `Tesla T4, 535.104.05, 7.5`; the last column may be absent."""
    rows = [[field.strip() for field in line.split(",")] for line in answer.splitlines() if "," in line]
    cards = tuple(
        Card(row[0], int(row[2].replace(".", "")) if re.fullmatch(r"\d+\.\d", row[-1]) and len(row) > 2 else None)
        for row in rows
    )
    return cards, rows[0][1] if rows else None


def two_builds(packages: tuple[str, ...]) -> str | None:
    """The problem if both builds are installed: they share one folder, and each overwrites the other's files."""
    if len(packages) < 2:
        return None
    return (
        "paddlepaddle and paddlepaddle-gpu are both installed and overwrite each other's files; run "
        "`pip uninstall -y paddlepaddle paddlepaddle-gpu`, then install one of them"
    )


def build_for(card: Card | None, driver: str | None) -> str:
    """PaddlePaddle's package index for a card and a driver: cu118, cu126 or cu129 (docs/gpu.md has the table)."""
    if card and card.capability and card.capability >= 100:
        return "cu129"
    if driver and version_of(driver) < version_of(OLDEST_DRIVER["12.6"]):
        return "cu118"
    return "cu126"


def remedy(facts: GpuFacts, card: Card | None = None) -> str:
    card = card or next(iter(facts.cards), None)
    return f"run `GPU=1 CUDA={build_for(card, facts.driver)} make install` (docs/gpu.md), or use --device cpu"


def gpu_problem(facts: GpuFacts, number: int = 0) -> str | None:
    """Why Paddle cannot compute on GPU `number`, in one line; None if nothing is known against it."""
    if facts.cuda is None:
        here = f", and this machine has a {facts.cards[0]}" if facts.cards else ""
        return f"{facts.build()} computes on the CPU only{here}; {remedy(facts)}"
    if not facts.usable:
        return f"{facts.build()} sees no GPU: {invisible(facts)}"
    if number >= facts.usable:
        return (
            f"this machine has {facts.usable} usable GPU(s), numbered from 0: "
            f"{', '.join(map(str, facts.cards))}; use one of those or --device cpu"
        )
    card = facts.cards[number]
    if facts.code and card.capability and not runs_on(card.capability, facts.code):
        return (
            f"{facts.build()} has no code for {card}, only for {', '.join(f'sm_{c}' for c in facts.code)}; "
            f"{remedy(facts, card)}"
        )
    return None


def invisible(facts: GpuFacts) -> str:
    """Why a GPU build sees no card, as the second half of a line."""
    if facts.driver is None:
        return (
            "no NVIDIA driver answers (nvidia-smi); install the driver, start a container with `--gpus all`, "
            "or use --device cpu"
        )
    cuda = facts.cuda or ""
    needed = OLDEST_DRIVER.get(cuda) or OLDEST_DRIVER.get(cuda.partition(".")[0])  # None if unknown
    if needed and version_of(facts.driver) < version_of(needed):
        return (
            f"driver {facts.driver} of {facts.cards[0]} is older than {needed}, which CUDA {facts.cuda} requires; "
            f"update the driver, or {remedy(facts)}"
        )
    if facts.visible is not None:
        return (
            f"CUDA_VISIBLE_DEVICES is {facts.visible!r}, and the driver lists {', '.join(map(str, facts.cards))}; "
            "unset it, or use --device cpu"
        )
    return (
        f"driver {facts.driver} lists {', '.join(map(str, facts.cards))}, but Paddle cannot open them; check the "
        f"permissions of /dev/nvidia*, or {remedy(facts)}"
    )


def version_of(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)))


def runs_on(capability: int, code: tuple[int, ...]) -> bool:
    """Whether compiled code runs on a card: the same major capability, and a minor one not above the card's.

    Source: CUDA C++ programming guide, "Binary Compatibility".
    """
    return any(capability // 10 == compiled // 10 and compiled <= capability for compiled in code)


def wrong_result(facts: GpuFacts, number: int, reason: str) -> str:
    """The line for a card on which a small computation failed or gave a wrong result."""
    card = facts.cards[number]
    return (
        f"a small computation on GPU {number}, {card}, with {facts.build()} and driver {facts.driver or 'unknown'} "
        f"{reason}; {remedy(facts, card)}"
    )


def precision_problem(precision: str, card: Card) -> str | None:
    """Why a card cannot compute in `precision`: Paddle would compute in float32 with only a warning."""
    needed = {"float16": 70, "bfloat16": 80}.get(precision, 0)
    if card.capability is None or card.capability >= needed:
        return None
    other = "float16 or float32" if precision == "bfloat16" and card.capability >= 70 else "float32"
    return f"precision {precision}: needs a GPU of sm_{needed} or newer, and this is a {card}; use {other}"
