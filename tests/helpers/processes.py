"""A training in a process of its own, for tests that kill it or send it a signal."""

from __future__ import annotations

from collections.abc import Mapping

from helpers.docs import ROOT
from helpers.forked import ForkedScript


def training(*arguments: object, env: Mapping[str, str] | None = None) -> ForkedScript:
    """Start `tools/train.py` with these arguments; its stdout has both streams."""
    return ForkedScript(ROOT / "tools" / "train.py", *arguments, env=env)
