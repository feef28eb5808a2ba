"""Import of a user's own module, which registers networks and data sets.

Code runs only where the caller names it: training takes the name from the config that it is given; everything that
reads a run takes it from the caller and compares its hash with the run's. A run folder alone never imports anything.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import importlib.util
import sys
import types
from pathlib import Path

from paddlecnn.errors import ModuleError
from paddlecnn.runs.state import ModuleIdentity


def load_module(name: str, expected: ModuleIdentity | None = None) -> ModuleIdentity:
    """Import a file (`my_nets.py`) or a dotted name (`my_package.nets`), once per process.

    expected: the module that a run was trained with
    Raises ModuleError if the module is missing, fails to import, or its source differs from `expected`; it is then
    not executed.
    """
    source = source_of(name)
    identity = ModuleIdentity(name=name, sha256=hashlib.sha256(source.read_bytes()).hexdigest())
    if expected is not None and identity.sha256 != expected.sha256:
        raise ModuleError(
            f"{source}: not the module that the run was trained with (SHA-256 {identity.sha256[:12]}, "
            f"the run's is {expected.sha256[:12]}); use the original file"
        )
    unique = name if source.suffix != ".py" or not name.endswith(".py") else f"paddlecnn_user_{identity.sha256[:16]}"
    if unique not in sys.modules:
        execute(unique, name, source)
    return identity


def check_module(name: str | None, expected: ModuleIdentity | None, run: Path) -> None:
    """Import the module that the caller names for reading a run.

    Raises ModuleError if the run needs a module and none is named, or if its hash differs.
    """
    if expected is None:
        if name:
            load_module(name)
        return
    if name is None:
        raise ModuleError(
            f"{run}: was trained with the module {expected.name}, which is code and is only run if you "
            f"name it: add --module {expected.name} (in Python: module={expected.name!r})"
        )
    load_module(name, expected)


def source_of(name: str) -> Path:
    """The source file of a module, found without importing it (a dotted name imports its parent packages)."""
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise ModuleError(f"model.module: {name}: no such file (relative to the current folder)")
        return path
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError) as error:
        raise ModuleError(f"model.module: {name}: cannot be imported ({error})") from None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise ModuleError(
            f"model.module: {name}: no such module; name a file ending in .py, or a module that Python can import"
        )
    return Path(spec.origin)


def execute(unique: str, name: str, source: Path) -> None:
    """Run the module's code. Raises ModuleError with the error's type, message and line."""
    try:
        if unique == name:
            importlib.import_module(name)
            return
        loader = importlib.machinery.SourceFileLoader(unique, str(source))
        module = types.ModuleType(unique)
        module.__file__ = str(source.resolve())
        sys.modules[unique] = module
        loader.exec_module(module)
    except Exception as error:
        sys.modules.pop(unique, None)
        raise ModuleError(
            f"{source}: fails to import: {type(error).__name__}: {error}{line_of(error, source)}"
        ) from error


def line_of(error: BaseException, source: Path) -> str:
    """` (line 12)`: the last line of the user's file in the error's traceback."""
    line, frame = None, error.__traceback__
    while frame is not None:
        if Path(frame.tb_frame.f_code.co_filename).resolve() == source.resolve():
            line = frame.tb_lineno
        frame = frame.tb_next
    return f" (line {line})" if line else ""
