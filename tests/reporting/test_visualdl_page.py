"""`paddlecnn board`: VisualDL's page of two real runs, opened in a real browser."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import paddle
import pytest
from PIL import Image
from visualdl import LogReader

from helpers.browser import until
from helpers.docs import ROOT
from helpers.forked import ForkedScript
from paddlecnn.training.curves import FILE_NAME

CONFIG = """
data: {name: digits, limit: 256, augment: {pad: 2}}
model: {name: alexnet_tf_cifar, options: {widths: [8, 16, 16, 16, 16], hidden: [16]}}
optim: {lr: 0.02}
train: {epochs: 3, batch_size: 32, log_every: 1, report: true}
"""
# The number of strongly coloured pixels of each chart: the curves, which may cover each other.
COLOURED_PIXELS = """
return Array.from(document.querySelectorAll('canvas')).map(canvas => {
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let coloured = 0;
  for (let i = 0; i < pixels.length; i += 4) {
    const [red, green, blue, alpha] = pixels.slice(i, i + 4);
    if (alpha > 100 && Math.max(red, green, blue) - Math.min(red, green, blue) > 120) coloured++;
  }
  return coloured;
});
"""
TEXT = "return document.body.innerText"
LOADED_IMAGES = """
return Array.from(document.querySelectorAll('img')).filter(image => image.src.startsWith('blob:')
  && image.naturalWidth > 20).length
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two runs that differ in their learning rate, trained as on the command line."""
    folder = tmp_path_factory.mktemp("board")
    (folder / "small.yaml").write_text(CONFIG)
    for name, rate in (("slow", 0.02), ("fast", 0.04)):
        training = ["-c", folder / "small.yaml", "--run", folder / "runs" / name, "-o", f"optim.lr={rate}"]
        assert ForkedScript(ROOT / "tools" / "train.py", *training).wait(300) == 0
    return folder / "runs"


@pytest.fixture(scope="module")
def board(runs) -> str:
    """The address that the command prints, without its path. At the end nothing of it is left running."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "paddlecnn", "board", str(runs)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    found = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/app/scalar\n", process.stdout.readline())
    yield found[1]
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", urlsplit(found[1]).port), timeout=5)


def lines_of(browser) -> list[str]:
    return browser.execute_script(TEXT).splitlines()


def test_curves_of_both_runs_lie_over_each_other(board, browser, requests):
    browser.get(f"{board}/app/scalar")
    until(lambda: len(drawn := browser.execute_script(COLOURED_PIXELS)) >= 4 and min(drawn) > 50)
    lines = lines_of(browser)
    groups = [(lines[i], lines[i + 1]) for i in range(len(lines) - 1) if lines[i] in ("learning", "optimizer", "speed")]
    assert groups == [("learning", "4"), ("optimizer", "2"), ("speed", "1")]
    assert sum(line.endswith(("slow/vdl", "fast/vdl")) for line in lines) == 2
    assert all(address.removeprefix("blob:").startswith(f"{board}/") for address in requests())


def test_the_table_of_hyper_parameters_has_them_and_the_final_metrics(board, browser, runs):
    browser.get(f"{board}/app/hyper-parameter")
    until(lambda: "optim_lr" in lines_of(browser) and "learning/accuracy_val" in browser.execute_script(TEXT))
    lines = set(lines_of(browser))
    assert {"0.02", "0.04", "alexnet_tf_cifar"} <= lines
    for name in ("slow", "fast"):
        record = LogReader(file_path=str(runs / name / "vdl" / FILE_NAME))
        assert str(record.get_data("scalar", "learning/accuracy_val")[-1].value) in lines


def test_histograms_of_the_weights(board, browser):
    browser.get(f"{board}/app/histogram")
    until(lambda: "weights" in lines_of(browser) and len(browser.find_elements("tag name", "canvas")) >= 1)
    lines = lines_of(browser)
    assert int(lines[lines.index("weights") + 1]) == 14  # five convolutions and two matrices of each run


def test_images_and_figures(board, browser, requests):
    browser.get(f"{board}/app/sample/image")
    until(lambda: {"network", "training", "validation"} <= set(lines_of(browser)))
    lines = lines_of(browser)
    assert lines[lines.index("validation") + 1] == "10"  # five figures of each run
    until(lambda: browser.execute_script(LOADED_IMAGES) == 2)
    assert all(address.removeprefix("blob:").startswith(f"{board}/") for address in requests())


@pytest.mark.skipif(paddle.__version__.startswith("2."), reason="PaddlePaddle 2.6 crashes when it writes a graph")
def test_the_graph(board, browser):
    browser.get(f"{board}/app/graph/dynamic_graph")
    until(lambda: browser.find_elements("tag name", "iframe") != [])
    browser.switch_to.frame(0)
    until(lambda: "AlexNet" in browser.execute_script("return document.body.textContent"))
    browser.switch_to.default_content()


@pytest.fixture
def record(runs) -> LogReader:
    return LogReader(file_path=str(runs / "slow" / "vdl" / FILE_NAME))


def test_the_record_has_a_histogram_per_epoch_and_true_images(record, runs):
    assert [one.id for one in record.get_data("histogram", "weights/features.conv1")] == [8, 16, 24]
    tags = {f"validation/{name}" for name in ("confusion", "reliability", "precision_recall", "roc", "worst_images")}
    assert set(record.get_tags()["image"]) == {*tags, "network/first_filters", "training/augmented_images"}
    (runs / "grid.png").write_bytes(record.get_data("image", "training/augmented_images")[0].image.encoded_image_string)
    with Image.open(runs / "grid.png") as grid:
        pixels = np.asarray(grid.convert("RGB")).astype(int)
    (runs / "grid.png").unlink()
    assert np.ptp(pixels) > 200  # digits, dark and light
    assert (pixels == pixels[..., :1]).all()  # grey ones


def test_a_folder_without_runs_is_one_line(tool, tmp_path, capsys):
    assert tool("board", tmp_path) == 2
    assert "contains no run" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["latest", "small.yaml", "runs", "runs/small/now"])
def test_it_finds_a_run_as_other_commands_do(tool, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "small" / "now"
    run.mkdir(parents=True)
    for file in ("config.yaml", "vdlrecords.1.log"):
        (run / file).touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert tool("board", name, "--port", port) == 2  # the run was found: only the port is missing
    assert f"--port {port}: is not free" in capsys.readouterr().err


def test_images_and_histograms_survive_a_kill_and_a_resume(tool, tmp_path):
    config = tmp_path / "small.yaml"
    config.write_text(CONFIG.replace("report: true", "report: false"))
    assert tool("train", "-c", config, "--run", tmp_path / "run", "-o", "train.epochs=2") == 0
    with open(tmp_path / "run/vdl" / FILE_NAME, "ab") as file:
        file.write(b"\x40\0\0\0\0\0\0\0cut by a kill")
    assert tool("train", "--resume", tmp_path / "run", "--extend", "train.epochs=3") == 0
    record = LogReader(file_path=str(tmp_path / "run/vdl" / FILE_NAME))
    assert [one.id for one in record.get_data("histogram", "weights/classifier.fc7")] == [8, 16, 24]
    assert [one.id for one in record.get_data("image", "training/augmented_images")] == [0]
    assert [one.id for one in record.get_data("scalar", "learning/loss_val")] == [8, 16, 24]
