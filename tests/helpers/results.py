"""A small project with results, and the rows of the pages made from them."""

from __future__ import annotations

import json
import re
from pathlib import Path

CONFIG = """
data: {name: digits, limit: 60}
model: {name: MODEL, options: {hidden: [16]}}
optim: {name: adam, lr: 0.001}
train: {epochs: 4, batch_size: 30}
"""
NETWORKS = ("alexnet_cifar", "alexnet_cifar_lrn")
README = "# A project\n\n<!-- results -->\n<!-- /results -->\n\nThe rest.\n"
READMES = ("README.md", "README.zh-CN.md")


def rows(page: str, start: str) -> list[dict[str, str]]:
    """The rows of all tables of a page whose line contains a text, by column, with the cells that all rows share."""
    found = []
    for sentence, header, lines in re.findall(
        r"(?:In all rows: (.*)\.\n\n)?^\| (.*) \|\n\| ---.*\n((?:\|.*\n)+)", Path(page).read_text(), flags=re.M
    ):
        shared = dict(pair.split(" = ", 1) for pair in re.split(r", (?=[\w ]+ = )", sentence) if pair)
        for line in lines.splitlines():
            cells = zip(header.split(" | "), line.removeprefix("| ").removesuffix(" |").split(" | "), strict=True)
            found += [shared | dict(cells)] if start in line else []
    return found


def tops(name: str) -> list[float]:
    return [json.loads(Path(f"runs/{name}-{seed}/evaluation_test.json").read_text())["top1"] for seed in (0, 1)]


def fold(accuracy: float, **changes: object) -> dict[str, object]:
    """The fields that turn the record of a run into that of a cross-validation."""
    sides = {"mean": accuracy, "low": accuracy - 0.01, "high": accuracy + 0.01}
    losses = {"log_loss": sides, "log_loss_calibrated": sides, "epochs": [1, 1], "notes": []}
    return {"what": "folds", "folds": 2, "n": 60, "tta": "none", "accuracy": sides, **losses, **changes}
