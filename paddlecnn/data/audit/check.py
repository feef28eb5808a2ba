"""Check everything about a data set that can be wrong. Nothing is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from paddlecnn.config import Config
from paddlecnn.data.audit.duplicates import MAX_IMAGES, exact_duplicates, near_duplicates
from paddlecnn.data.audit.figures import contact_sheet, size_histogram
from paddlecnn.data.audit.inspection import ImageInfo, inspect_all
from paddlecnn.data.base import Dataset
from paddlecnn.data.datasets import SOURCES, open_dataset, open_parts
from paddlecnn.data.splits import names_test
from paddlecnn.errors import DataError
from paddlecnn.text_tables import counted

TINY = 32  # pixels; a shorter side is reported
RARE = 0.1  # share of the largest class; a class with fewer images is reported
USUAL_MODES = ("RGB", "L")


@dataclass
class Finding:
    """One finding. An error makes the command exit with 1."""

    level: str  # error or warning
    what: str
    names: list[str] = field(default_factory=list)


@dataclass
class Report:
    """All findings, and figures of each part."""

    dataset: str
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not any(finding.level == "error" for finding in self.findings)

    def error(self, what: str, names: Sequence[str] = ()) -> None:
        self.findings.append(Finding("error", what, list(names)))

    def warn(self, what: str, names: Sequence[str] = ()) -> None:
        self.findings.append(Finding("warning", what, list(names)))

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "sound": self.is_sound}


def check(config: Config, figures: Path) -> Report:
    """Check the data set of a config; PNGs go to the folder `figures`."""
    report = Report(config.data.name)
    try:
        parts = open_parts(config.data)
    except DataError as error:
        report.error(str(error))
        return report
    unofficial_files = SOURCES[config.data.name].unofficial_files
    if unofficial_files and (wrong := unofficial_files(config.data)):
        report.error(f"{len(wrong)} files do not have their published MD5", wrong)
    for name, part in (("train", parts.train), ("val", parts.val), ("test", parts.test)):
        if part is not None:
            check_part(report, name, part, config, figures)
    for name, part in (("train", parts.train), ("val", parts.val)):
        if part is not None and parts.test is not None:
            check_leaks(report.warn, name, part, "test", parts.test)
    check_split(report, config)
    return report


def check_part(report: Report, name: str, part: Dataset, config: Config, figures: Path) -> None:
    """Check the counts, every image, the balance and duplicates of one part, and draw its figures."""
    stated = SOURCES[config.data.name].counts
    if name in stated and len(part) != stated[name]:
        report.error(f"{name} has {len(part):,} images; the publisher states {stated[name]:,}")
    infos = inspect_all(part)
    check_images(report, name, part, infos)
    check_balance(report, name, part)
    check_duplicates(report, name, part, infos)
    readable = np.array([i for i, info in enumerate(infos) if info.fault is None])
    report.parts[name] = summary_of(part, [infos[i] for i in readable])
    if len(readable):
        sizes = np.array([(infos[i].width, infos[i].height) for i in readable])
        contact_sheet(part, readable, figures / f"{name}_samples.png", config.seed)
        size_histogram(part.name, sizes[:, 0], sizes[:, 1], figures / f"{name}_sizes.png")
        report.figures += [str(figures / f"{name}_{kind}.png") for kind in ("samples", "sizes")]


def check_images(report: Report, name: str, part: Dataset, infos: list[ImageInfo]) -> None:
    """Unreadable images are errors; unusual ones are warnings, since they can be read."""

    def warn(text: str, found: list[int]) -> None:
        if found:
            report.warn(f"{name}: {counted(len(found), 'image')} {text}", [part.ids[i] for i in found])

    faults = [info.fault for info in infos if info.fault is not None]
    if faults:
        report.error(f"{name}: {counted(len(faults), 'image')} cannot be read", faults)
    sound = [(i, info) for i, info in enumerate(infos) if info.fault is None]
    for mode in sorted({info.mode for _, info in sound} - set(USUAL_MODES)):
        warn(f"in {mode}, not RGB; will be converted", [i for i, info in sound if info.mode == mode])
    for kind in sorted({info.wrong_suffix for _, info in sound if info.wrong_suffix}):
        found = [i for i, info in sound if info.wrong_suffix == kind]
        warn(f"in {kind} format under another suffix; will be read by content", found)
    warn("rotated by EXIF; will be read upright", [i for i, info in sound if info.rotated])
    warn(f"with a side below {TINY} pixels", [i for i, info in sound if min(info.width, info.height) < TINY])


def check_balance(report: Report, name: str, part: Dataset) -> None:
    if part.labels is None:
        return
    counts = np.bincount(part.labels, minlength=len(part.classes))
    rare = [f"{part.classes[i]}: {counts[i]:,}" for i in np.flatnonzero(counts < RARE * counts.max())]
    if rare:
        few = "1 class" if len(rare) == 1 else f"{len(rare)} classes"
        report.warn(f"{name}: {few} with less than a tenth of the largest ({counts.max():,} images)", rare)


def check_duplicates(report: Report, name: str, part: Dataset, infos: list[ImageInfo]) -> None:
    """Exact duplicates, which are errors if their labels differ, and near duplicates."""
    readable = [i for i, info in enumerate(infos) if info.fault is None]
    content = [part.content_hashes[i] for i in readable]
    alike, contradictory = [], []
    for group in exact_duplicates(content):
        members = [readable[i] for i in group]
        labels = None if part.labels is None else part.labels[members]
        if labels is None or (labels == labels[0]).all():
            alike.append(", ".join(part.ids[i] for i in members))
        else:
            named = zip(members, labels, strict=True)
            contradictory.append(", ".join(f"{part.ids[i]} ({part.classes[label]})" for i, label in named))
    if contradictory:
        report.error(f"{name}: {counted(len(contradictory), 'image')} under different labels", contradictory)
    if alike:
        report.warn(f"{name}: {counted(len(alike), 'group')} of exact duplicates", alike)
    if len(readable) > MAX_IMAGES:
        report.warn(f"{name}: not searched for near duplicates (more than {MAX_IMAGES:,} images)")
    elif readable and (pairs := near_duplicates(np.stack([infos[i].thumbnail for i in readable]), content)):
        names = [f"{part.ids[readable[a]]} {part.ids[readable[b]]}" for a, b in pairs]
        report.warn(f"{name}: {counted(len(pairs), 'pair')} of nearly equal images", names)


def check_leaks(
    report: Callable[[str, list[str]], None], name: str, part: Dataset, other_name: str, other: Dataset
) -> None:
    """Images that are in two parts."""
    where = dict(zip(part.content_hashes, part.ids, strict=True))
    theirs = zip(other.content_hashes, other.ids, strict=True)
    shared = [f"{where[digest]} {image}" for digest, image in theirs if digest in where]
    if shared:
        report(f"{counted(len(shared), 'image')} both in {name} and in {other_name}", shared)


def check_split(report: Report, config: Config) -> None:
    """Check the config's split: its sizes, and images that are in two of its parts."""
    try:
        splits = open_dataset(config.data, config.seed)
    except DataError as error:
        report.error(str(error))
        return
    report.parts["split"] = {"train": len(splits.train), "val": len(splits.val)}
    check_leaks(report.error, "training", splits.train, "validation", splits.val)
    if splits.test is not None and names_test(config.data.split):
        for name, part in (("training", splits.train), ("validation", splits.val)):
            check_leaks(report.warn, name, part, f"the test part of {config.data.split}", splits.test)


