"""The tables of docs/results.md on trained networks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median

from paddlecnn.evaluation.intervals import Estimate
from paddlecnn.reporting.experiments import (
    Experiment,
    cross_validations,
    mean_accuracy,
    one_per_config,
    scores_by_views,
    spread,
)
from paddlecnn.reporting.published import published_results
from paddlecnn.reporting.result_files import Accuracy, Graded, Machine, OutOfFold, ResultFile, Trained
from paddlecnn.text_tables import compact_table

TITLES = {"dogs_vs_cats": "Dogs vs. Cats", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
SHARES_HEAD = "### Shortened recipes\nTrained for only a part of the epochs of the config.\n"
FOLDS_HEAD = """\
Each image is predicted by the run that was not trained on it, and calibrated by a fit on the other folds. Intervals are
95 %. Minutes `A + B`: A for training, B for computing the outputs of frozen layers, where these were recorded.

"""
GRADED_HEAD = """## Submissions scored on known labels
Neither training nor calibration used these images. The expected log loss was recorded with the submission.

"""
PUBLISHED_HEAD = """## Published results and ours
Ours is the experiment with the most seeds (if equal, the most epochs) of the config in the row. Its network is of the
same kind as the published one but not identical; the header of the config and [deviations.md](deviations.md) describe
it.

