"""Scripts with the engine in a Python process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def environment(**changes: str) -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    # scikit-learn sets this for the children of its process: with it, OpenMP's threads do not survive a fork.
    inherited = {name: value for name, value in os.environ.items() if name != "KMP_INIT_AT_FORK"}
    return inherited | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths} | changes


FALLBACK = """
import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(message)s")
import paddle
from paddle import nn
from paddlecnn import onednn
"""


def run_script(text: str, **changes: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FALLBACK + text],
        capture_output=True,
        text=True,
        env=environment(**changes),
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-800:]
    return done.stdout
