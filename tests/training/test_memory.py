"""The advice after an out-of-memory error, and the one-writer rule."""

from __future__ import annotations

import re

import pytest

from paddlecnn.models import create_model
from paddlecnn.models.summary import summarize
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.training.memory import advice, largest_batch


def test_the_suggested_batch_fits_and_twice_that_does_not():
    summary = summarize(create_model("alexnet_cifar"))
    fits = largest_batch(summary, 1, 2**30)
    assert summary.training_bytes(fits, 1) <= 0.9 * 2**30 < summary.training_bytes(2 * fits, 1)
    text = advice(summary, 8 * fits, 1, 1, 2**30)
    assert re.search(rf"an estimated {fits} images would: train.accumulate=8 ", text)


def test_a_batch_that_did_not_fit_is_not_advised():
    summary = summarize(create_model("alexnet_cifar"))
    fits = largest_batch(summary, 1, 2**30)
    text = advice(summary, 2 * fits, 4, 1, 2**30)
    assert f"a batch of {2 * fits} in parts of {fits // 2} does not fit" in text
    assert f"an estimated {fits // 4} images would: train.accumulate=8 " in text


def test_a_model_that_never_fits_is_reported():
    summary = summarize(create_model("alexnet_cifar"))
    assert largest_batch(summary, 1, 2**20) == 0
    assert "smaller model" in advice(summary, 128, 1, 1, 2**20)


def test_a_run_has_one_trainer_at_a_time(tool, tiny, tmp_path, capsys):
    run = tmp_path / "run"
    assert tool("train", "-c", tiny, "--run", run, "-o", "train.epochs=1") == 0
    with RunDir(run).locked():
        assert (
            tool("train", "-c", tiny, "--run", run, "-o", "train.epochs=1", "--resume", "--extend", "train.epochs=2")
            == 2
        )
    assert "another process is training this run" in capsys.readouterr().err
    assert "epochs: 1" in (run / "config.yaml").read_text()


@pytest.mark.parametrize(("precision", "reason"), [("float16", "needs a GPU"), ("bfloat16", "use engine onednn")])
def test_a_precision_that_paddle_lacks_on_a_cpu_is_refused(tool, tiny, tmp_path, capsys, precision, reason):
    assert (
        tool(
            "train",
            "-c",
            tiny,
            "--run",
            tmp_path / "run",
            "--device",
            "cpu",
            "-o",
            "train.engine=paddle",
            "-o",
            f"train.precision={precision}",
        )
        == 2
    )
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_old_key_names_the_new_one(tool, tiny, tmp_path, capsys):
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", "-o", "train.amp=float16") == 2
    assert "it is now called train.precision" in capsys.readouterr().err
