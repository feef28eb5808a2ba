"""What a run leaves behind: metrics, curves, checkpoints, the bar. Only process 0 writes."""
from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from paddlecnn import distributed
from paddlecnn.evaluation.metrics import Scores
from paddlecnn.files import written_aside
from paddlecnn.runs.checkpoint import Checkpoint, newest_first, save_checkpoint
from paddlecnn.runs.metrics_log import MetricsLog, rewind_metrics
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.training.curves import CurveWriter
from paddlecnn.training.progress import Progress, RunningMean
from paddlecnn.training.state import Learner


class Recorder:
    """Writes for one run. `fixed` is the part of state.json that does not change during the run."""

    def __init__(self, run: RunDir, learner: Learner, progress: Progress, fixed: dict[str, Any]) -> None:
        self.run = run
        self.learner = learner
        self.progress = progress
        self.fixed = fixed
        self.config = learner.config.train
        self.writes = distributed.rank() == 0
        if self.writes:
            rows = rewind_metrics(run.metrics, progress.step)
            self.metrics = MetricsLog(run.metrics)
            self.curves = CurveWriter(run.vdl, rows)
        self.log_clock = self.save_clock = self.session_clock = time.perf_counter()
        self.images = 0

    def epoch_bar(self, steps: int) -> tqdm:
        """A progress bar for an epoch, on a terminal only."""
        return tqdm(total=steps, initial=self.progress.step_in_epoch, unit="step", leave=False, dynamic_ncols=True,
                    desc=f"epoch {self.progress.epoch + 1}/{self.config.epochs}",
                    disable=None if self.writes else True)

    def log_step(self, lr: float, grad_norm: float | None, images: int, bar: tqdm) -> None:
        """Log every `log_every` steps: means since the last time."""
        bar.update()
        self.images += images
        if not self.is_logging(self.progress.step):
            return
        now = time.perf_counter()
        speed, self.log_clock, self.images = self.images / (now - self.log_clock), now, 0
        means = self.progress.since_log.means
        self.progress.since_log = RunningMean()
        bar.set_postfix_str(f"{speed:,.0f} images/s, loss {means['loss']:.4f}, top-1 {means['top1']:.1%}")
        if self.writes:
            norm = {} if grad_norm is None else {"grad_norm": grad_norm}
            self.curves.add(self.metrics.add("train", self.progress.epoch + 1, self.progress.step, **means, lr=lr,
                                             images_per_second=speed, **norm))

    def is_logging(self, step: int) -> bool:
        return step % self.config.log_every == 0

    def wants_checkpoint(self) -> bool:
        """Whether one is due inside an epoch; process 0 says, because its clock counts."""
        rule = self.config.checkpoint
        if not self.writes:
            return False
        by_step = rule.every_steps is not None and self.progress.step % rule.every_steps == 0
        by_clock = (rule.every_minutes is not None
                    and time.perf_counter() - self.save_clock >= rule.every_minutes * 60)
        return by_step or by_clock

    def end_epoch(self, scores: Scores, is_best: bool) -> None:
        """Log the validation, save, and say how the epoch went. Returns when all is on disk."""
        if self.writes:
            self.curves.add(self.metrics.add("val", self.progress.epoch, self.progress.step,
                                             loss=scores.loss, top1=scores.top1))
        self.save(is_best)
        train = self.progress.history[-1]["train"]
        self.say(f"epoch {self.progress.epoch}/{self.config.epochs}  train loss {train['loss']:.4f} "
                 f"top-1 {train['top1']:.2%}  val {scores}{'  best so far' if is_best else ''}")
        self.log_clock, self.images = time.perf_counter(), 0

    def save(self, is_best: bool = False) -> None:
        """Write a checkpoint of where training stands now."""
        now = time.perf_counter()
        self.progress.seconds += now - self.session_clock
        self.session_clock = self.save_clock = now
        if self.writes:
            self.curves.flush()
            model, optimizer = self.learner.arrays()
            state = {**self.fixed, **self.progress.to_state(), "scaler": self.learner.scaler_state()}
            save_checkpoint(self.run.checkpoints, Checkpoint(model, optimizer, state),
                            keep=self.config.checkpoint.keep, best=is_best)

    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint of the run so far; None where there is none."""
        return next(newest_first(self.run.checkpoints), None)

    def say(self, line: str) -> None:
        """A line for the person, above the bar."""
        if self.writes:
            tqdm.write(line)

    def list_excluded(self, excluded: list[tuple[str, str]]) -> None:
        """Write excluded.csv: each training image that is left out, and why."""
        if self.writes and excluded:
            with written_aside(self.run.path / "excluded.csv") as aside, open(aside, "w", newline="") as file:
                csv.writer(file).writerows([("id", "reason"), *excluded])

    def close(self) -> None:
        if self.writes:
            self.metrics.close()
            self.curves.close()
