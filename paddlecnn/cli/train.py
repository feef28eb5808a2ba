"""Train a network: paddlecnn train -c configs/cifar10/alexnet_lrn.yaml

The run's folder, runs/CONFIG/TIME unless --run names another, then contains checkpoints, curves for VisualDL,
metrics.csv and report.html. The best epoch is chosen on validation data; measure the test data at the end with
`paddlecnn eval`. A run continues with --resume RUN, to the same weights as if it had never stopped.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from paddlecnn.cli.common import add_device_argument, config_parser
from paddlecnn.config import Config
from paddlecnn.configfile import load_config, load_run_config
from paddlecnn.errors import ConfigError, UserError
from paddlecnn.runtime import choose_device, load_paddle

if TYPE_CHECKING:
    from paddlecnn.runs.run_dir import RunDir
    from paddlecnn.training.train import FinishedRun

logger = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    result = config_parser("train", __doc__, required=False)
    result.add_argument("--run", type=Path, metavar="DIR", help="the folder of the run (default: runs/CONFIG/TIME)")
    text = "continue a run: a folder, a config's newest run, or latest; without RUN the one that --run or -c names"
    result.add_argument("--resume", nargs="?", const=True, metavar="RUN", help=text)
    text = "with --resume: change the length of a run on purpose, e.g. train.epochs=60"
    result.add_argument("--extend", action="append", default=[], metavar="KEY=VALUE", help=text)
    text = "start from the best weights of another run; of a cross-validation with --all-folds, fold by fold"
    result.add_argument("--init-from", metavar="RUN", help=text)
    text = "train all data.folds, one after the other, and report all together"
    result.add_argument("--all-folds", action="store_true", help=text)
    result.add_argument("--module", metavar="FILE", help="with --resume RUN: the run's own networks or data sets")
    add_device_argument(result)
    result.add_argument("--seeds", type=int, metavar="N", help="train with N seeds; report mean and deviation")
    result.add_argument("--profile", type=positive, metavar="N", help="measure the time of N steps, phase by phase")
    result.add_argument("--dry-run", action="store_true", help="report what would be trained, and stop")
    return result


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return number


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    config, path = config_and_path(args)

    load_paddle()
    from paddlecnn.runs.fold_job import find_runs, is_job

    sources = find_runs(args.init_from) if args.init_from else []
    args.all_folds = args.all_folds or is_job(path)
    if len(sources) > 1 and not args.all_folds:
        raise ConfigError(f"--init-from {args.init_from}: contains several runs; name one of them")
    if args.dry_run:
        from paddlecnn.cli.dry_run import dry_run_report
        from paddlecnn.training.init_from import read_source
        from paddlecnn.training.setup import build_training

        device = choose_device(args.device)
        start = read_source(sources[0]).checkpoint if sources else None
        print(dry_run_report(build_training(config, start=start), device))
        return 0
    runs = train(args, config, path, sources)
    if config.train.report:
        write_reports(runs, path, config.model.module, args.device)
    return 0


def train(args: argparse.Namespace, config: Config, path: Path, sources: list[RunDir]) -> list[RunDir]:
    """Train one run, several seeds or all folds, print the result, and return the runs."""
    from paddlecnn.training.train import train_run, train_seeds

    options = {
        "resume": bool(args.resume),
        "extend": [item.partition("=")[0] for item in args.extend],
        "device": args.device,
        "profile": args.profile or 0,
    }
    if args.all_folds:
        from paddlecnn.evaluation.out_of_fold import as_text
        from paddlecnn.runs.fold_job import FoldJob
        from paddlecnn.training.folds import train_folds

        print(f"{path}\n{as_text(train_folds(config, path, init_from=sources, **options))}")
        return FoldJob(path).runs
    source = sources[0] if sources else None
    if args.seeds is not None:
        finished = train_seeds(config, path, args.seeds, init_from=source, **options)
        print_seeds(path, finished)
    else:
        finished = [train_run(config, path, init_from=source, **options)]
        print(f"{finished[0].run.path}\nbest epoch {finished[0].best.epoch}: val {finished[0].best}")
    return [one.run for one in finished]


def write_reports(runs: list[RunDir], path: Path, module: str | None, device: str) -> None:
    """Write the report of each run and of a cross-validation in `path`, by process 0.

    Whatever prevents one is a warning, because the training is done.
    """
    from paddlecnn import distributed
    from paddlecnn.api import Folds, Run
    from paddlecnn.reporting.board import complete_board
    from paddlecnn.runs.fold_job import FoldJob, is_job

    if not distributed.end():
        return
    sources: list[RunDir | FoldJob] = [*runs, FoldJob(path)] if is_job(path) else [*runs]
    for source in sources:
        try:
            if isinstance(source, FoldJob):
                print(f"report: {Folds(source, module).report()}")
            else:
                print(f"report: {Run(source, module=module).report(device)}")
                complete_board(source, module, device)
        except (UserError, OSError) as error:
            logger.warning("no report yet (%s); write it with: paddlecnn report %s", error, source.path)


def config_and_path(args: argparse.Namespace) -> tuple[Config, Path]:
    """The config to train, and the folder of its run, new or to be resumed. Raises ConfigError, RunError."""
    from paddlecnn.runs.fold_job import is_job
    from paddlecnn.runs.run_dir import JOB, RunDir, find_path, new_run_path

    if args.all_folds and args.seeds is not None:
        raise ConfigError("--all-folds: trains one seed; leave --seeds out")
    if args.init_from and args.resume:
        raise ConfigError("--init-from: is for a new run; a resumed one has its weights already")
    if args.extend and not args.resume:
        raise ConfigError("--extend: changes the length of an existing run; add --resume")
    overrides = args.override + args.extend
    if not args.resume:
        if args.config is None:
            raise ConfigError("name a config with -c CONFIG, or a run to continue with --resume RUN")
        return load_config(args.config, overrides), args.run or new_run_path(args.config)
    named = args.run if args.resume is True else args.resume
    if named is None and args.config is None:
        raise ConfigError("--resume: name a run (--resume RUN), or the config whose newest run continues (-c CONFIG)")
    if args.seeds is not None:
        if args.config is None or named is None:
            raise ConfigError("--resume with --seeds: name the config (-c) and the folder of the seeds (--run)")
        return load_config(args.config, overrides), Path(named)
    path = find_path(named or args.config)
    kept = path / JOB if is_job(path) else RunDir(path).path / "config.yaml"
    if args.config is not None:
        return load_config(args.config, overrides), path
    return with_module(load_run_config(kept, overrides), args.module, path), path


def with_module(config: Config, module: str | None, run: Path) -> Config:
    """The run's config with the module that the caller names: a run folder alone never makes the package run code."""
    if config.model.module is None or module is not None:
        return config.model_copy(update={"model": config.model.model_copy(update={"module": module})})
    raise ConfigError(
        f"{run}: was trained with the module {config.model.module}, which is code and is only run if you "
        f"name it: add --module {config.model.module}"
    )


def print_seeds(path: Path, finished: list[FinishedRun]) -> None:
    """A line for each seed, then mean, deviation and range over the seeds."""
    from paddlecnn.training.train import spread

    print(path)
    for one in finished:
        print(f"seed {one.run.config.seed}: best epoch {one.best.epoch}, val {one.best}")
    if not finished[0].best.n:
        return
    for name, title, form in (("top1", "top-1", ".4%"), ("loss", "loss", ".6f")):
        found = spread([getattr(one.best, name) for one in finished])
        mean, deviation, low, high = (format(x, form) for x in (found["mean"], found["deviation"], *found["range"]))
        print(
            f"val {title} of {len(finished)} seeds: mean {mean}, standard deviation {deviation}, range {low} to {high}"
        )
