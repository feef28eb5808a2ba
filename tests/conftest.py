"""What every test may use: the tools, run as `python tools/NAME.py` would run them."""
from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from paddlecnn import cli

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def tool() -> Callable[..., int]:
    """`tool("train", "-c", "x.yaml")` runs tools/train.py in this process and returns its exit code."""

    def call(name: str, *arguments: object) -> int:
        spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        with pytest.raises(SystemExit) as leaving:
            cli.run(lambda: module.main([str(argument) for argument in arguments]))
        return leaving.value.code

    return call


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real data, or a skip that says how to give it."""
    folder = os.environ.get("PADDLECNN_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("PADDLECNN_REAL_DATA does not point at a folder with the real data")
    return Path(folder)


@pytest.fixture
def python() -> str:
    """The interpreter that runs the tests, for tests that need a process of its own."""
    return sys.executable
