"""MLE-bench's split of Dogs vs. Cats Redux: its images, its numbers, and its grade."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from helpers.images import encoded, opened, photo
from paddlecnn.kaggle.submission import read_submission

PRESENT = 120  # photographs of each class; the competition has 12,500


@pytest.fixture(scope="module")
def benchmark() -> tuple[list[str], list[str]]:
    """The names of the training and the test images, as MLE-bench's prepare.py computes them."""
    names = sorted(Path("train") / f"{kind}.{number}.jpg" for kind in ("dog", "cat") for number in range(12500))
    train, test = train_test_split(names, test_size=0.1, random_state=0)
    return [str(path) for path in train], [str(path) for path in test]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """A zip of the first photographs of each class."""
    path = tmp_path_factory.mktemp("data") / "photographs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for kind in ("cat", "dog"):
            for number in range(PRESENT):
                pixels = photo(number) // 2 + 100 * (kind == "dog")
                archive.writestr(f"train/{kind}.{number}.jpg", encoded(pixels.astype(np.uint8)))
    return path


@pytest.fixture
def config(photographs, tmp_path) -> Path:
    path = tmp_path / "dogs.yaml"
    path.write_text(
        f"data: {{name: dogs_vs_cats, root: {photographs}, preprocess: {{size: 32, resize: 32}}}}\n"
        "model: {name: lenet5}\noptim: {lr: 0.005}\ntrain: {epochs: 2, batch_size: 16}\n"
    )
    return path


@pytest.fixture
def split(tool, config, tmp_path) -> Path:
    folder = tmp_path / "mle-bench"
    assert tool("split", "-c", config, "--mle-bench", "--out", folder) == 0
    return folder


def named(file: Path) -> set[str]:
    return {line.split()[0] for line in file.read_text().splitlines()}


def test_a_partial_data_set_is_split_as_mle_bench_splits_it(split, benchmark):
    here = {f"train/{kind}.{number}.jpg" for kind in ("cat", "dog") for number in range(PRESENT)}
    train, test = benchmark
    assert named(split / "train.txt") | named(split / "val.txt") == here & set(train)
    table = pd.read_csv(split / "test.csv")
    wanted = [(number, name, int("dog" in name)) for number, name in enumerate(test, 1) if name in here]
    assert list(table.itertuples(index=False, name=None)) == wanted
    assert len(wanted) > 10
    assert json.loads((split / "split.json").read_text())["mle_bench"] is True


def test_only_an_unmodified_split_is_replaced_and_it_says_how_it_was_made(tool, config, split, capsys):
    command = ("split", "-c", config, "--mle-bench", "--out", split, "-o", "data.folds=4", "-o", "data.fold=1")
    assert tool(*command) == 0
    made = json.loads((split / "split.json").read_text())
    assert {key: made.get(key) for key in ("mle_bench", "folds", "fold", "val_fraction")} == {
        "mle_bench": True,
        "folds": 4,
        "fold": 1,
        "val_fraction": None,
    }
    lines = (split / "test.csv").read_text().splitlines(keepends=True)
    (split / "test.csv").write_text("".join(lines[:-1]))
    assert tool(*command) == 2
    assert f"{split / 'test.csv'}: would be replaced, but is not as" in capsys.readouterr().err
    (split / "test.csv").write_text("".join(lines))
    assert tool(*command[:3], *command[4:]) == 0  # without --mle-bench: its own test part goes with the split
    assert sorted(path.name for path in split.iterdir()) == ["split.json", "train.txt", "val.txt"]


