"""The progress of long work: lines in a log file, a bar on a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
import termios
import time

import pytest

from helpers.images import encoded, photo
from paddlecnn import progress_bar

# Every 10 ms instead of every 30 seconds.
COMMAND = (
    "import sys; from paddlecnn import progress_bar; progress_bar.SECONDS_BETWEEN_LINES = 0.01;"
    "sys.argv[0] = 'paddlecnn'; from paddlecnn.__main__ import main; main()"
)


@pytest.fixture
def arguments(tmp_path) -> list[str]:
    """A training on features of 64 photographs."""
    for number in range(64):
        path = tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(photo(number)))
    config = tmp_path / "frozen.yaml"
    config.write_text(
        f"data: {{name: folder, root: {tmp_path / 'photos'}, preprocess: {{size: 32}}}}\n"
        "model: {name: vgg11_cifar, options: {hidden: [16]}, freeze: pool3}\n"
        f"train: {{epochs: 1, batch_size: 8, log_every: 1, feature_cache: {tmp_path / 'cache'}}}\n"
    )
    return [sys.executable, "-c", COMMAND, "train", "-c", str(config), "--run", str(tmp_path / "run")]


def test_outside_a_terminal_long_work_is_reported_by_lines(arguments):
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=300)
    assert re.search(r"^features of vgg11_cifar-pool3: 32/64 views, [\d,.]+ views/s, [\d.]+ s left$", done.stdout, re.M)
    assert re.search(
        r"^epoch 1/1: \d/7 steps, loss [\d.]+, top-1 [\d.]+%, [\d,]+ images/s, [\d.]+ s left$", done.stdout, re.M
    )
    assert "\r" not in done.stdout + done.stderr


def test_quiet_commands_report_no_progress(arguments):
    done = subprocess.run([*arguments, "-q"], capture_output=True, text=True, check=True, timeout=300)
    assert "views" not in done.stdout + done.stderr


def test_on_a_terminal_there_is_a_bar(arguments):
    own, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    process = subprocess.Popen(arguments, stdin=terminal, stdout=terminal, stderr=terminal, close_fds=True)
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # Linux's end of a terminal
        while True:
            shown += os.read(own, 4096)
    os.close(own)
    assert process.wait(timeout=60) == 0
    assert "64/64" in shown.decode()
    assert "\r" in shown.decode().replace("\r\n", "\n")
    assert "views/s" not in shown.decode()  # the bar writes view/s


def test_the_line_of_slow_work(monkeypatch, caplog):
    monkeypatch.setattr(progress_bar, "SECONDS_BETWEEN_LINES", 0.1)
    with caplog.at_level("INFO", "paddlecnn"):
        for _ in progress_bar.ProgressBar(range(2), desc="validation", total=2, unit="batch"):
            time.sleep(1.1)
    assert re.fullmatch(r"validation: 1/2 batches, 0\.\d{2,3} batches/s, 1\.\d s left", caplog.messages[0])


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"desc": "train.zip", "unit": "B", "unit_scale": True, "total": 50_000_000}, "train.zip: 20.0MB of 50.0MB, "),
        ({"desc": "train.zip", "unit": "B", "unit_scale": True, "total": None}, "train.zip: 20.0MB, "),
    ],
)
def test_the_line_of_a_download(options, line, monkeypatch, caplog):
    monkeypatch.setattr(progress_bar, "SECONDS_BETWEEN_LINES", 0.1)
    with caplog.at_level("INFO", "paddlecnn"), progress_bar.ProgressBar(**options) as bar:
        bar.update(20_000_000)
        time.sleep(0.2)
        bar.refresh()
    assert caplog.messages[-1].startswith(line)
    assert re.search(r"MB?/s(, [\d.]+ s left)?$|GB/s(, [\d.]+ s left)?$", caplog.messages[-1])
    assert ("left" in caplog.messages[-1]) == (options["total"] is not None)
