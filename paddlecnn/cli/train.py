"""Train a network: paddlecnn train -c configs/cifar10/alexnet_lrn.yaml

The run's folder, runs/CONFIG/TIME unless --run names another, then contains checkpoints, curves for VisualDL,
metrics.csv and report.html. The best epoch is chosen on validation data; measure the test data at the end with
`paddlecnn eval`. A run continues with --resume RUN, to the same weights as if it had never stopped.
"""

from __future__ import annotations

import argparse
import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paddlecnn.arguments import positive
from paddlecnn.cli.common import add_device_argument, config_parser
from paddlecnn.cli.targets import check_target
from paddlecnn.config import Config
from paddlecnn.configfile import load_config, load_run_config
from paddlecnn.errors import ConfigError, UserError
from paddlecnn.runs.fold_job import FoldJob, find_sources, is_job
from paddlecnn.runs.run_dir import JOB, RunDir, count_seeds, find_path, new_run_path, seeds_in
from paddlecnn.runtime import choose_device, load_paddle

if TYPE_CHECKING:
    from paddlecnn.training.train import FinishedRun

logger = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    result = config_parser("train", __doc__, required=False)
    result.add_argument("--run", type=Path, metavar="DIR", help="the folder of the run (default: runs/CONFIG/TIME)")
    text = "continue a run: a folder, a config's newest run, or latest; without RUN the one that --run or -c names"
    result.add_argument("--resume", nargs="?", const=True, metavar="RUN", help=text)
    text = "with --resume: change the length (train.epochs=60), schedule, engine or precision of a run"
    result.add_argument("--extend", action="append", default=[], metavar="KEY=VALUE", help=text)
    text = "start from the best weights of another run; of a cross-validation with --all-folds, fold by fold"
    result.add_argument("--init-from", metavar="RUN", help=text)
    text = "train all data.folds, one after another, and report all together"
    result.add_argument("--all-folds", action="store_true", help=text)
    result.add_argument("--module", metavar="FILE", help="with --resume RUN: the run's own networks or data sets")
    add_device_argument(result)
    result.add_argument("--seeds", type=int, metavar="N", help="train with N seeds; report mean and deviation")
    result.add_argument("--profile", type=positive, metavar="N", help="measure the time of N steps, phase by phase")
    result.add_argument("--dry-run", action="store_true", help="report what would be trained, and stop")
    text = "with --dry-run: write the first training images, as augmented, with their classes"
    result.add_argument("--images", type=Path, metavar="PNG", help=text)
    return result


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    if args.images:
        if not args.dry_run:
            raise ConfigError(f"--images {args.images}: is for --dry-run; a run shows its images in VisualDL")
        check_target(args.images, "--images", ".png")
    sources = find_sources(args.init_from, bool(args.resume), args.all_folds)
    try:
        config, path = config_and_path(args)
    except ConfigError as error:
        if not any(str(error).startswith(f"-o {item}: ") for item in args.extend):
            raise
        raise ConfigError(f"--extend{str(error).removeprefix('-o')}") from None

    load_paddle()
    from paddlecnn import distributed

    args.all_folds = args.all_folds or is_job(path)
    if args.resume and args.seeds is None and seeds_in(path):
        args.seeds = count_seeds(path)
    if args.all_folds and args.seeds is not None:
        raise ConfigError(f"--seeds {args.seeds}: a cross-validation trains one seed; leave --seeds out")
    runs, text = (plan if args.dry_run else train)(args, config, path, sources)
    if distributed.rank() == 0:
        print(text)
    if config.train.report and runs:
        write_reports(runs, path, config.model.module, args.device)
    return 0


def plan(args: argparse.Namespace, config: Config, path: Path, sources: list[RunDir]) -> tuple[list[RunDir], str]:
    """No runs, and the report of the first one that `train` would train, after its checks."""
    from paddlecnn.cli.dry_run import dry_run_report
    from paddlecnn.training.folds import check_job
    from paddlecnn.training.train import planned_run, seed_folders

    device, resume = choose_device(args.device), bool(args.resume)
    extend = [item.partition("=")[0] for item in args.extend]
    if args.all_folds:
        check_job(config, path, resume, extend, sources)
        path = path / "fold-0"
    elif args.seeds is not None:
        path = seed_folders(config, path, args.seeds, resume)[0]
    source = sources[0] if sources else None
    setup = planned_run(config, path, resume=resume and path.exists(), extend=extend, init_from=source)
    return [], dry_run_report(setup, device, args.images)