def test_training_sees_no_test_image_with_or_without_folds(split, photographs):
    test = pd.read_csv(split / "test.csv", dtype={"id": str})
    rest = named(split / "train.txt") | named(split / "val.txt")
    for options in ({}, *({"folds": 3, "fold": fold} for fold in range(3))):
        parts = opened("dogs_vs_cats", photographs, split=str(split), **options)
        assert set(parts.train.ids) | set(parts.val.ids) == rest
        assert not set(parts.train.ids) & set(parts.val.ids)
        assert parts.test.ids == test["id"].tolist()
        assert parts.test.labels.tolist() == test["label"].tolist()
    folds = [
        set(opened("dogs_vs_cats", photographs, split=str(split), folds=3, fold=fold).val.ids) for fold in range(3)
    ]
    assert set.union(*folds) == rest
    assert sum(map(len, folds)) == len(rest)


def test_a_job_is_graded_by_mle_benchs_rule(tool, config, split, tmp_path, capsys):
    folds = ["-o", f"data.split={split}", "-o", "data.folds=2"]
    assert tool("train", "-c", config, *folds, "--all-folds", "--run", tmp_path / "job") == 0
    out = tmp_path / "job.csv"
    assert tool("submit", tmp_path / "job", "--out", out, "--score", split / "test.csv") == 0
    said = capsys.readouterr().out
    answers, table = pd.read_csv(split / "test.csv"), pd.read_csv(out)
    assert table["id"].tolist() == answers["id"].tolist()
    assert f"log loss {log_loss(answers['label'], table['label']):.5f} (95 %: " in said
    assert f"on {len(answers)} labelled images" in said

    add = ["results", tmp_path / "results", "--add", tmp_path / "job", "--out", tmp_path / "results" / "graded.json"]
    assert tool(*add, "--submission", out, "--answers", split / "test.csv") == 0
    _, record = json.loads((tmp_path / "results" / "graded.json").read_text())
    assert record["n"] == len(answers)
    assert record["found"]["mean"] == pytest.approx(log_loss(answers["label"], table["label"]))
    assert f"expected log loss calibrated   {record['expected']['mean']:.5f}" in said
    page = (tmp_path / "results.md").read_text()
    assert f"| test.csv | {len(answers)} |" in page
    assert f"| {record['found']['mean']:.4f} (" in page
    assert (
        tool(*add[:3], tmp_path / "job" / "fold-0", *add[4:], "--submission", out, "--answers", split / "test.csv") == 2
    )
    assert "job.csv: is not a submission of" in capsys.readouterr().err
    table.assign(label=0.5).to_csv(out, index=False)
    assert tool(*add, "--submission", out, "--answers", split / "test.csv") == 2
    assert "job.csv: changed since it was written; write it again with `paddlecnn submit`" in capsys.readouterr().err


