"""Scripts in processes of their own, forked from one in which the slow imports are done.

Each has its own environment, folder, signals, output and exit code, and can be killed. Only the imports of
PaddlePaddle, of the package and of Kaggle's client, seconds in each new interpreter, are shared. Tests of what happens
before or during them start Python instead.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

PRELOADED = ["paddlecnn.training.train", "paddlecnn.cli.train", "paddlecnn.cli.submit", "paddlecnn.kaggle.upload"]
PRELOADED += ["paddlecnn.evaluation.evaluate", "kagglesdk.competitions.services.competition_api_service"]

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(PRELOADED)


class ForkedScript:
    """A running script, with the part of subprocess.Popen's interface that tests use.

    Its output goes to files: `stdout` can be read at any time, and has both streams if `stderr` is not separate.
    """

    def __init__(
        self,
        script: Path,
        *arguments: object,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        separate_stderr: bool = False,
    ):
        self.arguments = [str(script), *map(str, arguments)]
        self.folder = tempfile.TemporaryDirectory()
        outputs = [os.path.join(self.folder.name, name) for name in ("out", "err" if separate_stderr else "out")]
        for path in outputs:
            Path(path).touch()
        self.stdout, self.stderr = (open(path) for path in outputs)  # noqa: SIM115 (read after the process has ended)
        environment = dict(os.environ if env is None else env)
        self.process = context.Process(
            target=run_script, args=(self.arguments, str(cwd or Path.cwd()), environment, outputs)
        )
        self.process.start()

    @property
    def pid(self) -> int | None:
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        code = self.process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self.arguments, timeout or 0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return self.stdout.read(), self.stderr.read()

    def send_signal(self, number: int) -> None:
        if self.poll() is None and self.pid is not None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_script(arguments: list[str], cwd: str, environment: dict[str, str], outputs: list[str]) -> None:
    """In the new process: what `python SCRIPT ARGUMENTS` does."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for number, path in enumerate(outputs, start=1):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.argv = arguments
    sys.path.insert(0, os.path.dirname(arguments[0]))
    runpy.run_path(arguments[0], run_name="__main__")
