"""The doctor: looks at everything about a data set that can be wrong, and changes nothing."""
from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from paddlecnn.config import Config
from paddlecnn.data.audit.duplicates import MOST, exact_duplicates, near_duplicates
from paddlecnn.data.audit.figures import contact_sheet, size_histogram
from paddlecnn.data.audit.inspection import ImageInfo, look_at_all
from paddlecnn.data.base import Dataset, Splits
from paddlecnn.data.datasets import SOURCES, defaults, open_dataset, open_parts
from paddlecnn.data.pipeline.loader import make_loader
from paddlecnn.data.pipeline.transforms import resolve
from paddlecnn.data.pipeline.workers import SHARED_MEMORY, shared_memory_free, shared_memory_needed
from paddlecnn.errors import DataError

TINY = 32  # pixels: a short side below it
RARE = 0.1  # of the largest class: a class with fewer images
USUAL_MODES = ("RGB", "L")


@dataclass
class Finding:
    """One thing worth knowing. An error makes the tool exit with 1."""

    level: str  # error or warning
    what: str
    names: list[str] = field(default_factory=list)


@dataclass
class Report:
    """All that was found."""

    dataset: str
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not any(finding.level == "error" for finding in self.findings)

    def add(self, level: str, what: str, names: list[str] | None = None) -> None:
        self.findings.append(Finding(level, what, names or []))

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "sound": self.is_sound}


def check(config: Config, pictures: Path) -> Report:
    """Look at the data set of a config; PNGs go to the folder `pictures`."""
    report = Report(config.data.name)
    try:
        parts = open_parts(config.data)
    except DataError as error:
        report.add("error", str(error))
        return report
    check_checksums(report, config)
    for name, part in (("train", parts.train), ("val", parts.val), ("test", parts.test)):
        if part is not None:
            check_part(report, name, part, config, pictures)
    if parts.test is not None:
        check_leaks(report, "train", parts.train, "test", parts.test)
    check_split(report, config)
    return report


def check_checksums(report: Report, config: Config) -> None:
    """Each file against its published checksum, for data sets that have published checksums."""
    unofficial_files = SOURCES[config.data.name].unofficial_files
    if unofficial_files and (wrong := unofficial_files(config.data)):
        report.add("error", f"{len(wrong)} files are not the published ones, by their MD5", wrong)


def check_part(report: Report, name: str, part: Dataset, config: Config, pictures: Path) -> None:
    """Counts, every image, balance, duplicates and pictures of one part."""
    stated = SOURCES[config.data.name].counts
    if name in stated and len(part) != stated[name]:
        report.add("error", f"{name} has {len(part):,} images; the publisher states {stated[name]:,}")
    looks = look_at_all(part)
    check_images(report, name, part, looks)
    check_balance(report, name, part)
    check_duplicates(report, name, part, looks)
    readable = np.array([i for i, look in enumerate(looks) if look.fault is None])
    report.parts[name] = summary_of(part, [looks[i] for i in readable])
    if len(readable):
        sizes = np.array([(looks[i].width, looks[i].height) for i in readable])
        contact_sheet(part, readable, pictures / f"{name}_samples.png", config.seed)
        size_histogram(part.name, sizes[:, 0], sizes[:, 1], pictures / f"{name}_sizes.png")
        report.pictures += [str(pictures / f"{name}_{kind}.png") for kind in ("samples", "sizes")]


def check_images(report: Report, name: str, part: Dataset, looks: list[ImageInfo]) -> None:
    """Unreadable images are errors; unusual ones are warnings, since they are read all the same."""
    def those(seen: str, found: list[int], level: str = "warning") -> None:
        if found:
            report.add(level, f"{name}: {len(found):,} images {seen}", [part.ids[i] for i in found])

    faults = [look.fault for look in looks if look.fault is not None]
    if faults:
        report.add("error", f"{name}: {len(faults):,} images cannot be read", faults)
    sound = [(i, look) for i, look in enumerate(looks) if look.fault is None]
    for mode in sorted({look.mode for _, look in sound} - set(USUAL_MODES)):
        those(f"are {mode}, not RGB; they are converted", [i for i, look in sound if look.mode == mode])
    for kind in sorted({look.wrong_suffix for _, look in sound if look.wrong_suffix}):
        those(f"are {kind} under another suffix; they are read as what they are",
              [i for i, look in sound if look.wrong_suffix == kind])
    those("are turned by EXIF; they are read upright", [i for i, look in sound if look.rotated])
    those(f"have a side below {TINY} pixels", [i for i, look in sound if min(look.width, look.height) < TINY])


def check_balance(report: Report, name: str, part: Dataset) -> None:
    if part.labels is None:
        return
    counts = np.bincount(part.labels, minlength=len(part.classes))
    rare = [f"{part.classes[i]}: {counts[i]:,}" for i in np.flatnonzero(counts < RARE * counts.max())]
    if rare:
        report.add("warning", f"{name}: {len(rare)} classes have less than a tenth of the largest "
                              f"({counts.max():,} images)", rare)


