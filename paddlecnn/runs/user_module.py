"""Import of a user's own module, which registers networks and data sets.

Code runs only if the caller names it: training takes the name from the config that it is given; everything that
reads a run takes it from the caller and compares its hash with the run's. A run folder alone never imports anything.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType

from paddlecnn.errors import ModuleError
from paddlecnn.runs.state import ModuleIdentity


class HashedLoader(SourceFileLoader):
    """A loader of the very source that was hashed. Python's own reads it again, or uses a compiled file beside it."""

    def __init__(self, name: str, path: str, source: bytes) -> None:
        super().__init__(name, path)
        self.source = source

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.source, self.path)


def load_module(name: str, expected: ModuleIdentity | None = None) -> ModuleIdentity:
    """Import a file (`my_nets.py`) or a dotted name (`my_package.nets`), once per process.

    expected: the module that a run was trained with
    Raises ModuleError if the module is missing, fails to import, or its source differs from `expected`; it is then
    not executed.
    """
    spec = spec_of(name)
    path = Path(str(spec.origin))
    source = path.read_bytes()
    identity = ModuleIdentity(name=name, sha256=hashlib.sha256(source).hexdigest())
    if expected is not None and identity.sha256 != expected.sha256:
        raise ModuleError(
            f"{path}: not the module that the run was trained with (SHA-256 {identity.sha256[:12]}, "
            f"the run's is {expected.sha256[:12]}); use the original file"
        )
    if name.endswith(".py"):
        spec.name = f"paddlecnn_user_{identity.sha256[:16]}"  # a process may import several versions of a file
    if spec.name not in sys.modules:
        execute(spec, path, source)
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


def spec_of(name: str) -> ModuleSpec:
    """The spec of a module, found without importing it (a dotted name imports its parent packages)."""
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise ModuleError(f"model.module: {name}: no such file (relative to the current folder)")
        spec = importlib.util.spec_from_file_location(name, path.resolve())
        assert spec is not None  # the extension is that of Python's source files
        return spec
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError) as error:
        raise ModuleError(f"model.module: {name}: cannot be imported ({error})") from None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise ModuleError(
            f"model.module: {name}: no such module; name a file ending in .py, or a module that Python can import"
        )
    return spec


def execute(spec: ModuleSpec, path: Path, source: bytes) -> None:
    """Run the module's code. Raises ModuleError with the error's type, message and line."""
    if isinstance(spec.loader, SourceFileLoader):  # any other is an extension module's
        spec.loader = HashedLoader(spec.name, str(path), source)
    assert spec.loader is not None  # the module is a file
    try:
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    except Exception as error:
        sys.modules.pop(spec.name, None)
        raise ModuleError(f"{path}: fails to import: {type(error).__name__}: {error}{line_of(error, path)}") from error
    package, _, last = spec.name.rpartition(".")
    if package:
        setattr(sys.modules[package], last, module)  # as an import does


def line_of(error: BaseException, source: Path) -> str:
    """` (line 12)`: the last line of the user's file in the error's traceback."""
    line, frame = None, error.__traceback__
    while frame is not None:
        if Path(frame.tb_frame.f_code.co_filename).resolve() == source.resolve():
            line = frame.tb_lineno
        frame = frame.tb_next
    return f" (line {line})" if line else ""
