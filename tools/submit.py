"""Predict a data set's test split and write it in its competition's form.

python tools/submit.py runs/quickstart/1 --out submissions/quickstart.csv
"""
from __future__ import annotations

from pathlib import Path

from paddlecnn.cli import run, tool_parser
from paddlecnn.runtime import load_paddle


def main(argv=None) -> int:
    parser = tool_parser(__doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="which part to predict")
    parser.add_argument("--competition", help="Kaggle's name for it, where it isn't the data set's own")
    parser.add_argument("--out", type=Path, help="the CSV to write; default: submissions/, named after the run")
    args = parser.parse_args(argv)
    load_paddle()
    from paddlecnn.kaggle.make import submit_run

    made = submit_run(args.run, args.out, args.split, args.competition)
    print(f"{made.path}: {made.rows:,} rows")
    return 0


if __name__ == "__main__":
    run(main)