def test_a_grade_is_scikit_learns_log_loss_also_at_0_and_1(tool, split, tmp_path, capsys):
    answers = pd.read_csv(split / "test.csv")
    probabilities = np.random.default_rng(0).random(len(answers))
    probabilities[:3] = [0, 1, 1e-9]
    pd.DataFrame({"id": answers["id"], "label": probabilities}).sample(frac=1, random_state=0).to_csv(
        tmp_path / "x.csv", index=False
    )
    assert tool("submit", tmp_path / "x.csv", "--score", split / "test.csv") == 0
    assert f"log loss {log_loss(answers['label'], probabilities):.5f} (95 %: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("certainty", "reached"),
    [
        (0.99, "gold medal (0.03882)"),  # -log 0.99 = 0.0101
        (0.96, "silver medal (0.05038)"),  # 0.0408
        (0.945, "bronze medal (0.06127)"),  # 0.0566
        (0.5, "a constant 0.5 (0.69315)"),
        (0.4, "none"),
    ],
)
def test_the_grade_names_the_medal_of_its_score(tool, split, tmp_path, capsys, certainty, reached):
    answers = pd.read_csv(split / "test.csv")
    labels = np.where(answers["label"] == 1, certainty, 1 - certainty)
    pd.DataFrame({"id": answers["id"], "label": labels}).to_csv(tmp_path / "x.csv", index=False)
    assert tool("submit", tmp_path / "x.csv", "--score", split / "test.csv") == 0
    said = capsys.readouterr().out
    low, high = map(float, re.search(r"\(95 %: ([\d.]+) to ([\d.]+)\)", said).groups())
    lines = {
        0.03882: "gold",
        0.05038: "silver",
        0.06127: "bronze",
        0.12216: "median",
        0.69315: "a constant",
        99: "none",
    }
    best, worst = (next(name for line, name in lines.items() if score <= line) for score in (low, high))
    assert re.search(f"it would reach: {re.escape(reached)}; at the ends of the interval: {best}.*, {worst}", said)
    # Equal losses: in Gaffke's interval the one more loss has a weight of the distribution Beta(1, n).
    loss, largest, rest = -np.log(certainty), -np.log(min(certainty, 1 - certainty)), 0.025 ** (1 / len(answers))
    assert (low, high) == pytest.approx((rest * loss, rest * loss + (1 - rest) * largest), rel=0.1)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda table: table.iloc[1:], "has no row for 1 of"),
        (lambda table: pd.concat([table, table.iloc[:1].assign(id=9999)]), "has 1 id outside the"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "duplicate id"),
        (lambda table: table.assign(label=1.5), "the label must be a probability between 0 and 1"),
    ],
)
def test_what_mle_bench_refuses_is_refused(tool, split, tmp_path, capsys, harm, message):
    answers = pd.read_csv(split / "test.csv")
    harm(answers[["id"]].assign(label=0.5)).to_csv(tmp_path / "x.csv", index=False)
    assert tool("submit", tmp_path / "x.csv", "--score", split / "test.csv") == 2
    assert message in capsys.readouterr().err


def test_answers_with_a_repeated_id_are_refused(tool, tmp_path, capsys):
    (tmp_path / "x.csv").write_text("id,label\n1,0.9\n2,0.1\n")
    (tmp_path / "answers.csv").write_text("id,label\n1,1\n2,0\n1,1\n")
    assert tool("submit", tmp_path / "x.csv", "--score", tmp_path / "answers.csv") == 2
    assert capsys.readouterr().err == f"{tmp_path / 'answers.csv'}: row 3, id 1: duplicate id\n"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("id,path,label\n1,train/cat.0.jpg,1\n", "test.csv, line 2: label 1 for train/cat.0.jpg; the data has 0 (cat)"),
        ("id,path,label\n1,train/cat.9999.jpg,0\n", "train/cat.9999.jpg is not in the training part"),
        ("path,label\ntrain/cat.0.jpg,0\n", "test.csv, line 2: expected the columns id,path,label"),
        ("id,path,label\n", "test.csv: names no image"),
        ("id,path,label\n1,TRAINED,0\n", "is also in train.txt or val.txt"),
    ],
)
def test_a_test_part_edited_by_hand_is_checked(tool, config, split, tmp_path, capsys, harm, message):
    trained = next(name for name in sorted(named(split / "train.txt")) if "cat" in name)
    (split / "test.csv").write_text(harm.replace("TRAINED", trained))
    assert tool("train", "-c", config, "-o", f"data.split={split}", "--run", tmp_path / "run") == 2
    assert message in capsys.readouterr().err


def test_another_data_set_has_no_such_split(tool, config, tmp_path, capsys):
    assert tool("split", "-c", config, "-o", "data.name=digits", "--mle-bench", "--out", tmp_path / "x") == 2
    assert "--mle-bench: a split of dogs_vs_cats" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_submission_of_such_a_run_cannot_be_mistaken_for_the_competitions(tool, config, split, tmp_path, capsys):
    assert tool("train", "-c", config, "-o", f"data.split={split}", "--run", tmp_path / "run") == 0
    out = tmp_path / "run.csv"
    assert tool("submit", tmp_path / "run", "--out", out) == 0
    assert f"{out}: {len(read_submission(out))} rows\n" in capsys.readouterr().out
    assert tool("submit", out, "--upload") == 2
