"""A Kaggle on loopback, and processes for which it is the real one."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from helpers import kaggle_server as server
from helpers.forked import ForkedScript

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
def variables(kaggle, tmp_path) -> Callable[..., dict[str, str]]:
    """`variables(KAGGLE_KEY="wrong")`: the variables of a process that can reach only `kaggle`; None removes one."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "work").mkdir()
    return lambda **changes: {
        name: value for name, value in (kaggle.environment(home) | changes).items() if value is not None
    }


@pytest.fixture
def python(variables, tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """`python("-m", "kaggle", ...)` runs Python in such a process."""
    return lambda *arguments: subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path / "work",
        text=True,
        timeout=300,
        env=variables(),
        capture_output=True,
    )


@pytest.fixture
def script(variables, tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """`script("submit.py", ..., KAGGLE_KEY="wrong")` runs a script of tools/ in such a process.

    Each run has its own process, because the client logs in once, when imported.
    """

    def call(name: str, *arguments: object, **changes: str | None) -> subprocess.CompletedProcess:
        path, folder = ROOT / "tools" / name, tmp_path / "work"
        process = ForkedScript(path, *arguments, cwd=folder, env=variables(**changes), separate_stderr=True)
        stdout, stderr = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.arguments, process.wait(), stdout, stderr)

    return call


@pytest.fixture
def submit(script) -> Callable[..., subprocess.CompletedProcess]:
    return partial(script, "submit.py")


@pytest.fixture
def download(script) -> Callable[..., subprocess.CompletedProcess]:
    return partial(script, "download.py", "dogs-vs-cats")
