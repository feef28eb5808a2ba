"""docs/results.md: made from the figures of runs, and compared with them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import fmean, stdev

import pytest

from helpers.docs import ROOT
from paddlecnn.configfile import flat
from paddlecnn.files import file_digest

CONFIG = """
data: {name: digits, limit: 60}
model: {name: MODEL, options: {hidden: [16]}}
optim: {name: adam, lr: 0.001}
train: {epochs: 4, batch_size: 30}
"""
README = "# A project\n\n<!-- results -->\n<!-- /results -->\n\nThe rest.\n"
READMES = ("README.md", "README.zh-CN.md")
NETWORKS = ("alexnet_cifar", "alexnet_cifar_lrn")
COMMITTED = {"commit": 40 * "a", "dirty": False}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A project with two networks, each trained with two seeds and measured on test."""
    from paddlecnn import api, configfile

    project = tmp_path_factory.mktemp("project")
    for name in NETWORKS:
        (project / f"configs/{name}.yaml").parent.mkdir(exist_ok=True)
        constants = ", lrn: [5, 2.0e-5, 0.75, 1.0]" if name.endswith("_lrn") else ""
        text = CONFIG.replace("MODEL", name).replace("[16]", f"[16]{constants}")
        (project / f"configs/{name}.yaml").write_text(text)
        for seed in (0, 1):
            config = configfile.load_config(project / f"configs/{name}.yaml", [f"seed={seed}", "train.epochs=1"])
            result = api.train(config, run=project / f"runs/{name}-{seed}")
            result.run.evaluate("test")
            path = result.run.path / "environment.json"
            command = f"paddlecnn train -c {project}/configs/{name}.yaml -o train.epochs=1 -o seed={seed}"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"command": command, "git": COMMITTED}))
    return project