def summary_of(part: Dataset, infos: list[ImageInfo]) -> dict[str, Any]:
    """Figures of a part as plain numbers."""
    counts = None if part.labels is None else np.bincount(part.labels, minlength=len(part.classes))
    sides = [(info.width, info.height) for info in infos] or [(0, 0)]
    return {
        "images": len(part),
        "readable": len(infos),
        "classes": None if counts is None else dict(zip(part.classes, map(int, counts), strict=True)),
        "width": [min(w for w, _ in sides), max(w for w, _ in sides)],
        "height": [min(h for _, h in sides), max(h for _, h in sides)],
        "modes": dict(Counter(info.mode for info in infos)),
    }


def as_text(report: Report, most: int = 5) -> str:
    """The report as text, with the first few names of each finding."""
    lines = []
    for name, part in report.parts.items():
        values = [f"{key} {short(value)}" for key, value in part.items() if value is not None]
        lines.append(f"{name}: " + "  ".join(values))
    for finding in report.findings:
        lines.append(f"{finding.level.upper()}: {finding.what}")
        lines += [f"    {name}" for name in finding.names[:most]]
        if len(finding.names) > most:
            lines.append(f"    and {len(finding.names) - most:,} more (--json lists all)")
    lines += [f"figure: {path}" for path in report.figures]
    lines.append(f"{report.dataset}: " + ("no errors" if report.is_sound else "errors found"))
    return "\n".join(lines)


def short(value: Any) -> str:
    """A value on one line: classes with their counts, ranges, numbers."""
    if isinstance(value, dict):
        items = [f"{key} {count:,}" for key, count in value.items()]
        return "(" + ", ".join(items[:10]) + (", ..." if len(items) > 10 else "") + ")"
    if isinstance(value, list):
        return f"{value[0]}-{value[1]}"
    return f"{value:,}"
