"""Train a network: python tools/train.py -c configs/cifar10/alexnet_lrn.yaml

The run's folder, runs/CONFIG/TIME unless --run names another, then holds checkpoints, curves for VisualDL
and metrics.csv. The best epoch is chosen on validation data; measure the test data at the end with tools/eval.py.
"""
from pathlib import Path

from paddlecnn.cli.common import config_parser
from paddlecnn.configfile import load_config


def main(argv: list[str] | None = None) -> int:
    parser = config_parser("train", __doc__)
    parser.add_argument("--run", type=Path, metavar="DIR", help="the run's folder; default: runs/CONFIG/TIME")
    parser.add_argument("--resume", action="store_true",
                        help="go on with the run in --run, or with the config's newest one")
    parser.add_argument("--extend", action="append", default=[], metavar="KEY=VALUE",
                        help="with --resume: change the length of a run on purpose, e.g. train.epochs=60")
    parser.add_argument("--device", default="auto", help="auto, cpu, gpu or gpu:N")
    parser.add_argument("--seeds", type=int, metavar="N", help="train with N seeds; tell mean and deviation")
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="show where the time of N steps goes")
    parser.add_argument("--dry-run", action="store_true", help="show what would be trained, and stop")
    args = parser.parse_args(argv)
    config = load_config(args.config, args.override + args.extend)

    from paddlecnn import runtime
    runtime.load_paddle()
    from paddlecnn.runs.run_dir import new_run_path, newest_run
    from paddlecnn.training.commands import dry_run, train, train_seeds
    if args.dry_run:
        print(dry_run(config, args.device))
        return 0
    run_path = args.run or (newest_run(args.config) if args.resume else new_run_path(args.config))
    options = {"resume": args.resume, "extend": [item.partition("=")[0] for item in args.extend],
               "device": args.device, "profile": args.profile}
    print(train_seeds(config, run_path, args.seeds, **options) if args.seeds else train(config, run_path, **options))
    return 0
