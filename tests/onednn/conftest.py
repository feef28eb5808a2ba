"""The engine's tests need a PaddlePaddle that contains oneDNN, and fail if the engine falls back silently."""

from __future__ import annotations

import pytest

from paddlecnn import onednn


@pytest.fixture(autouse=True)
def _needs_onednn():
    if not onednn.available():
        pytest.skip("this PaddlePaddle contains no oneDNN 3.6 or newer")


@pytest.fixture
def bfloat16() -> str:
    if not onednn.available("bfloat16"):
        pytest.skip("this CPU has no instructions for bfloat16")
    return "bfloat16"
