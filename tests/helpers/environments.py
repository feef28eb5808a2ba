"""Python environments with planted faults: folders of links to the packages of this interpreter."""
from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from helpers.docs import ROOT


def linked_environment(folder: Path, without: Sequence[str] = ()) -> Path:
    """A folder that links to everything in site-packages, except names that begin with one of `without`."""
    folder.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(tuple(without)):
            (folder / entry.name).symlink_to(entry)
    return folder


def unlinked(link: Path) -> Path:
    """Replace a link to a folder by a folder of links to its content, so that the content can be changed."""
    target = link.resolve()
    link.unlink()
    link.mkdir()
    for entry in target.iterdir():
        (link / entry.name).symlink_to(entry)
    return link


def run_in(packages: Path | None, *command: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the clone with this interpreter, with `packages` in place of its own if given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KAGGLE_", "OMP_"))}
    python = [sys.executable] if packages is None else [sys.executable, "-S"]
    return subprocess.run([*python, *map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=300,
                          env={**kept, "HOME": str(cwd), "PYTHONPATH": f"{packages or ''}:{ROOT}", **environment})
