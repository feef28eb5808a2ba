"""Training of VGG16's fully connected layers on frozen convolutions: features from the cache against every epoch anew.

    python tools/benchmark.py transfer --data ROOT --weights vgg16_weights.npz

Each case is an ordinary training in a temporary folder. Measured are the steps of its last epoch, without validation
and without the single pass that fills the cache, whose speed is reported beside it. Both cases start from the weights
of one epoch with the cache: the same images, seed and flips then give the same losses, to the rounding of float16
features.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import tempfile
import threading
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
    fastest_cached: float  # of the engines up to this one
    peak_anonymous_mib: float | None  # the process's own memory in the cached case, mapped files apart; None: no /proc

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
    parser.add_argument("--images", type=int, default=128, help="training images, and as many for validation at most")
    parser.add_argument("--hidden", type=int, nargs="*", default=[4096, 4096], help="widths of the new hidden layers")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of each case; the last one is measured")
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
    cached = case(args, engine, str(folder / "cache"), args.epochs)
    with anonymous_memory() as memory:
        started = time.perf_counter()
        setup = build_training(cached)
        assert setup.features is not None
        missing = setup.missing_features()
        setup.features.compute(missing)
        filled = len(missing) / (time.perf_counter() - started) if missing else None
        start = train_run(case(args, engine, str(folder / "cache"), 1), folder / f"{engine}-start", device="cpu").run
        with_cache = epochs_of(train_run(cached, folder / f"{engine}-cached", device="cpu", init_from=start).run)
    uncached = case(args, engine, "off", args.epochs)
    without = epochs_of(train_run(uncached, folder / f"{engine}-uncached", device="cpu", init_from=start).run)
    speed = with_cache[-1].images_per_second or 0.0
    return Result(
        cached,
        engine,
        setup.engine.precision,
        len(setup.train.dataset),
        speed,
        without[-1].images_per_second or 0.0,
        filled,
        with_cache[0].train.loss,
        without[0].train.loss,
        max(speed, fastest),
        max(memory, default=None),
    )


@contextlib.contextmanager
def anonymous_memory() -> Iterator[list[float]]:
    """Samples of this process's memory in MiB, taken ten times a second inside the context; none without /proc.

    Linux keeps no maximum of it (RssAnon), only one that counts mapped files, too.
    """
    samples: list[float] = []
    done, status = threading.Event(), Path("/proc/self/status")

    def sample() -> None:
        while status.exists() and not done.wait(0.1):
            found = re.search(r"RssAnon:\s*(\d+) kB", status.read_text(encoding="utf-8"))
            samples.extend([int(found[1]) / 1024] if found else [])

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


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
