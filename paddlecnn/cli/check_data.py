"""Report problems in a data set: paddlecnn check-data -c configs/cifar10/alexnet.yaml

The data is not changed. Writes a sheet of samples and a histogram of image sizes for each part. The exit code is 1
if there are errors.
"""

from __future__ import annotations

import json
from pathlib import Path

from paddlecnn.cli.common import config_of, config_parser


def main(argv: list[str] | None = None) -> int:
    parser = config_parser("check-data", __doc__)
    parser.add_argument("--json", action="store_true", help="print the whole report as JSON")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the PNGs (default: runs/check_data/NAME)")
    args = parser.parse_args(argv)
    config = config_of(args)

    from paddlecnn.data.audit.check import as_text, check  # slow to import

    report = check(config, args.out or Path("runs/check_data") / config.data.name)
    print(json.dumps(report.as_dict(), indent=2) if args.json else as_text(report))
    return 0 if report.is_sound else 1
