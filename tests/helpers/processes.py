"""A training in a process of its own, for tests that kill it or send it a signal."""

from __future__ import annotations

import subprocess
import sys

from helpers.docs import ROOT


def training(*arguments: object) -> subprocess.Popen[str]:
    """Start `tools/train.py` with these arguments; its stdout has both streams."""
    command = [sys.executable, ROOT / "tools" / "train.py", *arguments]
    return subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
