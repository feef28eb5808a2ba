"""Get a data set or published weights: paddlecnn download cifar10, paddlecnn download weights keras_vgg16

    cifar10, cifar100                 CIFAR, from its mirrors
    dogs-vs-cats, dogs-vs-cats-2013   the competition Dogs vs. Cats, Redux or its first edition, through Kaggle's API
    cifar-10                          Kaggle's competition on CIFAR-10, likewise
    weights [NAME]                    published weights (docs/weights.md); without NAME, their list

Competitions need credentials (docs/kaggle.md). An interrupted download is resumed, checksums and content are checked,
and archives are unpacked completely or not at all.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from paddlecnn.cli.common import CommandParser
from paddlecnn.data.install import COMPETITIONS, NAMES, install_cifar, install_competition
from paddlecnn.data.sources.cifar import EDITIONS
from paddlecnn.errors import UserError
from paddlecnn.runtime import load_paddle


def main(argv: list[str] | None = None) -> int:
    parser = CommandParser("download", __doc__)
    names = (*NAMES, "weights")
    parser.add_argument(
        "what", choices=names, metavar="WHAT", help="a name above, a data.name, or Kaggle's name of a competition"
    )
    parser.add_argument("name", nargs="?", help="with weights: the name of a published file")
    parser.add_argument("--dest", type=Path, help="the folder to put it into (default: data; for weights, the cache)")
    text = "an archive, a folder or a weight file already on disk, instead of the network"
    parser.add_argument("--from", dest="source", type=Path, metavar="PATH", help=text)
    args = parser.parse_args(argv)
    if args.what == "weights":
        return get_weights(args)
    if args.name:
        raise UserError(f"{args.name}: only weights take a name; did you mean `download weights {args.name}`?")
    dest = args.dest or Path("data")
    if args.what in EDITIONS:
        folder = install_cifar(EDITIONS[args.what], dest, args.source)
    else:
        folder = install(COMPETITIONS[args.what], dest, args.source)
    print(f"{folder}: ready; configs find it with data.root: {dest}")
    return 0


def get_weights(args: argparse.Namespace) -> int:
    """Install a published weight file, or list all of them."""
    load_paddle()
    from paddlecnn.data.install_weights import install_weights
    from paddlecnn.models.weights.published import PUBLISHED, default_folder, published_file

    if args.name is None:
        for one in PUBLISHED.values():
            address = one.url or f"by hand: {one.source}"
            print(f"{one.name}: {', '.join(one.networks)}\n    {one.file}, {address}\n    licence: {one.licence}")
        return 0
    published = published_file(args.name)
    dest = args.dest or default_folder()
    file = install_weights(published, dest, args.source)
    setting = f", model.weights_dir: {dest}" if args.dest else ""
    print(f"{file}: ready; configs use it with model.weights: {published.name}{setting}\nlicence: {published.licence}")
    return 0


def install(competition: str, dest: Path, source: Path | None) -> Path:
    """The competition's folder below `dest`; its bundle comes from Kaggle unless it is on disk."""
    if source is None and not (dest / competition).exists():
        from paddlecnn.kaggle.download import download_competition  # imports Kaggle's client

        source = download_competition(competition, dest)
    return install_competition(competition, dest, source)
