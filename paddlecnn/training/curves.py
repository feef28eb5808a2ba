"""The record of a run for VisualDL while it trains: curves, hyper-parameters, weights, and some training images.

VisualDL shows only one record file per folder and loses what is not flushed, so a run has exactly one file,
flushed at every epoch. metrics.csv is the record of the numbers; on a resume the file is rewritten from it and from
the old file's other records up to that step, which makes one continuous curve however often the run was killed.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import paddle
from visualdl import LogWriter
from visualdl.proto.record_pb2 import Record

from paddlecnn.config import Config
from paddlecnn.configfile import flat
from paddlecnn.data.pipeline.loader import Loader, Plan
from paddlecnn.runs.metrics_log import Row

FILE_NAME = "vdlrecords.paddlecnn.log"
# (kind, column) of metrics.csv to a tag. VisualDL groups tags by their first word and opens the first group.
TAGS = {
    ("train", "top1"): "learning/accuracy_train",
    ("val", "top1"): "learning/accuracy_val",
    ("train", "loss"): "learning/loss_train",
    ("val", "loss"): "learning/loss_val",
    ("train", "grad_norm"): "optimizer/gradient_norm",
    ("train", "lr"): "optimizer/learning_rate",
    ("train", "images_per_second"): "speed/images_per_second",
}
FINAL = ["learning/accuracy_val", "learning/loss_val"]  # shown beside the hyper-parameters, with their last value
# The keys of a config that are hyper-parameters, unlike the place of the data or how often the run is saved.
TRAIN_KEYS = ("epochs", "batch_size", "label_smoothing", "class_weights", "ema", "swa", "engine", "precision")
HYPER_PARAMETERS = ("model.", "optim.", *(f"train.{key}" for key in TRAIN_KEYS), "data.name", "data.augment", "seed")
SHOWN_IMAGES = 25
SAMPLE, BUCKETS = 100_000, 30  # of a histogram: values of an array, at most; bars


class CurveWriter:
    """Writer of a run's record in RUN/vdl. The x axis is always the number of training steps."""

    def __init__(self, folder: Path, config: Config, rows: Iterable[Row] = ()) -> None:
        """Start with `rows`, which replace the record's numbers; images and histograms up to the last one remain."""
        rows = list(rows)
        kept = list(pictures_until(folder / FILE_NAME, int(rows[-1]["step"]))) if rows else []
        aside = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(aside, ignore_errors=True)
        with contextlib.closing(LogWriter(str(aside), file_name=FILE_NAME)) as self.writer:
            self.writer.add_hparams(hyper_parameters(config), FINAL)
            for row in rows:
                self.add(row)
        with open(aside / FILE_NAME, "ab") as file:
            file.writelines(struct.pack("<Q", len(record)) + record for record in kept)
        folder.mkdir(exist_ok=True)
        os.replace(aside / FILE_NAME, folder / FILE_NAME)
        aside.rmdir()
        self.writer = appending(folder)

    def add(self, row: Row) -> None:
        for (kind, column), tag in TAGS.items():
            if kind == row["kind"] and row.get(column):
                time = round(float(row["time"]) * 1000)
                self.writer.add_scalar(tag, float(row[column]), int(row["step"]), walltime=time)

    def add_weights(self, model: paddle.nn.Layer, step: int) -> None:
        """Add a histogram of each matrix and kernel; of a large one, from a sample of its rows."""
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                sample = parameter.detach()[:: -(-parameter.size // SAMPLE)].astype("float32").numpy()
                tag = f"weights/{name.removesuffix('.weight')}"
                self.writer.add_histogram(tag, sample.ravel(), step, None, BUCKETS)

    def add_training_images(self, loader: Loader) -> None:
        """Add a grid of the first training images after augmentation, without mixup and CutMix."""
        positions, pixels = first_images(loader)
        if len(positions):  # none where a first batch is smaller than the number of processes
            self.writer.add_image_matrix("training/augmented_images", pixels, 0)

    def flush(self) -> None:
        """Hand everything to the operating system: from here on a kill loses nothing."""
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


def first_images(loader: Loader) -> tuple[np.ndarray, np.ndarray]:
    """The first images of an epoch as they are after augmentation, without mixup and CutMix.

    Returns their positions int64 [n], in the data set, and their pixels uint8 [n, S, S, 3].
    """
    own = loader.plan(0, 0).own[:SHOWN_IMAGES]
    plan = Plan(own, own, None, None)  # type: ignore[arg-type]  # the loader is not checked for None
    return own, Loader.read(loader, plan, 0).transpose(0, 2, 3, 1)  # even if `loader` reads cached features


def appending(folder: Path) -> LogWriter:
    """A writer that continues the record in RUN/vdl."""
    with contextlib.redirect_stdout(io.StringIO()):  # it announces that the file exists, as it should
        return LogWriter(str(folder), file_name=FILE_NAME)


def hyper_parameters(config: Config) -> dict[str, str | int | float]:
    """The config's hyper-parameters, as text if not a number. VisualDL's table cannot show a name with a dot."""
    values = flat(config.model_dump(mode="json"))
    chosen = [key for start in HYPER_PARAMETERS for key in values if key.startswith(start) and values[key] is not None]
    plain = {key: values[key] if type(values[key]) in (int, float) else str(values[key]) for key in chosen}
    return {key.replace(".", "_"): value for key, value in plain.items()}


def pictures_until(path: Path, step: int) -> Iterator[bytes]:
    """The records of images and histograms up to a step. Reading ends at a record cut off by a kill."""
    content = path.read_bytes() if path.exists() else b""
    position = 0
    while position + 8 <= len(content):
        (size,) = struct.unpack_from("<Q", content, position)
        record = content[position + 8 : position + 8 + size]
        position += 8 + size
        if len(record) < size:
            return
        try:
            values = Record.FromString(record).values
        except Exception:  # protobuf's own error: the file is damaged from here on
            return
        if values and values[0].WhichOneof("one_value") in ("image", "histogram") and values[0].id <= step:
            yield record
