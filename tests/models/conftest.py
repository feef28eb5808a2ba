"""Another implementation of the networks, to hold ours against."""
from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def load(name: str) -> ModuleType:
    """The module beside this one; tests are no package, so it is loaded by its path."""
    spec = importlib.util.spec_from_file_location(f"models_test_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The networks in plain NumPy."""
    return load("reference")


@pytest.fixture(scope="session")
def writers() -> ModuleType:
    """Weight files as other libraries write them."""
    return load("writers")
