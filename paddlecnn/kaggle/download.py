"""A competition's bundle from Kaggle: complete, or not present under its name."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

from paddlecnn.errors import ServiceError
from paddlecnn.files import only_writer, require_space, sync
from paddlecnn.kaggle.client import CALL_FACTOR, SLOWEST, ask_kaggle, silence_limit

MAX_PAGES = 1000  # in the list of files


def download_competition(competition: str, dest: Path) -> Path:
    """Download a competition's bundle and return the path of `dest`/<competition>.zip.

    A complete bundle that is already there is kept. The bytes arrive in a folder `dest`/.<competition>.partial, from
    which an interrupted download is resumed; the bundle gets its name after the sizes of the files in it have been
    checked.

    Raises AccessError (credentials, rules, name, quota), DataError (disk full, or another process is downloading it) or
    ServiceError.
    """
    bundle = dest / f"{competition}.zip"
    if bundle.exists() and zipfile.is_zipfile(bundle):
        return bundle
    partial = dest / f".{competition}.partial"
    sizes = ask_kaggle(competition, lambda api: file_sizes(api, competition))
    present = sum(file.stat().st_size for file in partial.glob("*.zip")) if partial.is_dir() else 0
    dest.mkdir(parents=True, exist_ok=True)
    require_space(dest, sum(sizes.values()) - present, "choose a --dest on another disk")
    seconds = CALL_FACTOR * silence_limit() + sum(sizes.values()) / SLOWEST
    with only_writer(bundle):
        ask_kaggle(
            competition,
            lambda api: api.competition_download_files(competition, path=str(partial), quiet=False),
            seconds,
        )
        arrived = partial / bundle.name
        check_bundle(arrived, sizes)
        sync(arrived)
        arrived.replace(bundle)
        shutil.rmtree(partial)
    return bundle


def file_sizes(api: Any, competition: str) -> dict[str, int]:
    """The names of the competition's files and their sizes in bytes, as Kaggle lists them."""
    sizes: dict[str, int] = {}
    seen: set[str] = set()
    page = ""
    while page not in seen and len(seen) < MAX_PAGES:
        seen.add(page)
        answer = api.competition_list_files(competition, page_token=page, page_size=200)
        sizes |= {str(file.name): int(file.total_bytes) for file in answer.files}
        page = answer.next_page_token
        if not page:
            break
    else:
        raise ServiceError(f"Kaggle's list of the files of {competition} does not end; run this again later")
    if not sizes:  # by which a bundle is checked
        raise ServiceError(
            f"Kaggle lists no files of {competition}; run this again later, or download the bundle in a browser and "
            "install it with --from FILE"
        )
    return sizes


def check_bundle(bundle: Path, sizes: dict[str, int]) -> None:
    """Raise ServiceError, and remove the bundle, if it is not a zip file or its file sizes differ from `sizes`."""
    try:
        with zipfile.ZipFile(bundle) as archive:
            found = {member.filename: member.file_size for member in archive.infolist()}
        wrong = [name for name in sizes.keys() & found.keys() if sizes[name] != found[name]]
        problem = f"expected {sizes[wrong[0]]:,} bytes of {wrong[0]}, found {found[wrong[0]]:,}" if wrong else None
        if not sizes.keys() & found.keys():
            problem = f"it contains none of the files that Kaggle lists ({next(iter(sizes))}, ...)"
    except (zipfile.BadZipFile, FileNotFoundError):
        problem = "it is not a zip file"
    if problem:
        bundle.unlink(missing_ok=True)
        raise ServiceError(f"{bundle.name}: Kaggle did not send the bundle: {problem}; run this again")
