"""Get a data set: python tools/download.py cifar10 --dest data

CIFAR comes from its public mirrors, a competition through Kaggle's API (docs/kaggle.md). A broken download is
resumed, checksums and content are checked, and archives are unpacked completely or not at all.
"""

from __future__ import annotations

from pathlib import Path

from paddlecnn.cli.common import command_parser
from paddlecnn.data.install import COMPETITIONS, NAMES, install_cifar, install_competition, installed
from paddlecnn.data.sources.cifar import EDITIONS


def main(argv: list[str] | None = None) -> int:
    parser = command_parser("download", __doc__)
    parser.add_argument("dataset", choices=NAMES, help="the data set")
    parser.add_argument("--dest", type=Path, default=Path("data"), help="the folder to put it into")
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="PATH",
        help="an archive or a folder already on disk, instead of the network",
    )
    args = parser.parse_args(argv)
    if args.dataset in EDITIONS:
        folder = install_cifar(EDITIONS[args.dataset], args.dest, args.source)
    else:
        folder = install(COMPETITIONS[args.dataset], args.dest, args.source)
    print(f"{folder}: ready; configs find it with data.root: {args.dest}")
    return 0


def install(competition: str, dest: Path, source: Path | None) -> Path:
    """The competition's folder below `dest`; its bundle comes from Kaggle unless it is on disk."""
    if source is None and not installed(competition, dest):
        from paddlecnn.kaggle.download import download_competition  # imports Kaggle's client

        source = download_competition(competition, dest)
    return install_competition(competition, dest, source or dest / competition)
