"""The record in environment.json of the code that ran."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import paddlecnn

SCRIPT = "from paddlecnn.runs.provenance import git_state; print(git_state())"


@pytest.fixture
def repository(tmp_path) -> Path:
    """A repository of the user's own, with an ignored virtual environment in which the package is installed."""
    shutil.copytree(
        Path(paddlecnn.__file__).parent, tmp_path / "venv/paddlecnn", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / ".gitignore").write_text("venv\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "of the user")
    return tmp_path


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.org", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def recorded(repository: Path, python: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(repository / "venv")}
    done = subprocess.run([python, "-c", SCRIPT], env=environment, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_commit_is_the_packages_and_not_that_of_a_repository_around_it(repository, python):
    assert recorded(repository, python) == "None"
    git(repository, "add", "--force", "venv")
    git(repository, "commit", "--quiet", "-m", "with the package")
    assert recorded(repository, python) == str({"commit": git(repository, "rev-parse", "HEAD"), "dirty": False})
