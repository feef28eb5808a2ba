"""Install a published weight file, from its URL or from disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from paddlecnn.data.storage.download import check_digest, download
from paddlecnn.errors import UserError, WeightsError
from paddlecnn.files import Checksum, file_digest, require_space, write_text, written_aside
from paddlecnn.models.weights.published import PublishedFile, kept_sum, sum_file
from paddlecnn.models.weights.readers import read_weight_file, require_file


def install_weights(published: PublishedFile, dest: Path, source: Path | None = None) -> Path:
    """A published weight file in `dest`, with its SHA-256 beside it; returns its path.

    source  the file on disk, instead of the network
    The SHA-256 is that of the checked file, which is `source` if given. A file already in `dest` is left as it is,
    unless it no longer has the SHA-256 beside it and `source` does: then `source` replaces it.
    Raises WeightsError if no URL is known, or if the file in `dest` differs from `source` and no SHA-256 tells which
    is right; DataError for a file that is not the published one or not the installed one; ServiceError.
    """
    dest.mkdir(parents=True, exist_ok=True)
    file = dest / published.file
    kept = kept_sum(file, f"{published.command} --dest {dest}")
    is_new = not file.exists()
    if source is None and is_new:
        if published.url is None:
            raise WeightsError(f"weights {published.name}: cannot be downloaded by a program; use: {published.command}")
        download([published.url], file, published.checksum)
    arrived = source or file
    require_file(arrived)
    advice = f"choose {published.file} from {published.source}" if source else "remove it and get it again"
    check_digest(arrived, published.checksum, advice)
    check_digest(arrived, Checksum("sha256", kept) if kept else None, advice)
    digest = file_digest(arrived)
    if not file.exists() or file_digest(file) != digest:
        if not is_new and kept is None:
            raise WeightsError(
                f"{file}: differs from {source} and has no SHA-256 beside it; remove it to install {source}, "
                "or leave out --from to keep it"
            )
        require_space(dest, arrived.stat().st_size, "choose a --dest on another disk")
        with written_aside(file) as aside:
            shutil.copyfile(arrived, aside)
    if kept is None:
        if published.checksum is None:
            try:
                read_weight_file(file)
            except UserError as error:
                if is_new:
                    file.unlink()
                if source is None:
                    raise
                reason = str(error).removeprefix(f"{file}: ")
                raise WeightsError(
                    f"{source}: is not {published.file} of {published.name} ({reason}); {advice}"
                ) from None
        write_text(sum_file(file), f"{digest}  {file.name}\n")
    return file
