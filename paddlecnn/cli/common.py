"""Shared by all commands: the argument parser, and the reporting of errors."""
from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable

from paddlecnn.errors import UserError

EXIT_INTERRUPTED = 130


class HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The description as written, and each option's default behind its help."""


def command_parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser for `paddlecnn NAME`, described by its module's docstring."""
    return argparse.ArgumentParser(prog=f"paddlecnn {name}", description=doc, formatter_class=HelpFormatter)


def config_parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser for a tool that takes a config: -c CONFIG and any number of -o key.path=value."""
    parser = command_parser(name, doc)
    parser.add_argument("-c", "--config", required=True, metavar="CONFIG", help="a YAML file from configs/")
    parser.add_argument("-o", "--override", action="append", default=[], metavar="KEY=VALUE",
                        help="set one key of the config, e.g. -o train.epochs=3; may be repeated")
    return parser


def run(main: Callable[[], int]) -> None:
    """Run a tool's main and leave with its exit code.

    A UserError becomes one line on stderr and its own exit code (2; 3 for a service). So does an error of
    the operating system that a user can cause: a full disk, a folder that may not be written. Ctrl-C
    leaves with 130. Anything else is a bug of ours and keeps its traceback.
    """
    try:
        code = main()
        sys.stdout.flush()
    except UserError as error:
        code = fail(error, error.exit_code)
    except KeyboardInterrupt:
        code = fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:  # `tools/summary.py vgg16 | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        if error.errno not in OS_ADVICE:
            raise
        code = fail(f"{error.filename or 'writing'}: {error.strerror}; {OS_ADVICE[error.errno]}", 2)
    sys.exit(code)


OS_ADVICE = {
    errno.ENOSPC: "free some space or choose a folder on another disk",
    errno.EDQUOT: "free some space or choose a folder on another disk",
    errno.EACCES: "choose a folder that you may write to, or mend its permissions",
    errno.EPERM: "choose a folder that you may write to, or mend its permissions",
    errno.EROFS: "choose a folder on a disk that is not read-only",
}


def fail(message: object, code: int) -> int:
    """Print one line to stderr and return the exit code."""
    print(" ".join(str(message).split()), file=sys.stderr)
    return code
