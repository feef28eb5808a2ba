"""What tools/train.py does with its arguments."""
from __future__ import annotations

import statistics
from pathlib import Path

from paddlecnn import runtime
from paddlecnn.config import Config
from paddlecnn.configfile import to_yaml
from paddlecnn.errors import ConfigError
from paddlecnn.files import write_json
from paddlecnn.models.summary import summarize
from paddlecnn.models.summary_tables import layer_table
from paddlecnn.training.memory import SLOTS
from paddlecnn.training.setup import build_training
from paddlecnn.training.train import Outcome, train_and_evaluate


def train(config: Config, run: Path, **options: object) -> str:
    """Train one run; returns the closing line."""
    outcome = train_and_evaluate(config, run, **options)
    return (f"{outcome.run.path}\n"
            f"best epoch {outcome.best_epoch}: val {outcome.scores}")


def train_seeds(config: Config, run: Path, count: int, *, resume: bool = False,
                **options: object) -> str:
    """Train the config with `count` seeds, from its own upwards, each in RUN/seed-N; returns mean, deviation, range.

    They are kept in RUN/seeds.json. With one seed there is no deviation, so at least two are asked for.
    """
    if count < 2:
        raise ConfigError(f"--seeds {count}: takes at least 2; a plain run is one seed")
    outcomes = []
    for seed in range(config.seed, config.seed + count):
        print(f"seed {seed}")
        path = run / f"seed-{seed}"
        outcomes.append(train_and_evaluate(config.model_copy(update={"seed": seed}), path,
                                           **options, resume=resume and path.exists()))
    figures = {"seeds": [outcome.run.config.seed for outcome in outcomes],
               "loss": spread([outcome.scores.loss for outcome in outcomes]),
               "top1": spread([outcome.scores.top1 for outcome in outcomes])}
    write_json(run / "seeds.json", figures)
    return seeds_table(run, figures, outcomes)


def spread(values: list[float]) -> dict[str, object]:
    """Mean, sample standard deviation and range."""
    return {"values": values, "mean": statistics.fmean(values), "deviation": statistics.stdev(values),
            "range": [min(values), max(values)]}


def seeds_table(run: Path, figures: dict, outcomes: list[Outcome]) -> str:
    top1, loss = figures["top1"], figures["loss"]
    return "\n".join([
        str(run),
        *(f"seed {outcome.run.config.seed}: best epoch {outcome.best_epoch}, val {outcome.scores}"
          for outcome in outcomes),
        f"val top-1 of {len(outcomes)} seeds: mean {top1['mean']:.4%}, standard deviation {top1['deviation']:.4%}, "
        f"from {top1['range'][0]:.4%} to {top1['range'][1]:.4%}",
        f"val loss of {len(outcomes)} seeds: mean {loss['mean']:.6f}, standard deviation {loss['deviation']:.6f}, "
        f"from {loss['range'][0]:.6f} to {loss['range'][1]:.6f}"])


def dry_run(config: Config, device: str) -> str:
    """The resolved config, the layers, the data, the steps and the memory of a run that is not begun."""
    chosen = runtime.choose_device(device)
    job = build_training(config)
    summary = summarize(job.model, job.preprocess.size, config.model.name)
    splits = {name: part for name in ("train", "val", "test") if (part := getattr(job.splits, name)) is not None}
    part = -(-config.train.batch_size // config.train.accumulate)
    memory = summary.training_bytes(part, SLOTS[config.optim.name]) / 2**20
    return "\n".join([
        to_yaml(config).rstrip(), "", layer_table(summary), "",
        "images: " + ", ".join(f"{name} {len(part):,}" for name, part in splits.items()),
        f"classes: {len(job.splits.train.classes)}",
        f"steps an epoch: {len(job.train):,}, in all {len(job.train) * config.train.epochs:,}",
        f"expected memory of a training step: {memory:,.0f} MiB",
        f"device: {chosen}",
        "nothing was trained or written (--dry-run)"])
