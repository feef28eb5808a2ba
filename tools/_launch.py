"""The launcher of every script in this folder: runs a command of the package beside it."""

from __future__ import annotations

import sys
from pathlib import Path


def launch(command: str) -> None:
    """Run `paddlecnn COMMAND` with this process's arguments, from the clone that holds this file."""
    if sys.version_info < (3, 11):  # noqa: UP036 (the package cannot be imported to say so)
        print(f"{sys.executable} is Python {sys.version.split()[0]}; paddlecnn requires 3.11 or newer", file=sys.stderr)
        sys.exit(2)
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from paddlecnn.__main__ import main

    main([command, *sys.argv[1:]])
