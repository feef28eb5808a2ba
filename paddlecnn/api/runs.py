"""Trained runs and cross-validations, opened for reading."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from paddlecnn import runtime
from paddlecnn.api.checks import check_choice, check_type
from paddlecnn.api.networks import Predictor, prediction_of
from paddlecnn.config import TEST_VIEWS, Config
from paddlecnn.evaluation import evaluate, out_of_fold
from paddlecnn.evaluation.load_run import LoadedRun
from paddlecnn.evaluation.load_run import load_run as load_checkpoint_of_run
from paddlecnn.evaluation.predict_images import ImageLike
from paddlecnn.kaggle.competitions import competition_of
from paddlecnn.runs.fold_job import FoldJob
from paddlecnn.runs.metrics_log import read_metrics
from paddlecnn.runs.run_dir import RunDir, find_path, find_run

if TYPE_CHECKING:
    from paddlecnn.evaluation.exported import Form
    from paddlecnn.kaggle.build_submission import WrittenSubmission

COLUMNS = ["epoch", "step", "lr", "seconds", "images_per_second", "train_loss", "train_top1", "val_loss", "val_top1"]


class Figures(dict[str, Any]):
    """A dictionary of figures whose repr is what the command prints."""

    def __init__(self, figures: dict[str, Any], text: str) -> None:
        super().__init__(figures)
        self._text = text

    def __repr__(self) -> str:
        return self._text


class Run(Predictor):
    """A run folder, opened for reading. The model is loaded on first use.

    path: the run's folder
    checkpoint: `best` or `last`
    module: the file with the run's own networks or data sets, if it was trained with one
    """

    def __init__(self, run: RunDir, checkpoint: str = "best", module: str | None = None) -> None:
        self.path = run.path
        self.checkpoint = checkpoint
        self._run = run
        self._module = module

    def __repr__(self) -> str:
        config = self.config
        try:
            state = self._classifier.state
        except Exception as error:  # a repr must not fail
            return f"Run({str(self.path)!r}: {config.model.name} on {config.data.name}, {error})"
        scores = f", val {state.history[-1].val}" if state.history and state.history[-1].val else ""
        return (
            f"Run({str(self.path)!r}: {config.model.name} on {config.data.name}, checkpoint {self.checkpoint} "
            f"of epoch {state.epoch}{scores})"
        )

    @cached_property
    def _classifier(self) -> LoadedRun:
        return load_checkpoint_of_run(self._run, self.checkpoint, self._module)

    @property
    def config(self) -> Config:
        """The resolved config."""
        return self._run.config

    @property
    def metrics(self) -> pd.DataFrame:
        """metrics.csv: one row per logged training step and per validation; missing values are NaN."""
        table = pd.DataFrame(list(read_metrics(self._run.metrics)))
        return table.assign(**{name: pd.to_numeric(table[name]) for name in table.columns if name != "kind"})

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch so far: learning rate, duration, speed, loss and top-1 of training and validation."""
        rows = [one.model_dump() for one in self._run.load_state("last").history]
        return pd.json_normalize(rows, sep="_").reindex(columns=COLUMNS)

    def evaluate(
        self, split: str = "val", device: str = "auto", tta: str = "none", data_changed: bool = False
    ) -> Figures:
        """Loss, top-1, top-5, log loss, per-class figures and confusion matrix on `val` or `test`; kept in the run.

        tta: average several views of each image, as `eval --tta` does
        data_changed: use the images that are there, even if they are not those of the training
        Raises DataError if the data have no such split, or no labels for it.
        """
        check_choice("split", split, ("val", "test"))
        check_choice("tta", tta, TEST_VIEWS)
        found = evaluate.evaluate_run(self._run, split, self.checkpoint, device, self._module, data_changed, tta=tta)
        return Figures(found, evaluate.as_text(found))

    def report(self, device: str = "auto", data_changed: bool = False) -> Path:
        """Write report.html, the page that shows the best epoch (docs/report.md), into the run's folder.

        data_changed: use the validation images that are there, even if they are not those of the training
        """
        from paddlecnn.reporting.report import write_report  # here, because matplotlib takes a second to import

        references = competition_of(self.config.data).reference_scores
        return write_report(self._run, self._module, device, data_changed, references)

    def export(self, form: Form, out: str | Path | None = None, check: bool = False) -> Path:
        """Write the network for use elsewhere (docs/export.md), and return the path of the new file or folder.

        form: paddle (an inference program), onnx, or safetensors (the weights alone)
        out: a new file or folder; by default in RUN/export
        check: compare with the run on images of its data
        Raises ExportError if `out` exists, or for a network that cannot be converted.
        """
        from paddlecnn.evaluation.export import NAMES, export_run  # here, because few need it

        check_choice("form", form, tuple(NAMES))
        target = None if out is None else Path(out)
        return export_run(self._run, form, target, which=self.checkpoint, module=self._module, check=check).path

    def submit(
        self, out: str | Path | None = None, tta: str = "none", device: str = "auto", data_changed: bool = False
    ) -> WrittenSubmission:
        """Predict the test images with checkpoint best, calibrate, and write a checked CSV for the competition.

        out: the CSV; by default in submissions/, named after the run. `paddlecnn submit CSV --upload` uploads it.
        The other arguments are those of `evaluate`. The result shows what the command prints; it has `path` and
        `expected`, the expected score. Raises SubmissionError for a submission that breaks a rule.
        """
        return submit([self._run], self._module, out, tta, device, data_changed)


