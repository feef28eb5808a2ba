"""Write a config's split as train.txt, val.txt and split.json: paddlecnn split -c CONFIG --out data/split

Set data.split to that folder to use the split; if you edit it, remove split.json. For a cross-validation, write one
folder for each of -o data.folds=5 -o data.fold=0 and so on. With --mle-bench, the test images of MLE-bench's
dogs-vs-cats-redux-kernels-edition are set aside as test.csv (docs/kaggle.md).
"""

from __future__ import annotations

from pathlib import Path

from paddlecnn.cli.common import config_of, config_parser


def main(argv: list[str] | None = None) -> int:
    parser = config_parser("split", __doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write")
    parser.add_argument("--mle-bench", action="store_true", help="set MLE-bench's test images aside")
    args = parser.parse_args(argv)
    config = config_of(args)

    from paddlecnn.data.datasets import save_split  # slow to import
    from paddlecnn.data.mle_bench import save_benchmark_split

    save = save_benchmark_split if args.mle_bench else save_split
    train, val, *test = save(config.data, config.seed, args.out)
    counts = [f"{train:,} images for training", f"{val:,} for validation", *(f"{one:,} for the test" for one in test)]
    print(f"{args.out}: {', '.join(counts)}; use it with data.split: {args.out}")
    return 0
