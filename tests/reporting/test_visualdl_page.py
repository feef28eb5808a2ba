"""The VisualDL page of a real run, opened in a real browser."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

# How many pixels of each chart are strongly blue, as VisualDL draws the first run's curve.
BLUE_PIXELS = """
return Array.from(document.querySelectorAll('canvas')).map(canvas => {
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let blue = 0;
  for (let i = 0; i < pixels.length; i += 4)
    if (pixels[i + 2] > 180 && pixels[i] < 100 && pixels[i + 1] < 100 && pixels[i + 3] > 100) blue++;
  return blue;
});
"""


@pytest.fixture
def run(tool, tmp_path) -> Path:
    config = tmp_path / "tiny.yaml"
    config.write_text(
        "data: {name: digits, limit: 256}\nmodel: {name: lenet5}\ntrain: {epochs: 3, batch_size: 32, log_every: 1}\n"
    )
    assert tool("train", "-c", config, "--run", tmp_path / "run") == 0
    return tmp_path / "run"


@pytest.fixture
def page(run) -> str:
    """The address of VisualDL's server for the run, started as the README says."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        Path(sys.executable).with_name("visualdl"),
        "--logdir",
        run / "vdl",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--language",
        "en",
        "--disable-telemetry",
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/app/scalar"
    for _ in range(150):
        try:
            urllib.request.urlopen(urllib.request.Request(address, headers={"Accept-Language": "en"}), timeout=5)
            break
        except OSError:
            assert server.poll() is None, "the VisualDL server ended"
            time.sleep(0.2)
    yield address
    server.terminate()
    server.wait()


def test_the_page_shows_the_curves_of_a_run(page, browser):
    browser.get(page)
    text, drawn = "", []
    for _ in range(100):  # the page fetches its curves after it has loaded
        text = browser.execute_script("return document.body.innerText")
        drawn = browser.execute_script(BLUE_PIXELS)
        if "train" in text and "val" in text and len(drawn) >= 4 and min(drawn) > 50:
            break
        time.sleep(0.2)
    lines = text.splitlines()
    assert lines[lines.index("train") + 1] == "5"  # loss, top1, lr, grad_norm, images_per_second
    assert lines[lines.index("val") + 1] == "2"  # loss, top1
    assert len(drawn) >= 4
    assert min(drawn) > 50, drawn
