"""Say what is on images.

    python tools/predict.py runs/dogs_vs_cats/RUN cat.jpg photos/               by a trained run
    python tools/predict.py --model vgg16 --weights vgg16_weights.npz cat.jpg   by published ImageNet weights

The exit code is 1 where an image could not be read; the others are answered all the same.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

from paddlecnn.cli.common import command_parser
from paddlecnn.runtime import choose_device, load_paddle


def main(argv: list[str] | None = None) -> int:
    parser = command_parser("predict", __doc__)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH",
                        help="a run (its folder, its config, or latest) unless --model is given; then images, or "
                             "folders of them")
    parser.add_argument("--module", metavar="FILE", help="the run's own networks or data sets (model.module)")
    parser.add_argument("--model", help="name of a network, for --weights")
    parser.add_argument("--weights", metavar="FILE", help="ImageNet weights (docs/weights.md), or paddle")
    parser.add_argument("--topk", type=int, help="classes an image: 5 with --model, 1 with a run")
    parser.add_argument("--device", default="auto", help="auto, cpu, gpu or gpu:N")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    if bool(args.model) != bool(args.weights):
        parser.error("--model and --weights go together")
    if args.topk is not None and args.topk < 1:
        parser.error("--topk takes 1 or more")
    run_folder, images = (None, args.paths) if args.model else (args.paths[0], args.paths[1:])
    if not images:
        parser.error("give at least one image after the run's folder")
    load_paddle()
    choose_device(args.device)
    from paddlecnn.evaluation.classify import classifier_of_run, classifier_of_weights, classify, image_files

    files = image_files(images)
    classifier = (classifier_of_weights(args.model, args.weights) if args.model
                  else classifier_of_run(run_folder, args.module))
    for note in classifier.notes:
        print(f"{args.weights}: {note}", file=sys.stderr)
    answers = []
    for answer in classify(classifier, files, args.topk or (5 if args.model else 1)):
        answers.append(answer.as_json())
        if answer.error:
            print(answer.error, file=sys.stderr)
        elif not args.json:
            print(answer.line())
    if args.json:
        print(json.dumps(answers))
    return 1 if any("error" in answer for answer in answers) else 0
