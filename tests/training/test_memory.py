"""The advice after an out-of-memory error, and the one-writer rule."""
from __future__ import annotations

import re

import pytest

from paddlecnn.models import create_model
from paddlecnn.models.summary import summarize
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.training.memory import advice, largest_batch


def test_the_batch_named_fits_and_twice_of_it_does_not():
    summary = summarize(create_model("alexnet_cifar"))
    fits = largest_batch(summary, 1, 2**30)
    assert summary.training_bytes(fits, 1) <= 0.9 * 2**30 < summary.training_bytes(2 * fits, 1)
    text = advice(summary, 8 * fits, 1, 2**30)
    assert re.search(rf"by estimate {fits} images would: train.accumulate=8 ", text)


def test_a_model_that_never_fits_is_said_to():
    summary = summarize(create_model("alexnet_cifar"))
    assert largest_batch(summary, 1, 2**20) == 0
    assert "smaller model" in advice(summary, 128, 1, 2**20)


def test_a_run_has_one_trainer_at_a_time(tool, tiny, tmp_path, capsys):
    run = tmp_path / "run"
    assert tool("train", "-c", tiny, "--run", run, "-o", "train.epochs=1") == 0
    with RunDir(run).locked():
        assert tool("train", "-c", tiny, "--run", run, "-o", "train.epochs=1", "--resume",
                    "--extend", "train.epochs=2") == 2
    assert "another process is training this run" in capsys.readouterr().err


@pytest.mark.parametrize("amp", ["float16", "bfloat16"])
def test_a_cpu_says_that_it_ignores_mixed_precision(tool, tiny, tmp_path, capsys, amp):
    import paddle
    if paddle.device.is_compiled_with_cuda():
        pytest.skip("this PaddlePaddle is a GPU build")
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", "-o", f"train.amp={amp}", "-o", "train.epochs=1") == 0
    assert f"train.amp: {amp} requires a GPU; on this CPU training stays in float32" in capsys.readouterr().err
