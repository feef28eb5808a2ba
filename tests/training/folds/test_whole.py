"""A cross-validation used as a whole by the commands: measured out of fold, compared, reported and submitted."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, log_loss

from helpers.images import encoded, inner_zips, photo, zipped
from paddlecnn import onednn
from paddlecnn.evaluation.calibration import fit_calibration
from paddlecnn.kaggle.ledger import Ledger
from paddlecnn.kaggle.submission import read_submission
from paddlecnn.runs.checkpoint import load_checkpoint


def test_every_image_is_scored_by_the_run_that_was_not_trained_on_it(tool, trained, tmp_path):
    job, output = trained
    table = json.loads((job / "out_of_fold.json").read_text())
    parts, probabilities = [], []
    for fold in range(3):
        run = shutil.copytree(job / f"fold-{fold}", tmp_path / f"fold-{fold}")
        assert tool("eval", run) == 0
        parts.append(pd.read_csv(run / "predictions_val.csv", dtype={"id": str, "label": str, "predicted": str}))
        probabilities.append(parts[-1].iloc[:, 3:].to_numpy())
    assert not pd.concat(parts)["id"].duplicated().any()
    logits = [np.log(values) for values in probabilities]
    labels = [part["label"].astype(int).to_numpy() for part in parts]
    for fold, row in enumerate(table["folds"]):
        others = [other for other in range(3) if other != fold]
        fitted = fit_calibration(*(np.concatenate([of_all[i] for i in others]) for of_all in (logits, labels)))
        calibrated = fitted(logits[fold])
        assert (row["fold"], row["n"]) == (fold, len(labels[fold]))
        assert row["accuracy"]["mean"] == accuracy_score(labels[fold], logits[fold].argmax(axis=1))
        assert row["log_loss"]["mean"] == pytest.approx(log_loss(labels[fold], probabilities[fold]), rel=1e-4)
        assert row["log_loss_calibrated"]["mean"] == pytest.approx(log_loss(labels[fold], calibrated), rel=1e-3)
    everything = table["all"]
    assert everything["n"] == sum(row["n"] for row in table["folds"]) == 600
    for name in ("accuracy", "log_loss", "log_loss_calibrated"):
        mean = sum(row["n"] * row[name]["mean"] for row in table["folds"]) / everything["n"]
        assert everything[name]["mean"] == pytest.approx(mean)
        assert everything[name]["low"] < mean < everything[name]["high"]
    kept = pd.read_csv(job / "out_of_fold.csv", dtype={"label": str})
    assert kept["fold"].value_counts().to_dict() == {fold: row["n"] for fold, row in enumerate(table["folds"])}
    scored = log_loss(kept["label"].astype(int), softmax(np.log(kept.iloc[:, 4:].to_numpy()), axis=1))
    assert scored == pytest.approx(everything["log_loss_calibrated"]["mean"], rel=1e-6)
    assert f"{everything['log_loss_calibrated']['mean']:.5f}" in output


@pytest.mark.parametrize("monitor", ["loss", "last"])
def test_a_figure_says_whether_its_epoch_was_selected_on_the_same_images(tool, config, tmp_path, capsys, monitor):
    folds, selection = ["-o", "data.folds=2"], ["-o", f"train.monitor={monitor}"]
    job, other = tmp_path / "job", tmp_path / "other"
    rate = ["-o", "optim.lr=1"]  # validation becomes worse from some epoch on
    assert tool("train", "-c", config, "--all-folds", "--run", job, *folds, *selection, *rate) == 0
    printed = [capsys.readouterr().out]
    table = json.loads((job / "out_of_fold.json").read_text())
    histories = [json.loads((job / f"fold-{fold}/checkpoints/last/state.json").read_text()) for fold in range(2)]
    expected = [
        4 if monitor == "last" else min(one["history"], key=lambda epoch: epoch["val"]["loss"])["epoch"]
        for one in histories
    ]
    assert [row["epoch"] for row in table["folds"]] == expected
    assert tool("eval", job / "fold-0") == 0
    assert tool("compare", job / "fold-0", job / "fold-1") == 0
    assert tool("submit", job, "--out", tmp_path / "job.csv") == 0
    printed.append(capsys.readouterr().out)
    note = "the epoch was selected on the same images"
    assert [text.count(note) for text in printed] == ([0, 0] if monitor == "last" else [1, 3])
    # A run that starts from one inherits its reservations.
    last = ["-o", "train.monitor=last"]
    assert tool("train", "-c", config, "--init-from", job / "fold-0", "--run", other, *folds, *last) == 0
    assert tool("eval", other) == 0
    assert (note in capsys.readouterr().out) == (monitor == "loss")


def test_eval_measures_a_job_as_a_whole(tool, trained, tmp_path, capsys):
    job, output = trained
    copy = shutil.copytree(job, tmp_path / "job")
    for name in ("out_of_fold.json", "out_of_fold.csv"):
        (copy / name).unlink()
    assert tool("eval", copy) == 0
    assert capsys.readouterr().out in output  # what the training printed
    for name in ("out_of_fold.json", "out_of_fold.csv"):
        assert (copy / name).read_bytes() == (job / name).read_bytes()
    assert tool("eval", copy, "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((job / "out_of_fold.json").read_text())


def test_eval_takes_several_views_and_keeps_the_figures_of_one(tool, trained, tmp_path, capsys):
    job = shutil.copytree(trained[0], tmp_path / "job")
    run = job / "fold-0"
    central = {name: (job / name).read_bytes() for name in ("out_of_fold.json", "out_of_fold.csv")}
    assert tool("eval", job, "--tta", "shift") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("shift at test time\n")
    table = json.loads((job / "out_of_fold_shift.json").read_text())
    assert f"{table['all']['log_loss']['mean']:.5f}" in printed
    assert tool("report", job) == 0
    page = (job / "report.html").read_text()
    assert "Log loss calibrated, shift at test time" in page
    assert f"{table['all']['log_loss_calibrated']['mean']:.4f}" in page
    assert table["all"]["log_loss"]["mean"] != json.loads(central["out_of_fold.json"])["all"]["log_loss"]["mean"]
    assert {name: (job / name).read_bytes() for name in central} == central
    if onednn.available():
        engine = "onednn" if load_checkpoint(run / "checkpoints" / "best").state.engine == "paddle" else "paddle"
        assert tool("eval", job, "--engine", engine) == 0
        assert (job / f"out_of_fold_{engine}_float32.csv").is_file()
        assert {name: (job / name).read_bytes() for name in central} == central

    assert tool("eval", run) == 0
    assert tool("eval", run, "--tta", "shift") == 0
    assert "val (checkpoint best, epoch 4, shift at test time)" in capsys.readouterr().out
    figures = [json.loads((run / f"evaluation_val{end}.json").read_text()) for end in ("", "_shift")]
    assert [one["tta"] for one in figures] == ["none", "shift"]
    assert figures[1]["log_loss"] == pytest.approx(table["folds"][0]["log_loss"]["mean"], rel=1e-6)
    assert (run / "predictions_val_shift.csv").is_file()
    assert (run / "confusion_val_shift.png").is_file()


def test_compare_shows_a_job_as_one_row(tool, job, config, tmp_path, capsys):
    jobs = tmp_path / "jobs"
    shutil.copytree(job, jobs / "first")
    options = ["--all-folds", "--run", jobs / "second", "-o", "optim.lr=0.0001"]
    assert tool("train", "-c", config, *options) == 0
    capsys.readouterr()
    assert tool("compare", jobs, "--json", tmp_path / "table.json", "--html", tmp_path / "page.html") == 0
    printed = capsys.readouterr().out
    records = json.loads((tmp_path / "table.json").read_text())
    tables = [json.loads((jobs / name / "out_of_fold.json").read_text())["all"] for name in ("first", "second")]
    assert [record["name"] for record in records] == ["lr=0.003", "lr=0.0001"]
    assert [record["top1_mean"] for record in records] == [table["accuracy"]["mean"] for table in tables]
    assert [record["loss_mean"] for record in records] == [table["log_loss"]["mean"] for table in tables]
    assert [record["images"] for record in records] == [600, 600]
    assert [record["runs"] for record in records] == [1, 1]
    kept = [pd.read_csv(jobs / name / "out_of_fold.csv", index_col="id") for name in ("first", "second")]
    right = [table["label"] == table["predicted"] for table in kept]
    assert records[1]["difference"] == pytest.approx((right[1].astype(int) - right[0].astype(int)).mean())
    assert records[1]["low_over_images"] < records[1]["difference"] < records[1]["high_over_images"]
    assert "images of one pair of runs" in printed
    assert tool("compare", job, job / "fold-0", "--json", tmp_path / "table.json") == 0  # not another seed of the job
    assert [record["name"] for record in json.loads((tmp_path / "table.json").read_text())] == ["fold=all", "fold=0"]


def test_a_job_and_each_of_its_folds_have_a_report(tool, config, tmp_path, capsys):
    job, short = tmp_path / "trained", ["-o", "data.folds=2", "-o", "train.epochs=1", "-o", "train.report=true"]
    assert tool("train", "-c", config, "--all-folds", "--run", job, *short) == 0
    assert all((job / f"fold-{fold}" / "report.html").is_file() for fold in range(2))
    assert f"report: {job / 'report.html'}" in capsys.readouterr().out
    table = json.loads((job / "out_of_fold.json").read_text())
    pages = [(job / "report.html").read_text()]
    copy = shutil.copytree(job, tmp_path / "job")
    (copy / "report.html").unlink()
    assert tool("report", copy) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(copy / "report.html")
    pages.append((copy / "report.html").read_text())
    for page in pages:
        for number in (table["all"]["log_loss_calibrated"], *(row["log_loss_calibrated"] for row in table["folds"])):
            assert f"{number['mean']:.4f}" in page
        assert all(f'<a href="fold-{fold}/report.html">' in page for fold in range(2))
        assert "https://" not in page


def test_submit_uses_a_job_as_a_whole(tool, job, tmp_path, capsys):
    out = tmp_path / "job.csv"
    assert tool("submit", job, "--out", out) == 0
    table = json.loads((job / "out_of_fold.json").read_text())
    assert f"expected accuracy {table['all']['accuracy']['mean']:.5f}" in capsys.readouterr().out
    assert Ledger(tmp_path).find(out).runs == ";".join(str(job / f"fold-{fold}") for fold in range(3))
    assert len(read_submission(out)) == 200


@pytest.mark.parametrize("name", ["CONFIG", "latest"])
def test_a_job_is_found_by_its_config_and_as_the_latest(tool, job, config, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(job, tmp_path / "runs" / config.stem / "now")
    assert tool("submit", config if name == "CONFIG" else name) == 0
    assert f"submissions/{config.stem}-now.csv: 200 rows" in capsys.readouterr().out


def test_a_job_of_the_competition_names_the_medal_it_would_reach(tool, tmp_path, capsys):
    files = {
        f"train/{kind}.{i}.jpg": encoded(photo(100 * k + i)) for k, kind in enumerate(("cat", "dog")) for i in range(12)
    }
    bundle = tmp_path / "dogs-vs-cats-redux-kernels-edition.zip"
    bundle.write_bytes(zipped(inner_zips(files | {f"test/{i}.jpg": encoded(photo(900 + i)) for i in range(1, 6)})))
    config = tmp_path / "dogs.yaml"
    config.write_text(
        f"data: {{name: dogs_vs_cats, root: {tmp_path}, folds: 2, preprocess: {{size: 32, resize: 32}}}}\n"
        "model: {name: lenet5}\ntrain: {epochs: 2, batch_size: 8}\n"
    )
    assert tool("train", "-c", config, "--all-folds", "--run", tmp_path / "job") == 0
    assert tool("submit", tmp_path / "job", "--out", tmp_path / "dogs.csv") == 0
    said = capsys.readouterr().out
    table = json.loads((tmp_path / "job" / "out_of_fold.json").read_text())["all"]["log_loss_calibrated"]
    low, mean, high = (f"{table[name]:.5f}" for name in ("low", "mean", "high"))
    assert f"expected log loss calibrated   {mean} (95 %: {low} to {high}), cross-fitted" in said
    assert "it would reach:" in said
    assert read_submission(tmp_path / "dogs.csv")["label"].between(0, 1).all()
    (standing,) = re.findall("it would reach: .*", said)
    assert tool("report", tmp_path / "job") == 0
    assert (
        f"With the calibrated log loss of the central crop {standing}."
        in (tmp_path / "job" / "report.html").read_text()
    )


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train -c CONFIG --all-folds -o data.folds=null", "--all-folds: set data.folds to the number of folds"),
        ("train -c CONFIG --all-folds -o data.fold=1", "leave data.fold out"),
        ("train -c CONFIG --all-folds --seeds 2", "--seeds 2: a cross-validation trains one seed"),
        ("train -c CONFIG --resume JOB --seeds 2", "--seeds 2: a cross-validation trains one seed"),
        ("train --resume JOB -o optim.lr=1 --dry-run", "the config differs from the run's in optim.lr"),
        ("train -c CONFIG --all-folds --run JOB", "already exists; continue it with --resume"),
        ("train -c CONFIG --init-from JOB", "contains several runs; name one of them"),
        ("train --resume JOB -o optim.lr=1", "the config differs from the run's in optim.lr"),
        ("eval JOB --split test", "is a cross-validation, measured out of fold; name one of its runs, e.g. "),
        ("eval UNFINISHED", "fold-2: not trained yet; continue the job with `paddlecnn train --resume "),
        (
            "compare JOB UNMEASURED",
            "out_of_fold.csv: no current predictions (No such file or directory); run `paddlecnn eval",
        ),
        ("compare JOB JOB/fold-0 --split test", "is a cross-validation, measured out of fold; name one of its runs"),
        ("report UNFINISHED", "fold-2: not trained yet; continue the job with `paddlecnn train --resume "),
        ("submit UNFINISHED", "fold-2: not trained yet; continue the job with `paddlecnn train --resume "),
    ],
)
def test_what_makes_no_sense_is_one_line(tool, job, config, tmp_path, monkeypatch, capsys, command, message):
    monkeypatch.chdir(tmp_path)
    unfinished = tmp_path / "unfinished"
    shutil.copytree(job, unfinished)
    shutil.rmtree(unfinished / "fold-2")
    unmeasured = shutil.copytree(job, tmp_path / "unmeasured")
    (unmeasured / "out_of_fold.json").unlink()
    places = {"CONFIG": config, "JOB": job, "UNFINISHED": unfinished, "UNMEASURED": unmeasured}
    places["JOB/fold-0"] = job / "fold-0"
    assert tool(*[places.get(word, word) for word in command.split()]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_figures_of_other_data_do_not_replace_the_jobs(tool, job, tmp_path):
    copy = shutil.copytree(job, tmp_path / "job")
    for config in copy.glob("*/config.yaml"):
        config.write_text(config.read_text().replace("seed: 0", "seed: 1"))
    before = {name: (copy / f"out_of_fold.{name}").read_bytes() for name in ("csv", "json")}
    assert tool("eval", copy) == 2
    assert tool("eval", copy, "--data-changed") == 0
    assert {name: (copy / f"out_of_fold.{name}").read_bytes() for name in ("csv", "json")} == before
    assert json.loads((copy / "out_of_fold_data_changed.json").read_text())["data_changed"]


def test_figures_of_other_data_are_not_the_jobs(tool, job, tmp_path, capsys):
    copy = shutil.copytree(job, tmp_path / "job")
    table = json.loads((copy / "out_of_fold.json").read_text())
    (copy / "out_of_fold.json").write_text(json.dumps(table | {"data_changed": True}))
    for command in (["compare", copy, job], ["report", copy]):
        assert tool(*command) == 2
        assert "of data other than the job's (--data-changed)); run `paddlecnn eval" in capsys.readouterr().err
