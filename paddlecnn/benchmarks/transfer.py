"""Training of VGG16's fully connected layers on frozen convolutions: features from the cache against every epoch anew.

    python tools/benchmark.py transfer --data ROOT --weights vgg16_weights.npz

Each case is an ordinary training in a temporary folder. Measured are the steps of its last epoch, without validation
and without the single pass that fills the cache, whose speed is reported beside it. The same images, seed and flips
give the same losses, to the rounding of float16 features.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from paddlecnn.benchmarks.speed import Machine, describe_machine
from paddlecnn.config import Config
from paddlecnn.configfile import config_hash, load_config, load_run_config, without_folders
from paddlecnn.onednn import available
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.runs.state import EpochRecord
from paddlecnn.training.setup import build_training
from paddlecnn.training.train import train_run


@dataclass(frozen=True)
class Result:
    """One engine. Speeds are training images per second of the last epoch, losses those of the first epoch."""

    config: Config  # of the case with the cache
    engine: str
    precision: str
    images: int
    cached: float
    uncached: float
    fill: float | None  # views per second while the cache was filled; None if another engine did it
    cached_loss: float
    uncached_loss: float

    @property
    def ratio(self) -> float:
        return self.cached / self.uncached

    def as_dict(self) -> dict[str, object]:
        figures = {name: value for name, value in asdict(self).items() if name != "config"}
        config = without_folders(self.config.model_dump(mode="json"))
        origin = {"config_hash": config_hash(load_run_config(config)), "config": config}
        return {"what": "transfer", "seed": self.config.seed, **figures, "ratio": self.ratio, **origin}

    def __str__(self) -> str:
        return (
            f"{self.engine}, {self.precision}: {self.cached:,.1f} images/s cached, {self.uncached:,.2f} uncached, "
            f"{self.ratio:.1f} times; loss {self.cached_loss:.5f} and {self.uncached_loss:.5f}"
            + (f"; the cache was filled at {self.fill:.1f} views/s" if self.fill else "")
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, metavar="ROOT", help="folder or zip with Dogs vs. Cats")
    parser.add_argument("--weights", required=True, metavar="FILE", help="VGG16's convolutions (docs/weights.md)")
    parser.add_argument("--images", type=int, default=128, help="training images, and as many for validation at most")
    parser.add_argument("--hidden", type=int, nargs="*", default=[4096, 4096], help="widths of the new hidden layers")
    parser.add_argument("--epochs", type=int, default=2, help="epochs with the cache; the last one is measured")
    parser.add_argument("--engines", nargs="+", default=["onednn", "paddle"], choices=("onednn", "paddle"))


def measure(args: argparse.Namespace) -> Iterator[Machine | Result]:
    """The machine, then each engine; in float32 they share the cache, which the first one fills."""
    yield Machine(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        for engine in args.engines:
            if engine == "paddle" or available():
                yield compare(args, engine, Path(folder))


def compare(args: argparse.Namespace, engine: str, folder: Path) -> Result:
    cached = case(args, engine, str(folder / "cache"), args.epochs)
    started = time.perf_counter()
    setup = build_training(cached)
    assert setup.features is not None
    missing = setup.missing_features()
    setup.features.compute(missing)
    filled = len(missing) / (time.perf_counter() - started) if missing else None
    with_cache = epochs_of(train_run(cached, folder / f"{engine}-cached", device="cpu").run)
    uncached = case(args, engine, "off", 1)
    without = epochs_of(train_run(uncached, folder / f"{engine}-uncached", device="cpu").run)
    return Result(
        cached,
        engine,
        setup.engine.precision,
        len(setup.train.dataset),
        with_cache[-1].images_per_second or 0.0,
        without[-1].images_per_second or 0.0,
        filled,
        with_cache[0].train.loss,
        without[0].train.loss,
    )


def case(args: argparse.Namespace, engine: str, cache: str, epochs: int) -> Config:
    """The tutorials' recipe: three new fully connected layers on frozen convolutions, mirror images."""
    return load_config(
        {
            "data": {"name": "dogs_vs_cats", "root": args.data, "augment": {"flip": True}, "limit": args.images},
            "model": {
                "name": "vgg16",
                "options": {"hidden": args.hidden},
                "weights": args.weights,
                "strict": False,
                "freeze": "features",
            },
            "optim": {"name": "momentum", "lr": 1e-4},
            "train": {"epochs": epochs, "batch_size": 64, "engine": engine, "feature_cache": cache, "report": False},
        }
    )


def epochs_of(run: RunDir) -> list[EpochRecord]:
    """The epochs of a run, with their speeds and losses."""
    return run.load_checkpoint("last")[0].state.history