def check_duplicates(report: Report, name: str, part: Dataset, looks: list[ImageInfo]) -> None:
    """Exact duplicates, those with two labels being errors, and pictures that are nearly the same."""
    readable = [i for i, look in enumerate(looks) if look.fault is None]
    content = [part.content_hashes[i] for i in readable]
    for group in exact_duplicates(content):
        members = [readable[i] for i in group]
        labels = set() if part.labels is None else {int(part.labels[i]) for i in members}
        if len(labels) > 1:
            report.add("error", f"{name}: one image under {len(labels)} labels "
                                f"({', '.join(part.classes[label] for label in sorted(labels))})",
                       [part.ids[i] for i in members])
        else:
            report.add("warning", f"{name}: one image {len(members)} times", [part.ids[i] for i in members])
    if len(readable) > MOST:
        report.add("warning", f"{name}: not searched for near duplicates, being more than {MOST:,} images")
    elif readable:
        pairs = near_duplicates(np.stack([looks[i].thumbnail for i in readable]), content)
        if pairs:
            report.add("warning", f"{name}: {len(pairs):,} pairs of images look nearly the same",
                       [f"{part.ids[readable[a]]} {part.ids[readable[b]]}" for a, b in pairs])


def check_leaks(report: Report, name: str, part: Dataset, other_name: str, other: Dataset,
                level: str = "warning") -> None:
    """Images that are in two parts."""
    where = dict(zip(part.content_hashes, part.ids, strict=True))
    shared = [f"{where[digest]} {image}" for digest, image in zip(other.content_hashes, other.ids, strict=True)
              if digest in where]
    if shared:
        report.add(level, f"{len(shared):,} images are in {name} and in {other_name}", shared)


def check_split(report: Report, config: Config) -> None:
    """The split the config asks for, and whether the loader's workers find the shared memory they need."""
    try:
        splits = open_dataset(config.data, config.seed)
    except DataError as error:
        report.add("error", str(error))
        return
    report.parts["split"] = {"train": len(splits.train), "val": len(splits.val)}
    check_leaks(report, "training", splits.train, "validation", splits.val, "error")
    check_shared_memory(report, config, splits)


def check_shared_memory(report: Report, config: Config, splits: Splits) -> None:
    spec = resolve(config.data.preprocess, defaults(config.data.name))
    loader = make_loader(splits.train, spec, config.train.batch_size, augment=config.data.augment)
    workers = config.data.workers
    if not workers or loader.is_in_memory or config.data.cache:
        return
    needed, free = shared_memory_needed(loader, workers), shared_memory_free()
    report.parts["shared memory"] = {"needed": needed, "free": free}
    if free < needed:
        report.add("error", f"{SHARED_MEMORY} has {free / 2**20:,.0f} MiB free and {workers} workers need "
                            f"{needed / 2**20:,.0f}; make it larger (docker: --shm-size) or take fewer workers")


def summary_of(part: Dataset, looks: list[ImageInfo]) -> dict[str, Any]:
    """Plain numbers about a part."""
    counts = None if part.labels is None else np.bincount(part.labels, minlength=len(part.classes))
    sides = [(look.width, look.height) for look in looks] or [(0, 0)]
    return {
        "images": len(part),
        "readable": len(looks),
        "classes": None if counts is None else dict(zip(part.classes, map(int, counts), strict=True)),
        "width": [min(w for w, _ in sides), max(w for w, _ in sides)],
        "height": [min(h for _, h in sides), max(h for _, h in sides)],
        "modes": dict(Counter(look.mode for look in looks)),
    }


def as_text(report: Report, most: int = 5) -> str:
    """The report for a person; of each finding the first few names."""
    lines = []
    for name, part in report.parts.items():
        told = [f"{key} {short(value)}" for key, value in part.items() if value is not None]
        lines.append(f"{name}: " + "  ".join(told))
    for finding in report.findings:
        lines.append(f"{finding.level.upper()}: {finding.what}")
        lines += [f"    {name}" for name in finding.names[:most]]
        if len(finding.names) > most:
            lines.append(f"    and {len(finding.names) - most:,} more (--json lists all)")
    lines += [f"picture: {path}" for path in report.pictures]
    lines.append(f"{report.dataset}: " + ("sound" if report.is_sound else "something is wrong"))
    return "\n".join(lines)


def short(value: Any) -> str:
    """A value on one line: classes with their counts, ranges, numbers."""
    if isinstance(value, dict):
        items = [f"{key} {count:,}" for key, count in value.items()]
        return "(" + ", ".join(items[:10]) + (", ..." if len(items) > 10 else "") + ")"
    if isinstance(value, list):
        return f"{value[0]}-{value[1]}"
    return f"{value:,}"
