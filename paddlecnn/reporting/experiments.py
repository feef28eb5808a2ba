"""Experiments: the runs in the result files (result_files.py) that differ only in the seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from paddlecnn.reporting.result_files import Accuracy, Machine, OutOfFold, ResultError, ResultFile, Training


@dataclass(frozen=True)
class Experiment:
    """The runs of one config that differ only in the seed."""

    runs: tuple[Training, ...]
    machines: tuple[Machine, ...]

    @property
    def first(self) -> Training:
        return self.runs[0]

    @property
    def tested(self) -> list[Accuracy]:
        """The scores on test images of each seed that was measured."""
        return [run.test for run in self.runs if run.test]

    @property
    def validated(self) -> list[Accuracy]:
        """The scores of each seed on validation images that selected no epoch."""
        return [run.val for run in self.runs if run.val and run.config["train"]["monitor"] == "last"]

    @property
    def minutes(self) -> list[float]:
        """The recorded training time of each run."""
        return [run.seconds / 60 for run in self.runs]

    @property
    def fastest_epoch(self) -> float | None:
        """Seconds of the fastest epoch of all runs, the one that other work on the machine disturbed least."""
        return min((record.seconds for run in self.runs for record in run.history if record.seconds), default=None)

    @property
    def share(self) -> float:
        """The part of the config file's epochs that the runs were planned for; 1 or more is the whole recipe."""
        before, after = (self.first.changed or {}).get("train.epochs", (1, 1))
        return float(after / before)

    @property
    def epochs(self) -> str:
        """`60`, `10 of 60` for a share of the config's length, or `3 instead of 2`."""
        changed = (self.first.changed or {}).get("train.epochs")
        early = "" if self.first.epochs == self.first.config["train"]["epochs"] else " (stopped early)"
        if not changed:
            return f"{self.first.epochs}{early}"
        return f"{self.first.epochs} {'of' if self.share < 1 else 'instead of'} {changed[0]}{early}"


def grouped(files: Sequence[ResultFile]) -> list[Experiment]:
    """The experiments, by name and then by their first seed's file."""
    runs = defaultdict(list)
    for file in files:
        for result in file.results:
            if isinstance(result, Training):
                runs[result.experiment].append((result, file.machine))
    found = []
    for members in runs.values():
        ordered = sorted(members, key=lambda pair: pair[0].seed)
        seeds = [run.seed for run, _ in ordered]
        if len(set(seeds)) < len(seeds):
            raise ResultError(f"{ordered[0][0].run}: two files have the same config and seed; remove one of them")
        found.append(Experiment(tuple(run for run, _ in ordered), tuple(machine for _, machine in ordered)))
    return sorted(found, key=lambda one: (one.first.data, one.first.name, one.first.label))


def one_per_config(
    experiments: list[Experiment], scores: Callable[[Experiment], list[Accuracy]] = lambda one: one.tested
) -> dict[str, Experiment]:
    """The experiment that represents each config, by name: not the best, but the one with most seeds, then epochs; none
    with notes on what makes its figures optimistic."""
    usable = [one for one in experiments if scores(one) and not any(run.notes for run in one.runs)]
    ordered = sorted(usable, key=lambda one: (len(scores(one)), one.first.epochs))
    return {one.first.name: one for one in ordered}


def cross_validations(files: Sequence[ResultFile]) -> list[tuple[OutOfFold, Machine]]:
    """The cross-validations, each with its machine, as in the files."""
    return [(one, file.machine) for file in files for one in file.results if isinstance(one, OutOfFold)]


def folds_per_config(files: Sequence[ResultFile], tta: str) -> dict[str, tuple[OutOfFold, Machine]]:
    """The cross-validation that represents each config, by name: not the best, but the one on most images, then the
    longest training, measured with `tta` or else with one view."""
    ordered = sorted(
        cross_validations(files),
        key=lambda pair: (pair[0].n, pair[0].seconds, pair[0].tta == tta, pair[0].tta == "none"),
    )
    return {one.name: (one, machine) for one, machine in ordered}


def scores_by_views(runs: Sequence[dict[str, Accuracy]]) -> dict[str, list[Accuracy]]:
    """The scores of the seeds that were measured with each kind of views."""
    kinds = dict.fromkeys(tta for views in runs for tta in views)
    return {tta: [views[tta] for views in runs if tta in views] for tta in kinds}


def spread(seeds: Sequence[Accuracy]) -> tuple[float, float, float]:
    """The mean and its ends: one standard deviation over seeds away, or the interval of a single seed."""
    if len(seeds) == 1:
        return seeds[0].top1, seeds[0].low, seeds[0].high
    mean, deviation = fmean(one.top1 for one in seeds), stdev(one.top1 for one in seeds)
    return mean, mean - deviation, mean + deviation


def mean_accuracy(seeds: Sequence[Accuracy]) -> str:
    """The values of `spread` as text."""
    mean, low, high = spread(seeds)
    return f"{mean:.2%} ({low:.2%} to {high:.2%})" if len(seeds) == 1 else f"{mean:.2%} ± {high - mean:.2%}"


def lrn_pairs(experiments: list[Experiment]) -> Iterator[tuple[Experiment, Experiment]]:
    """(without, with): experiments that are equal except for the local response normalisation of their network."""
    for one in experiments:
        for other in experiments:
            if other.first.model == f"{one.first.model}_lrn" and without_model(one) == without_model(other):
                yield one, other


def without_model(experiment: Experiment) -> str:
    """The experiment's identity with the network and the constants of its normalisation left out."""
    model = experiment.first.config["model"]
    options = {key: value for key, value in model["options"].items() if key != "lrn"}
    config = {**experiment.first.config, "model": {**model, "name": "any", "options": options}}
    return experiment.first.model_copy(update={"config": config}).experiment
