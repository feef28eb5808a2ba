"""Several runs side by side: how their configs, accuracy, time and size differ, and with what certainty."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from sklearn.metrics import confusion_matrix

from paddlecnn.configfile import flat
from paddlecnn.errors import RunError
from paddlecnn.evaluation.intervals import Estimate, accuracy_estimate, paired_images_estimate, paired_seeds_estimate
from paddlecnn.models import create_empty_model
from paddlecnn.models.registry import default_options, is_published
from paddlecnn.models.summary import summarize
from paddlecnn.progress_bar import duration
from paddlecnn.reporting.compare_members import Member, found_under, read_member
from paddlecnn.reporting.page import points
from paddlecnn.reporting.result_files import NOT_THE_EXPERIMENT
from paddlecnn.runs.fold_job import FoldJob
from paddlecnn.runs.run_dir import RunDir, reservations

NAMED = 3  # at most as many further settings are named in an answer


@dataclass(frozen=True)
class Row:
    """The runs of one config, which differ only in their seed."""

    settings: dict[str, Any]  # of the config, by key path
    members: tuple[Member, ...]

    @property
    def top1(self) -> float:
        """The mean over the seeds."""
        return statistics.fmean(one.top1 for one in self.members)

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation of top-1 over the seeds; None for a single run."""
        return statistics.stdev(one.top1 for one in self.members) if len(self.members) > 1 else None

    @property
    def loss(self) -> float:
        return statistics.fmean(one.loss for one in self.members)

    @property
    def seconds(self) -> float:
        """Mean duration of a training."""
        return statistics.fmean(one.seconds for one in self.members)

    @property
    def durations(self) -> str:
        """The duration of a training in words, from the shortest to the longest."""
        ends = [duration(end(one.seconds for one in self.members)) for end in (min, max)]
        return " to ".join(dict.fromkeys(ends))

    @property
    def speed(self) -> float | None:
        """Mean images per second of training steps, over all epochs."""
        histories = [state.history for one in self.members for state in one.histories]
        speeds = [e.images_per_second for history in histories for e in history if e.images_per_second]
        return statistics.fmean(speeds) if speeds else None

    @cached_property
    def parameters(self) -> int:
        """The number of trained parameters in the weight file."""
        _, folder = self.members[0].runs[0].read_checkpoint("best", Path)
        with safe_open(folder / "model.safetensors", "numpy") as file:
            names = [name for name in file.keys() if not name.endswith(("_mean", "_variance"))]  # noqa: SIM118 (no dict)
            return sum(prod(file.get_slice(name).get_shape()) for name in names)

    @cached_property
    def multiply_adds(self) -> int | None:
        """Of a forward pass of one image; None for a network that is not the package's."""
        model = self.members[0].best.model
        if not is_published(model.name):
            return None
        return summarize(create_empty_model(model.name, model.num_classes, **model.options)).multiply_adds

    @property
    def confusion(self) -> np.ndarray | None:
        """Counts [C, C] summed over the seeds; None unless all have stored predictions."""
        parts = [one.predictions for one in self.members if one.predictions]
        if len(parts) < len(self.members):
            return None
        every = range(len(self.members[0].best.classes))
        return sum(confusion_matrix(part.labels, part.logits.argmax(axis=1), labels=every) for part in parts)


@dataclass(frozen=True)
class Difference:
    """The accuracy of a row minus that of the reference, over pairs of equal seeds and equal images."""

    pairs: int
    mean: float
    seeds: Estimate | None  # 95 % interval over the seeds, with two pairs or more
    images: Estimate | None  # 95 % interval over the images, with stored predictions of the same images

    @property
    def estimate(self) -> Estimate | None:
        """The interval that counts: over the seeds, or over the images if there is a single pair."""
        return self.seeds or self.images

    @property
    def basis(self) -> str:
        """The basis of the interval, in words."""
        if self.seeds:
            return f"{self.pairs} pairs of equal seeds, Student's t"
        return "images of one pair of runs; says nothing about other seeds" if self.images else "one pair, no interval"


