"""Shared by all commands: the argument parser, messages, and the reporting of errors."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import Any

from paddlecnn.cli.one_line_parser import OneLineParser
from paddlecnn.config import TEST_VIEWS, Config
from paddlecnn.configfile import load_config
from paddlecnn.errors import UserError, not_installed
from paddlecnn.messages import discard_stdout, show_messages
from paddlecnn.runtime import load_paddle

EXIT_USER, EXIT_BUG, EXIT_INTERRUPTED = 2, 70, 130


class HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The description as written, and each option's default after its help, if it has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, []):
            return action.help
        return super()._get_help_string(action)


class CommandParser(OneLineParser):
    """A parser for `paddlecnn NAME`, described by its module's docstring.

    It also sets up messages: -v shows more of them, -q only warnings, --json none on stdout.
    """

    def __init__(self, name: str, doc: str | None) -> None:
        super().__init__(prog=f"paddlecnn {name}", description=doc, formatter_class=HelpFormatter)
        self.add_argument("-v", "--verbose", action="count", default=0, help="more messages")
        self.add_argument("-q", "--quiet", action="count", default=0, help="only warnings")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed = super().parse_args(args, namespace)
        level = logging.INFO + 10 * (min(parsed.quiet, 1) - min(parsed.verbose, 1))
        show_messages(level, on_stdout=not getattr(parsed, "json", False))
        return parsed


def config_parser(name: str, doc: str | None, required: bool = True) -> argparse.ArgumentParser:
    """A parser for a command that takes a config: -c CONFIG and any number of -o key.path=value."""
    parser = CommandParser(name, doc)
    parser.add_argument("-c", "--config", required=required, metavar="CONFIG", help="a YAML file, e.g. one in configs/")
    text = "set one key of the config, e.g. -o train.epochs=3; may be repeated"
    parser.add_argument("-o", "--override", action="append", default=[], metavar="KEY=VALUE", help=text)
    return parser


def config_of(args: argparse.Namespace) -> Config:
    """The config that `config_parser`'s arguments name, with its own module imported."""
    config = load_config(args.config, args.override)
    if config.model.module:
        load_paddle()
        from paddlecnn.runs.user_module import load_module

        load_module(config.model.module)
    return config


def add_run_argument(parser: argparse.ArgumentParser) -> None:
    """RUN and --module, for a command that reads a run."""
    parser.add_argument("run", metavar="RUN", help="a run's folder, a config (its newest run), or latest")
    add_module_argument(parser)


def add_module_argument(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--module", metavar="FILE", help="the run's own networks or data sets (model.module)")


def add_data_arguments(parser: argparse._ActionsContainer) -> None:
    """--data-root and --data-changed, for a command that predicts the images of a run's data set."""
    add_data_root_argument(parser)
    text = "use the data that are there, even if they are not those of the training"
    parser.add_argument("--data-changed", action="store_true", help=text)


def add_data_root_argument(parser: argparse._ActionsContainer) -> None:
    text = "where the run's data are now (default: data.root of its config, from the current folder)"
    parser.add_argument("--data-root", metavar="DIR", help=text)


def add_device_argument(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, gpu or gpu:N")


def add_tta_argument(parser: argparse._ActionsContainer) -> None:
    """--tta, for a command that predicts the images of a data set."""
    text = "the views of each image that are averaged; none: the central crop"
    parser.add_argument("--tta", choices=TEST_VIEWS, default="none", help=text)


def add_engine_arguments(parser: argparse._ActionsContainer) -> None:
    """--device, --engine and --precision, for a command that predicts."""
    add_device_argument(parser)
    text = "the engine of the layers on a CPU (default: that of the run)"
    parser.add_argument("--engine", choices=("auto", "paddle", "onednn"), help=text)
    text = "the precision of activations; bfloat16 needs engine onednn (default: that of the run)"
    parser.add_argument("--precision", choices=("float32", "bfloat16"), help=text)


def show(text: object) -> None:
    """Print a result that is followed by more work, which continues even if the reader of the output has gone."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        discard_stdout()


def run(main: Callable[[], int]) -> None:
    """Run a command's main and exit with its code.

    A UserError becomes one line on stderr and its own exit code (2; 3 for a service). So does an error of the
    operating system: a full disk, a folder without write permission. Ctrl-C exits with 130. Anything else is a
    bug in the package: one line names a file with the traceback, and the exit code is 70.
    """
    interrupted = []

    def interrupt(number: int, frame: object) -> None:
        interrupted.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names in any script, even on a terminal that cannot show them
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main()
        sys.stdout.flush()
    except UserError as error:
        code = fail(error, error.exit_code)
    except KeyboardInterrupt:
        code = fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:  # `paddlecnn summary vgg16 | head`
        discard_stdout()
        code = 0
    except ModuleNotFoundError as error:
        own = (error.name or "paddlecnn").split(".")[0] == "paddlecnn"
        code = fail(bug_message(error), EXIT_BUG) if own else fail(not_installed(error.name), EXIT_USER)
    except OSError as error:
        code = fail(os_message(error), EXIT_USER) if error.errno else fail(bug_message(error), EXIT_BUG)
    except Exception as error:  # an import that Ctrl-C interrupts may fail with an error of its own
        code = fail("interrupted", EXIT_INTERRUPTED) if interrupted else fail(bug_message(error), EXIT_BUG)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(code)


OS_ADVICE = {
    errno.ENOSPC: "free some space or choose a folder on another disk",
    errno.EDQUOT: "free some space or choose a folder on another disk",
    errno.EACCES: "choose a folder that you may write to, or fix its permissions",
    errno.EPERM: "choose a folder that you may write to, or fix its permissions",
    errno.EROFS: "choose a folder on a disk that is not read-only",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EEXIST: "a file is in the place of a folder; choose another path",
    errno.ENOTDIR: "a part of the path is a file; choose another path",
    errno.EISDIR: "this is a folder; name a file",
    errno.EFBIG: "choose a disk and a limit (ulimit -f) that allow files of this size",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n)",
    errno.ENOMEM: "free some memory, or reduce train.batch_size",
}


def os_message(error: OSError) -> str:
    """One line for an error of the operating system: the file, the reason, and advice if there is any."""
    advice = OS_ADVICE.get(error.errno or 0, "check the path and the disk, then run the command again")
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes, os.PathLike)) else "writing"
    return f"{name}: {error.strerror}; {advice}"


def bug_message(error: BaseException) -> str:
    """One line for an unexpected error. The traceback goes into a file of its own."""
    text = f"command: {sys.argv}\n\n{''.join(traceback.format_exception(error))}"
    prefix = f"paddlecnn-{time.strftime('%Y%m%d-%H%M%S')}-"
    with tempfile.NamedTemporaryFile(prefix=prefix, suffix=".log", delete=False) as file:
        file.write(text.encode(errors="backslashreplace"))
    reason = str(error).strip().splitlines()
    return (
        f"unexpected {type(error).__name__}{f': {reason[-1][:200]}' if reason else ''}; this is a bug in "
        f"paddlecnn. Please report it with the file {file.name}"
    )


def fail(message: object, code: int) -> int:
    """Print one line to stderr and return the exit code."""
    print(" ".join(str(message).split()), file=sys.stderr)
    return code
