"""The table of results in the READMEs: the selection of its rows, and the text around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from paddlecnn.reporting.experiments import (
    Experiment,
    folds_per_config,
    mean_accuracy,
    one_per_config,
    scores_by_views,
    spread,
)
from paddlecnn.reporting.result_files import Machine, ResultError, ResultFile, Trained
from paddlecnn.reporting.results_tables import minutes, options, percent, seeds, title, with_ends
from paddlecnn.text_tables import markdown_table

START, END = "<!-- results -->\n", "<!-- /results -->"
ROWS = 5
HEADERS = {
    "README.md": ["data", "config", "epochs", "accuracy", "seeds", "minutes", "machine"],
    "README.zh-CN.md": ["数据集", "配置", "轮数", "准确率", "随机种子数", "分钟数", "硬件"],
}


def readmes(folder: Path, experiments: list[Experiment], files: Sequence[ResultFile]) -> dict[Path, str]:
    """The text of each README above the folder of results, with its table."""
    root, found = folder.parent.parent, {}
    rows = readme_rows(root, experiments, files)
    for name, header in HEADERS.items():
        readme = root / name
        if readme.exists():
            before, after = around_the_table(readme)
            found[readme] = f"{before}{START}{markdown_table(header, rows)}\n{END}{after}"
    return found


def around_the_table(readme: Path) -> tuple[str, str]:
    """The text before and after the marks of the table. Raises ResultError that names a missing mark."""
    before, start, rest = readme.read_text(encoding="utf-8").partition(START)
    _, end, after = rest.partition(END)
    if not end:
        place = f"{END.strip()} below {START.strip()}" if start else START.strip()
        raise ResultError(f"{readme}: has no line {place}; put it back: the table goes between the two")
    return before, after


def readme_rows(root: Path, experiments: list[Experiment], files: Sequence[ResultFile]) -> list[list[str]]:
    """The cross-validation on the most images, then the configs with the most seeds and epochs, sorted by accuracy."""
    folds = folds_per_config(files, "flip").values()
    rows = []
    if folds:
        one, machine = max(folds, key=lambda pair: (pair[0].n, pair[0].seconds))
        views = "" if one.tta == "none" else f", {one.tta} at test time"
        accuracy = f"{percent(one)} out of fold{views}; log loss {with_ends(one.log_loss_calibrated)}"
        epochs, place = str(one.config["train"]["epochs"]), machine.place
        rows.append(
            [title(one.data), config(root, one, [machine]), epochs, accuracy, "1", f"{one.seconds / 60:,.0f}", place]
        )
    thorough = sorted(one_per_config(experiments).values(), key=lambda one: (-len(one.tested), -one.first.epochs))
    shown = sorted(thorough[: ROWS - len(rows)], key=lambda one: -spread(one.tested)[0])
    return rows + [experiment_row(root, one) for one in shown]


def experiment_row(root: Path, one: Experiment) -> list[str]:
    with_views = scores_by_views([run.test_views for run in one.runs])
    accuracy = [mean_accuracy(one.tested)]
    accuracy += [f"{mean_accuracy(scores)} with {views} at test time" for views, scores in with_views.items()]
    name, place = config(root, one.first, one.machines), one.machines[0].place
    return [title(one.first.data), name, one.epochs, "; ".join(accuracy), seeds(one), minutes(one), place]


def config(root: Path, one: Trained, machines: Sequence[Machine]) -> str:
    """The name of the config, linked if it is in the repository, and the differences from it."""
    name = f"[{one.name}]({one.config_file})" if one.config_file and (root / one.config_file).is_file() else one.name
    return ", ".join(filter(None, [name, options(one, machines)]))
