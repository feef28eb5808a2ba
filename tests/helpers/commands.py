"""Commands run in this process, for properties that are checked on hundreds of inputs."""

from __future__ import annotations

import contextlib
import io

import pytest

from paddlecnn.__main__ import main


def run_command(*arguments: object) -> tuple[int, list[str]]:
    """The exit code of a command and its lines on stderr."""
    stderr = io.StringIO()
    with (
        contextlib.redirect_stderr(stderr),
        contextlib.redirect_stdout(io.StringIO()),
        pytest.raises(SystemExit) as leaving,
    ):
        main([str(argument) for argument in arguments])
    code = leaving.value.code
    assert isinstance(code, int)
    return code, stderr.getvalue().splitlines()
