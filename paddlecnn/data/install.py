"""Install a data set below a folder: CIFAR from its mirrors or from disk, a competition from its bundle on disk.

A folder gets the data set's name only after its content has been checked.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
from pathlib import Path

from paddlecnn.config import DataConfig
from paddlecnn.data.datasets import open_parts
from paddlecnn.data.sources import cifar, dogs_vs_cats, kaggle_cifar
from paddlecnn.data.storage.archives import extract, unpack_into, unpacked_size
from paddlecnn.data.storage.download import check_digest, download
from paddlecnn.data.storage.file_storage import read_file
from paddlecnn.errors import DataError
from paddlecnn.files import Checksum, folder_written_aside, require_space

logger = logging.getLogger(__name__)

REDUX, FIRST_EDITION = dogs_vs_cats.COMPETITIONS
# By our data set's name or by Kaggle's. The 2013 edition admits no new participants, so Redux is the default.
COMPETITIONS = {
    "dogs_vs_cats": REDUX,
    "dogs-vs-cats": REDUX,
    REDUX: REDUX,
    "dogs-vs-cats-2013": FIRST_EDITION,
    "kaggle_cifar10": kaggle_cifar.COMPETITION,
    "cifar-10": kaggle_cifar.COMPETITION,
}
DATA_SETS = {REDUX: "dogs_vs_cats", FIRST_EDITION: "dogs_vs_cats", kaggle_cifar.COMPETITION: "kaggle_cifar10"}
NAMES = (*cifar.EDITIONS, *COMPETITIONS)
ELSEWHERE = "choose a --dest on another disk"


def install_cifar(edition: cifar.Edition, dest: Path, source: Path | None = None) -> Path:
    """The official files, checked by their MD5, in `dest`/<edition.folder>; returns that folder.

    source  the archive or a folder of its files on disk, instead of the mirrors
    Raises DataError or ServiceError. A complete folder is left unchanged.
    """
    folder = dest / edition.folder
    check_source(source, folder)
    dest.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        cifar.check_folder(edition, folder)
        return folder
    if source is not None and source.is_dir():
        return copy_cifar(edition, source, folder)
    archive = source or dest / edition.archive
    published = Checksum("md5", edition.archive_md5)
    if source is None and not archive.exists():
        download(edition.mirrors, archive, published)
    advice = f"choose {edition.archive} from {edition.mirrors[0]}" if source else "remove it and get it again"
    check_digest(archive, published, advice)
    require_space(dest, unpacked_size(archive), ELSEWHERE)
    with folder_written_aside(folder) as aside:
        unpack_into(archive, aside)
        inner = aside / edition.folder  # the archive contains one folder of that name
        cifar.check_folder(edition, inner)
        for file in inner.iterdir():
            file.rename(aside / file.name)
        inner.rmdir()
    return folder


def copy_cifar(edition: cifar.Edition, source: Path, folder: Path) -> Path:
    """A folder of official batches, copied and checked."""
    inner = source / edition.folder if (source / edition.folder).is_dir() else source
    refuse_special_files(inner)
    cifar.check_folder(edition, inner)
    files = [inner / name for name in edition.md5]
    require_space(folder.parent, sum(file.stat().st_size for file in files), ELSEWHERE)
    with folder_written_aside(folder) as aside:
        for file in files:
            shutil.copyfile(file, aside / file.name)
        cifar.check_folder(edition, aside)
    return folder


def check_source(source: Path | None, folder: Path) -> None:
    """Raise DataError if the source does not exist; log that it is not used if the folder exists already."""
    if source and not source.exists():
        raise DataError(f"{source}: no such file; --from takes an archive or a folder on disk")
    if source and folder.exists():
        logger.info("%s: not used, because %s exists; remove that folder to install it again", source, folder)


def install_competition(competition: str, dest: Path, source: Path | None = None) -> Path:
    """A competition's bundle, unpacked with its inner zips to `dest`/<competition>; returns that folder.

    source  the bundle, or a folder with its content; not needed if the competition is installed
    Raises DataError if the bundle is not the competition's. An installed folder is checked and left unchanged.
    The 7z archives of `cifar-10` stay packed: they are read in place, and 350,000 small files would burden any disk.
    """
    folder = dest / competition
    check_source(source, folder)
    dest.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        check_competition(competition, folder)
        return folder
    if source is None:
        raise DataError(f"{folder}: no such folder; name the competition's bundle to install it from")
    if source.is_dir():
        refuse_special_files(source)
        size = sum(file.stat().st_size for file in source.rglob("*") if file.is_file())
    else:
        size = 2 * unpacked_size(source)  # the bundle, and the zips in it
    logger.info("%s: unpacking to %s MiB", source, f"{size / 2**20:,.0f}")
    require_space(dest, size, ELSEWHERE)
    with folder_written_aside(folder) as aside:
        if source.is_dir():
            own = shutil.ignore_patterns(f".{competition}.*")  # `aside` and its lock, if `dest` is in the source
            shutil.copytree(source, aside, ignore=own, dirs_exist_ok=True)
        else:
            unpack_into(source, aside)
        unpack_inner_zips(aside)
        check_competition(competition, aside, source)
    return folder


def refuse_special_files(source: Path) -> None:
    """Raise DataError if the folder contains a link that leads out of it, a link to a folder, a FIFO or a device."""
    inside = source.resolve()
    for folder, folders, files in os.walk(source, onerror=raise_error):
        for path in (Path(folder) / name for name in (*folders, *files)):
            if path.is_symlink() and not (path.is_file() and path.resolve().is_relative_to(inside)):
                raise DataError(f"{path}: a link out of the folder or not to a file; refused, nothing was copied")
            if not stat.S_ISREG(path.stat().st_mode) and not stat.S_ISDIR(path.stat().st_mode):
                raise DataError(f"{path}: not a regular file; refused, nothing was copied")


def raise_error(error: OSError) -> None:
    raise error


def unpack_inner_zips(folder: Path) -> None:
    """Replace each zip in the folder with its content."""
    for inner in sorted(folder.glob("*.zip")):
        target = folder / inner.stem
        extract(inner, target)
        nested = target / inner.stem  # train.zip contains train/...
        if nested.is_dir() and len(list(target.iterdir())) == 1:
            aside = folder / f".{inner.stem}.nested"
            nested.rename(aside)
            target.rmdir()
            aside.rename(target)
        inner.unlink()


def check_competition(competition: str, folder: Path, source: Path | None = None) -> None:
    """Raise DataError unless the folder contains training and test images and the sample submission fits them.

    source  the origin of a new folder: messages name it in place of the folder, which is removed on failure
    """
    name = source or folder
    advice = f"choose the bundle of {competition}" if source else "remove it and get it again"
    other = f"{name}: not the content of the competition {competition}"
    try:
        parts = open_parts(DataConfig(name=DATA_SETS[competition], root=str(folder)))
    except DataError as error:
        raise DataError(f"{other} ({str(error).replace(str(folder), str(name))})") from None
    if parts.test is None:
        raise DataError(f"{other} (it contains no test images); {advice}")
    logger.info("%s images in test, %s images in train", f"{len(parts.test):,}", f"{len(parts.train):,}")
    for sample in folder.glob("sample*ubmission.csv"):
        lines = read_file(sample, "get the bundle again").decode("utf-8", "replace").splitlines()
        ids = {line.partition(",")[0] for line in lines[1:] if line.strip()}
        if ids != (found := set(parts.test.ids)):
            missing = ids - found
            first = f"{min(missing):.80} is missing" if missing else f"{min(found - ids):.80} is not listed"
            raise DataError(
                f"{name / sample.name}: lists {len(ids):,} test images, but {len(found):,} are there ({first}); "
                f"the bundle is not complete: {advice}"
            )
