"""Check the file that an option names for a result, before the work that fills it."""

from __future__ import annotations

from pathlib import Path

from paddlecnn.errors import UserError
from paddlecnn.files import require_writable
from paddlecnn.runs.fold_job import run_around


def check_target(path: Path, option: str, suffix: str) -> None:
    """Create the folder of the file.

    Raises UserError for another suffix, for a file in the folder of a run, and as `require_writable` does.
    """
    if path.suffix.lower() != suffix:
        raise UserError(f"{option} {path}: must be the name of a file that ends in {suffix}")
    if folder := run_around(path):
        raise UserError(f"{option} {path}: is in the folder of a run, {folder}; choose another folder")
    require_writable(path, option)
