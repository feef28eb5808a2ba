"""The engine's tests need a PaddlePaddle that carries oneDNN, and fail where the engine falls back in silence."""

from __future__ import annotations

import pytest

from paddlecnn import onednn


@pytest.fixture(autouse=True)
def _needs_onednn():
    if not onednn.available():
        pytest.skip("this PaddlePaddle carries no oneDNN 3.6 or newer")


@pytest.fixture
def bfloat16() -> str:
    if not onednn.available("bfloat16"):
        pytest.skip("this CPU has no instructions for bfloat16")
    return "bfloat16"