class Folds:
    """A trained cross-validation: all folds of a config, with their out-of-fold figures.

    path: the job's folder
    module: the file with the runs' own networks or data sets, if they were trained with one
    """

    def __init__(self, job: FoldJob, module: str | None = None) -> None:
        self.path = job.path
        self.runs = [Run(run, module=module) for run in job.runs]
        self._job, self._module = job, module

    def __repr__(self) -> str:
        return f"Folds({str(self.path)!r}: {len(self.runs)} runs)"

    def predict(
        self, images: ImageLike | Sequence[ImageLike], topk: int | None = None, tta: str = "none"
    ) -> pd.DataFrame:
        """Predict by the mean of the runs' logits, for images that none of them was trained on; see `Run.predict`.

        Each call loads the runs one after another, so pass all images in one call.
        """
        loaded = (load_checkpoint_of_run(run, "best", self._module) for run in self._job.runs)
        return prediction_of(loaded, images, topk, tta)

    def evaluate(self, device: str = "auto", tta: str = "none", data_changed: bool = False) -> Figures:
        """The out-of-fold table; kept in the job's folder.

        `folds` has one row per fold, and `all` is the row of all images: n, accuracy, log_loss and log_loss_calibrated,
        the last three each with `mean` and the ends of the 95 % interval, `low` and `high`. `notes` are caveats.
        The arguments are those of `Run.evaluate`, without `split`.
        """
        check_choice("tta", tta, TEST_VIEWS)
        runtime.choose_device(device)
        found = out_of_fold.evaluate_folds(self._job, self._module, data_changed, tta=tta)
        return Figures(found, out_of_fold.as_text(found))

    def report(self) -> Path:
        """Write report.html, the page with the out-of-fold figures, into the job's folder."""
        from paddlecnn.reporting.job_report import write_job_report  # here, because matplotlib is slow to import

        return write_job_report(self._job, competition_of(self._job.config.data).standing)

    def submit(
        self, out: str | Path | None = None, tta: str = "none", device: str = "auto", data_changed: bool = False
    ) -> WrittenSubmission:
        """The mean of all folds as a submission; see `Run.submit`."""
        return submit(self._job.runs, self._module, out, tta, device, data_changed)


def submit(
    runs: Sequence[RunDir], module: str | None, out: str | Path | None, tta: str, device: str, data_changed: bool
) -> WrittenSubmission:
    """The submission of one run, or the mean of several."""
    from paddlecnn.kaggle.submit import submit_runs  # here, because scikit-learn and matplotlib are slow to import

    check_choice("tta", tta, TEST_VIEWS)
    runtime.choose_device(device)
    target = None if out is None else Path(out)
    return submit_runs(runs, out=target, tta=tta, module=module, data_changed=data_changed)


def load_run(
    run: str | Path, *, checkpoint: str = "best", module: str | None = None, data_root: str | Path | None = None
) -> Run:
    """Open a trained run: its folder, a config (its newest run), or `latest`.

    checkpoint: `best` or `last`
    module: the file with the run's own networks or data sets, imported only if it has the hash recorded in the run
    data_root: where the run's data are now, in place of data.root in its config
    Raises RunError if there is no such run.
    """
    check_type("run", run, (str, Path), "the path of a folder, a config or latest")
    return Run(find_run(run, data_root=data_root), checkpoint, module)


def load_folds(job: str | Path, *, module: str | None = None, data_root: str | Path | None = None) -> Folds:
    """Open a trained cross-validation: its folder, a config (its newest), or `latest`.

    module, data_root: as for `load_run`
    Raises RunError if there is none, or if one of its folds was not started.
    """
    check_type("job", job, (str, Path), "the path of a folder, a config or latest")
    return Folds(FoldJob(find_path(job), data_root), module)
