"""The library's messages on the screen: all of them in the commands, in Python those of a training."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

from tqdm import tqdm

PACKAGE = "paddlecnn"


class MessageHandler(logging.Handler):
    """Writes the library's messages above a progress bar: information to stdout, warnings to stderr.

    If the reader of stdout is gone (`paddlecnn train ... | head -1`), the work continues without it.
    """

    def __init__(self, on_stdout: bool = True) -> None:
        super().__init__()
        self.on_stdout = on_stdout

    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stdout if self.on_stdout and record.levelno < logging.WARNING else sys.stderr
        try:
            tqdm.write(self.format(record), file=stream)
            stream.flush()
        except BrokenPipeError:
            discard_stdout()


class OtherwiseUnseen(MessageHandler):
    """Writes what the user's logging would drop for its level; passes the rest on to it, as without this handler."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self.level_of_others, self.parent = logger.getEffectiveLevel(), logger.parent

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < self.level_of_others or self.parent is None:
            super().emit(record)
        else:
            self.parent.callHandlers(record)


class OncePerCommand(logging.Filter):
    """Drops what the engine has already said: a job of five folds builds its network many times."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(f"{PACKAGE}.onednn."):
            return True
        message = record.getMessage()
        is_new = message not in self.said
        self.said.add(message)
        return is_new


def show_messages(level: int, on_stdout: bool) -> None:
    """Show the library's messages from `level` on, in place of an earlier call's setting."""
    logger = logging.getLogger(PACKAGE)
    others = [handler for handler in logger.handlers if not isinstance(handler, MessageHandler)]
    handler = MessageHandler(on_stdout)
    handler.addFilter(OncePerCommand())
    logger.handlers = [*others, handler]
    logger.setLevel(level)


@contextlib.contextmanager
def information_shown(wanted: bool = True) -> Iterator[None]:
    """A context in which the library's information is on stdout, unless the user's logging shows it already.

    The root logger is not touched; a level or a handler that the user gave the logger `paddlecnn` stays in force.
    """
    logger = logging.getLogger(PACKAGE)
    is_own = logger.level != logging.NOTSET or logger.handlers
    is_seen = logger.isEnabledFor(logging.INFO) and logger.hasHandlers()
    if not wanted or is_own or is_seen:
        yield
        return
    handler = OtherwiseUnseen(logger)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
        logger.removeHandler(handler)


def discard_stdout() -> None:
    """Discard all further output: its reader is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
