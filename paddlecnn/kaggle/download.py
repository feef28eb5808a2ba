"""A competition's bundle from Kaggle: whole, or not there under its name."""
from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

from paddlecnn.errors import DataError, ServiceError
from paddlecnn.files import sync
from paddlecnn.kaggle.client import connected


def download_competition(competition: str, dest: Path) -> Path:
    """Download a competition's bundle and return the path of `dest`/<competition>.zip.

    A bundle that is already there and whole is taken as it is. The bytes arrive in a folder
    `dest`/.<competition>.partial, where a broken download is kept and gone on with the next time; the
    bundle gets its name when its size and the sizes of the files in it are right.

    Raises AccessError (credentials, rules, name, quota), DataError (no room on the disk) or ServiceError.
    """
    bundle = Path(dest) / f"{competition}.zip"
    if bundle.exists() and zipfile.is_zipfile(bundle):
        return bundle
    partial = Path(dest) / f".{competition}.partial"
    with connected(competition) as api:
        sizes = file_sizes(api, competition)
        refuse_without_room(sizes, Path(dest), partial)
        api.competition_download_files(competition, path=str(partial), quiet=False)
    arrived = partial / bundle.name
    refuse_wrong_bundle(arrived, sizes)
    sync(arrived)
    arrived.replace(bundle)
    shutil.rmtree(partial)
    return bundle


def file_sizes(api: Any, competition: str) -> dict[str, int]:
    """The names of the competition's files and their sizes in bytes, as Kaggle lists them."""
    sizes, page = {}, ""
    while True:
        answer = api.competition_list_files(competition, page_token=page, page_size=200)
        sizes |= {file.name: file.total_bytes for file in answer.files}
        page = answer.next_page_token
        if not page:
            return sizes


def refuse_without_room(sizes: dict[str, int], dest: Path, partial: Path) -> None:
    """Raise DataError where the disk has less room than the files need, before anything is written."""
    dest.mkdir(parents=True, exist_ok=True)
    have = sum(file.stat().st_size for file in partial.glob("*.zip")) if partial.is_dir() else 0
    need, free = sum(sizes.values()) - have, shutil.disk_usage(dest).free
    if need > free:
        raise DataError(f"{dest}: the download needs {need / 1e6:,.0f} MB and the disk has {free / 1e6:,.0f} MB free; "
                        "make room or take --dest on another disk")


def refuse_wrong_bundle(bundle: Path, sizes: dict[str, int]) -> None:
    """Raise ServiceError, and remove the bundle, where it is no zip file or holds files of another size."""
    try:
        with zipfile.ZipFile(bundle) as archive:
            held = {member.filename: member.file_size for member in archive.infolist()}
        wrong = [name for name in sizes.keys() & held.keys() if sizes[name] != held[name]]
        problem = f"{wrong[0]} in it has {held[wrong[0]]:,} bytes of {sizes[wrong[0]]:,}" if wrong else None
    except (zipfile.BadZipFile, FileNotFoundError):
        problem = "it is not a zip file"
    if problem:
        bundle.unlink(missing_ok=True)
        raise ServiceError(f"{bundle.name}: what Kaggle sent is not the bundle: {problem}; run this again")
