"""A Kaggle on loopback, and processes for which it is the real one."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers import kaggle_server as server

ROOT = Path(__file__).resolve().parents[2]
REDUX = "dogs-vs-cats-redux-kernels-edition"


@pytest.fixture
def kaggle(tmp_path) -> Iterator:
    """The server, with Redux as a competition of three test images; its bundle has 3 MB, the client writes in MiB."""
    bundle = tmp_path / "remote" / f"{REDUX}.zip"
    bundle.parent.mkdir()
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("sample_submission.csv", "id,label\n1,0.5\n2,0.5\n3,0.5\n")
        for part, names in {"test": ("1", "2", "3"), "train": ("cat.0", "dog.0", "dog.1")}.items():
            inner = io.BytesIO()
            with zipfile.ZipFile(inner, "w") as images:
                for name in names:
                    images.writestr(f"{part}/{name}.jpg", name.encode().ljust(500_000))
            archive.writestr(f"{part}.zip", inner.getvalue())
    with server.Kaggle() as running:
        running.state.contests[REDUX] = server.Contest(bundle, {"1": "1", "2": "0", "3": "1"})
        yield running


@pytest.fixture
def in_process(kaggle, tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """`in_process(["-m", "kaggle", ...], KAGGLE_KEY="wrong")` runs Python in a process that can reach only `kaggle`.

    A variable given as None is not set. Each run has its own process, because the client logs in once, when imported.
    """
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "work").mkdir()

    def call(arguments: list[object], **changes: str | None) -> subprocess.CompletedProcess:
        environment = {name: value for name, value in (kaggle.environment(home) | changes).items() if value is not None}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path / "work",
            text=True,
            timeout=300,
            env=environment,
            capture_output=True,
        )

    return call


@pytest.fixture
def submit(in_process) -> Callable[..., subprocess.CompletedProcess]:
    """tools/submit.py in such a process."""
    return lambda *arguments, **environment: in_process([ROOT / "tools" / "submit.py", *arguments], **environment)


@pytest.fixture
def download(in_process) -> Callable[..., subprocess.CompletedProcess]:
    """tools/download.py dogs-vs-cats in such a process."""
    return lambda **environment: in_process([ROOT / "tools" / "download.py", "dogs-vs-cats"], **environment)
