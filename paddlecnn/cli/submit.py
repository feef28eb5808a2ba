"""Make a submission from a run, blend some, upload one, list them all.

python tools/submit.py runs/dogs_vs_cats/vgg16/1                          predict, calibrate, write the CSV
python tools/submit.py runs/dogs_vs_cats/vgg16/1 --upload --wait          and upload it, wait for the score
python tools/submit.py --folds RUN RUN ...                                the mean of a cross-validation's runs
python tools/submit.py --blend submissions/a.csv submissions/b.csv        the weighted mean of files
python tools/submit.py submissions/a.csv --upload -m "first" --wait       upload a file that is there
python tools/submit.py --list                                             what was made, expected and scored
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from paddlecnn.cli.common import add_engine_arguments, command_parser
from paddlecnn.kaggle.submit import submit


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_parser("submit", __doc__)
    what = parser.add_argument_group("what").add_mutually_exclusive_group(required=True)
    what.add_argument("target", nargs="?", type=Path, help="a run folder, or a CSV to upload")
    what.add_argument("--folds", nargs="+", type=Path, metavar="RUN", help="runs to take the mean of")
    what.add_argument("--blend", nargs="+", type=Path, metavar="CSV", help="submissions to take the mean of")
    what.add_argument("--list", nargs="?", type=Path, const=Path("submissions"), metavar="FOLDER",
                      help="show the ledger of a folder of submissions")
    make = parser.add_argument_group("making one")
    make.add_argument("--out", type=Path, help="the CSV to write; without it in submissions/, named after the run")
    make.add_argument("--split", choices=("val", "test"), default="test", help="which part to predict")
    make.add_argument("--tta", choices=("none", "flip", "crops"), default="none", help="views of each image")
    make.add_argument("--device", default="auto", help="auto, cpu, gpu or gpu:N")
    add_engine_arguments(make)
    make.add_argument("--temperature", default="auto", metavar="auto|T", help="1 leaves the probabilities as trained")
    make.add_argument("--clip", default="auto", metavar="auto|EPS|none", help="least distance of them from 0 and 1")
    make.add_argument("--weights", default="auto", metavar="auto|W,W,...", help="of the files of a blend")
    make.add_argument("--competition", metavar="NAME", help="Kaggle's name for it; without it the data set's own")
    send = parser.add_argument_group("uploading it")
    send.add_argument("--upload", action="store_true", help="upload the file")
    send.add_argument("-m", "--message", help="what Kaggle shows beside it; without it the file's name and SHA-256")
    send.add_argument("--wait", nargs="?", type=float, const=600.0, metavar="SECONDS", help="wait for the score")
    send.add_argument("--again", action="store_true", help="upload even what was uploaded before")
    for line in submit(parser.parse_args(argv)):
        print(line, flush=True)
    return 0
