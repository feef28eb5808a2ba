"""The command line: paddlecnn COMMAND, or python -m paddlecnn COMMAND."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence

from paddlecnn import __version__

COMMANDS = {
    "train": "train a network",
    "find-lr": "suggest a learning rate from a range test",
    "eval": "measure a run on validation or test data",
    "report": "write one HTML page that shows a run",
    "compare": "compare runs and seeds, with intervals",
    "board": "show runs in VisualDL",
    "predict": "classify images",
    "demo": "classify dropped images in the browser",
    "export": "write a run's network as a Paddle program, ONNX or safetensors",
    "submit": "make, blend, upload and list submissions",
    "download": "get a data set or published weights",
    "check-data": "report problems in a data set",
    "split": "write a split as text files",
    "summary": "show layers, shapes, parameters and multiply-adds",
    "benchmark": "measure speed",
    "results": "collect the figures of runs in docs/results.md",
    "doctor": "check the installation and this machine",
}


def usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    first = "usage: paddlecnn COMMAND ...    (paddlecnn COMMAND --help shows its options; paddlecnn --version)"
    return "\n".join([first, "", *lines])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave the process with its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        sys.exit(0 if arguments else 2)
    if arguments[0] == "--version":
        print(f"paddlecnn {__version__}")
        sys.exit(0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `run` handles it, Ctrl-C ends the process without a traceback
    try:
        from paddlecnn.cli.common import run
    except ModuleNotFoundError as error:
        from paddlecnn.errors import not_installed

        print(not_installed(error.name), file=sys.stderr)
        sys.exit(2)
    run(lambda: dispatch(arguments[0], arguments[1:]))


def dispatch(name: str, arguments: list[str]) -> int:
    """Run one command. Raises UserError for an unknown name."""
    from paddlecnn.errors import ConfigError, did_you_mean

    if name not in COMMANDS:
        raise ConfigError(f"{name}: not a command of paddlecnn{did_you_mean(name, COMMANDS)}")
    module = importlib.import_module(f"paddlecnn.cli.{name.replace('-', '_')}")
    return module.main(arguments)


if __name__ == "__main__":
    main()
