"""Training of VGG16's fully connected layers on frozen convolutions: cached features against recomputed ones.

    paddlecnn benchmark transfer --data ROOT --weights vgg16_weights.npz

Each case is `paddlecnn train` in a temporary folder. Measured are the steps of its last epoch, without validation and
without the single pass that fills the cache, whose speed is reported separately. Both cases start from the
weights of one epoch with the cache: the same images, seed and flips then give the same losses, up to the rounding of
float16 features.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from paddlecnn.arguments import positive
from paddlecnn.benchmarks.speed import Machine, describe_machine
from paddlecnn.config import Config
from paddlecnn.configfile import config_hash, load_config, load_run_config, to_yaml, without_folders
from paddlecnn.errors import RunError
from paddlecnn.onednn import available
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.runs.state import EpochRecord
from paddlecnn.training.setup import build_training


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
    fastest_cached: float  # of the engines up to this one
    peak_anonymous_mib: float | None  # of the trainings with the cache, without mapped files; None: no /proc

    @property
    def ratio(self) -> float:
        return self.cached / self.uncached

    @property
    def ratio_of_fastest(self) -> float:
        return self.fastest_cached / self.uncached

    def as_dict(self) -> dict[str, object]:
        figures = {name: value for name, value in asdict(self).items() if name not in ("config", "fastest_cached")}
        figures |= {"ratio": self.ratio, "ratio_of_fastest": self.ratio_of_fastest}
        config = without_folders(self.config.model_dump(mode="json"))
        origin = {"config_hash": config_hash(load_run_config(config)), "config": config}
        return {"what": "transfer", "seed": self.config.seed, **figures, **origin}

    def __str__(self) -> str:
        return (
            f"{self.engine}, {self.precision}: {self.cached:,.1f} images/s cached, {self.uncached:,.2f} uncached, "
            f"{self.ratio:.1f} times; loss {self.cached_loss:.5f} and {self.uncached_loss:.5f}"
            + (f", {self.ratio_of_fastest:.1f} by the fastest engine" if self.fastest_cached > self.cached else "")
            + (f"; the cache was filled at {self.fill:.1f} views/s" if self.fill else "")
            + (f"; at most {self.peak_anonymous_mib:,.0f} MiB of memory" if self.peak_anonymous_mib else "")
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, metavar="ROOT", help="folder or zip with Dogs vs. Cats")
    parser.add_argument("--weights", required=True, metavar="FILE", help="VGG16's convolutions (docs/weights.md)")
    parser.add_argument("--images", type=positive, default=128, help="training images; at most as many validate")
    parser.add_argument("--hidden", type=positive, nargs="*", default=[4096, 4096], help="widths of new hidden layers")
    parser.add_argument("--epochs", type=positive, default=2, help="epochs of each case; the last one is measured")
    parser.add_argument("--engines", nargs="+", default=["onednn", "paddle"], choices=("onednn", "paddle"))


def measure(args: argparse.Namespace) -> Iterator[Machine | Result]:
    """The machine, then each engine; in float32 they share the cache, which the first one fills."""
    yield Machine(describe_machine())
    fastest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for engine in args.engines:
            if engine == "paddle" or available():
                result = compare(args, engine, Path(folder), fastest)
                fastest = result.fastest_cached
                yield result


def compare(args: argparse.Namespace, engine: str, folder: Path, fastest: float) -> Result:
    cache = str(folder / "cache")
    cached = case(args, engine, cache, args.epochs)
    setup = build_training(cached)
    missing = len(setup.missing_features())
    first = train(case(args, engine, cache, 1), folder / f"{engine}-start")
    start = first.run
    with_cache = train(cached, folder / f"{engine}-cached", start)
    without = train(case(args, engine, "off", args.epochs), folder / f"{engine}-uncached", start)
    speed = with_cache.epochs[-1].images_per_second or 0.0
    return Result(
        cached,
        engine,
        setup.engine.precision,
        len(setup.train.dataset),
        speed,
        without.epochs[-1].images_per_second or 0.0,
        missing / start.read_environment()["feature_seconds"] if missing else None,
        with_cache.epochs[0].train.loss,
        without.epochs[0].train.loss,
        max(speed, fastest),
        max([*first.memory, *with_cache.memory], default=None),
    )


@dataclass(frozen=True)
class Training:
    """A finished training and samples of its process's own memory in MiB; empty without /proc."""

    run: RunDir
    memory: list[float]

    @property
    def epochs(self) -> list[EpochRecord]:
        return self.run.load_state("last").history


def train(config: Config, path: Path, start: RunDir | None = None) -> Training:
    """Train with the command, in its own process, whose memory then contains nothing of the benchmark. Raises RunError.

    Linux keeps no maximum of the memory not backed by files (RssAnon), so it is read ten times a second.
    """
    file = path.with_suffix(".yaml")
    file.write_text(to_yaml(config), encoding="utf-8")
    command = [sys.executable, "-m", "paddlecnn", "train", "-q", "-c", str(file), "--run", str(path), "--device", "cpu"]
    command += ["--init-from", str(start.path)] if start else []
    samples = []
    with path.with_suffix(".log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        while process.poll() is None:
            with contextlib.suppress(OSError):
                found = re.search(r"RssAnon:\s*(\d+) kB", Path(f"/proc/{process.pid}/status").read_text("utf-8"))
                samples += [int(found[1]) / 1024] if found else []
            time.sleep(0.1)
        if process.returncode:
            log.seek(0)
            raise RunError(f"{path.name}: {log.read().strip() or f'exit code {process.returncode}'}")
    return Training(RunDir(path), samples)


def case(args: argparse.Namespace, engine: str, cache: str, epochs: int) -> Config:
    """The tutorials' recipe: three new fully connected layers on frozen convolutions, with mirror images."""
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
