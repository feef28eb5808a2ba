"""Classify images.

    paddlecnn predict runs/dogs_vs_cats/RUN cat.jpg photos/               with a trained run
    paddlecnn predict runs/dogs_vs_cats/JOB photos/ --csv photos.csv      with the mean of a cross-validation's runs
    paddlecnn predict model.onnx cat.jpg                                  with a network from `paddlecnn export`
    paddlecnn predict --model vgg16 --weights torchvision_vgg16 cat.jpg   with published ImageNet weights

The exit code is 1 if an image cannot be read; the others are classified nevertheless. Several runs (a cross-validation
or several seeds) predict by the mean of their logits, as in `submit`. The probabilities are not calibrated: `submit`
does that, on validation images.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paddlecnn.cli.common import CommandParser, add_engine_arguments, add_module_argument, add_tta_argument
from paddlecnn.cli.targets import check_target
from paddlecnn.errors import ConfigError, DataError
from paddlecnn.files import save_png, write_csv
from paddlecnn.runs.fold_job import find_runs
from paddlecnn.runtime import choose_device, load_paddle
from paddlecnn.text_tables import counted

if TYPE_CHECKING:
    from paddlecnn.evaluation.load_run import LoadedRun
    from paddlecnn.evaluation.predict_images import Classifier, FilePrediction
    from paddlecnn.runs.run_dir import RunDir


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser("predict", __doc__)
    source = "a run or a cross-validation (folder, config, or latest) or an exported network, unless --model is given"
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help=f"{source}; then images or folders")
    parser.add_argument("--model", help="name of a network, for --weights")
    text = "ImageNet weights: the name of a published file, paddle, or the path of a file (docs/weights.md)"
    parser.add_argument("--weights", metavar="NAME|FILE", help=text)
    add_module_argument(parser)
    add_tta_argument(parser)
    parser.add_argument("--topk", type=int, help="classes per image (default: 5 with --model, 1 with a run)")
    text = "for one image: draw it with Grad-CAM and the top-5 probabilities"
    parser.add_argument("--explain", type=Path, metavar="PNG", help=text)
    add_engine_arguments(parser)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON")
    text = "write path, predicted class and the probability of each class; empty for an image that cannot be read"
    output.add_argument("--csv", type=Path, metavar="FILE", help=text)
    args = parser.parse_args(argv)
    if bool(args.model) != bool(args.weights):
        parser.error("--model and --weights go together")
    if args.topk is not None and args.topk < 1:
        parser.error("--topk takes 1 or more")
    if args.topk is not None and args.csv:
        parser.error("--topk: has no effect on --csv, which has every class; leave it out")
    if args.explain and args.tta != "none":
        parser.error("--explain shows the central crop alone; leave out --tta")
    args.source, args.images = (None, args.paths) if args.model else (args.paths[0], args.paths[1:])
    if not args.images:
        parser.error("give at least one image after the run")
    return args


def open_classifier(args: argparse.Namespace) -> Classifier:
    """The network of published weights or of an exported file."""
    from paddlecnn.evaluation.exported import form_of, open_exported
    from paddlecnn.evaluation.predict_images import published_classifier

    if args.model:
        classifier = published_classifier(args.model, args.weights, args.engine, args.precision)
        for note in classifier.notes:
            print(f"{args.weights}: {note}", file=sys.stderr)
        return classifier
    if args.engine or args.precision:
        raise ConfigError(f"{args.source}: --engine and --precision are for a run or published weights")
    form = form_of(args.source)
    assert form is not None  # anything else is a run
    return open_exported(args.source, form, args.module)


def loaded(run: RunDir, args: argparse.Namespace) -> LoadedRun:
    """The network of a run."""
    from paddlecnn.evaluation.load_run import load_run

    return load_run(run, module=args.module, engine=args.engine, precision=args.precision)


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    for name, suffix in (("explain", ".png"), ("csv", ".csv")):
        if path := getattr(args, name):
            check_target(path, f"--{name}", suffix)
    load_paddle()
    choose_device(args.device)
    from paddlecnn.evaluation.exported import form_of
    from paddlecnn.evaluation.predict_images import image_files, predict_files, predict_files_by_mean

    if args.source and args.source.is_file() and form_of(args.source.parent) and not form_of(args.source):
        raise ConfigError(f"{args.source}: a part of the export {args.source.parent}; name that folder")
    # Before its images: the two may have been swapped.
    runs = [] if args.model or form_of(args.source) else find_runs(args.source)
    files = image_files(args.images)
    check_images(args, files)
    if len(runs) > 1:
        if args.explain:
            raise ConfigError(f"--explain: explains one network; name one of the runs, as {runs[0].path}")
        return show(predict_files_by_mean((loaded(run, args) for run in runs), files, args.tta), args)
    classifier = loaded(runs[0], args) if runs else open_classifier(args)
    if args.explain:
        from paddlecnn.reporting.explain import explain

        save_png(explain(classifier, files[0]).figure(files[0].name), args.explain, dpi=120)
    return show(predict_files(classifier, files, args.tta), args)


def check_images(args: argparse.Namespace, files: Sequence[Path]) -> None:
    """Raise ConfigError for images that --explain cannot take, DataError for a name that a CSV cannot hold."""
    from paddlecnn.data.base import UNUSABLE

    if args.explain and len(files) != 1:
        raise ConfigError(f"--explain {args.explain}: explains one image, but {len(files)} are named")
    if args.explain and args.explain.exists() and args.explain.samefile(files[0]):
        raise ConfigError(f"--explain {args.explain}: is the image itself; name another file for the figure")
    if args.csv and (unusable := [file for file in files if UNUSABLE.search(str(file))]):
        raise DataError(
            f"{str(unusable[0])!a}: the name has a control character or is not UTF-8, which no CSV can hold; "
            "rename the file, or use --json"
        )


def on_one_line(text: str) -> str:
    """A text with its control characters escaped: names of files may contain them."""
    from paddlecnn.data.base import UNUSABLE

    return UNUSABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def show(predictions: Iterable[FilePrediction], args: argparse.Namespace) -> int:
    """Print or write the predictions, and name each image that cannot be read; returns the exit code."""
    from paddlecnn.evaluation.predict_images import prediction_table

    topk = args.topk or (5 if args.model else 1)
    done = []
    for prediction in predictions:
        done.append(prediction)
        if prediction.error:
            print(on_one_line(prediction.error), file=sys.stderr)
        elif not args.json and not args.csv:
            print(on_one_line(prediction.as_text(topk)))
    unreadable = sum(prediction.error is not None for prediction in done)
    if args.json:
        print(json.dumps([prediction.as_json(topk) for prediction in done]))
    if args.csv:
        write_csv(args.csv, prediction_table(done))
        print(f"{args.csv}: {counted(len(done), 'image')}, {unreadable:,} unreadable")
    return 1 if unreadable else 0
