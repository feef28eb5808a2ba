"""Any config, override or state.json ends with exit code 0, 2 or 3 and at most one line, and writes nothing else."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.properties import PROPERTY
from paddlecnn.__main__ import main
from paddlecnn.config import Config
from paddlecnn.config_errors import key_paths
from paddlecnn.runs.checkpoint import FILES, SUMS

KEYS = sorted(key_paths(Config))
NUMBERS = st.one_of(st.integers(), st.integers(-3, 40), st.floats(), st.sampled_from([10**9, 10**30, 1e308, 0.5, 1.0]))
VALUES = st.recursive(
    st.one_of(
        NUMBERS,
        st.booleans(),
        st.none(),
        st.text(max_size=12),
        st.sampled_from(["cosine", "step", "features", "none", "adam", "lenet5", "digits", "bgr", "paddle"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=5,
)
TOKENS = [
    "data:",
    "model:",
    "train:",
    " {",
    "}",
    "name: ",
    "digits",
    "lenet5",
    "\n",
    "epochs: ",
    "1",
    "*a",
    "- ",
    "&a ",
    "!!python/object:os.system ",
    "[",
    "]",
    "'",
    '"',
    "? ",
    "| ",
    "0o7",
    "1:30",
]
SMALL = "data: {name: digits, limit: 40}\nmodel: {name: lenet5}\ntrain: {epochs: 1, batch_size: 16}\n"


def outcome(*arguments: object) -> tuple[int, str]:
    """The exit code and stderr of a command."""
    error = io.StringIO()
    with (
        contextlib.redirect_stderr(error),
        contextlib.redirect_stdout(io.StringIO()),
        pytest.raises(SystemExit) as leaving,
    ):
        main([str(argument) for argument in arguments])
    return leaving.value.code, error.getvalue()


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def assert_in_order(code: int, error: str) -> None:
    assert code in (0, 2, 3), error
    if code:
        assert len([line for line in error.splitlines() if line]) == 1, error


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("configs")
    (path / "small.yaml").write_text(SMALL)
    return path


@PROPERTY
@given(
    text=st.one_of(
        st.text(max_size=200), st.binary(max_size=200), st.lists(st.sampled_from(TOKENS), max_size=30).map("".join)
    )
)
def test_any_config_file(folder, text):
    (folder / "any.yaml").write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    before = files(folder)
    assert_in_order(*outcome("train", "-c", folder / "any.yaml", "--dry-run"))
    assert files(folder) == before


@PROPERTY
@given(key=st.sampled_from(KEYS), value=VALUES)
def test_any_override_of_any_key(folder, key, value, monkeypatch):
    monkeypatch.chdir(folder)  # relative paths in a value stay here
    before = files(folder)
    text = json.dumps(value) if not isinstance(value, str) else value
    assert_in_order(*outcome("train", "-c", "small.yaml", "-o", f"{key}={text}", "-o", "data.cache=null", "--dry-run"))
    assert files(folder) == before


@pytest.fixture(scope="module")
def run(folder) -> Path:
    path = folder / "run"
    assert outcome("train", "-c", folder / "small.yaml", "--run", path)[0] == 0
    return path


@PROPERTY
@given(data=st.data())
def test_any_value_in_a_state_with_right_sums(folder, run, data):
    """Someone edits state.json and repairs its sum: evaluation works or is refused in one line."""
    state = json.loads((run / "checkpoints/best/state.json").read_text())
    key = data.draw(st.sampled_from(sorted(state)))
    inner = sorted(state[key]) if isinstance(state[key], dict) and data.draw(st.booleans()) else []
    (state[key] if inner else state)[data.draw(st.sampled_from(inner)) if inner else key] = data.draw(VALUES)
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)
    best = copy / "checkpoints/best"
    (best / "state.json").write_text(json.dumps(state))
    sums = subprocess.run(["sha256sum", *FILES], cwd=best, capture_output=True, text=True, check=True)
    (best / SUMS).write_text(sums.stdout)
    before = {name for name in files(folder) if not name.startswith("copy/")}
    code, error = outcome("eval", copy)
    assert_in_order(code, error)
    assert {name for name in files(folder) if not name.startswith("copy/")} == before
