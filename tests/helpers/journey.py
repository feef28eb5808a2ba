"""The whole way from environment variables to a score, as a user walks it: download, train, submit, upload, wait."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
data:
  name: dogs_vs_cats
  val_fraction: {val_fraction}
  preprocess: {{size: 32, resize: 32}}
model:
  name: simple_cnn
optim: {{name: adam, lr: 0.001}}
train:
  epochs: {epochs}
  batch_size: {batch_size}
"""


def walk(environment: dict[str, str], work: Path, steps: list[list[str]]) -> list[str]:
    """Run the tools one after the other in the folder `work`; what each printed."""
    said = []
    for tool, *arguments in steps:
        done = subprocess.run(
            [sys.executable, ROOT / "tools" / f"{tool}.py", *arguments],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"tools/{tool}.py: {done.stdout}{done.stderr}"
        said.append(done.stdout)
    return said


def to_a_score(environment: dict[str, str], work: Path, **settings: object) -> list[str]:
    """From nothing to a scored submission of one epoch of a small network; the last tool's lines."""
    (work / "net.yaml").write_text(CONFIG.format(**{"epochs": 1, "batch_size": 32, "val_fraction": 0.15} | settings))
    return walk(
        environment,
        work,
        [
            ["download", "dogs-vs-cats"],
            ["train", "-c", "net.yaml", "--run", "runs/net", "--device", "cpu"],
            ["submit", "runs/net", "--out", "submissions/net.csv", "--device", "cpu", "--upload", "--wait"],
        ],
    )[-1].splitlines()
