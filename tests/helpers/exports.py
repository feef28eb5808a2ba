"""The packages of the export to ONNX."""

from __future__ import annotations

from types import ModuleType

import pytest


def require_onnx() -> tuple[ModuleType, ModuleType]:
    """paddle2onnx and onnxruntime; skips the test if one is absent or refuses the installed Paddle."""
    pytest.importorskip("onnx", reason="install .[onnx] to test the export")
    onnxruntime = pytest.importorskip("onnxruntime", reason="install .[onnx] to test the export")
    try:
        paddle2onnx = pytest.importorskip("paddle2onnx", reason="install .[onnx] to test the export")
    except ValueError as error:  # it refuses Paddle before 3.0
        pytest.skip(f"paddle2onnx: {error}")
    return paddle2onnx, onnxruntime


def require(form: str) -> None:
    """Skip the test if a form of export cannot be written here."""
    if form == "onnx":
        require_onnx()
