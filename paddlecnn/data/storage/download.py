"""Bring a data set into a folder: from its mirrors, from Kaggle, or from a file already on disk."""
from __future__ import annotations

import http.client
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from paddlecnn.data.sources import cifar, dogs_vs_cats, kaggle_cifar
from paddlecnn.data.storage.archives import aside_folder, extract, unpack_into, unpacked_size
from paddlecnn.errors import DataError, ServiceError
from paddlecnn.files import CHUNK, file_digest, sync

REDUX, FIRST_EDITION = dogs_vs_cats.COMPETITIONS
COMPETITIONS = {  # by our data set's name, or by Kaggle's; that of 2013 no longer lets anybody in, so Redux is meant
    "dogs_vs_cats": REDUX, "dogs-vs-cats": REDUX, REDUX: REDUX, "dogs-vs-cats-2013": FIRST_EDITION,
    "kaggle_cifar10": kaggle_cifar.COMPETITION, "cifar-10": kaggle_cifar.COMPETITION}
NAMES = (*cifar.EDITIONS, *COMPETITIONS)
TIMEOUT = 30  # seconds without a byte


def install(name: str, dest: Path, source: Path | None = None) -> Path:
    """Get data set `name` into the folder `dest` and return the folder that holds it.

    source  an archive or a folder already on disk, instead of the network
    Raises DataError or ServiceError. What is already there and complete is left as it is.
    """
    dest.mkdir(parents=True, exist_ok=True)
    if name in cifar.EDITIONS:
        return bring_cifar(cifar.EDITIONS[name], dest, source)
    return bring_competition(COMPETITIONS[name], dest, source)


def bring_cifar(edition: cifar.Edition, dest: Path, source: Path | None = None) -> Path:
    """The official archive, checked by its MD5 and unpacked to `dest`/<edition.folder>."""
    folder = dest / edition.folder
    if folder.exists():
        cifar.check_folder(edition, folder)
        return folder
    if source is not None and source.is_dir():
        return copy_checked(edition, source, folder)
    archive = source or dest / edition.archive
    if source is None and not archive.exists():
        tell_space(dest, edition.archive_is.size, "to download")
        download(edition.mirrors, archive, edition.archive_is)
    check_official(archive, edition.archive_is)
    tell_space(dest, unpacked_size(archive), "unpacked")
    with aside_folder(folder) as aside:
        unpack_into(archive, aside)
        inner = aside / edition.folder  # the archive holds one folder of that name
        cifar.check_folder(edition, inner)
        for file in inner.iterdir():
            file.rename(aside / file.name)
        inner.rmdir()
    return folder


def copy_checked(edition: cifar.Edition, source: Path, folder: Path) -> Path:
    """A folder of official batches, checked, then copied."""
    inner = source / edition.folder if (source / edition.folder).is_dir() else source
    cifar.check_folder(edition, inner)
    files = [inner / name for name in edition.files]
    tell_space(folder.parent, sum(file.stat().st_size for file in files), "to copy")
    with aside_folder(folder) as aside:
        for file in files:
            shutil.copyfile(file, aside / file.name)
    return folder


def check_official(archive: Path, official: cifar.Official) -> None:
    """Raises DataError where the archive is not the published one."""
    if not archive.is_file():
        raise DataError(f"{archive}: no such file; --from takes an archive or a folder on disk")
    size = archive.stat().st_size
    if size != official.size:
        raise DataError(f"{archive}: {size:,} bytes instead of {official.size:,}; remove it and get it again")
    md5 = file_digest(archive, "md5")
    if md5 != official.md5:
        raise DataError(f"{archive}: MD5 {md5} is not the published {official.md5}; remove it and get it again")


