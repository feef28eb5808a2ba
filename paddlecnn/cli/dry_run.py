"""A report of what a config would train, without training or writing anything."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

from paddlecnn.config import Config, Plateau
from paddlecnn.configfile import to_yaml
from paddlecnn.files import save_png
from paddlecnn.models.summary import summarize
from paddlecnn.models.summary_tables import layer_table
from paddlecnn.training.curves import first_images
from paddlecnn.training.memory import SLOTS
from paddlecnn.training.optim import build_schedule
from paddlecnn.training.setup import TrainingSetup

SHOWN_EPOCHS = 10


def dry_run_report(setup: TrainingSetup, device: str, images_at: Path | None = None) -> str:
    """Images, steps, memory, learning rate and preprocessing first; then the layers, and all keys last.

    images_at: the PNG for the first training images
    """
    if images_at is not None:
        show_images(setup, images_at)
    config, steps = setup.config, len(setup.train)
    summary = summarize(setup.model, setup.preprocess.size, config.model.name)
    splits = {name: part for name in ("train", "val", "test") if (part := getattr(setup.splits, name)) is not None}
    images = -(-config.train.batch_size // config.train.accumulate)
    memory = summary.training_bytes(images, SLOTS[config.optim.name]) / 2**20
    preprocess: dict[str, Any] = setup.preprocess.model_dump()
    return "\n".join(
        [
            "images: " + ", ".join(f"{name} {len(part):,}" for name, part in splits.items()),
            f"classes: {len(setup.splits.train.classes)}",
            f"steps per epoch: {steps:,}, in total {steps * config.train.epochs:,}",
            f"expected memory of a training step: {memory:,.0f} MiB ({config.optim.name}, {images} images at a time)",
            f"device: {device}",
            f"learning rate at the start of each epoch: {learning_rates(config, steps)}",
            "preprocessing: " + ", ".join(f"{key} {json.dumps(value)}" for key, value in preprocess.items()),
            *frozen_layers(setup),
            "",
            layer_table(summary),
            "",
            to_yaml(config).rstrip(),
            "",
            f"nothing was trained or written{f' but {images_at}' if images_at else ''} (--dry-run)",
        ]
    )


def show_images(setup: TrainingSetup, target: Path) -> None:
    """The first training images as augmented, each with its class, as a PNG."""
    from paddlecnn.reporting.figures import pictures_figure  # here, because matplotlib takes a second to import

    positions, pixels = first_images(setup.train)
    dataset = setup.train.dataset
    assert dataset.labels is not None
    save_png(pictures_figure(list(pixels), [dataset.classes[label] for label in dataset.labels[positions]]), target)


def frozen_layers(setup: TrainingSetup) -> list[str]:
    """The layers that keep their weights, and their features that would be cached; empty if there are none."""
    frozen = {name for name, parameter in setup.model.named_parameters() if parameter.stop_gradient}
    layers = list(dict.fromkeys(name.split(".")[-2] for name, _ in setup.model.named_parameters() if name in frozen))
    if not layers:
        return []
    numbers = sum(prod(value.shape) for name, value in setup.model.named_parameters() if name in frozen)
    lines = [f"frozen: {', '.join(layers)} ({numbers:,} parameters)"]
    if setup.features:
        units = setup.missing_features()
        size = setup.features.bytes_of(units) / 2**30
        lines.append(f"features: {len(units):,} views to compute, {size:.2f} GiB in {setup.features.store.folder}")
    return lines


def learning_rates(config: Config, steps: int) -> str:
    """The learning rate at the start of the first epochs and of the last one."""
    epochs, schedule = config.train.epochs, config.optim.schedule
    shown = list(range(epochs)) if epochs <= SHOWN_EPOCHS else [*range(SHOWN_EPOCHS - 1), epochs - 1]
    rates = {epoch: build_schedule(config.optim, steps, epochs, done=epoch * steps)() for epoch in shown}
    texts = [f"{rates[epoch]:.4g}" for epoch in shown]
    line = ", ".join(texts if epochs <= SHOWN_EPOCHS else [*texts[:-1], "...", texts[-1]])
    return f"{line}; lower after a plateau of validation" if isinstance(schedule, Plateau) else line
