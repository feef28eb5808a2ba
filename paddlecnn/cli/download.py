"""Get a data set: python tools/download.py cifar10 --dest data

CIFAR comes from its public mirrors, a competition through Kaggle's API (docs/kaggle.md). Goes on where a
broken download stopped, checks sizes and checksums, and unpacks all or nothing.
"""
from __future__ import annotations

from pathlib import Path

from paddlecnn.cli.common import command_parser
from paddlecnn.data.storage.download import NAMES, install


def main(argv: list[str] | None = None) -> int:
    parser = command_parser("download", __doc__)
    parser.add_argument("dataset", choices=NAMES, help="what to get")
    parser.add_argument("--dest", type=Path, default=Path("data"), help="the folder to put it into")
    parser.add_argument("--from", dest="source", type=Path, metavar="PATH",
                        help="an archive or a folder already on disk, instead of the network")
    args = parser.parse_args(argv)
    folder = install(args.dataset, args.dest, args.source)
    print(f"{folder}: ready; configs find it with data.root: {args.dest}")
    return 0
