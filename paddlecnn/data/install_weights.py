"""Install a published weight file: from its address, or from disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from paddlecnn.data.storage.download import check_digest, download
from paddlecnn.errors import UserError, WeightsError
from paddlecnn.files import Checksum, file_digest, require_space, write_text, written_aside
from paddlecnn.models.weights.published import PublishedFile, sum_file
from paddlecnn.models.weights.readers import read_weight_file


def install_weights(published: PublishedFile, dest: Path, source: Path | None = None) -> Path:
    """A published weight file in `dest`, with its SHA-256 beside it; returns its path.

    source  the file on disk, instead of the network
    Raises WeightsError if no address is known, DataError for a file that is not the published one or not the one that
    is installed, ServiceError. An installed file is compared with its SHA-256 and left unchanged.
    """
    dest.mkdir(parents=True, exist_ok=True)
    file = dest / published.file
    if source is None and not file.exists():
        if published.url is None:
            raise WeightsError(f"weights {published.name}: cannot be downloaded by a program; use: {published.command}")
        download([published.url], file, published.checksum)
    arrived = source or file
    check_digest(arrived, published.checksum)
    kept = Checksum("sha256", sum_file(file).read_text(encoding="utf-8")[:64]) if sum_file(file).exists() else None
    check_digest(arrived, kept)
    if not file.exists():
        require_space(dest, arrived.stat().st_size, "choose a --dest on another disk")
        with written_aside(file) as aside:
            shutil.copyfile(arrived, aside)
    if kept is None:
        if published.checksum is None:
            try:
                read_weight_file(file)
            except UserError:
                file.unlink()
                raise
        write_text(sum_file(file), f"{file_digest(file)}  {file.name}\n")
    return file
