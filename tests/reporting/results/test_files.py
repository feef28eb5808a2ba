"""The files of docs/results: written by --add, checked when they are read."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from helpers.results import NETWORKS, rows
from paddlecnn import api
from paddlecnn.configfile import flat, load_config
from paddlecnn.files import file_digest


def test_a_file_of_results_names_the_machine(project, add):
    assert add(NETWORKS[0], 0) == 0
    [machine, _] = json.loads(Path(f"docs/results/{NETWORKS[0]}_seed0.json").read_text())
    environment = json.loads(Path(f"runs/{NETWORKS[0]}-0/environment.json").read_text())
    assert (machine["cpu"], machine["cores"]) == (environment["device_name"], os.cpu_count())
    assert machine["threads"] == os.environ["OMP_NUM_THREADS"]


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


def test_seeds_of_an_earlier_version_which_lacked_a_key_are_of_the_same_experiment(project, add, tool):
    assert add(NETWORKS[0], 0) == 0
    path = Path(f"docs/results/{NETWORKS[0]}_seed0.json")
    machine, record = json.loads(path.read_text())
    assert record["config"]["train"].pop("class_weights") is None
    assert record["config"]["data"]["augment"].pop("scale") is None
    assert record["config"]["data"]["augment"].pop("vertical_flip") is False
    path.write_text(json.dumps([machine, record]))
    assert add(NETWORKS[0], 1) == 0
    [row] = rows("docs/results.md", f"[{NETWORKS[0]}]")
    assert row["seeds"] == "2"


def test_what_a_run_started_from_and_its_reservations_are_recorded_and_shown(project, add):
    name = NETWORKS[0]
    config = load_config(f"configs/{name}.yaml", ["train.epochs=1"])
    api.train(config, run=f"runs/{name}-2", init_from=f"runs/{name}-1")  # of another seed: other training images
    path, own = (Path(f"runs/{name}-{seed}/environment.json") for seed in (2, 0))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"command": json.loads(own.read_text())["command"]}))
    assert [add(name, seed) for seed in (0, 1, 2)] == [0, 0, 0]  # not a second run of seed 0
    record = json.loads(Path(f"docs/results/{name}_seed2.json").read_text())[1]
    assert record["lineage"]["init_from"].startswith(f"{name} on digits, config ")
    [note] = record["notes"]
    assert note.startswith(f"runs/{name}-2 started from ")
    assert note.endswith(f"/runs/{name}-1, which may have been trained on its validation images")
    by_seeds = {row["seeds"]: row for row in rows("docs/results.md", "") if "seeds" in row}
    plain, tuned = by_seeds["2"], by_seeds["1"]
    assert (plain["note"], tuned["note"]) == ("", note)
    assert f"init_from: {record['lineage']['init_from']}" in tuned["options"]


def test_a_config_file_can_be_named(project, tool):
    Path("configs/other").mkdir()
    Path("configs/other/long.yaml").write_text(Path(f"configs/{NETWORKS[0]}.yaml").read_text().replace("4", "9"))
    add = ["--add", f"runs/{NETWORKS[0]}-0", "--out", "docs/results/x.json"]
    assert tool("results", "docs/results", *add, "--config", "configs/other/long.yaml") == 0
    record = json.loads(Path("docs/results/x.json").read_text())[1]
    assert (record["config_file"], record["changed"]) == ("configs/other/long.yaml", {"train.epochs": [9, 1]})
    assert "| [other/long](../configs/other/long.yaml) |" in Path("docs/results.md").read_text()
    assert tool("results", "docs/results", *add, "--config", "nowhere.yaml") == 2


def test_a_folder_without_results_is_one_line(tool, tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "absent"):
        assert tool("results", folder) == 2
        assert f"{folder}: contains no results file; add one: --add RUN --out " in capsys.readouterr().err
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


def test_the_figures_of_a_run_go_into_no_other_file(project, tool, capsys):
    run = Path("runs") / f"{NETWORKS[0]}-0"
    before = (run / "environment.json").read_bytes()
    for out, message in (("README.md", "must be the name"), (run / "environment.json", "is in the folder of a run")):
        assert tool("results", "docs/results", "--add", run, "--out", out) == 2
        assert capsys.readouterr().err.startswith(f"--out {out}: {message}")
    assert (run / "environment.json").read_bytes() == before


def test_figures_of_a_former_checkpoint_or_of_other_data_are_refused(project, add, tool, capsys):
    run = Path(f"runs/{NETWORKS[0]}-0")
    assert tool("train", "--resume", run, "--extend", "train.epochs=2") == 0
    path = run / "evaluation_test.json"
    figures = json.loads(path.read_text())
    if json.loads((run / "checkpoints/best/state.json").read_text())["epoch"] == 1:
        path.write_text(json.dumps(figures | {"checkpoint": "last"}))
    assert add(NETWORKS[0], 0) == 2
    assert f"{path}: measured in epoch 1, but checkpoint" in capsys.readouterr().err
    path.rename(run / "evaluation_test_flip.json")
    assert add(NETWORKS[0], 0) == 2
    assert f"run `paddlecnn eval {run} --split test --tta flip` again" in capsys.readouterr().err
    (run / "evaluation_test_flip.json").unlink()
    path.write_text(json.dumps(figures | {"data_changed": True}))
    assert add(NETWORKS[0], 0) == 2
    assert f"{path}: measured on data other than the run's" in capsys.readouterr().err


def test_a_torn_record_of_evaluations_is_named(project, add, capsys):
    path = Path(f"runs/{NETWORKS[0]}-0/evaluations.jsonl")
    path.write_text(path.read_text() + '{"time": "20')
    assert add(NETWORKS[0], 0) == 2
    assert f"{path}: line 2 is damaged" in capsys.readouterr().err
