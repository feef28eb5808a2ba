"""Input pipelines of paddlecnn and plain alternatives, measured in turn on one core.

    memory   32x32 images: pad 4, random crop, flip; against paddle.vision.transforms in a paddle.io.DataLoader
    jpeg     photographs: random resized crop to 224, flip; against Pillow, image by image
    cache    the same photographs from one memory-mapped file: random crop to 224, flip; against Pillow

Each yields normalised float32 batches [n, 3, S, S] as Paddle tensors on the CPU.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from paddlecnn.arguments import positive
from paddlecnn.config import Augment, DataConfig, Preprocess, RandomResizedCrop
from paddlecnn.data.base import ArrayDataset, Dataset, FileDataset
from paddlecnn.data.datasets import defaults, open_parts
from paddlecnn.data.pipeline.loader import Loader
from paddlecnn.data.storage.file_storage import FolderStorage

if TYPE_CHECKING:
    from PIL import Image

BATCH = 128
GOALS = {"memory": 20.0, "jpeg": 1.8, "cache": 4.0}  # times the plain alternative
Batches = Callable[[int], Iterable[int]]  # an epoch's number to the sizes of its batches, one by one


@dataclass(frozen=True)
class Result:
    """Images per second in each round, measured in turn."""

    name: str
    what: str
    ours: list[float]
    plain: list[float]

    @property
    def ratio(self) -> float:
        return median(self.ours) / median(self.plain)

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "ratio": self.ratio}

    def __str__(self) -> str:
        return (
            f"{self.name:8}{median(self.ours):>10,.0f} images/s   plain {median(self.plain):>8,.0f}   "
            f"{self.ratio:6.1f} times (goal {GOALS[self.name]:g})   {self.what}"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cifar", type=Path, metavar="ROOT", help="folder with CIFAR-10 (default: random images)")
    text = "folder or zip with Dogs vs. Cats (default: 200 generated JPEGs of 500x375)"
    parser.add_argument("--photos", type=Path, metavar="ROOT", help=text)
    parser.add_argument("--rounds", type=positive, default=5, help="rounds; the median is reported")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one measurement")


def measure(args: argparse.Namespace) -> Iterator[Result]:
    """The speeds of the three pipelines, one after another."""
    with one_core(), tempfile.TemporaryDirectory() as scratch:
        photos = photographs(args.photos, Path(scratch))
        for name, what, ours, plain in (memory_case(args.cifar), jpeg_case(photos), cache_case(photos, scratch)):
            yield Result(name, what, *in_turn(ours, plain, args.rounds, args.seconds))


def in_turn(ours: Batches, plain: Batches, rounds: int, seconds: float) -> tuple[list[float], list[float]]:
    """Both speeds, measured in turn, after one unmeasured batch each."""
    for batches in (ours, plain):
        next(iter(batches(0)))
    pairs = [(speed(ours, seconds), speed(plain, seconds)) for _ in range(rounds)]
    return [one for one, _ in pairs], [other for _, other in pairs]


def speed(batches: Batches, seconds: float) -> float:
    """Images per second over at least `seconds`, epoch after epoch."""
    begin, count, epoch = time.perf_counter(), 0, 0
    while True:
        for size in batches(epoch):
            count += size
            if (passed := time.perf_counter() - begin) > seconds:
                return count / passed
        epoch += 1


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process on one core, if the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def loader_batches(dataset: Dataset, spec: Preprocess, augment: Augment, cache: str | None = None) -> Batches:
    loader = Loader(dataset, spec, BATCH, augment=augment, shuffle=True, cache=cache)
    return lambda epoch: (len(batch.indices) for batch in loader.epoch(epoch))


def memory_case(root: Path | None) -> tuple[str, str, Batches, Batches]:
    dataset: Any
    if root is None:
        images = np.random.default_rng(0).integers(0, 256, (50000, 3, 32, 32), np.uint8).transpose(0, 2, 3, 1)
        dataset = ArrayDataset(
            "random", tuple("0123456789"), [str(i) for i in range(len(images))], np.zeros(len(images), int), images
        )
    else:
        dataset = open_parts(DataConfig(name="cifar10", root=str(root))).train
    spec = defaults("cifar10")
    what = f"{len(dataset):,} {'random' if root is None else 'CIFAR-10'} images"
    return "memory", what, loader_batches(dataset, spec, Augment(pad=4, flip=True)), paddle_batches(dataset, spec)


def paddle_batches(dataset: ArrayDataset, spec: Preprocess) -> Batches:
    """The usual way: transforms of one image at a time, collated by the DataLoader."""
    from paddle import io as paddle_io
    from paddle.vision import transforms

    crop, flip = transforms.RandomCrop(spec.size, padding=4), transforms.RandomHorizontalFlip()
    change = transforms.Compose([crop, flip, transforms.ToTensor(), transforms.Normalize(spec.mean, spec.std)])

    class Images(paddle_io.Dataset):  # type: ignore[type-arg]  # not generic in Paddle 2.6
        def __len__(self) -> int:
            return len(dataset)

        def __getitem__(self, position: int) -> tuple[Any, ...]:
            return change(dataset.images[position]), dataset.labels[position]

    loader = paddle_io.DataLoader(Images(), batch_size=BATCH, shuffle=True, num_workers=0)
    return lambda epoch: (len(labels) for _, labels in loader)


def photographs(root: Path | None, scratch: Path) -> FileDataset:
    """Image files: real ones, or generated ones of the usual size."""
    if root is not None:
        train: Any = open_parts(DataConfig(name="dogs_vs_cats", root=str(root))).train
        return train.subset(np.arange(0, len(train), max(1, len(train) // 1000)))
    from PIL import Image

    random = np.random.default_rng(0)
    names = [f"{i}.jpg" for i in range(200)]
    for name in names:  # coarse noise, enlarged: about as hard to decode as a photograph
        coarse = Image.fromarray(random.integers(0, 256, (47, 63, 3), np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(scratch / name, quality=90)
    return FileDataset(
        "generated photographs", ("none",), names, np.zeros(len(names), int), FolderStorage(scratch), names
    )


def jpeg_case(photos: FileDataset) -> tuple[str, str, Batches, Batches]:
    spec = defaults("dogs_vs_cats")
    ours = loader_batches(photos, spec, Augment(random_resized_crop=RandomResizedCrop(), flip=True))
    return "jpeg", f"{len(photos):,} {photos.name}", ours, pillow_batches(photos, spec, random_part)


def cache_case(photos: FileDataset, scratch: str) -> tuple[str, str, Batches, Batches]:
    spec = defaults("dogs_vs_cats")
    ours = loader_batches(photos, spec, Augment(crop=True, flip=True), cache=scratch)
    return "cache", f"{len(photos):,} {photos.name}", ours, pillow_batches(photos, spec, resized_part)


def random_part(image: Image.Image, random: np.random.Generator, spec: Preprocess) -> Image.Image:
    """A random resized crop, by Pillow."""
    area = image.width * image.height * random.uniform(0.08, 1)
    aspect = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
    width, height = min(image.width, round((area * aspect) ** 0.5)), min(image.height, round((area / aspect) ** 0.5))
    left, top = int(random.integers(image.width - width + 1)), int(random.integers(image.height - height + 1))
    part = image.crop((left, top, left + width, top + height))
    return part.resize((spec.size, spec.size), 2)  # bilinear


def resized_part(image: Image.Image, random: np.random.Generator, spec: Preprocess) -> Image.Image:
    """The short side resized to `resize`, then a random crop, by Pillow."""
    factor = spec.resize / min(image.size)
    width, height = (max(spec.resize, round(side * factor)) for side in image.size)
    image = image.resize((width, height), 2)  # bilinear
    left, top = (int(random.integers(side - spec.size + 1)) for side in image.size)
    return image.crop((left, top, left + spec.size, top + spec.size))


def pillow_batches(photos: FileDataset, spec: Preprocess, part_of: Callable[..., Any]) -> Batches:
    """The usual way: Pillow, image by image, each converted to float and normalised on its own."""
    import paddle
    from PIL import Image

    mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)

    def one(position: int, random: np.random.Generator) -> np.ndarray:
        image = part_of(Image.open(io.BytesIO(photos.stored_bytes(position))).convert("RGB"), random, spec)
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return ((np.asarray(image, np.float32) / 255 - mean) / std).transpose(2, 0, 1)

    def batches(epoch: int) -> Iterator[int]:
        random = np.random.default_rng(epoch)
        order = random.permutation(len(photos))
        for begin in range(0, len(order), BATCH):
            positions = order[begin : begin + BATCH]
            yield len(paddle.to_tensor(np.stack([one(position, random) for position in positions])))

    return batches
