"""`paddlecnn predict --explain` and `paddlecnn demo`, the latter in a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import requests as http
from PIL import Image
from sklearn.datasets import load_digits

from helpers.browser import until
from helpers.docs import ROOT

CONFIG = """
data: {name: digits, limit: 400}
model: {name: lenet5}
optim: {lr: 0.02}
train: {epochs: 6, batch_size: 32}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    import paddlecnn as pc

    folder = tmp_path_factory.mktemp("demo")
    (folder / "small.yaml").write_text(CONFIG)
    return pc.train(folder / "small.yaml", run=folder / "run").run.path


@pytest.fixture
def digit(tmp_path) -> Path:
    """A picture of a seven, with a name that would mean something in HTML."""
    pixels = (load_digits().images[7] * 15.9).astype(np.uint8)
    Image.fromarray(pixels).resize((64, 64)).convert("RGB").save(tmp_path / "seven <b>.png")
    return tmp_path / "seven <b>.png"


def test_explain_draws_one_image(tool, run, digit, tmp_path, capsys):
    out = tmp_path / "explained.png"
    assert tool("predict", run, digit, "--explain", out, "--json") == 0
    ((entry,),) = [json.loads(capsys.readouterr().out)]
    assert entry["top"][0]["class"] == "7"
    with Image.open(out) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert image.size[0] > 900
    left, middle = pixels[:, : image.size[0] // 4], pixels[:, image.size[0] // 3 : image.size[0] // 2]
    assert np.ptp(left, axis=2).max() < 40  # the digit is grey
    assert np.ptp(middle, axis=2).max() > 100  # and the heat map is not


@pytest.mark.parametrize("count", [0, 2])
def test_explain_takes_one_image(tool, run, digit, tmp_path, capsys, count):
    folder = tmp_path / "several"
    folder.mkdir()
    for number in range(count):
        shutil.copy(digit, folder / f"{number}.png")
    assert tool("predict", run, folder, "--explain", tmp_path / "out.png") == 2
    assert ("explains one image, but 2" if count else "without images") in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("name", ["seven <b>.png", "link.png", "notes.txt", "run/new.png"])
def test_explain_replaces_no_image_and_no_other_file(tool, run, digit, tmp_path, capsys, name):
    (tmp_path / "link.png").symlink_to(digit)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "run").symlink_to(run)
    before = {path: path.read_bytes() for path in (digit, tmp_path / "notes.txt")}
    assert tool("predict", run, digit, "--explain", tmp_path / name) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"--explain {tmp_path / name}: ")
    assert error.count("\n") == 1
    assert {path: path.read_bytes() for path in before} == before
    assert not (run / "new.png").exists()


def test_weights_explain_as_the_run_and_programs_cannot(tool, run, digit, tmp_path, capsys):
    for form, name in (("paddle", "program"), ("safetensors", "net.safetensors")):
        assert tool("export", run, "--format", form, "--out", tmp_path / name) == 0
    assert tool("predict", run, digit, "--explain", tmp_path / "run.png") == 0
    assert tool("predict", tmp_path / "net.safetensors", digit, "--explain", tmp_path / "weights.png") == 0
    assert (tmp_path / "run.png").read_bytes() == (tmp_path / "weights.png").read_bytes()
    capsys.readouterr()
    assert tool("predict", tmp_path / "program", digit, "--explain", tmp_path / "program.png") == 2
    assert "has no gradients" in capsys.readouterr().err
    assert not (tmp_path / "program.png").exists()


@pytest.fixture
def demo(run, tmp_path):
    """The address of the page. At the end nothing of it is left: no process, no upload."""
    pytest.importorskip("gradio")
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    process = subprocess.Popen(
        [sys.executable, "-m", "paddlecnn", "demo", run],
        stdout=subprocess.PIPE,
        text=True,
        env=environment | {"TMPDIR": str(tmp_path / "temporary")},
    )
    assert process.stdout is not None
    found = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/\n", process.stdout.readline())
    yield found[1]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert not list((tmp_path / "temporary").glob("paddlecnn-demo-*"))


def drop(browser, path: Path) -> None:
    """Give the page a file, as its drop zone does."""
    until(lambda: browser.find_elements("css selector", "input[type=file]") != [])
    browser.find_element("css selector", "input[type=file]").send_keys(str(path))


def text_of(browser) -> str:
    return browser.execute_script("return document.body.innerText")


PICTURES = """
return Array.from(document.querySelectorAll('img')).filter(image => image.naturalWidth >= 256).map(image => image.src)
"""


def test_a_dropped_image_is_answered_without_another_host(demo, browser, requests, tool, run, digit, capsys):
    assert tool("predict", run, digit, "--json") == 0
    ((entry,),) = [json.loads(capsys.readouterr().out)]
    browser.get(demo)
    drop(browser, digit)
    until(lambda: len(browser.execute_script(PICTURES)) == 2)
    lines = text_of(browser).splitlines()
    assert f"{entry['top'][0]['probability']:.0%}" in lines
    assert lines[lines.index("Probabilities") + 1] == "7"
    addresses = requests()
    assert all(address.removeprefix("blob:").startswith(f"{demo}/") for address in addresses), addresses
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_what_is_not_an_image_or_too_large_is_refused(demo, browser, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    browser.get(demo)
    drop(browser, tmp_path / "broken.png")
    until(lambda: "broken.png: not an image" in text_of(browser))
    assert str(tmp_path) not in text_of(browser)
    assert browser.execute_script(PICTURES) == []
    large = BytesIO(b"\0" * (11 << 20))
    answer = http.post(f"{demo}/gradio_api/upload", files={"files": ("large.png", large)}, timeout=60)
    assert answer.status_code == 413


def test_only_this_machine_is_served_and_nothing_is_an_api(demo):
    port, listening = int(demo.rpartition(":")[2]), "0A"
    sockets = [
        line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()
    ]
    hosts = [row[1].split(":")[0] for row in sockets if row[1].endswith(f":{port:04X}") and row[3] == listening]
    assert hosts == ["0100007F"]  # 127.0.0.1
    assert http.get(f"{demo}/gradio_api/info", timeout=30).json()["named_endpoints"] == {}


def test_without_the_extra_one_line_says_what_to_install(tool, run, capsys):
    import importlib.util

    if importlib.util.find_spec("gradio") is not None:
        pytest.skip("the extra demo is installed")
    assert tool("demo", run) == 2
    assert "gradio: not installed" in capsys.readouterr().err