@dataclass(frozen=True)
class Comparison:
    """Rows compared with the first, the reference."""

    rows: tuple[Row, ...]
    names: tuple[str, ...]  # what sets each row apart
    keys: tuple[str, ...]  # key paths in which the rows differ
    differences: tuple[Difference | None, ...]  # None for the reference and for a row that cannot be paired with it
    split: str

    @cached_property
    def reservations(self) -> list[str]:
        """The reasons why the accuracies are optimistic."""
        runs = (run for row in self.rows for one in row.members for run in one.runs)
        return reservations(runs, "test" if self.split == "test" else "val")

    @property
    def multiplicity(self) -> str:
        """A caveat about several intervals; empty for one."""
        count = sum(bool(one and one.estimate) for one in self.differences)
        advice = "confirm the best row with seeds that did not select it"
        return f"Each of the {count} intervals misses its difference in 5 % of cases; {advice}." if count > 1 else ""

    def answer(self, number: int) -> str:
        """In a sentence or two, what a row gains over the reference."""
        row, reference, difference = self.rows[number], self.rows[0], self.differences[number]
        apart = [str(after.seed) for before, after in equal_seeds(reference, row) if not same_images(before, after)]
        if difference is None:
            reason = (
                f"was measured on {self.split} images other than those of {self.names[0]}"
                if apart
                else f"has no run with a seed of {self.names[0]}"
            )
            return f"{self.names[number]} {reason}, so they cannot be paired."
        change = 100 * difference.mean
        text = (
            f"{self.names[number]} classifies {abs(change):.2f} percentage points {'more' if change >= 0 else 'fewer'} "
            f"of the {self.split} images correctly than {self.names[0]}"
        )
        if difference.estimate:
            low, high = difference.estimate.low, difference.estimate.high
            text += f" (95 % interval {points(low)} to {points(high)}; {difference.basis})"
            verdict = "it is better" if low > 0 else "it is worse" if high < 0 else "which of them is better"
            text += f": these runs {'show that' if low > 0 or high < 0 else 'do not show'} {verdict}."
        else:
            text += " in a single run; more seeds would show whether that is chance."
        ratio = row.parameters / reference.parameters
        size = "as many parameters" if ratio == 1 else f"{ratio:.2f} times the parameters"
        times = row.seconds / max(reference.seconds, 1e-9)
        text += f" Its training took {times:.2f} times as long ({row.durations} against {reference.durations}, other "
        text += f"work on the machine included); it has {size}.{self.unnamed(number)}"
        return f"{text} Measured on other images, so not paired: seed {', '.join(apart)}." if apart else text

    def unnamed(self, number: int) -> str:
        """A sentence that names settings of a row that differ from the reference's and are not in its name."""
        row, reference = self.rows[number], self.rows[0]
        more = [
            key
            for key in beside_the_network(self.keys)
            if row.settings.get(key) != reference.settings.get(key) and setting(row, key) not in self.names[number]
        ]
        if not more:
            return ""
        named = ", ".join([setting(row, key) for key in more[:NAMED]] + ["..."] * (len(more) > NAMED))
        return f" {len(more)} more setting{'s differ' if len(more) > 1 else ' differs'}: {named}."


def compare_runs(names: Sequence[str], split: str = "val", evaluate: bool = False) -> Comparison:
    """Compare runs: each name is a run or a cross-validation, as in the commands, or a folder with some in it.

    evaluate: predict the images of runs whose predictions are not stored, as `evaluate_run` does
    Runs that differ only in their seed are one row; the first row is the reference. Raises RunError for a folder
    without a finished epoch, for runs of different data, for a second run of a config and seed, and for a single run.
    """
    members: dict[Path, Member] = {}
    for name in names:
        for source, is_named in found_under(name):
            member = read_member(source, split, is_named, evaluate)
            if member is not None:
                members.setdefault(source.path.resolve(), member)
    rows = grouped(list(members.values()))
    if len(members) < 2:
        raise RunError(f"{', '.join(map(str, names))}: only one run with a finished epoch; name two or more")
    every = dict.fromkeys(key for row in rows for key in row.settings)
    differing = [key for key in every if len({repr(row.settings.get(key)) for row in rows}) > 1]
    # The model first: it is what most comparisons are about.
    keys = tuple(sorted(differing, key=lambda key: (key != "model.name", key)))
    return Comparison(
        rows,
        tuple(row_names(rows, keys)),
        keys,
        tuple(None if row is rows[0] else difference(rows[0], row) for row in rows),
        {"val": "validation", "test": "test"}[split],
    )