def train(args: argparse.Namespace, config: Config, path: Path, sources: list[RunDir]) -> tuple[list[RunDir], str]:
    """Train one run, several seeds or all folds; return the runs and their result as text."""
    from paddlecnn.training.train import train_run, train_seeds

    options: dict[str, Any] = {
        "resume": bool(args.resume),
        "extend": [item.partition("=")[0] for item in args.extend],
        "device": args.device,
        "profile": args.profile or 0,
        "again": shlex.join(["--resume", str(path), *as_options("--extend", args.extend)]),
    }
    if args.all_folds:
        from paddlecnn.evaluation.out_of_fold import as_text
        from paddlecnn.training.folds import train_folds

        table = train_folds(config, path, init_from=sources, **options)
        return FoldJob(path).runs, f"{path}\n{as_text(table)}"
    source = sources[0] if sources else None
    if args.seeds is not None:
        finished, scores = train_seeds(config, path, args.seeds, init_from=source, **options)
        return [one.run for one in finished], f"{path}\n{seeds_as_text(finished, scores)}"
    one = train_run(config, path, init_from=source, **options)
    return [one.run], f"{path}\nbest epoch {one.best.epoch}: val {one.best}"


def as_options(name: str, values: list[str]) -> list[str]:
    """An option that is given once for each value, as words."""
    return [word for value in values for word in (name, value)]


def write_reports(runs: list[RunDir], path: Path, module: str | None, device: str) -> None:
    """Write, in process 0, the report of each run and of a cross-validation in `path`.

    An error that prevents one is only a warning, because the training is done.
    """
    from paddlecnn import distributed
    from paddlecnn.api import Folds, Run
    from paddlecnn.reporting.board import complete_board
    from paddlecnn.reporting.evidence import NoValidationImages

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
        except NoValidationImages as error:
            logger.warning("no report: %s", error)
        except (UserError, OSError) as error:
            logger.warning("no report yet (%s); write it with: paddlecnn report %s", error, source.path)


def config_and_path(args: argparse.Namespace) -> tuple[Config, Path]:
    """The config to train, and the folder of its run, new or to be resumed. Raises ConfigError, RunError."""
    if args.extend and not args.resume:
        raise ConfigError("--extend: changes the length of an existing run; add --resume")
    if args.module and (args.config or not args.resume):
        raise ConfigError(
            f"--module {args.module}: is for --resume RUN without -c; a config names its own, model.module"
        )
    if args.run and isinstance(args.resume, str):
        raise ConfigError(f"--run {args.run}: --resume {args.resume} already names a folder; leave one of them out")
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
            raise ConfigError("--resume with --seeds: name the config (-c) and their folder (--run), or leave it out")
        return load_config(args.config, overrides), Path(named)
    path = find_path(named or args.config)
    kept = path / JOB if is_job(path) else (seeds_in(path) or [RunDir(path).path])[0] / "config.yaml"
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


def seeds_as_text(finished: list[FinishedRun], scores: dict[str, dict[str, Any]]) -> str:
    """A line for each seed, then mean, deviation and range over the seeds."""
    lines = [f"seed {one.run.config.seed}: best epoch {one.best.epoch}, val {one.best}" for one in finished]
    for name, title, form in (("top1", "top-1", ".2%"), ("loss", "loss", ".6f")) if finished[0].best.n else ():
        found = scores[name]
        mean, deviation, low, high = (format(x, form) for x in (found["mean"], found["deviation"], *found["range"]))
        lines.append(
            f"val {title} of {len(finished)} seeds: mean {mean}, standard deviation {deviation}, range {low} to {high}"
        )
    return "\n".join(lines)