"""


Letters = Mapping[str, str]  # the letter of each machine, by its description


def title(data: str) -> str:
    return TITLES.get(data, data)


def linked(one: Trained, folder: Path) -> str:
    """The name, as a link to the config file if that is in the repository."""
    stem = one.name.removeprefix(f"{one.data}/")
    if one.config_file is None or not (folder.parent.parent / one.config_file).is_file():
        return stem
    return f"[{stem}](../{one.config_file})"


def options(one: Trained, machines: Iterable[Machine]) -> str:
    """The differences from the config file, and a note on uncommitted changes in the working tree."""
    notes = dict.fromkeys(note for machine in machines if (note := machine.uncommitted))
    return ", ".join([*(f"`{change}`" for change in one.changes), *notes])


def minutes(experiment: Experiment) -> str:
    """The recorded time of a run; the median over seeds, on which a busy machine has less effect than on the mean."""
    values = experiment.minutes
    ends = f" ({min(values):,.0f} to {max(values):,.0f})" if len(values) > 1 else ""
    return f"{median(values):,.0f}{ends}"


def seeds(experiment: Experiment) -> str:
    """Their number, with a note if a run used test images more than once for each kind of views."""
    repeated = [
        run.test_evaluations
        for run in experiment.runs
        if run.test_evaluations > max(1, bool(run.test) + len(run.test_views))
    ]
    return f"{len(experiment.runs)}{f'; test measured {max(repeated)} times' if repeated else ''}"


def training_sections(folder: Path, letters: Letters, experiments: list[Experiment]) -> Iterator[str]:
    """The tables of each data set: unchanged recipes, then shortened ones, best first."""
    for data in sorted({one.first.data for one in experiments}):
        members = sorted((one for one in experiments if one.first.data == data), key=rank)
        whole = [row for one in members if one.share >= 1 for row in training_rows(folder, letters, one)]
        shares = [row for one in members if one.share < 1 for row in training_rows(folder, letters, one)]
        yield f"## {title(data)}\n"
        if whole:
            yield compact_table(whole)
        if shares:
            yield f"{SHARES_HEAD}\n{compact_table(shares)}"


def rank(experiment: Experiment) -> float:
    """The sort key: the accuracy on test images, otherwise on validation images."""
    scores = experiment.tested or [run.val for run in experiment.runs if run.val]
    return -spread(scores)[0] if scores else 0.0


def training_rows(folder: Path, letters: Letters, experiment: Experiment) -> Iterator[dict[str, str]]:
    """A row for each kind of views with which the runs were evaluated."""
    runs, first = experiment.runs, experiment.first
    tests = {"center": experiment.tested, **scores_by_views([run.test_views for run in runs])}
    of_validation = scores_by_views([run.val_views for run in runs])
    for views in tests | of_validation:
        scores = tests.get(views)
        yield {
            "config": linked(first, folder),
            "options": options(first, experiment.machines),
            "epochs": experiment.epochs,
            "seeds": seeds(experiment),
            "views": views,
            "test accuracy": mean_accuracy(scores) if scores else "not measured",
            **(validation(experiment) if views == "center" else validated(of_validation.get(views, []))),
            "note": "; ".join(dict.fromkeys(note for run in runs for note in run.notes)),
            "minutes": minutes(experiment),
            "seconds of the fastest epoch": f"{experiment.fastest_epoch:,.1f}" if experiment.fastest_epoch else "",
            "machine": ", ".join(sorted({letters[described(machine)] for machine in experiment.machines})),
        }


def validation(experiment: Experiment) -> dict[str, str]:
    """The cells on validation images: with an interval if they selected no epoch, else with the selected epochs."""
    if experiment.validated:
        return validated(experiment.validated)
    found = [run.val for run in experiment.runs if run.val]
    if not found:
        return validated([]) | {
            "validation accuracy": "none (trained on all images)",
            "selected epoch": "none (last epoch used)",
        }
    epochs = ", ".join(str(one.epoch) for one in found)
    return validated([]) | {"validation accuracy": f"{fmean(one.top1 for one in found):.2%}", "selected epoch": epochs}


def validated(scores: Sequence[Accuracy]) -> dict[str, str]:
    """The cells on validation images that selected no epoch."""
    return {
        "validation accuracy": f"{mean_accuracy(scores)} of {scores[0].n:,}" if scores else "",
        "validation loss": f"{fmean(one.loss for one in scores):.4f}" if scores else "",
        "selected epoch": "none (last epoch used)" if scores else "",
    }


def percent(one: OutOfFold) -> str:
    """The accuracy of a cross-validation with its interval."""
    return f"{one.accuracy.mean:.2%} ({one.accuracy.low:.2%} to {one.accuracy.high:.2%})"


def with_ends(loss: Estimate) -> str:
    """A log loss with its interval."""
    return f"{loss.mean:.4f} ({loss.low:.4f} to {loss.high:.4f})"


def folds_sections(folder: Path, letters: Letters, files: Sequence[ResultFile]) -> Iterator[str]:
    """A table for each data set with cross-validations, the lowest log loss first."""
    measured = sorted(cross_validations(files), key=lambda pair: pair[0].log_loss_calibrated.mean)
    for data in sorted({one.data for one, _ in measured}):
        rows = [folds_row(folder, letters, one, machine) for one, machine in measured if one.data == data]
        yield f"## {title(data)}, out of fold\n{FOLDS_HEAD}{compact_table(rows)}"


def folds_row(folder: Path, letters: Letters, one: OutOfFold, machine: Machine) -> dict[str, str]:
    epochs = one.epochs[:1] if len(set(one.epochs)) == 1 else one.epochs
    return {
        "config": linked(one, folder),
        "options": options(one, [machine]),
        "folds": str(one.folds),
        "seed": str(one.seed),
        "views": "center" if one.tta == "none" else one.tta,
        "images": f"{one.n:,}",
        "accuracy": percent(one),
        "calibrated log loss": with_ends(one.log_loss_calibrated),
        "log loss as trained": with_ends(one.log_loss),
        "epochs": ", ".join(map(str, epochs)),
        "note": "; ".join(one.notes),
        "minutes": " + ".join(f"{s / 60:,.0f}" for s in (one.seconds, one.feature_seconds) if s is not None),
        "machine": letters[described(machine)],
    }


def graded_section(folder: Path, files: Sequence[ResultFile]) -> Iterator[str]:
    """A table of submissions scored on known labels."""
    rows = [
        {
            "config": linked(one, folder),
            "options": options(one, [file.machine]),
            "labels": one.answers,
            "images": f"{one.n:,}",
            "predicted with": one.checkpoint,
            "expected log loss": with_ends(one.expected),
            "actual log loss": with_ends(one.found),
        }
        for file in files
        for one in file.results
        if isinstance(one, Graded)
    ]
    if rows:
        yield f"{GRADED_HEAD}{compact_table(rows)}"


def published_section(folder: Path, experiments: list[Experiment]) -> Iterator[str]:
    """Published accuracies next to ours, then those without a counterpart."""
    of_config = one_per_config(experiments)
    beside, alone = [], []
    for one in published_results():
        named = {"data": title(one.data), "network": one.network, "published": f"{one.top1:.2%}"}
        source = {
            "how": one.how,
            "epoch chosen on test images": one.chosen_on_test,
            "source": f"[{one.source}]({one.link})" if one.link else one.source,
        }
        ours = of_config.get(one.config or "")
        if ours is None:
            alone.append(named | source)
            continue
        kinds = {"": ours.tested, **scores_by_views([run.test_views for run in ours.runs])}
        accuracy = "; ".join(f"{views} {mean_accuracy(scores)}".strip() for views, scores in kinds.items())
        ours_here = {"ours": accuracy, "config": linked(ours.first, folder), "epochs": ours.epochs}
        beside.append(named | ours_here | source)
    if beside:
        yield f"{PUBLISHED_HEAD}{compact_table(beside)}"
        yield "![Published accuracies beside ours](images/results_published.png)\n"
    if alone:
        yield f"{'### ' if beside else '## '}Published results without a counterpart here\n{compact_table(alone)}"


def lettered(files: Sequence[ResultFile]) -> dict[str, str]:
    """The letter of each machine used for training: A, B, ..."""
    found = {described(file.machine): None for file in files if any(isinstance(one, Trained) for one in file.results)}
    return {text: chr(ord("A") + number) for number, text in enumerate(sorted(found))}


def described(machine: Machine) -> str:
    return f"{machine.place}; {machine.engine}"


def machines_section(letters: Letters) -> str:
    """The meaning of the letters."""
    lines = "".join(f"- {letter}: {text}\n" for text, letter in letters.items())
    return f"## Machines\nThe letters in the column `machine` of the tables above:\n\n{lines}"
