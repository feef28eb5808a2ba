"""docs/results.md: made from the figures of runs, and compared with them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import fmean, stdev

import pytest

from helpers.docs import ROOT
from helpers.results import CONFIG, NETWORKS, READMES, rows, tops


def test_every_number_of_the_page_comes_from_the_runs(project, add, tool, capsys):
    for name in NETWORKS:
        assert [add(name, seed) for seed in (0, 1)] == [0, 0]
    page, *readmes = (Path(name).read_text() for name in ("docs/results.md", *READMES))
    assert "### Shortened recipes\n" in page
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
    assert (
        f"2 paired seeds); the fastest epoch with normalisation takes {fastest[1] / fastest[0]:.2f} times as long"
        in page
    )
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
    assert "figure not found" in capsys.readouterr().err


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
    assert tool("eval", f"runs/{name}-1", "--split", "test") == 0  # again; the other seed has two kinds of views
    assert add(name, 1) == 0
    assert "seeds = 2; test measured 2 times" in Path("docs/results.md").read_text()
    for _ in range(2):  # of the same views
        assert tool("eval", f"runs/{name}-0", "--split", "test") == 0
    Path(f"docs/results/{name}_seed0.json").unlink()
    assert add(name, 0) == 0
    assert "seeds = 2; test measured 4 times" in Path("docs/results.md").read_text()
    assert tool("results", "docs/results", "--verify") == 0


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


def test_epochs_of_unknown_time_leave_out_the_sentence_on_it(project, add, tool):
    for name, epochs in ((NETWORKS[0], 1), (NETWORKS[1], 0)):
        assert add(name, 0) == 0
        path = Path(f"docs/results/{name}_seed0.json")
        machine, record = json.loads(path.read_text())
        record["history"] = [epoch | {"seconds": None} for epoch in record["history"][:epochs]]
        path.write_text(json.dumps([machine, record]))
    assert tool("results", "docs/results") == 0
    assert "(one seed, so no interval).\n" in Path("docs/results.md").read_text()


def test_docs_results_md_agrees_with_its_files(tool, capsys):
    assert tool("results", ROOT / "docs/results", "--verify") == 0, capsys.readouterr().err


def test_a_run_without_validation_images_is_a_result(project, tool, tiny, capsys):
    options = ["-o", "data.val_fraction=0", "-o", "data.limit=64", "-o", "train.epochs=1"]
    assert tool("train", "-c", tiny, "--run", "runs/all", *options) == 0
    assert tool("results", "docs/results", "--add", "runs/all", "--out", "docs/results/all.json") == 0
    assert json.loads(Path("docs/results/all.json").read_text())[1]["val"] is None
    (row,) = rows("docs/results.md", "not measured")
    assert row["validation accuracy"] == "none (trained on all images)"
    assert row["selected epoch"] == "none (last epoch used)"


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
        assert row["selected epoch"] == "none (last epoch used)"
