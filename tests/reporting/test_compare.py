"""Comparisons of real runs: the numbers against independent ones, and the page in a real browser."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, ttest_rel

import paddlecnn as pc
from helpers.images import write_levels
from paddlecnn import onednn
from paddlecnn.configfile import config_hash, load_config
from paddlecnn.evaluation.evaluate import evaluate_run
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.training.train import train_seeds

CONFIG = {
    "data": {"name": "digits", "limit": 200},
    "model": {"name": "lenet5"},
    "train": {"epochs": 2, "batch_size": 32},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    """Two configs with three seeds each, their validation images predicted."""
    root = tmp_path_factory.mktemp("compare")
    for lr in (0.003, 0.05):
        config = load_config(CONFIG, {"optim.lr": lr})
        for one in train_seeds(config, root / f"lr-{lr}", 3)[0]:
            evaluate_run(one.run)
    return sorted(root.iterdir())


@pytest.fixture
def records(tool, folders, tmp_path, capsys) -> list[dict]:
    assert tool("compare", *folders, "--json", tmp_path / "table.json", "--csv", tmp_path / "table.csv") == 0
    with open(tmp_path / "table.csv", encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 2
    return json.loads((tmp_path / "table.json").read_text())


def accuracies(folder: Path) -> np.ndarray:
    """The accuracy of each seed from its predictions file."""
    tables = [pd.read_csv(folder / f"seed-{seed}" / "predictions_val.csv") for seed in range(3)]
    return np.array([(table["label"] == table["predicted"]).mean() for table in tables])


def test_eval_measures_all_seeds_of_a_folder(tool, folders, tmp_path, capsys):
    seeds = shutil.copytree(folders[0], tmp_path / "seeds")
    assert tool("eval", seeds, "--split", "test", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert list(figures) == ["seed-0", "seed-1", "seed-2"]
    assert tool("eval", seeds, "--split", "test") == 0
    lines = {line.split("  ")[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    top1 = np.array([one["top1"] for one in figures.values()])
    assert lines["seed-1"][3] == f"{top1[1]:.2%}"
    assert lines["mean"][1] == f"{top1.mean():.2%}"
    assert lines["standard deviation"][2] == f"{top1.std(ddof=1):.2%}"
    assert (seeds / "seed-2" / "evaluation_test.json").is_file()


def test_figures_of_another_checkpoint_or_engine_do_not_replace_the_runs_own(tool, folders, tmp_path):
    runs = [shutil.copytree(folder / "seed-0", tmp_path / folder.name) for folder in folders]
    own = {path: path.read_bytes() for path in runs[0].glob("*_val.*")}
    assert len(own) == 2  # figures and predictions; only the command draws the confusion matrix
    assert tool("compare", *runs, "--json", tmp_path / "before.json") == 0
    assert tool("eval", runs[0], "--checkpoint", "last", "--tta", "flip") == 0
    assert tool("eval", runs[0], "--checkpoint", "last") == 0
    ends = ["_last_flip", "_last"]
    if onednn.available():  # else there is one engine alone
        engine = ["paddle", "onednn"][json.loads((runs[0] / "evaluation_val.json").read_text())["engine"] == "paddle"]
        assert tool("eval", runs[0], "--engine", engine) == 0
        ends.append(f"_{engine}_float32")
    for end in ends:
        for name in ("evaluation_val{}.json", "predictions_val{}.csv", "confusion_val{}.png"):
            assert (runs[0] / name.format(end)).is_file()
    assert {path: path.read_bytes() for path in runs[0].glob("*_val.*")} == own
    assert tool("compare", *runs, "--json", tmp_path / "after.json") == 0
    before, after = ((tmp_path / name).read_bytes() for name in ("before.json", "after.json"))
    assert before == after


def test_figures_that_an_earlier_version_kept_of_the_last_epoch_are_not_the_runs(tool, folders, tmp_path, capsys):
    runs = [shutil.copytree(folder / "seed-0", tmp_path / folder.name) for folder in folders]
    assert all(tool("eval", run, "--split", "test") == 0 for run in runs)
    path = runs[1] / "evaluation_test.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"checkpoint": "last"}))
    capsys.readouterr()
    assert tool("compare", *runs, "--split", "test") == 2
    assert f"{runs[1]}: not measured on test images" in capsys.readouterr().err


def test_the_paired_difference_over_seeds_is_students_t(records, folders):
    before, after = map(accuracies, folders)
    interval = ttest_rel(after, before).confidence_interval(0.95)
    first, second = records
    assert first["name"] == "lr=0.003"
    assert (first["difference"], second["pairs"], second["seeds"]) == (None, 3, [0, 1, 2])
    assert first["top1_mean"] == pytest.approx(before.mean())
    assert second["top1_deviation"] == pytest.approx(after.std(ddof=1))
    assert second["difference"] == pytest.approx((after - before).mean())
    assert (second["low_over_seeds"], second["high_over_seeds"]) == pytest.approx((interval.low, interval.high))
    assert second["low_over_images"] < second["difference"] < second["high_over_images"]
    assert second["parameters"] == 62_006


def test_names_are_as_short_as_they_can_be_and_what_they_leave_out_is_named(tool, folders, tmp_path, capsys):
    base = load_config(CONFIG, {"optim.lr": 0.003, "seed": 0})
    changes = {"simple": {"model.name": "simple_cnn"}, "mixed": {"model.name": "simple_cnn", "train.batch_size": 50}}
    for name, change in changes.items():
        pc.train(base, overrides=change, run=tmp_path / name)
    reference = folders[0] / "seed-0"
    capsys.readouterr()
    assert tool("compare", reference, tmp_path / "simple") == 0
    alone = capsys.readouterr().out
    assert re.search(r"^lenet5 .*\nsimple_cnn ", alone, flags=re.M)
    assert "more setting" not in alone
    assert tool("compare", reference, tmp_path / "mixed") == 0
    assert " 1 more setting differs: batch_size=50." in capsys.readouterr().out
    page = tmp_path / "all.html"
    assert tool("compare", reference, tmp_path / "simple", tmp_path / "mixed", "--evaluate", "--html", page) == 0
    several = capsys.readouterr().out
    assert re.search(r"^simple_cnn, batch_size=32 .*\nsimple_cnn, batch_size=50 ", several, flags=re.M)
    caveat = "Each of the 2 intervals misses its difference in 5 % of cases"
    assert (caveat in alone, caveat in several, caveat in page.read_text()) == (False, True, True)


def test_the_values_in_a_name_are_those_of_the_config(tool, folders, tmp_path, capsys):
    base = load_config(CONFIG, {"optim.lr": 0.003, "seed": 0})
    for name, clip in (("without", None), ("with", 1.0)):
        pc.train(base, overrides={"optim.clip_norm": clip, "optim.lr": 0.01}, run=tmp_path / name)
    capsys.readouterr()
    assert tool("compare", tmp_path / "without", tmp_path / "with") == 0
    assert re.search(r"^clip_norm=null .*\nclip_norm=1\.0 ", capsys.readouterr().out, flags=re.M)


def test_the_interval_over_images_of_one_pair_is_that_of_agresti_and_min(tool, folders, tmp_path):
    single = [folder / "seed-1" for folder in folders]
    assert tool("compare", *single, "--json", tmp_path / "one.json") == 0
    _, record = json.loads((tmp_path / "one.json").read_text())
    tables = [pd.read_csv(run / "predictions_val.csv", index_col="id") for run in single]
    right = [table["label"] == table["predicted"] for table in tables]
    b, c, n = (right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum(), len(right[0])
    centre = (c - b) / (n + 2)
    reach = norm.ppf(0.975) * np.sqrt((b + c + 1) - (c - b) ** 2 / (n + 2)) / (n + 2)
    assert (record["low_over_images"], record["high_over_images"]) == pytest.approx((centre - reach, centre + reach))
    assert record["low_over_seeds"] is None


def test_equal_differences_of_all_seeds_still_have_an_interval(tool, folders, tmp_path):
    config = load_config(CONFIG, {"optim.lr": 0.003, "optim.clip_norm": 1e9})  # clips nothing: the same networks
    train_seeds(config, tmp_path / "same", 2)
    seeds = [folders[0] / "seed-0", folders[0] / "seed-1"]
    assert tool("compare", *seeds, tmp_path / "same", "--json", tmp_path / "table.json") == 0
    _, record = json.loads((tmp_path / "table.json").read_text())
    assert (record["difference"], record["pairs"]) == (0, 2)
    assert record["low_over_seeds"] < 0 < record["high_over_seeds"]


def test_a_second_run_of_a_config_and_seed_is_refused(tool, folders, tmp_path, capsys):
    again = shutil.copytree(folders[1] / "seed-2", tmp_path / "again")
    for runs in ([*folders, again], [again, *folders[::-1]]):
        assert tool("compare", *runs) == 2
        (error,) = capsys.readouterr().err.splitlines()
        assert "has the config and the seed (2) of" in error
        assert error.endswith("so it is the same training again; name one of them")


def test_a_start_from_another_run_is_part_of_the_experiment(tool, folders, tmp_path, capsys):
    """Seeds of a source are one experiment, as are the runs that start from them, but each seed counts once."""
    source, scratch = folders[0], folders[1] / "seed-0"
    for seed, start in ((0, 0), (1, 1), (0, 1)):
        config = load_config(CONFIG, {"optim.lr": 0.05, "seed": seed})
        pc.train(config, run=tmp_path / f"{seed}-{start}", init_from=source / f"seed-{start}")
    tuned = [tmp_path / "0-0", tmp_path / "1-1"]
    assert tool("compare", scratch, *tuned, "--json", tmp_path / "table.json") == 0
    name = f"init_from=lenet5 on digits, config {config_hash(RunDir(source / 'seed-0').config)}"
    assert name in capsys.readouterr().out
    plain, both = json.loads((tmp_path / "table.json").read_text())
    assert (plain["runs"], both["runs"]) == (1, 2)
    assert (plain["init_from"], f"init_from={both['init_from']}") == (None, name)
    assert tool("compare", *tuned, tmp_path / "0-1") == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "(0) of" in error
    assert error.endswith("started from another seed of the same source, so it is no other seed; name one of them")


def test_an_extended_run_is_no_run_of_the_final_length(tool, folders, tmp_path):
    run = tmp_path / "run"
    pc.train(load_config(CONFIG, {"optim.lr": 0.05, "train.epochs": 1}), run=run)
    step = RunDir(run).load_state("last").step
    assert tool("train", "--resume", run, "--extend", "train.epochs=2") == 0
    assert tool("train", "--resume", run, "--extend", "train.epochs=2") == 0  # changes nothing
    [extension] = json.loads((run / "environment.json").read_text())["extensions"]
    assert extension == {"step": step, "changed": {"train.epochs": [1, 2]}}
    assert tool("compare", folders[1] / "seed-0", run, "--json", tmp_path / "table.json") == 0
    assert [row["extended"] for row in json.loads((tmp_path / "table.json").read_text())] == [
        None,
        f"train.epochs from 1 at step {step}",
    ]


@pytest.mark.parametrize("change", [{"data.val_fraction": 0.3}, {"data.limit": 180}, {"data.folds": 4}])
def test_runs_are_paired_on_the_same_images_alone(tool, folders, tmp_path, capsys, change):
    for seed in range(2):
        pc.train(load_config(CONFIG, {"seed": seed, **change}), run=tmp_path / "other" / str(seed))
    assert tool("compare", folders[0], tmp_path / "other", "--json", tmp_path / "table.json") == 0
    assert "was measured on validation images other than those of" in capsys.readouterr().out
    _, record = json.loads((tmp_path / "table.json").read_text())
    assert (record["difference"], record["pairs"], record["low_over_images"]) == (None, None, None)


def test_test_images_may_be_shared_by_runs_with_other_validation_images(tool, folders, tmp_path, capsys):
    run = shutil.copytree(folders[0] / "seed-0", tmp_path / "first")
    changes = {"fraction": {"data.val_fraction": 0.3}, "limit": {"data.limit": 150}}
    for name, change in changes.items():
        pc.train(load_config(CONFIG, change | {"optim.lr": 0.003}), run=tmp_path / name)
    for folder in (run, tmp_path / "fraction", tmp_path / "limit"):
        assert tool("eval", folder, "--split", "test") == 0
    capsys.readouterr()
    assert tool("compare", run, tmp_path / "fraction", "--split", "test") == 0
    assert "of the test images correctly" in capsys.readouterr().out
    assert tool("compare", run, tmp_path / "limit", "--split", "test") == 0
    assert "was measured on test images other than those of" in capsys.readouterr().out


def test_the_answer_names_the_seeds_that_are_not_paired(tool, tmp_path, capsys):
    data = {"name": "folder", "root": str(tmp_path / "data"), "preprocess": {"size": 32}}
    config = load_config({"data": data, "model": {"name": "lenet5"}, "train": {"epochs": 1}})
    write_levels(tmp_path / "data", 10)
    pc.train(config, run=tmp_path / "before" / "0")
    write_levels(tmp_path / "data", 15)  # the data grow between the first run and the others
    pc.train(config, overrides={"seed": 1}, run=tmp_path / "before" / "1")
    for seed in range(2):
        pc.train(config, overrides={"seed": seed, "optim.lr": 0.5}, run=tmp_path / "after" / str(seed))
    assert tool("compare", tmp_path / "before", tmp_path / "after", "--json", tmp_path / "table.json") == 0
    assert " Measured on other images, so not paired: seed 0." in capsys.readouterr().out
    assert json.loads((tmp_path / "table.json").read_text())[1]["pairs"] == 1


def test_the_answer_is_printed(tool, folders, capsys):
    assert tool("compare", *folders) == 0
    text = capsys.readouterr().out
    assert "lr=0.05 classifies" in text
    assert "3 pairs of equal seeds, Student's t" in text
    before, after = ([RunDir(run).load_state("last").seconds for run in one.glob("seed-*")] for one in folders)
    ratio = sum(after) / sum(before)
    ranges = [" to ".join(dict.fromkeys(f"{end(one):.1f} s" for end in (min, max))) for one in (after, before)]
    assert (
        f"took {ratio:.2f} times as long ({ranges[0]} against {ranges[1]}, other work on the machine included" in text
    )
    assert text.splitlines()[1].startswith("lr=0.003  ")


def test_a_row_selects_its_curve_difference_and_matrix(tool, folders, tmp_path, browser, requests):
    page = tmp_path / "lr.html"
    assert tool("compare", *folders, "--html", page) == 0
    browser.get(page.as_uri())
    answer = browser.execute_script("return document.getElementById('answer').innerText")
    assert "lr=0.05 classifies" in answer

    def shown() -> tuple[list[str], list[str], int]:
        return browser.execute_script(
            """
            const panels = [...document.querySelectorAll('.panel')].filter(one => !one.hidden);
            return [panels.map(one => one.querySelector('h3').innerText),
                    [...document.querySelectorAll('svg .dim')].map(one => one.id),
                    panels[0].querySelectorAll('svg').length];
            """
        )

    names, dimmed, matrices = shown()
    assert (names, matrices) == (["lr=0.05"], 1)
    assert dimmed
    assert all(name.endswith("-0") for name in dimmed)
    browser.find_element("css selector", "tr.row[data-row='0'] td:nth-child(3)").click()
    names, dimmed, matrices = shown()
    assert (names, matrices) == (["lr=0.003"], 1)
    assert dimmed
    assert all(name.endswith("-1") for name in dimmed)
    keys = pytest.importorskip("selenium.webdriver").Keys
    browser.find_element("id", "row-0").send_keys(keys.ARROW_DOWN)
    assert shown()[0] == ["lr=0.05"]
    assert browser.get_log("browser") == []
    assert requests() == [page.as_uri()]
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    )
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390


def test_a_folder_of_runs_may_contain_an_unfinished_one(tool, folders, tmp_path, capsys):
    for number, folder in enumerate(folders):
        shutil.copytree(folder / "seed-0", tmp_path / "all" / str(number))
    RunDir.create(tmp_path / "all" / "unfinished", RunDir(folders[0] / "seed-0").config, {})
    assert tool("compare", tmp_path / "all", "--json", tmp_path / "table.json") == 0
    assert "unfinished: has no checkpoint best yet" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "table.json").read_text())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{0}/seed-0"], "only one run with a finished epoch; name two or more"),
        (["{0}/seed-0", "{0}/seed-0"], "only one run with a finished epoch; name two or more"),
        (["{0}", "--split", "test"], "only one run"),
        (["{0}/seed-0", "{1}/seed-0", "--split", "test"], "not measured on test images; run `paddlecnn eval"),
        (["{0}/nothing", "{1}"], "no such run folder"),
    ],
)
def test_what_cannot_be_compared_is_one_line(tool, folders, capsys, arguments, message):
    assert tool("compare", *(argument.format(*folders) for argument in arguments)) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_runs_of_different_data_are_refused(tool, folders, tmp_path, capsys):
    write_levels(tmp_path / "data", 10)
    other = {
        "data": {"name": "folder", "root": str(tmp_path / "data"), "preprocess": {"size": 32}},
        "model": {"name": "lenet5"},
        "train": {"epochs": 1},
    }
    (tmp_path / "other.yaml").write_text(json.dumps(other))
    assert tool("train", "-c", tmp_path / "other.yaml", "--run", tmp_path / "run") == 0
    assert tool("compare", folders[0], tmp_path / "run") == 2
    assert "its data are folder with 2 classes" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--csv", "--json", "--html"])
def test_the_files_are_checked_before_anything_is_read(tool, tmp_path, capsys, option):
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / f"x.{option[2:]}"
    assert tool("compare", tmp_path / "first", tmp_path / "second", option, target) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{option} {target}: cannot be written there (")


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("--csv", "metrics.csv", "is in the folder of a run"),
        ("--json", "checkpoints/last/state.json", "is in the folder of a run"),
        ("--html", "notes.txt", "must be the name of a file that ends in .html"),
    ],
)
def test_a_comparison_replaces_no_file_of_a_run(tool, folders, tmp_path, capsys, option, name, message):
    runs = [shutil.copytree(folder / "seed-0", tmp_path / folder.name) for folder in folders]
    (runs[0] / "notes.txt").write_text("mine")
    before = (runs[0] / name).read_bytes()
    capsys.readouterr()
    assert tool("compare", *runs, option, runs[0] / name) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{option} {runs[0] / name}: {message}")
    assert (runs[0] / name).read_bytes() == before
