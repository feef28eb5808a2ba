"""Python environments with planted faults, made of links to the packages of this interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

from helpers.forked import ForkedScript


def linked_environment(folder: Path, without: Sequence[str] = ()) -> Path:
    """The packages of a new environment: links to those of this one, except names that begin with one of `without`."""
    packages = empty_environment(folder)
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(tuple(without)):
            (packages / entry.name).symlink_to(entry)
    return packages


def empty_environment(folder: Path) -> Path:
    """The site-packages of a new environment without any package."""
    venv.create(folder, symlinks=True)
    return next(folder.glob("lib/python*/site-packages"))


def unlinked(link: Path) -> Path:
    """Replace a link to a folder by a folder of links to its content, so that the content can be changed."""
    target = link.resolve()
    link.unlink()
    link.mkdir()
    for entry in target.iterdir():
        (link / entry.name).symlink_to(entry)
    return link


def run_in(packages: Path | None, *command: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the clone with this interpreter, or with that of the environment that has these packages."""
    python = sys.executable if packages is None else packages.parents[2] / "bin" / "python"
    return subprocess.run(
        [python, *map(str, command)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env={**clean_environment(cwd), "PYTHONPATH": "", **environment},
    )


def fork_in(script: Path, *arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same with this interpreter, without importing PaddlePaddle and the package again."""
    threads = str(len(os.sched_getaffinity(0)))  # set by the package's import
    variables = {**clean_environment(cwd), "OMP_NUM_THREADS": threads, **environment}
    process = ForkedScript(script, *arguments, cwd=cwd, env=variables, separate_stderr=True)
    stdout, stderr = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.arguments, process.wait(), stdout, stderr)


def clean_environment(home: Path) -> dict[str, str]:
    """The variables of this process without those that tests set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KAGGLE_", "OMP_", "PADDLECNN_"))}
    return {**kept, "HOME": str(home)}