@pytest.fixture
def project(runs, tmp_path, monkeypatch) -> Path:
    """A copy of it, with an empty page."""
    shutil.copytree(runs, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    Path("docs/results").mkdir(parents=True)
    for name in READMES:
        Path(name).write_text(README)
    return tmp_path / "project"


@pytest.fixture
def add(tool):
    def call(name: str, seed: int) -> int:
        out = f"docs/results/{name}_seed{seed}.json"
        return tool("results", "docs/results", "--add", f"runs/{name}-{seed}", "--out", out)

    return call


def rows(page: str, start: str) -> list[dict[str, str]]:
    """The rows of all tables of a page whose line contains a text, by column, with the cells that all rows share."""
    found = []
    for sentence, header, lines in re.findall(
        r"(?:In all rows: (.*)\.\n\n)?^\| (.*) \|\n\| ---.*\n((?:\|.*\n)+)", Path(page).read_text(), flags=re.M
    ):
        shared = dict(pair.split(" = ", 1) for pair in re.split(r", (?=[\w ]+ = )", sentence) if pair)
        for line in lines.splitlines():
            cells = zip(header.split(" | "), line.removeprefix("| ").removesuffix(" |").split(" | "), strict=True)
            found += [shared | dict(cells)] if start in line else []
    return found


def tops(name: str) -> list[float]:
    return [json.loads(Path(f"runs/{name}-{seed}/evaluation_test.json").read_text())["top1"] for seed in (0, 1)]


def test_a_file_of_results_names_the_machine(project, add):
    assert add(NETWORKS[0], 0) == 0
    [machine, _] = json.loads(Path(f"docs/results/{NETWORKS[0]}_seed0.json").read_text())
    environment = json.loads(Path(f"runs/{NETWORKS[0]}-0/environment.json").read_text())
    assert (machine["cpu"], machine["cores"]) == (environment["device_name"], os.cpu_count())
    assert machine["threads"] == os.environ["OMP_NUM_THREADS"]


def test_every_number_of_the_page_comes_from_the_runs(project, add, tool, capsys):
    for name in NETWORKS:
        assert [add(name, seed) for seed in (0, 1)] == [0, 0]
    page, *readmes = (Path(name).read_text() for name in ("docs/results.md", *READMES))
    assert "### A share of the recipe's epochs\n" in page
    for name in NETWORKS:
        accuracy = f"{fmean(tops(name)):.2%} ± {stdev(tops(name)):.2%}"
        (row,) = rows("docs/results.md", f"[{name}](../configs/{name}.yaml)")
        assert (row["epochs"], row["seeds"], row["views"], row["test accuracy"]) == ("1 of 4", "2", "center", accuracy)
        assert all(accuracy in readme for readme in readmes)
    plain, normalised = map(tops, NETWORKS)
    difference = 100 * fmean(b - a for a, b in zip(plain, normalised, strict=True))
    assert f"a difference of {difference:+.2f} points (95 %: " in page
    states = [[Path(f"runs/{name}-{seed}/checkpoints/last/state.json") for seed in (0, 1)] for name in NETWORKS]
    fastest = [min(json.loads(path.read_text())["history"][0]["seconds"] for path in paths) for paths in states]
    assert f"2 paired seeds); its fastest epoch takes {fastest[1] / fastest[0]:.2f} times as long" in page
    for image in re.findall(r"\]\((images/[^)]+)\)", page):
        assert (Path("docs") / image).stat().st_size > 5000
    assert "| 准确率 |" in readmes[1]
    for readme in readmes:
        assert readme.endswith("<!-- /results -->\n\nThe rest.\n")
    assert tool("results", "docs/results", "--verify") == 0


def test_minutes_are_the_recorded_ones_of_every_seed(project, add, tool):
    for seed, seconds in ((0, 300), (1, 1500)):
        assert add(NETWORKS[0], seed) == 0
        path = Path(f"docs/results/{NETWORKS[0]}_seed{seed}.json")
        machine, record = json.loads(path.read_text())
        path.write_text(json.dumps([machine, record | {"seconds": seconds}]))
    assert tool("results", "docs/results") == 0
    for page in ("docs/results.md", "README.md"):
        (row,) = rows(page, NETWORKS[0])
        assert row["minutes"] == "15 (5 to 25)"


def test_a_run_of_a_changed_working_tree_is_marked_in_its_row(project, add, tool):
    for seed, dirty in ((0, False), (1, True)):
        assert add(NETWORKS[0], seed) == 0
        path = Path(f"docs/results/{NETWORKS[0]}_seed{seed}.json")
        machine, record = json.loads(path.read_text())
        path.write_text(json.dumps([machine | {"git": {"commit": f"1609c16{33 * 'f'}", "dirty": dirty}}, record]))
        assert tool("results", "docs/results") == 0
        for page in ("docs/results.md", *READMES):
            (row,) = rows(page, NETWORKS[0])
            assert ("with uncommitted changes at 1609c16" in " ".join(row.values())) == dirty


def test_a_number_without_a_source_is_found(project, add, tool, capsys):
    assert add(NETWORKS[0], 0) == 0
    record = json.loads(Path(f"docs/results/{NETWORKS[0]}_seed0.json").read_text())
    shown = f"{record[1]['test']['top1']:.2%} ("
    for page in ("docs/results.md", *READMES):
        text = Path(page).read_text()
        assert shown in text
        Path(page).write_text(text.replace(shown, "99.99% ("))
        assert tool("results", "docs/results", "--verify") == 2
        error = capsys.readouterr().err
        assert error.startswith(f"{page}: line ")
        assert len(error.splitlines()) == 1
        Path(page).write_text(text)
    next(Path("docs/images").glob("*.png")).unlink()
    assert tool("results", "docs/results", "--verify") == 2
    assert "no such figure" in capsys.readouterr().err


def test_test_accuracies_with_several_views_stand_beside_the_others(project, add, tool):
    name = NETWORKS[0]
    assert tool("eval", f"runs/{name}-0", "--split", "test", "--tta", "shift") == 0
    assert add(name, 0) == 0
    central, shifted = (
        json.loads(Path(f"runs/{name}-0/evaluation_test{end}.json").read_text())["top1"] for end in ("", "_shift")
    )

    def of_views() -> list[dict[str, str]]:
        return rows("docs/results.md", "| center |") + rows("docs/results.md", "| shift |")

    found = {row["views"]: row["test accuracy"].partition(" ")[0] for row in of_views()}
    assert found == {"center": f"{central:.2%}", "shift": f"{shifted:.2%}"}
    assert f"{central:.2%} (" in Path("README.md").read_text()
    assert f"; {shifted:.2%} (" in Path("README.md").read_text()
    assert "test measured" not in Path("docs/results.md").read_text()
    for _ in range(2):  # of the same views
        assert tool("eval", f"runs/{name}-0", "--split", "test") == 0
    Path(f"docs/results/{name}_seed0.json").unlink()
    assert add(name, 0) == 0
    assert "seeds = 1; test measured 4 times" in Path("docs/results.md").read_text()
    assert tool("results", "docs/results", "--verify") == 0


def test_a_record_has_all_that_the_figures_depend_on(project, add):
    assert add(NETWORKS[0], 1) == 0
    machine, record = json.loads(Path(f"docs/results/{NETWORKS[0]}_seed1.json").read_text())
    assert machine["cpu"]
    assert machine["git"] is None or re.fullmatch("[0-9a-f]{40}", machine["git"]["commit"])
    assert machine["packages"]["paddlepaddle"]
    assert (record["config_file"], record["seed"]) == ("configs/alexnet_cifar.yaml", 1)
    assert record["changed"] == {"train.epochs": [4, 1]}
    assert record["config"]["train"]["epochs"] == 1
    assert not [value for value in flat(record["config"]).values() if isinstance(value, str) and "/" in value]
    assert record["history"][0]["val"]["top1"] == record["val"]["top1"]
    assert record["test"]["low"] < record["test"]["top1"] < record["test"]["high"]
    assert record["test_evaluations"] == 1


def test_a_cross_validation_is_a_row_with_its_figures_out_of_fold(project, tool, capsys):
    config = Path("configs/folds.yaml")
    config.write_text(CONFIG.replace("MODEL", "alexnet_cifar").replace("limit: 60", "limit: 60, folds: 2"))
    assert tool("train", "-c", config, "--all-folds", "--run", "job", "-o", "train.epochs=2") == 0
    environment = Path("job/fold-0/environment.json")  # as if its frozen layers had taken two minutes
    environment.write_text(json.dumps(json.loads(environment.read_text()) | {"feature_seconds": 120}))
    out = "docs/results/folds.json"
    assert tool("results", "docs/results", "--add", "job", "--out", out, "--config", config) == 0
    machine, record = json.loads(Path(out).read_text())
    table = json.loads(Path("job/out_of_fold.json").read_text())
    for name in ("n", "accuracy", "log_loss", "log_loss_calibrated"):
        assert record[name] == table["all"][name]
    epochs = [fold["epoch"] for fold in table["folds"]]
    assert (record["folds"], record["epochs"], record["notes"]) == (2, epochs, table["notes"])
    assert machine["cpu"]
    assert re.fullmatch("[0-9a-f]+", record["config_hash"])
    seconds = [
        json.loads(Path(f"job/fold-{fold}/checkpoints/last/state.json").read_text())["seconds"] for fold in (0, 1)
    ]
    assert record["seconds"] == pytest.approx(sum(seconds), abs=0.1)
    page = Path("docs/results.md").read_text()
    assert "## digits, out of fold" in page
    (row,) = rows("docs/results.md", "[folds](../configs/folds.yaml)")
    loss = table["all"]["log_loss_calibrated"]
    assert row["calibrated log loss"] == f"{loss['mean']:.4f} ({loss['low']:.4f} to {loss['high']:.4f})"
    assert "the epoch was selected on the same images" in row["note"]
    assert record["feature_seconds"] == 120
    assert (row["epochs"], row["minutes"]) == (", ".join(map(str, dict.fromkeys(epochs))), "0 + 2")
    for readme in READMES:
        assert f"{table['all']['accuracy']['mean']:.2%} (" in Path(readme).read_text()
    assert tool("results", "docs/results", "--verify") == 0
    # A measurement of several views is a result beside it.
    assert tool("eval", "job", "--tta", "shift") == 0
    Path(out).unlink()
    assert tool("results", "docs/results", "--add", "job", "--out", out, "--config", config) == 0
    of_views = json.loads(Path("job/out_of_fold_shift.json").read_text())["all"]
    assert [one.get("tta") for one in json.loads(Path(out).read_text())] == [None, "none", "shift"]
    found = {
        row["views"]: row["log loss as trained"]
        for row in rows("docs/results.md", "| shift |") + rows("docs/results.md", "| center |")
    }
    assert found.keys() == {"center", "shift"}
    assert found["shift"].startswith(f"{of_views['log_loss']['mean']:.4f} (")
    Path("job/out_of_fold.json").unlink()
    assert tool("results", "docs/results", "--add", "job", "--out", out) == 2
    assert "run `paddlecnn eval job`" in capsys.readouterr().err


def test_a_folder_without_results_is_one_line(tool, tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "absent"):
        assert tool("results", folder) == 2
        assert f"{folder}: contains no file of results; add one: --add RUN --out " in capsys.readouterr().err
        assert not folder.with_suffix(".md").exists()


@pytest.mark.parametrize(
    "fault", ["[", "{}", '[{"cpu": "x"}]', '[{"cpu": null, "python": "3", "packages": {}, "git": null}, {}]']
)
def test_a_damaged_file_is_one_line(tool, tmp_path, monkeypatch, capsys, fault):
    monkeypatch.chdir(tmp_path)
    Path("docs/results").mkdir(parents=True)
    Path("docs/results/bad.json").write_text(fault)
    assert tool("results", "docs/results") == 2
    error = capsys.readouterr().err
    assert error.startswith("docs/results/bad.json: ")
    assert len(error.splitlines()) == 1


FAULTS = {  # a key of the record, its wrong value, and what the message says of them
    "config": ("config.train.nonsense", 1, "config: train.nonsense: unknown key"),
    "epochs": ("changed", {"train.epochs": ["many", 1]}, "train.epochs: not two numbers of epochs"),
    "no epochs": ("changed", {"train.epochs": [0, 1]}, "train.epochs: not two numbers of epochs"),
    "nan": ("test.top1", float("nan"), "0.test.top1: not a finite number"),
    "infinite": ("history.0.seconds", float("inf"), "0.history.0.seconds: not a finite number"),
    "text": ("test.top1", "much", "0.training.test.top1: Input should be a valid number"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_value_is_one_line_that_names_file_and_key(project, add, tool, capsys, fault):
    assert add(NETWORKS[0], 0) == 0
    path = Path(f"docs/results/{NETWORKS[0]}_seed0.json")
    machine, record = json.loads(path.read_text())
    key, value, message = FAULTS[fault]
    *outer, last = key.split(".")
    part = record
    for name in outer:
        part = part[int(name) if isinstance(part, list) else name]
    part[last] = value
    path.write_text(json.dumps([machine, record]))
    assert tool("results", "docs/results", "--verify") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{path}: ")
    assert message in error
    assert len(error.splitlines()) == 1


def test_epochs_of_unknown_time_leave_out_the_sentence_on_it(project, add, tool):
    for name, epochs in ((NETWORKS[0], 1), (NETWORKS[1], 0)):
        assert add(name, 0) == 0
        path = Path(f"docs/results/{name}_seed0.json")
        machine, record = json.loads(path.read_text())
        record["history"] = [epoch | {"seconds": None} for epoch in record["history"][:epochs]]
        path.write_text(json.dumps([machine, record]))
    assert tool("results", "docs/results") == 0
    assert "(one seed, so no interval).\n" in Path("docs/results.md").read_text()


@pytest.mark.parametrize("mark", ["<!-- results -->", "<!-- /results -->"])
@pytest.mark.parametrize("name", READMES)
def test_a_readme_without_the_marks_of_its_table_is_named(project, add, tool, capsys, name, mark):
    assert add(NETWORKS[0], 0) == 0
    Path(name).write_text(Path(name).read_text().replace(mark, ""))
    assert tool("results", "docs/results", "--verify") == 2
    assert capsys.readouterr().err.startswith(f"{name}: has no line {mark}")


def test_a_second_file_of_a_run_is_refused(project, add, tool, capsys):
    assert add(NETWORKS[0], 0) == 0
    shutil.copy(f"docs/results/{NETWORKS[0]}_seed0.json", "docs/results/again.json")
    assert tool("results", "docs/results") == 2
    assert "two files have the same config and seed" in capsys.readouterr().err


def test_a_run_that_is_not_finished_is_no_result(project, tool, capsys):
    run = Path("runs") / f"{NETWORKS[0]}-0"
    state = run / "checkpoints/last/state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"finished": False}))
    sums = state.parent / "SHA256SUMS"
    kept = [line for line in sums.read_text().splitlines() if not line.endswith("state.json")]
    sums.write_text("\n".join([*kept, f"{file_digest(state)}  state.json\n"]))
    assert tool("results", "docs/results", "--add", run, "--out", "docs/results/x.json") == 2
    assert f"{run}: not finished (epoch 1 of 1); resume it first" in capsys.readouterr().err
    assert not Path("docs/results/x.json").exists()
    for wrong in (["--add", run], ["--add", run, "--out", "docs/results/x.json", "--verify"]):
        assert tool("results", "docs/results", *wrong) == 2


def test_docs_results_md_agrees_with_its_files(tool, capsys):
    assert tool("results", ROOT / "docs/results", "--verify") == 0, capsys.readouterr().err


def test_the_figures_of_a_run_go_into_no_other_file(project, tool, capsys):
    run = Path("runs") / f"{NETWORKS[0]}-0"
    before = (run / "environment.json").read_bytes()
    for out, message in (("README.md", "must be the name"), (run / "environment.json", "is in the folder of a run")):
        assert tool("results", "docs/results", "--add", run, "--out", out) == 2
        assert capsys.readouterr().err.startswith(f"--out {out}: {message}")
    assert (run / "environment.json").read_bytes() == before


def test_a_config_file_can_be_named(project, tool):
    Path("configs/other").mkdir()
    Path("configs/other/long.yaml").write_text(Path(f"configs/{NETWORKS[0]}.yaml").read_text().replace("4", "9"))
    add = ["--add", f"runs/{NETWORKS[0]}-0", "--out", "docs/results/x.json"]
    assert tool("results", "docs/results", *add, "--config", "configs/other/long.yaml") == 0
    record = json.loads(Path("docs/results/x.json").read_text())[1]
    assert (record["config_file"], record["changed"]) == ("configs/other/long.yaml", {"train.epochs": [9, 1]})
    assert "| [other/long](../configs/other/long.yaml) |" in Path("docs/results.md").read_text()
    assert tool("results", "docs/results", *add, "--config", "nowhere.yaml") == 2


def test_a_run_without_validation_images_is_a_result(project, tool, tiny, capsys):
    options = ["-o", "data.val_fraction=0", "-o", "data.limit=64", "-o", "train.epochs=1"]
    assert tool("train", "-c", tiny, "--run", "runs/all", *options) == 0
    assert tool("results", "docs/results", "--add", "runs/all", "--out", "docs/results/all.json") == 0
    assert json.loads(Path("docs/results/all.json").read_text())[1]["val"] is None
    (row,) = rows("docs/results.md", "not measured")
    assert row["validation accuracy"] == "none: all images trained on"
    assert row["selected epoch"] == "none: the last"


def test_validation_images_that_selected_no_epoch_have_an_interval_and_their_views(project, tool, tiny, capsys):
    options = ["-o", "data.limit=64", "-o", "train.epochs=2", "-o", "train.monitor=last"]
    assert tool("train", "-c", tiny, "--run", "runs/last", *options) == 0
    assert tool("eval", "runs/last", "--split", "val", "--tta", "flip") == 0
    assert tool("results", "docs/results", "--add", "runs/last", "--out", "docs/results/last.json") == 0
    record = json.loads(Path("docs/results/last.json").read_text())[1]
    for views, one in (("center", record["val"]), ("flip", record["val_views"]["flip"])):
        (row,) = rows("docs/results.md", f"| {views} |")
        expected = f"{one['top1']:.2%} ({one['low']:.2%} to {one['high']:.2%}) of {one['n']}"
        assert (row["validation accuracy"], row["validation loss"]) == (expected, f"{one['loss']:.4f}")
        assert row["selected epoch"] == "none: the last"


def test_a_config_is_not_represented_by_its_best_experiment_but_by_the_longest(project, add, tool):
    name = NETWORKS[0]
    assert add(name, 0) == 0
    machine, record = json.loads(Path(f"docs/results/{name}_seed0.json").read_text())
    record["test"]["top1"] = 0.5
    Path(f"docs/results/{name}_seed0.json").write_text(json.dumps([machine, record]))
    record["config"]["train"]["epochs"], record["test"]["top1"] = 2, 0.25
    Path("docs/results/longer.json").write_text(json.dumps([machine, record]))
    assert tool("results", "docs/results") == 0
    page, readme = (Path(path).read_text() for path in ("docs/results.md", "README.md"))
    assert all(f"| {accuracy} (" in page for accuracy in ("50.00%", "25.00%"))
    assert "| 25.00% (" in readme
    assert "50.00%" not in readme


def fold(accuracy: float, **changes) -> dict:
    """The fields that make the record of a run that of a cross-validation."""
    sides = {"mean": accuracy, "low": accuracy - 0.01, "high": accuracy + 0.01}
    losses = {"log_loss": sides, "log_loss_calibrated": sides, "epochs": [1, 1], "notes": []}
    return {"what": "folds", "folds": 2, "n": 60, "tta": "none", "accuracy": sides, **losses, **changes}


def test_no_score_chooses_a_row_of_the_readme(project, add, tool):
    assert add(NETWORKS[0], 0) == 0
    source = Path(f"docs/results/{NETWORKS[0]}_seed0.json")
    machine, record = json.loads(source.read_text())

    def write(name: str, **changes) -> None:
        Path(f"docs/results/{name}.json").write_text(
            json.dumps([machine, record | {"config_file": f"configs/{name}.yaml"} | changes])
        )

    for number in range(6):
        config = json.loads(json.dumps(record["config"]))
        config["optim"]["lr"] = 0.1 + number
        score = record["test"] | {"top1": 0.9 if number == 5 else 0.1}
        write(f"network{number}", epochs=1 if number == 5 else 2, config=config, test=score)
    for number, tta, accuracy, n, seconds in (
        (0, "none", 0.95, 60, 9),
        (0, "flip", 0.81, 60, 9),
        (0, "crops", 0.96, 60, 9),
        (1, "flip", 0.97, 30, 99),
        (2, "flip", 0.98, 60, 8),
    ):
        write(
            f"folds{number}_{tta}", **fold(accuracy, n=n, tta=tta, seconds=seconds, config_file=f"folds{number}.yaml")
        )
    source.unlink()
    assert tool("results", "docs/results") == 0
    shown = [(row["config"], row["accuracy"]) for row in rows("README.md", "| digits |")]
    assert shown[0] == (
        "folds0",
        "81.00% (80.00% to 82.00%) out of fold, flip at test time; log loss 0.8100 (0.8000 to 0.8200)",
    )
    assert [(name, text[:7]) for name, text in shown[1:]] == [(f"network{number}", "10.00% ") for number in range(4)]


def test_published_accuracies_stand_beside_ours_in_a_figure(project, add, tool):
    from paddlecnn.reporting.results_drawings import drawings

    path = Path("docs/images/results_published.png")
    assert [add(NETWORKS[0], seed) for seed in (0, 1)] == [0, 0]
    assert not path.exists()
    assert path.name not in Path("docs/results.md").read_text()
    for seed, name in enumerate(("cifar10/lenet5", "cifar10/alexnet_best")):
        file = Path(f"docs/results/{NETWORKS[0]}_seed{seed}.json")
        machine, record = json.loads(file.read_text())
        record["config"]["optim"]["lr"] = 0.1 + seed
        file.write_text(json.dumps([machine, record | {"config_file": f"configs/{name}.yaml"}]))
    assert tool("results", "docs/results") == 0
    assert f"](images/{path.name})" in Path("docs/results.md").read_text()
    assert path.stat().st_size > 5000
    figure = drawings(Path("docs/results"))[path]()
    published, ours = zip(*([text.get_text() for text in axes.texts] for axes in figure.axes), strict=True)
    assert published == ("60.00%", "77.22%")
    for text, accuracy in zip(ours, tops(NETWORKS[0]), strict=True):
        assert text.startswith(f"{accuracy:.2%} (")
    (legend,) = figure.legends
    labels = [" ".join(text.get_text().split()) for text in legend.get_texts()]
    assert len(labels) == 3
    assert (
        "published; epoch chosen on test images: not stated; the script keeps the epoch that is best on test" in labels
    )
    figure.draw_without_rendering()
    for text in [*legend.get_texts(), *(text for axes in figure.axes for text in (axes._left_title, *axes.texts))]:
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text


def test_a_figure_of_accuracies_out_of_fold_and_on_validation_images(project, tool, tiny):
    from paddlecnn.reporting.results_drawings import drawings

    options = ["-o", "data.limit=64", "-o", "train.epochs=1", "-o", "train.monitor=last"]
    assert tool("train", "-c", tiny, "--run", "runs/last", *options) == 0
    assert tool("results", "docs/results", "--add", "runs/last", "--out", "docs/results/last.json") == 0
    machine, record = json.loads(Path("docs/results/last.json").read_text())
    Path("docs/results/folds.json").write_text(json.dumps([machine, record | fold(0.8, n=1200)]))
    assert tool("results", "docs/results") == 0
    (image,) = re.findall(r"\]\((images/[^)]+_time.png)\)", Path("docs/results.md").read_text())
    assert (Path("docs") / image).stat().st_size > 5000
    (legend,) = drawings(Path("docs/results"))[Path("docs") / image]().legends
    shown = [text.get_text().partition(", ")[2] for text in legend.get_texts()]
    assert shown == ["1 epochs, 1,200 out of fold", f"1 epochs, {record['val']['n']} for validation"]


def test_what_has_only_begun_is_in_no_figure_against_time(project, add, tool):
    assert add(NETWORKS[0], 0) == 0
    path, figure = Path(f"docs/results/{NETWORKS[0]}_seed0.json"), "](images/results_digits_time.png)"
    assert figure in Path("docs/results.md").read_text()
    machine, record = json.loads(path.read_text())
    path.write_text(json.dumps([machine, record | {"changed": {"train.epochs": [21, 1]}}]))
    assert tool("results", "docs/results") == 0
    page = Path("docs/results.md").read_text()
    assert figure not in page
    assert "| 1 of 21 |" in page


def test_a_figure_of_other_numbers_is_found(project, add, tool, capsys):
    assert add(NETWORKS[0], 0) == 0
    path = Path(f"docs/results/{NETWORKS[0]}_seed0.json")
    page, figure = Path("docs/results.md"), Path("docs/images/results_digits_time.png")
    before = figure.read_bytes()
    machine, record = json.loads(path.read_text())
    path.write_text(json.dumps([machine, record | {"seconds": record["seconds"] + 0.01}]))
    text = page.read_text()
    assert tool("results", "docs/results") == 0
    assert page.read_text() == text
    figure.write_bytes(before)
    assert tool("results", "docs/results", "--verify") == 2
    assert capsys.readouterr().err.startswith(f"{figure}: drawn from other numbers than those in docs/results; run ")


def test_a_reader_that_leaves_does_not_end_the_writing(project, add):
    assert add(NETWORKS[0], 0) == 0
    Path("README.zh-CN.md").write_text(README)  # the last page
    command = f"{sys.executable} {ROOT / 'tools/results.py'} docs/results | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "| 准确率 |" in Path("README.zh-CN.md").read_text()


def test_figures_of_a_former_checkpoint_or_of_other_data_are_refused(project, add, tool, capsys):
    run = Path(f"runs/{NETWORKS[0]}-0")
    assert tool("train", "--resume", run, "--extend", "train.epochs=2") == 0
    path = run / "evaluation_test.json"
    figures = json.loads(path.read_text())
    if json.loads((run / "checkpoints/best/state.json").read_text())["epoch"] == 1:
        path.write_text(json.dumps(figures | {"checkpoint": "last"}))
    assert add(NETWORKS[0], 0) == 2
    assert f"{path}: measured in epoch 1, and checkpoint" in capsys.readouterr().err
    path.rename(run / "evaluation_test_flip.json")
    assert add(NETWORKS[0], 0) == 2
    assert f"run `paddlecnn eval {run} --split test --tta flip` again" in capsys.readouterr().err
    (run / "evaluation_test_flip.json").unlink()
    path.write_text(json.dumps(figures | {"data_changed": True}))
    assert add(NETWORKS[0], 0) == 2
    assert f"{path}: measured on other data than the run's" in capsys.readouterr().err


def test_a_torn_record_of_evaluations_is_named(project, add, capsys):
    path = Path(f"runs/{NETWORKS[0]}-0/evaluations.jsonl")
    path.write_text(path.read_text() + '{"time": "20')
    assert add(NETWORKS[0], 0) == 2
    assert f"{path}: line 2 is damaged" in capsys.readouterr().err
