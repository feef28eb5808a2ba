"""Hooks of MkDocs: navigation, the API reference, links that leave this folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

# The modules, classes and functions that a reader of the reference looks for; the rest is found from the sources.
REFERENCE = {
    "The Python interface": [
        "paddlecnn.models.registry.list_models",
        "paddlecnn.api.networks.create_model",
        "paddlecnn.api.networks.load_pretrained",
        "paddlecnn.api.networks.Pretrained",
        "paddlecnn.api.networks.Predictor",
        "paddlecnn.api.training.train",
        "paddlecnn.api.training.train_seeds",
        "paddlecnn.api.training.train_folds",
        "paddlecnn.api.training.TrainingResult",
        "paddlecnn.api.training.Seeds",
        "paddlecnn.api.runs.load_run",
        "paddlecnn.api.runs.load_folds",
        "paddlecnn.api.runs.Run",
        "paddlecnn.api.runs.Folds",
        "paddlecnn.api.rate_search.find_lr",
        "paddlecnn.api.rate_search.RateSearch",
        "paddlecnn.models.registry.register",
    ],
    "Networks": [
        "paddlecnn.models.alexnet",
        "paddlecnn.models.vgg",
        "paddlecnn.models.vgg_fast",
        "paddlecnn.models.lenet",
        "paddlecnn.models.layers",
    ],
    "Weights": ["paddlecnn.models.weights.load"],
    "Data": ["paddlecnn.data.base", "paddlecnn.data.datasets", "paddlecnn.data.pipeline.augment"],
    "Training": ["paddlecnn.training.fit", "paddlecnn.training.state", "paddlecnn.training.optim"],
    "Runs": ["paddlecnn.runs.run_dir", "paddlecnn.runs.checkpoint"],
    "Evaluation": [
        "paddlecnn.evaluation.metrics",
        "paddlecnn.evaluation.intervals",
        "paddlecnn.evaluation.calibration",
    ],
    "The CPU engine": ["paddlecnn.onednn"],
    "Config": ["paddlecnn.config"],
    "Errors": ["paddlecnn.errors"],
}
OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)[^)\s]+\)")


def on_config(config: Any) -> Any:
    """The navigation: the pages in the order of index.md, then the reference."""
    index = (Path(config.docs_dir) / "index.md").read_text(encoding="utf-8")
    config.nav = ["index.md", *re.findall(r"\]\(([\w/]+\.md)\)", index), "reference.md"]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add reference.md: the docstrings of the modules above."""
    parts = ["# API reference"]
    for title, modules in REFERENCE.items():
        parts += [f"## {title}", *(f"::: {module}" for module in modules)]
    files.append(File.generated(config, "reference.md", content="\n\n".join(parts)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A link to a file of the repository outside of docs/ becomes its text: the site does not have the file."""
    return OUTSIDE.sub(r"\1", markdown)