def bring_competition(competition: str, dest: Path, source: Path | None = None) -> Path:
    """A competition's bundle, unpacked to `dest`/<competition>, its inner zips too.

    The 7z archives of `cifar-10` stay packed: they are read as they are (kaggle_cifar.py), and 350,000 little
    files are a burden on any disk.
    """
    folder = dest / competition
    if folder.exists():
        return folder
    if source is None:
        from paddlecnn.kaggle.download import download_competition

        source = download_competition(competition, dest)
    elif not source.exists():
        raise DataError(f"{source}: no such file; --from takes an archive or a folder on disk")
    if source.is_dir():
        tell_space(dest, sum(file.stat().st_size for file in source.rglob("*") if file.is_file()), "to copy")
        with aside_folder(folder) as aside:
            shutil.copytree(source, aside, dirs_exist_ok=True)
            unpack_inner_zips(aside)
            refuse_missing_images(aside)
        return folder
    tell_space(dest, 2 * unpacked_size(source), "to unpack the bundle and the zips in it")
    with aside_folder(folder) as aside:
        unpack_into(source, aside)
        unpack_inner_zips(aside)
        refuse_missing_images(aside)
    return folder


def refuse_missing_images(folder: Path) -> None:
    """Say how many images there are; raises DataError where the sample submission asks for other test images."""
    count = {path.name: sum(1 for _ in path.rglob("*.jpg")) for path in folder.iterdir() if path.is_dir()}
    if not count:
        return  # archives that stay packed
    print(", ".join(f"{images:,} images in {name}" for name, images in sorted(count.items())))
    tests = [name for name in dogs_vs_cats.TEST_FOLDERS if name in count]
    for sample in folder.glob("sample*ubmission.csv"):
        rows = len(sample.read_text(encoding="utf-8").split()) - 1
        if tests and rows != count[tests[0]]:
            raise DataError(f"{tests[0]}: holds {count[tests[0]]:,} images and {sample.name} asks for {rows:,}; "
                            "the archive is not complete: remove it and get it again")


def unpack_inner_zips(folder: Path) -> None:
    """Replace each zip in the folder by what is in it."""
    for inner in sorted(folder.glob("*.zip")):
        target = folder / inner.stem
        extract(inner, target)
        nested = target / inner.stem  # train.zip holds train/...
        if nested.is_dir() and len(list(target.iterdir())) == 1:
            aside = folder / f".{inner.stem}.nested"
            nested.rename(aside)
            target.rmdir()
            aside.rename(target)
        inner.unlink()


def tell_space(dest: Path, needed: int, what: str) -> None:
    """Say how much space is needed; raises DataError where there is less."""
    free = shutil.disk_usage(dest).free
    print(f"{dest}: {needed / 2**20:,.0f} MiB {what}, {free / 2**20:,.0f} MiB free")
    if needed > free:
        raise DataError(f"{dest}: {needed / 2**20:,.0f} MiB needed {what} and {free / 2**20:,.0f} MiB free; "
                        "free some space or take --dest on another disk")


def download(mirrors: tuple[str, ...], target: Path, official: cifar.Official) -> None:
    """Fetch a published file from the first mirror that gives it, going on where a broken download stopped.

    Raises ServiceError where none does, and DataError where the file arrives but is not the published one.
    """
    part = target.with_name(f"{target.name}.part")
    failures = []
    for url in mirrors:
        try:
            fetch(url, part, official.size)
            break
        except (OSError, http.client.HTTPException) as error:  # URLError and HTTPError are OSErrors
            failures.append(f"{url}: {getattr(error, 'reason', None) or error}")
    else:
        raise ServiceError(f"{target.name} could not be downloaded ({'; '.join(failures)}); try again later, "
                           "or fetch it by other means and give it with --from")
    try:
        check_official(part, official)
    except DataError:
        part.unlink()  # it would be gone on with, and never become right
        raise
    sync(part)
    part.replace(target)


def fetch(url: str, part: Path, size: int) -> None:
    """Append to `part` what is missing of the `size` bytes at `url`."""
    have = part.stat().st_size if part.exists() else 0
    if have >= size:
        part.unlink()
        have = 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        goes_on = response.status == 206
        with open(part, "ab" if goes_on else "wb") as file, \
                tqdm(total=size, initial=have if goes_on else 0, unit="B", unit_scale=True, desc=part.stem,
                     disable=None) as bar:
            while block := response.read(CHUNK):
                file.write(block)
                bar.update(len(block))
            if file.tell() < size:
                raise http.client.HTTPException(f"the connection ended after {file.tell():,} of {size:,} bytes")