def grouped(members: Sequence[Member]) -> tuple[Row, ...]:
    """The rows in the order of their first runs.

    Raises RunError for different data sets or classes, and for a second run of the same config and seed.
    """
    groups: dict[str, list[Member]] = {}
    for member in members:
        first = members[0].best
        if (member.best.data.name, member.best.classes) != (first.data.name, first.classes):
            raise RunError(
                f"{member.source.path}: its data are {member.best.data.name} with {len(member.best.classes)} classes, "
                f"but those of {members[0].source.path} are {first.data.name} with {len(first.classes)}; compare runs "
                "of the same data"
            )
        group = groups.setdefault(repr(settings_of(member.source)), [])
        for twin in group:
            if twin.seed == member.seed:
                same = "so it is the same training again"
                other = "but started from another seed of the same source, so it is no other seed"
                raise RunError(
                    f"{member.source.path}: has the config and the seed ({member.seed}) of {twin.source.path}, "
                    f"{same if twin.started_from == member.started_from else other}; name one of them"
                )
        group.append(member)
    ordered = (sorted(group, key=lambda one: one.seed) for group in groups.values())
    return tuple(Row(settings_of(group[0].source), tuple(group)) for group in ordered)


def settings_of(source: RunDir | FoldJob) -> dict[str, Any]:
    """The keys that make an experiment, without the seed; a published network's options are complete. Those of
    `lineage` are not in the config, but change the weights as well."""
    config = source.config
    options = default_options(config.model.name) | config.model.options
    complete = config.model_copy(update={"model": config.model.model_copy(update={"options": options})})
    is_folder = config.data.name in ("folder", "table")  # the root identifies the data, not only their place
    kept = {
        key: value
        for key, value in flat(complete.model_dump(mode="json")).items()
        if not key.startswith(NOT_THE_EXPERIMENT) or (is_folder and key == "data.root")
    }
    return kept | source.lineage | ({"data.fold": "all"} if isinstance(source, FoldJob) else {})


def row_names(rows: Sequence[Row], keys: Sequence[str]) -> Iterator[str]:
    """A short name for each row: the fewest of the differing keys that set the rows apart, at most three.

    A number is added where two names would be equal.
    """
    keys, names = beside_the_network(keys), [str(row.settings["model.name"]) for row in rows]
    for count in range(1, 4):
        if len(set(names)) == len(rows):
            break
        names = [", ".join(setting(row, key) for key in keys[:count]) for row in rows]
    for number, name in enumerate(names):
        repeated = names[: number + 1].count(name)
        yield name if repeated == 1 else f"{name} ({repeated})"


def beside_the_network(keys: Sequence[str]) -> list[str]:
    """The keys without the options of the networks, if the networks themselves differ."""
    return [key for key in keys if not ("model.name" in keys and key.startswith("model.options"))]


def setting(row: Row, key: str) -> str:
    """A key and its value as in a config; the network is shown without its key."""
    value = row.settings.get(key)
    text = json.dumps(value) if value is None or isinstance(value, bool) else str(value)
    return text if key == "model.name" else f"{key.rpartition('.')[2]}={text}"


def equal_seeds(reference: Row, row: Row) -> list[tuple[Member, Member]]:
    """The runs of the seeds that both rows have."""
    theirs = {one.seed: one for one in reference.members}
    return [(theirs[one.seed], one) for one in row.members if one.seed in theirs]


def same_images(before: Member, after: Member) -> bool:
    return before.measured_on == after.measured_on


def difference(reference: Row, row: Row) -> Difference | None:
    """The paired difference over the seeds that both rows measured on the same images; None if there are none."""
    pairs = [(before, after) for before, after in equal_seeds(reference, row) if same_images(before, after)]
    if not pairs:
        return None
    changes = [after.top1 - before.top1 for before, after in pairs]
    images: Estimate | None = None
    right = [(before.correct, after.correct) for before, after in pairs]
    if all(before and after for before, after in right):
        gained = [{name: after[name] - before[name] for name in before} for before, after in right]
        images = paired_images_estimate(gained)
    step = 1 / min(after.images for _, after in pairs)
    seeds = paired_seeds_estimate(changes, step) if len(pairs) > 1 else None
    return Difference(len(pairs), statistics.fmean(changes), seeds, images)


def own_interval(member: Member) -> Estimate | None:
    """The interval of a single run's accuracy; None without stored predictions."""
    return accuracy_estimate(np.array(list(member.correct.values()))) if member.correct else None
