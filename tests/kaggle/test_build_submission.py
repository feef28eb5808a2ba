"""From logits to files: what is written beside a submission, what the ledger says, and what a blend makes of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from paddlecnn.cli.submit import read_settings
from paddlecnn.errors import SubmissionError
from paddlecnn.evaluation.blending import fit_blend
from paddlecnn.evaluation.calibration import image_losses, worst_loss
from paddlecnn.evaluation.intervals import log_loss_estimate
from paddlecnn.files import file_digest
from paddlecnn.kaggle.blend import blend_files
from paddlecnn.kaggle.build_submission import Images, Labelled, Settings, SubmissionInputs, write_candidate
from paddlecnn.kaggle.competitions import CIFAR10, CIFAR10_CLASSES, PLAIN, REDUX, not_uploaded
from paddlecnn.kaggle.ledger import Ledger
from paddlecnn.kaggle.submission import check_writable, read_submission
from paddlecnn.kaggle.upload import upload
from paddlecnn.randomness import generator

VALIDATION, TEST = 600, 200
TRUTH = (generator(0, "truth").random(VALIDATION + TEST) < 0.5).astype(np.int64)


def candidate(purpose: str, sharpness: float = 4.0, **changes) -> SubmissionInputs:
    """A network that is right about 9 times in 10 and far too sure of it; its errors depend on `purpose`."""
    margins = np.where(TRUTH == 1, 1.3, -1.3) + generator(0, purpose).normal(size=len(TRUTH))
    logits = np.stack([np.zeros_like(margins), margins * 2.6 * sharpness], axis=1)[:, None]
    ids = [str(number) for number in range(1, TEST + 1)]
    values = {
        "competition": REDUX,
        "classes": ("cat", "dog"),
        "target": Images(ids, logits[VALIDATION:]),
        "validation": Labelled([f"train/{row}" for row in range(VALIDATION)], logits[:VALIDATION], TRUTH[:VALIDATION]),
        "expected_ids": ids[::-1],
        "origin": {"runs": f"runs/{purpose}", "checkpoint": "best, epoch 1"},
    }
    return SubmissionInputs(**values | changes)


def true_loss(path) -> float:
    """The score that Kaggle would give a file."""
    return log_loss(
        TRUTH[VALIDATION:],
        read_submission(path).set_index("id").loc[[str(number) for number in range(1, TEST + 1)], "label"].to_numpy(),
    )


def test_the_expected_loss_is_what_the_test_images_score(tmp_path):
    made = write_candidate(candidate("one"), Settings(), tmp_path / "a.csv")
    assert made.expected.after.low < true_loss(made.path) < made.expected.after.high
    assert made.expected.after.mean < made.expected.before.mean * 0.6
    assert made.blend.calibration.temperature == pytest.approx(4.0, rel=0.3)
    own = made.blend(candidate("one").validation.logits)  # of the images that the blend is fitted on
    assert made.expected.after.mean > log_loss(TRUTH[:VALIDATION], own)
    assert read_submission(made.path)["id"].tolist() == candidate("one").expected_ids

    kept = json.loads((tmp_path / "a" / "calibration.json").read_text())
    assert kept["log_loss_after"]["mean"] == made.expected.after.mean
    assert kept["runs"] == "runs/one"
    table = pd.read_csv(tmp_path / "a" / "validation.csv")
    assert table.columns.tolist() == ["id", "label", "cat", "dog"]
    np.testing.assert_allclose(table["cat"] + table["dog"], 1)
    for picture in ("reliability.png", "clip.png"):
        assert matplotlib.image.imread(tmp_path / "a" / picture).std() > 0.05

    (entry,) = Ledger(tmp_path).entries()
    assert (entry.file, entry.sha256, entry.competition) == ("a.csv", file_digest(made.path), REDUX.slug)
    assert (entry.expected, entry.low) == (f"{made.expected.after.mean:.5f}", f"{made.expected.after.low:.5f}")
    assert entry.calibration == str(made.blend)


def test_a_fold_is_scored_by_a_fit_on_the_other_folds(tmp_path):
    source, folds = candidate("one"), np.arange(VALIDATION) % 2
    validation = replace(source.validation, folds=folds)
    made = write_candidate(replace(source, validation=validation), Settings(), tmp_path / "a.csv")
    expected, clips = np.empty((VALIDATION, 2)), []
    for own in (folds == 0, folds == 1):
        blend = fit_blend(validation.logits[~own], validation.labels[~own])
        expected[own] = blend(validation.logits[own])
        clips.append(blend.eps)
    np.testing.assert_allclose(made.expected.held_out, expected)
    assert made.expected.after.mean == pytest.approx(log_loss(validation.labels, expected))
    # An image not among these could lose as much as the clip allows, and without one as much as Kaggle's.
    plain = softmax(validation.logits[:, 0], axis=1)
    for found, probabilities, eps in ((made.expected.before, plain, 0), (made.expected.after, expected, min(clips))):
        losses = image_losses(probabilities, validation.labels)
        assert found == log_loss_estimate(losses, worst_loss(eps, 2), seed=0)


def test_nothing_fitted_leaves_the_probabilities_as_they_are(tmp_path):
    source = candidate("one")
    made = write_candidate(source, read_settings("1", "none", "auto"), tmp_path / "a.csv")
    assert made.expected.before == made.expected.after
    labels = read_submission(made.path)["label"].to_numpy()[::-1]
    np.testing.assert_allclose(labels, 1 / (1 + np.exp(-source.target.logits[:, 0, 1])), rtol=1e-12)


def test_a_submission_that_breaks_a_rule_leaves_no_file(tmp_path):
    with pytest.raises(SubmissionError, match=r"has no row for 1 of 201 ids of the sample submission \(201\)"):
        write_candidate(
            candidate("one", expected_ids=[str(number) for number in range(1, TEST + 2)]),
            Settings(),
            tmp_path / "a.csv",
        )
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_cannot_be_written_leaves_the_file_as_it_was(tmp_path):
    path = write_candidate(candidate("one"), Settings(), tmp_path / "a.csv").path
    before, ledger = path.read_bytes(), (tmp_path / "ledger.csv").read_text()
    (tmp_path / "ledger.csv").write_text("damaged")
    with pytest.raises(SubmissionError, match="is not a line of a ledger"):
        write_candidate(candidate("two"), Settings(), path)
    assert path.read_bytes() == before
    (tmp_path / "ledger.csv").write_text(ledger)
    check_writable(path)  # the ledger lists it: another `submit` may replace it


@pytest.mark.parametrize(("competition", "classes"), [(CIFAR10, CIFAR10_CLASSES), (PLAIN, tuple("abcdefghij"))])
def test_if_names_are_required_accuracy_is_expected_and_nothing_is_fitted(tmp_path, competition, classes):
    logits = generator(0, "ten classes").normal(size=(300, 1, 10))
    labels = np.where(np.arange(300) % 4 > 0, logits[:, 0].argmax(axis=1), 0)
    images = Labelled([str(number) for number in range(300)], logits, labels)
    made = write_candidate(
        candidate("x", competition=competition, classes=classes, target=images, validation=images, expected_ids=None),
        Settings(),
        tmp_path / "a.csv",
    )
    right = (logits[:, 0].argmax(axis=1) == labels).mean()
    assert made.expected.after.mean == pytest.approx(right)
    assert read_submission(made.path)["label"].tolist() == [classes[row] for row in logits[:, 0].argmax(axis=1)]
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["a.csv", "ledger.csv"]
    assert Ledger(tmp_path).entries()[0].calibration == ""


def test_a_blend_is_better_than_its_members_and_as_good_as_it_says(tmp_path):
    files = [
        write_candidate(candidate(purpose, sharpness), Settings(), tmp_path / f"{purpose}.csv").path
        for purpose, sharpness in (("one", 4.0), ("two", 2.0))
    ]
    made = blend_files(files, Settings())
    assert made.path == tmp_path / "blend.csv"
    assert true_loss(made.path) < min(map(true_loss, files))
    assert made.expected.after.low < true_loss(made.path) < made.expected.after.high
    assert made.blend.weights == pytest.approx((0.5, 0.5), abs=0.15)
    report = "\n".join(made.report())
    assert "the members were calibrated on the same images; only their blend is cross-fitted" in report
    assert not any(line.endswith(", cross-fitted") for line in made.report())
    assert Ledger(tmp_path).find(made.path).runs == f"{files[0]};{files[1]}"
    again = blend_files([made.path, files[0]], Settings(weights=(0.9, 0.1)), tmp_path / "again.csv")
    assert again.blend.weights == (0.9, 0.1)


def test_files_from_elsewhere_are_blended_with_given_weights_only(tmp_path):
    for name, label in (("a", 0.2), ("b", 0.8)):
        (tmp_path / f"{name}.csv").write_text(f"id,label\n1,{label}\n2,0.5\n")
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    with pytest.raises(SubmissionError, match=r"no common validation image .* give --weights"):
        blend_files(files, Settings())
    made = blend_files(files, read_settings("auto", "auto", "2,2"))
    assert made.expected is None
    assert "expected score unknown" in made.report()[1]
    np.testing.assert_allclose(read_submission(made.path)["label"], [0.5, 0.5])
    assert Ledger(tmp_path).entries()[0].expected == ""


@pytest.fixture(scope="module")
def members(tmp_path_factory) -> list[Path]:
    """Two submissions with their evidence, in a folder of their own."""
    folder = tmp_path_factory.mktemp("members")
    return [write_candidate(candidate(stem), Settings(), folder / f"{stem}.csv").path for stem in "ab"]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("validation.csv", b""),
        ("validation.csv", b"id,label,cat\ntrain/1,cat,0.5\n"),
        ("validation.csv", b"id,label,cat,dog\ntrain/1,cat,0.5,0.5\ntrain/2,c"),
        ("validation.csv", b"id,label,cat,dog\n" + 2 * b"train/1,cat,0.5,0.5\n"),
        ("validation.csv", b"label,cat,dog\ncat,0.5,0.5\n"),
        ("validation.csv", b"id,label,cat,dog\n\xff\xfe,cat,0.5,0.5\n"),
        ("calibration.json", b"{"),
        ("calibration.json", b"[]"),
    ],
)
def test_damaged_evidence_beside_a_member_is_named(tool, members, tmp_path, capsys, name, damage):
    files = [tmp_path / path.name for path in members]
    shutil.copytree(members[0].parent, tmp_path, dirs_exist_ok=True)
    (tmp_path / "b" / name).write_bytes(damage)
    assert tool("submit", "--blend", *files) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{tmp_path / 'b' / name}: damaged (")
    assert error.endswith(f"; write {files[1]} again, or remove {tmp_path / 'b'} and give --weights\n")
    assert not (tmp_path / "blend.csv").exists()


def test_the_validation_of_another_version_of_a_member_is_not_mistaken_for_its_own(tmp_path):
    files = [write_candidate(candidate(stem), Settings(), tmp_path / f"{stem}.csv").path for stem in "ab"]
    entry, content = Ledger(tmp_path).find(files[1]), files[1].read_bytes()
    Ledger(tmp_path).replace(entry, replace(entry, ref="1", status="uploaded"))
    write_candidate(candidate("another"), Settings(), files[1])
    assert blend_files(files, Settings()).expected is not None
    files[1].write_bytes(content)  # the uploaded version is put back, the evidence stays that of the other
    with pytest.raises(SubmissionError, match="the folders beside the files hold no common validation image"):
        blend_files(files, Settings())
    assert blend_files(files, Settings(weights=(0.5, 0.5))).expected is None


def test_members_with_different_labels_of_an_image_are_not_blended(tool, tmp_path, capsys):
    files = [write_candidate(candidate(stem), Settings(), tmp_path / f"{stem}.csv").path for stem in "ab"]
    path = tmp_path / "b" / "validation.csv"
    table = pd.read_csv(path, dtype=str)
    row = table.index[table["label"] == "cat"][0]
    table.loc[row, "label"] = "dog"
    table.to_csv(path, index=False)
    assert tool("submit", "--blend", *files) == 2
    (error,) = capsys.readouterr().err.splitlines()
    name = table.loc[row, "id"]
    assert f"--blend: validation image {name} is dog beside {files[1]} but not beside {files[0]}; " in error
    assert not (tmp_path / "blend.csv").exists()


def test_a_blend_does_not_replace_one_of_its_files(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, label in (("blend", 0.2), ("d", 0.8)):
        (tmp_path / f"{name}.csv").write_text(f"id,label\n1,{label}\n")
    (tmp_path / "link.csv").symlink_to("d.csv")
    blend = ("submit", "--blend", tmp_path / "blend.csv", "d.csv", "--weights", "1,1")
    for options, name in (((), "blend.csv"), (("--out", "d.csv"), "d.csv"), (("--out", "link.csv"), "link.csv")):
        assert tool(*blend, *options) == 2
        assert f"{name}: is one of the files to blend; choose another file for the blend with --out" in (
            capsys.readouterr().err
        )
    assert tool("submit", "--blend", "d.csv", "link.csv", "--weights", "1,1") == 2
    assert "name two or more different files" in capsys.readouterr().err
    assert (tmp_path / "blend.csv").read_text() == "id,label\n1,0.2\n"
    assert (tmp_path / "d.csv").read_text() == "id,label\n1,0.8\n"


def test_files_that_do_not_go_together(tmp_path):
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    a.write_text("id,label\n1,0.2\n2,0.5\n")
    b.write_text("id,label\n1,0.2\n3,0.5\n")
    half = Settings(weights=(0.5, 0.5))
    for files, settings, message in [
        ([a], half, "name two or more different files"),
        ([a, a], half, "name two or more different files"),
        ([a, b, tmp_path / "c.csv"], half, "2 weights for 3 files"),
        ([a, tmp_path / "c.csv"], half, "no such file"),
        ([a, b], half, r"has no row for 1 of 2 ids of .*a\.csv \(2\)"),
    ]:
        with pytest.raises(SubmissionError, match=message):
            blend_files(files, settings)
    write_candidate(candidate("x", competition=PLAIN, expected_ids=None), Settings(), b)
    with pytest.raises(SubmissionError, match="the files contain class names, not probabilities"):
        blend_files(
            [
                b,
                write_candidate(
                    candidate("y", competition=PLAIN, expected_ids=None), Settings(), tmp_path / "d.csv"
                ).path,
            ],
            half,
        )


def test_probabilities_of_images_that_are_not_the_competitions_blend_to_a_file_that_is_not_uploaded(tmp_path):
    own = {"competition": not_uploaded(REDUX), "expected_ids": None}
    files = [write_candidate(candidate(name, **own), Settings(), tmp_path / f"{name}.csv").path for name in "ab"]
    made = blend_files(files, Settings())
    assert made.competition == not_uploaded(REDUX)
    assert made.expected.after.low < true_loss(made.path) < made.expected.after.high
    entry = Ledger(tmp_path).find(made.path)
    assert (entry.competition, entry.metric) == ("", "log_loss")
    with pytest.raises(SubmissionError, match="--competition NAME uploads it anyway"):
        upload(made.path)
    with pytest.raises(
        SubmissionError, match=f"--competition {REDUX.slug}: the competition of the files is none on Kaggle"
    ):
        blend_files(files, Settings(), slug=REDUX.slug)
    files.append(write_candidate(candidate("c"), Settings(), tmp_path / "c.csv").path)
    with pytest.raises(SubmissionError, match=rf"different competitions \(none on Kaggle, {REDUX.slug}\)"):
        blend_files(files, Settings())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("hot", "auto", "auto"), "--temperature hot: must be auto or a number from 0.001 to 1000"),
        (("0", "auto", "auto"), "--temperature 0: must be"),
        (("auto", "0.5", "auto"), "--clip 0.5: must be auto"),
        (("auto", "-1", "auto"), "--clip -1"),
        (("auto", "auto", "1,x"), "--weights x: must be auto or a number of 0 or"),
        (("auto", "auto", "0,0"), "--weights 0,0: one of them must be above 0"),
        (("nan", "auto", "auto"), "nan: must be"),
    ],
)
def test_settings_that_make_no_sense(words, message):
    with pytest.raises(SubmissionError, match=message):
        read_settings(*words)


def test_settings_are_read():
    assert read_settings("auto", "auto", "auto") == Settings()
    assert read_settings("2", "none", "1,3") == Settings(2.0, 0.0, (0.25, 0.75))


def test_what_limits_the_expected_score_is_reported(tmp_path):
    made = candidate("one", notes=("a reservation about the run",))
    report = write_candidate(made, Settings(), tmp_path / "a.csv").report()
    assert any(line.endswith(", cross-fitted") for line in report)
    assert "a reservation about the run" in report
    assert not any("end of its range" in line for line in report)
    flat = candidate("one", sharpness=1e-9)  # only a temperature far below the range would help
    note = "T is at the end of its range, 0.1 to 20: these images do not determine it; --temperature sets it"
    assert note in write_candidate(flat, Settings(), tmp_path / "b.csv").report()
    assert note not in write_candidate(flat, Settings(temperature=0.1), tmp_path / "c.csv").report()


def test_the_figure_calls_nothing_cross_fitted_that_the_report_does_not(tmp_path):
    """The two pictures differ in the legend alone."""
    pictures = []
    for name in ("run", "blend"):
        (tmp_path / name).mkdir()
        source = candidate("one", calibrated_members=name == "blend")
        made = write_candidate(source, Settings(temperature=4.0), tmp_path / name / "a.csv")
        assert (", cross-fitted" in "\n".join(made.report())) == (name == "run")
        pictures.append(matplotlib.image.imread(tmp_path / name / "a" / "reliability.png"))
    assert pictures[0].shape == pictures[1].shape
    assert (pictures[0] != pictures[1]).any()


def test_no_error_on_validation_does_not_promise_an_accuracy_of_1(tmp_path):
    logits = np.eye(10)[np.arange(143) % 10][:, None] * 5
    images = Labelled([str(number) for number in range(143)], logits, np.arange(143) % 10)
    made = write_candidate(
        candidate(
            "x", competition=PLAIN, classes=tuple("abcdefghij"), target=images, validation=images, expected_ids=None
        ),
        Settings(),
        tmp_path / "a.csv",
    )
    assert made.report()[1] == "expected accuracy 1.00000 (95 %: 0.97453 to 1.00000), from 143 validation images"


def test_classes_called_id_and_label_keep_their_columns(tmp_path):
    write_candidate(candidate("one", classes=("label", "dog")), Settings(), tmp_path / "a.csv")
    table = pd.read_csv(tmp_path / "a" / "validation.csv")
    assert table.columns.tolist() == ["id", "label", "p(label)", "dog"]
    np.testing.assert_allclose(table["p(label)"] + table["dog"], 1)
