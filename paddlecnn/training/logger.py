"""The numbers of a run: metrics.csv, VisualDL curves, the progress bar and one line per epoch."""

from __future__ import annotations

import contextlib
import csv
import logging
import math
import time
from collections.abc import Iterator

import paddle

from paddlecnn import distributed
from paddlecnn.config import TrainConfig
from paddlecnn.data.pipeline.loader import Loader
from paddlecnn.files import written_aside
from paddlecnn.progress_bar import ProgressBar, duration
from paddlecnn.runs.metrics_log import MetricsLog, rewind_metrics
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.runs.state import EpochRecord, LogPosition, Progress, RunningMean
from paddlecnn.training.curves import CurveWriter

log = logging.getLogger(__name__)


class MetricLogger:
    """Logs one run. Only process 0 writes and reports."""

    def __init__(self, run: RunDir, config: TrainConfig, progress: Progress, position: LogPosition | None) -> None:
        """Open the logs, cut back to the checkpoint's position: training is about to write the rest again."""
        self.run = run
        self.config = config
        self.writes = distributed.rank() == 0
        if self.writes:
            rows = rewind_metrics(run.metrics, position, progress)
            self.metrics = MetricsLog(run.metrics)
            self.curves = CurveWriter(run.vdl, run.config, rows)
        self.logged_at, self.images_before = time.perf_counter(), 0

    @contextlib.contextmanager
    def epoch_bar(self, progress: Progress, steps: int) -> Iterator[ProgressBar]:
        """A progress bar for the rest of an epoch."""
        self.logged_at = time.perf_counter()
        self.images_before = progress.since_log.images  # of an earlier session
        with ProgressBar(
            total=steps,
            initial=progress.step_in_epoch,
            unit="step",
            leave=False,
            desc=f"epoch {progress.epoch + 1}/{self.config.epochs}",
            hidden=not self.writes,
        ) as bar:
            yield bar

    def is_logged(self, step: int) -> bool:
        return step % self.config.log_every == 0

    def log_step(self, progress: Progress, norm: paddle.Tensor | None, bar: ProgressBar) -> None:
        """Log the means since the last logged step."""
        now = time.perf_counter()
        means = progress.since_log.means
        speed = (progress.since_log.images - self.images_before) / (now - self.logged_at)
        progress.since_log, self.images_before, self.logged_at = RunningMean(), 0, now
        summary = f"loss {means.loss:.4g}, top-1 {means.top1:.2%}, {speed:,.0f} images/s"
        bar.set_postfix_str(summary)
        if not self.writes:
            return
        values = {"loss": means.loss, "top1": means.top1, "lr": progress.lr, "images_per_second": speed}
        values["grad_norm"] = math.nan if norm is None else float(norm.numpy())
        self.curves.add(self.metrics.add("train", progress.epoch + 1, progress.step, **values))

    def log_epoch(self, record: EpochRecord, model: paddle.nn.Layer) -> None:
        """Log the validation of a finished epoch, and histograms of the weights."""
        if not self.writes:
            return
        if record.val is not None:
            scores = {"loss": record.val.loss, "top1": record.val.top1}
            self.curves.add(self.metrics.add("val", record.epoch, record.step, **scores))
        self.curves.add_weights(model, record.step)

    def report_epoch(self, record: EpochRecord, is_best: bool, seconds: float) -> None:
        """Log one line for a finished epoch. seconds: its whole duration, from which the time left is estimated."""
        if not self.writes:
            return
        train, val, epochs = record.train, record.val, self.config.epochs
        line = f"epoch {record.epoch}/{epochs}  train loss {train.loss:.4g} top-1 {train.top1:.2%}"
        if val:
            line += f"  val loss {val.loss:.4g} top-1 {val.top1:.2%}"
            if self.config.monitor == "balanced":
                line += f" balanced {val.balanced:.2%}"
        line += f"  lr {record.lr:.4g}  {duration(seconds)}, {record.images_per_second:,.0f} images/s"
        if record.epoch < epochs:
            line += f", {duration((epochs - record.epoch) * seconds)} left"
        if is_best and val and self.config.monitor != "last":
            line += "  best so far"
        log.info("%s", line)

    def log_start(self, excluded: list[tuple[str, str]], augmented: Loader | None) -> None:
        """Write excluded.csv, each excluded image with the reason, and show some augmented images."""
        if not self.writes:
            return
        if excluded:
            with written_aside(self.run.path / "excluded.csv") as aside, open(aside, "w", newline="") as file:
                csv.writer(file).writerows([("id", "reason"), *excluded])
        if augmented:
            self.curves.add_training_images(augmented)

    def position(self) -> LogPosition | None:
        """The end of metrics.csv so far, for a checkpoint. Curves and metrics before it survive a kill."""
        if not self.writes:
            return None
        self.curves.flush()
        return self.metrics.position()

    def close(self) -> None:
        if self.writes:
            self.metrics.close()
            self.curves.close()
