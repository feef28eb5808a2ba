"""Download a published file from its mirrors, resuming a broken download and verifying the checksum."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import requests

from paddlecnn.errors import DataError, ServiceError
from paddlecnn.files import Checksum, file_digest, only_writer, require_space, sync
from paddlecnn.progress_bar import ProgressBar

logger = logging.getLogger(__name__)

TIMEOUT = 10, 30  # seconds to connect, and without a byte
BLOCK = 1 << 16  # bytes; at most this many are lost when a connection breaks


def download(urls: Sequence[str], target: Path, checksum: Checksum | None) -> None:
    """Get a file from the first mirror that serves it completely.

    A broken download is kept as `target`.part and resumed the next time. Raises ServiceError if no mirror serves
    the file, DataError if it does not have the published checksum or another process is downloading it.
    """
    with only_writer(target):
        part = target.with_name(f"{target.name}.part")
        fetch_from_any(urls, part, target.name)
        try:
            check_digest(part, checksum)
        except DataError:
            part.unlink()  # it would be resumed and stay wrong
            raise
        sync(part)
        part.replace(target)


def fetch_from_any(urls: Sequence[str], part: Path, name: str) -> None:
    """Complete `part` from the first mirror that serves it. Raises ServiceError if none does."""
    failures = []
    for url in urls:
        try:
            return fetch(url, part)
        except requests.RequestException as error:
            failures.append(f"{url}: {reason_of(error)}")
    raise ServiceError(
        f"{name} could not be downloaded ({'; '.join(failures)}); try again later, "
        "or download it by other means and name it with --from"
    )


def fetch(url: str, part: Path) -> None:
    """Append to `part` the bytes at `url` that it lacks. Raises requests.RequestException."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is missing; the checksum decides
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        length = int(response.headers.get("Content-Length") or 0)
        require_space(part.parent, length, "choose another --dest")
        begin = have if resumed else 0
        total = begin + length if length else None
        bar = ProgressBar(total=total, initial=begin, unit="B", unit_scale=True, desc=part.stem)
        with bar, open(part, "ab" if resumed else "wb") as file:
            for block in response.iter_content(BLOCK):
                file.write(block)
                bar.update(len(block))
                if length and file.tell() > begin + length:
                    raise requests.ConnectionError(f"more than the announced {length:,} bytes")


def check_digest(file: Path, published: Checksum | None, advice: str = "remove it and get it again") -> None:
    """Raise DataError, with advice, if there is no such file, or if it does not have the published checksum."""
    if not file.is_file():
        raise DataError(f"{file}: no such file; --from takes an archive or a folder on disk")
    found = file_digest(file, published.algorithm) if published else ""
    if published and not found.startswith(published.digits):
        raise DataError(
            f"{file}: {file.stat().st_size:,} bytes with {published.algorithm.upper()} {found}, not the published "
            f"{published.digits}; {advice}"
        )


def reason_of(error: requests.RequestException) -> str:
    """A short reason without the URL, which the message already names."""
    if error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    return {
        requests.ConnectTimeout: "no connection in time",
        requests.ReadTimeout: "no answer in time",
        requests.exceptions.ChunkedEncodingError: "the connection ended early",
    }.get(type(error), "no connection")
