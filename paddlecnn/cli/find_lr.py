"""Suggest a learning rate from a range test (Smith 2017): paddlecnn find-lr -c configs/cifar10/alexnet_lrn.yaml

A fresh network, or the best weights of --init-from RUN, is trained for a few steps while the rate grows from --start to
--end by the same factor at each step. The test stops when the loss diverges. The curve is written as a PNG; no run is
written, but the config's caches are filled (data.cache, train.feature_cache).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from paddlecnn.cli.common import add_device_argument, config_of, config_parser
from paddlecnn.cli.targets import check_target
from paddlecnn.runs.fold_job import find_sources
from paddlecnn.runtime import load_paddle


def main(argv: list[str] | None = None) -> int:
    parser = config_parser("find-lr", __doc__)
    parser.add_argument("--start", type=float, default=1e-6, help="the first rate")
    parser.add_argument("--end", type=float, default=10.0, help="the last rate")
    parser.add_argument("--steps", type=int, default=100, help="the number of steps, at most")
    parser.add_argument("--out", type=Path, metavar="PNG", help="the curve (default: find_lr_CONFIG.png)")
    text = "test the training that starts from the best weights of another run, as train --init-from does"
    parser.add_argument("--init-from", metavar="RUN", help=text)
    add_device_argument(parser)
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON")
    args = parser.parse_args(argv)
    sources = find_sources(args.init_from, resume=False)
    config = config_of(args)
    out = args.out or Path(f"find_lr_{Path(args.config).stem}.png")
    check_target(out, "--out", ".png")

    load_paddle()
    from paddlecnn.files import save_png
    from paddlecnn.reporting.figures import range_test_figure
    from paddlecnn.training.find_lr import RULE, find_lr

    found = find_lr(config, args.start, args.end, args.steps, args.device, sources[0] if sources else None)
    save_png(range_test_figure(found, config), out, dpi=120)
    if args.json:
        print(json.dumps({**asdict(found), "suggestion": found.suggestion, "rule": RULE}))
        return 0
    print(found)
    print(out)
    return 0
