"""The start of every script in this folder: run a command of the package that lies beside it."""
from __future__ import annotations

import sys
from pathlib import Path


def launch(command: str) -> None:
    """Run `paddlecnn COMMAND` with this process's arguments, from the clone that holds this file.

    Where a package is missing, one line says how to install it, and the exit code is 2.
    """
    root = Path(__file__).resolve().parent.parent
    sys.path.insert(0, str(root))
    try:
        from paddlecnn.__main__ import main
    except ModuleNotFoundError as error:
        sys.exit(not_installed(root, error.name))
    main([command, *sys.argv[1:]])


def not_installed(root: Path, module: str | None) -> int:
    print(f"{module}: not installed for {sys.executable}; run `make install` in {root} and activate .venv, or run "
          f"`pip install -e '{root}[cpu]'`", file=sys.stderr)
    return 2
