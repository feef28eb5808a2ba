"""A run that several test files begin with."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def whole(tool, tiny, tmp_path) -> Path:
    """A finished run."""
    run = tmp_path / "whole"
    assert tool("train", "-c", tiny, "--run", run) == 0
    return run
