"""Classify images.

    paddlecnn predict runs/dogs_vs_cats/RUN cat.jpg photos/               with a trained run
    paddlecnn predict model.onnx cat.jpg                                  with a network from `paddlecnn export`
    paddlecnn predict --model vgg16 --weights vgg16_weights.npz cat.jpg   with published ImageNet weights

The exit code is 1 if an image cannot be read; the others are classified nevertheless.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from paddlecnn.cli.common import CommandParser, add_engine_arguments, add_module_argument
from paddlecnn.cli.targets import check_target
from paddlecnn.errors import ConfigError
from paddlecnn.files import save_png
from paddlecnn.runs.run_dir import find_run
from paddlecnn.runtime import choose_device, load_paddle

if TYPE_CHECKING:
    from paddlecnn.evaluation.predict import Classifier


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser("predict", __doc__)
    source = "a run (its folder, a config, or latest) or an exported network, unless --model is given"
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help=f"{source}; then images or folders")
    parser.add_argument("--model", help="name of a network, for --weights")
    parser.add_argument("--weights", metavar="FILE", help="ImageNet weights (docs/weights.md), or paddle")
    add_module_argument(parser)
    parser.add_argument("--topk", type=int, help="classes per image (default: 5 with --model, 1 with a run)")
    text = "for one image: draw it with Grad-CAM and the top-5 probabilities"
    parser.add_argument("--explain", type=Path, metavar="PNG", help=text)
    add_engine_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    if bool(args.model) != bool(args.weights):
        parser.error("--model and --weights go together")
    if args.topk is not None and args.topk < 1:
        parser.error("--topk takes 1 or more")
    args.source, args.images = (None, args.paths) if args.model else (args.paths[0], args.paths[1:])
    if not args.images:
        parser.error("give at least one image after the run")
    return args


def open_classifier(args: argparse.Namespace) -> Classifier:
    """The network that the arguments name: published weights, an exported network, or a run."""
    from paddlecnn.evaluation.exported import form_of, open_exported
    from paddlecnn.evaluation.load_run import load_run
    from paddlecnn.evaluation.predict import Classifier, published_classifier

    engine = {"engine": args.engine, "precision": args.precision}
    if args.model:
        classifier = published_classifier(args.model, args.weights, **engine)
        for note in classifier.notes:
            print(f"{args.weights}: {note}", file=sys.stderr)
        return classifier
    if form := form_of(args.source):
        if args.engine or args.precision:
            raise ConfigError(f"{args.source}: --engine and --precision are for a run or published weights")
        return open_exported(args.source, form, args.module)
    run = load_run(find_run(args.source), module=args.module, **engine)
    return Classifier(run.model, run.classes, run.preprocess, engine=run.engine)


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    if args.explain:
        check_target(args.explain, "--explain", ".png")
    load_paddle()
    choose_device(args.device)
    from paddlecnn.evaluation.exported import form_of
    from paddlecnn.evaluation.predict import image_files, predict_files

    if not args.model and not form_of(args.source):
        find_run(args.source)  # before its images: the two may have been swapped
    files = image_files(args.images)
    if args.explain and len(files) != 1:
        raise ConfigError(f"--explain {args.explain}: explains one image, but {len(files)} are named")
    if args.explain and args.explain.exists() and args.explain.samefile(files[0]):
        raise ConfigError(f"--explain {args.explain}: is the image itself; name another file for the figure")
    classifier = open_classifier(args)
    if args.explain:
        from paddlecnn.reporting.explain import explain

        found = explain(classifier, files[0])
        title = f"{files[0].name}: {found.top[0][0]} ({found.top[0][1]:.1%})"
        save_png(found.figure(title), args.explain, dpi=120)
    predictions = []
    for prediction in predict_files(classifier, files, args.topk or (5 if args.model else 1)):
        predictions.append(prediction)
        if prediction.error:
            print(prediction.error, file=sys.stderr)
        elif not args.json:
            print(prediction)
    if args.json:
        print(json.dumps([prediction.as_json() for prediction in predictions]))
    return 1 if any(prediction.error for prediction in predictions) else 0
