"""Write a config's split as train.txt, val.txt and split.json: python tools/split.py -c CONFIG --out data/split

Set data.split to that folder to use the split, as written or edited (then without split.json). Cross-validation:
one folder for each of -o data.folds=5 -o data.fold=0 and so on.
"""

from __future__ import annotations

from pathlib import Path

from paddlecnn.cli.common import config_of, config_parser


def main(argv: list[str] | None = None) -> int:
    parser = config_parser("split", __doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write")
    args = parser.parse_args(argv)
    config = config_of(args)

    from paddlecnn.data.datasets import save_split  # slow to import

    train, val = save_split(config.data, config.seed, args.out)
    print(f"{args.out}: {train:,} images for training, {val:,} for validation; use it with data.split: {args.out}")
    return 0
