"""The command line as a whole: names, messages, exit codes, signals and pipes, in processes of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import paddlecnn as pc
from helpers.docs import ROOT
from paddlecnn.__main__ import COMMANDS, main
from paddlecnn.runs.checkpoint import load_checkpoint

SLOW = ["-o", "train.epochs=6"]


def paddlecnn(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "paddlecnn", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        timeout=300,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_twice_and_has_help_without_defaults_of_none(name, capsys):
    script = ROOT / "tools" / f"{name.replace('-', '_')}.py"
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: paddlecnn {name} ")
    assert "default: None" not in done.stdout
    assert "python tools" not in done.stdout
    if name in ("eval", "export"):  # argparse prints an option without help as its name alone
        assert not re.search(r"^  -.*\}$\n  -", done.stdout, flags=re.M)
    assert f"  {name} " in paddlecnn("--help").stdout


def test_every_script_is_a_command():
    scripts = {path.stem.replace("_", "-") for path in (ROOT / "tools").glob("[a-z]*.py")}
    assert scripts == set(COMMANDS)


def test_the_version_is_a_line(capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["--version"])
    assert (leaving.value.code, capsys.readouterr().out) == (0, f"paddlecnn {pc.__version__}\n")


def test_an_unknown_command_is_one_line():
    done = paddlecnn("trian")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "trian: not a command of paddlecnn; did you mean train?\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--epochs", "3"], "--epochs: is not an option but a key of the config; write -o train.epochs=3"),
        (["train", "--lr=0.1", "-c", "x"], "--lr: is not an option but a key of the config; write -o optim.lr=0.1"),
        (
            ["train", "--image-size", "64"],
            "--image-size: is not an option but a key of the config; write -o data.preprocess.size=64",
        ),
        (["train", "--num_classes=2"], "--num_classes: no such option; the number of classes follows from the data"),
        (["train", "a.yaml"], "a.yaml: one argument too many; a config is named by -c a.yaml"),
        (["train", "--dryrun"], "--dryrun: no such option; did you mean --dry-run?"),
        (["eval", "RUN", "--split", "tst"], "argument --split: invalid choice: 'tst'; did you mean test?"),
        (["eval", "RUN", "more"], "more: one argument too many"),
        (["download", "cifar11"], "invalid choice: 'cifar11'; did you mean cifar10?"),
        (["find-lr"], "the following arguments are required: -c/--config"),
        (["submit"], "one of the arguments RUN|CSV --folds --blend --list is required"),
    ],
)
def test_a_wrong_call_is_one_line_that_says_what_was_meant(tool, capsys, arguments, message):
    assert tool(*arguments) == 2
    name = arguments[0]
    assert capsys.readouterr() == ("", f"paddlecnn {name}: {message}; see paddlecnn {name} --help\n")


def test_a_missing_benchmark_name_lists_all(tool, capsys):
    assert tool("benchmark") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "are required: {lrn,data,transfer,train,infer,start,loop,growth,primitives};" in line


def test_options_may_stand_between_the_other_arguments(tool, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert tool("train", "-c", tiny, "--run", "run", "-o", "train.epochs=1") == 0
    for name in ("one.png", "-two.png"):
        Image.new("L", (8, 8)).save(name)
    capsys.readouterr()
    assert tool("predict", "run", "--topk", "3", "one.png") == 0
    assert capsys.readouterr().out.startswith("one.png")
    assert tool("predict", "--topk", "3", "run", "--", "-two.png") == 0
    assert capsys.readouterr().out.startswith("-two.png")


def test_a_closed_pipe_does_not_end_training(tiny, tmp_path):
    run = tmp_path / "run"
    command = f"{sys.executable} -m paddlecnn train -c {tiny} --run {run} {' '.join(SLOW)} | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert load_checkpoint(run / "checkpoints/last").state.epoch == 6


def test_names_in_any_script_on_an_ascii_terminal(tiny, tmp_path):
    folder, ascii_alone = tmp_path / "猫", {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = paddlecnn("eval", folder, **ascii_alone)
    assert done.returncode == 2
    assert "no such run folder" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = paddlecnn("train", "-c", tiny, "--run", folder, "-o", "train.epochs=1", **ascii_alone)
    assert done.returncode == 0, done.stderr
    assert "\\u732b" in done.stdout


def wait_for_own_handling(pid: int) -> None:
    """Wait until the process no longer has the interpreter's handler of SIGINT, which prints a traceback."""
    caught = []
    while caught[-2:] != [True, False]:
        status = Path(f"/proc/{pid}/status").read_text()
        is_caught = bool(int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) & 1 << signal.SIGINT - 1)
        if caught[-1:] != [is_caught]:
            caught.append(is_caught)
        time.sleep(0.0005)


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.1, 0.3, 1.0])
def test_an_interrupt_at_any_moment_of_start_up_is_one_line(tiny, tmp_path, delay):
    process = subprocess.Popen(
        [sys.executable, "-m", "paddlecnn", "train", "-c", tiny, "--run", tmp_path / "run", "-o", "train.epochs=200"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    wait_for_own_handling(process.pid)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in error
    assert len(error.splitlines()) <= 1


def test_an_unexpected_error_is_one_line_that_names_a_log_file(tmp_path):
    module = tmp_path / "broken.py"
    module.write_text(
        "from paddle import nn\nfrom paddlecnn.models import register\n\n\n@register\n"
        "class BrokenNet(nn.Layer):\n    def __init__(self, num_classes):\n        super().__init__()\n"
        "        self.fc = nn.Linear(2, num_classes)\n\n"
        "    def forward(self, images):\n        return {}['lost'] if self.training else self.fc(images[:, 0, 0, :2])\n"
    )
    config = tmp_path / "broken.yaml"
    config.write_text(
        f"data: {{name: digits, limit: 64}}\nmodel: {{name: BrokenNet, module: {module}}}\n"
        "train: {epochs: 1, batch_size: 32, engine: paddle}\n"
    )
    done = paddlecnn("train", "-c", config, "--run", tmp_path / "run", TMPDIR=str(tmp_path))
    assert done.returncode == 70
    assert len(done.stderr.splitlines()) == 1
    log = Path(re.search(r"with the file (\S+\.log)", done.stderr)[1])
    assert "KeyError: 'lost'" in log.read_text()
    assert "forward" in log.read_text()


def test_quiet_and_json_keep_stdout_for_the_result(tool, tiny, tmp_path, capsys):
    assert tool("train", "-c", tiny, "--run", tmp_path / "run", "-q", "-o", "train.epochs=1") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert tool("train", "-c", tiny, "--run", tmp_path / "loud", "-o", "train.epochs=1") == 0
    assert re.search(
        r"^epoch 1/1  train loss \S+ top-1 \S+%  val loss \S+ top-1 \S+%  lr \S+  \S+ s, \S+ images/s",
        capsys.readouterr().out,
        flags=re.M,
    )
