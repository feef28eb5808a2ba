"""Users' own networks: code runs only if the caller names it and it is the run's own."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import paddlecnn as pc
from helpers.runs import weights_sha
from helpers.signals import interrupt_after
from paddlecnn.errors import ModuleError

NETWORK = """
import pathlib
from paddle import nn
from paddlecnn.models import register

with open(pathlib.Path(__file__).with_name("imported"), "a") as file:
    file.write("x")


@register
def flat_net(num_classes, width=16):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, width), nn.ReLU(), nn.Linear(width, num_classes))
"""


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """A working folder with a module and a config that names it."""
    monkeypatch.chdir(tmp_path)
    # A module is imported once per process; the tests of this file would otherwise share it.
    Path("my_nets.py").write_text(f"# {tmp_path}\n{NETWORK}")
    Path("own.yaml").write_text(
        "data: {name: digits, limit: 200, preprocess: {size: 32}}\n"
        "model: {name: flat_net, module: my_nets.py, options: {width: 8}}\n"
        "train: {epochs: 1, batch_size: 32}\n"
    )
    return tmp_path


def imports(work: Path) -> int:
    return len((work / "imported").read_text()) if (work / "imported").exists() else 0


def test_it_trains_evaluates_predicts_and_resumes_by_name(tool, work, capsys):
    assert tool("train", "-c", "own.yaml", "--run", "run") == 0
    assert tool("eval", "run", "--module", "my_nets.py") == 0
    assert tool("train", "-c", "own.yaml", "--run", "run", "--resume", "--extend", "train.epochs=2") == 0
    assert tool("train", "--resume", "run", "--module", "my_nets.py", "--extend", "train.epochs=3") == 0
    run = pc.load_run("run", module="my_nets.py")
    assert run.model.state_dict()["1.weight"].shape == [3072, 8]
    assert len(run.history) == 3


def test_a_run_folder_alone_imports_nothing(tool, work, capsys):
    assert tool("train", "-c", "own.yaml", "--run", "run") == 0
    before = imports(work)
    for command in (["eval", "run"], ["predict", "run", "x.png"], ["train", "--resume", "run"]):
        (work / "x.png").write_bytes(b"")
        capsys.readouterr()
        assert tool(*command) == 2
        assert "is only run if you name it: add --module my_nets.py" in capsys.readouterr().err
    with pytest.raises(ModuleError, match=r"module='my_nets.py'"):
        _ = pc.load_run("run").model
    assert imports(work) == before


def test_a_comparison_says_how_a_run_with_a_module_is_measured(tool, work, capsys):
    assert tool("train", "-c", "own.yaml", "--run", "run") == 0
    capsys.readouterr()
    assert tool("compare", "run", "--evaluate") == 2
    assert "measure it first by `paddlecnn eval --split val` with --module my_nets.py" in capsys.readouterr().err
    assert tool("train", "-c", "own.yaml", "--run", "again", "-o", "seed=1") == 0
    for run in ("run", "again"):
        assert tool("eval", run, "--split", "val", "--module", "my_nets.py") == 0
    assert tool("compare", "run", "again", "--evaluate") == 0


def test_a_changed_module_is_refused_and_not_run(tool, work, capsys):
    assert tool("train", "-c", "own.yaml", "--run", "run") == 0
    before = imports(work)
    Path("my_nets.py").write_text(Path("my_nets.py").read_text() + "\n# changed\n")
    capsys.readouterr()
    for command in (
        ["eval", "run", "--module", "my_nets.py"],
        ["train", "-c", "own.yaml", "--run", "run", "--resume", "--extend", "train.epochs=2"],
        ["train", "--resume", "run", "--module", "my_nets.py", "--extend", "train.epochs=2"],
    ):
        assert tool(*command) == 2
        assert "my_nets.py: not the module that the run was trained with" in capsys.readouterr().err
    assert imports(work) == before
    assert "epochs: 1" in Path("run/config.yaml").read_text()


def test_a_changed_module_is_refused_before_the_first_checkpoint_too(tool, work, capsys):
    assert tool("train", "-c", "own.yaml", "--run", "run") == 0
    for checkpoint in Path("run/checkpoints").iterdir():  # as if it had been killed before its first one
        shutil.rmtree(checkpoint)
    before, original = imports(work), Path("my_nets.py").read_text()
    Path("my_nets.py").write_text(original + "\n# changed\n")
    assert tool("train", "-c", "own.yaml", "--run", "run", "--resume") == 2
    assert "my_nets.py: not the module that the run was trained with" in capsys.readouterr().err
    assert imports(work) == before
    Path("my_nets.py").write_text(original)
    assert tool("train", "-c", "own.yaml", "--run", "run", "--resume") == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "model.module: my_nets.py: no such file"),
        ("def f(:", "my_nets.py: fails to import: SyntaxError"),
        ("x = 1\nraise RuntimeError('no')", "my_nets.py: fails to import: RuntimeError: no (line 2)"),
        ("", "unregistered_net: no such model"),
    ],
)
def test_a_module_that_does_not_work_is_one_line(tool, work, capsys, text, message):
    Path("my_nets.py").unlink()
    if text is not None:
        Path("my_nets.py").write_text(text)
    name = message.partition(":")[0] if text == "" else "flat_net"
    assert tool("train", "-c", "own.yaml", "--run", "run", "-o", f"model.name={name}") == 2
    assert message in capsys.readouterr().err
    assert not Path("run").exists()


SCHEDULE = """
import paddlecnn as pc

@pc.register_schedule
def own(epoch, epochs):
    BODY
"""


@pytest.mark.parametrize(
    ("network", "schedule", "message"),
    [
        ("raise RuntimeError('no')", None, "flat_net: RuntimeError: no (my_nets.py, line 13)"),
        ("return nn.Linear(5, num_classes)", None, "flat_net: forward fails on an image of 32: "),
        (None, "return 1 / 0", "own(0, 1): ZeroDivisionError: division by zero (my_nets.py, line "),
        (None, "return None", "own(0, 1): TypeError: "),
        (None, "return -0.5", "own(0, 1): returned -0.5; a factor on the learning rate is finite and at least 0"),
        (None, "return float('nan')", "own(0, 1): returned nan; a factor"),
    ],
)
def test_an_error_in_a_users_function_is_one_line_that_names_it(tool, work, capsys, network, schedule, message):
    text = Path("my_nets.py").read_text()
    if network:
        text = text.replace("return nn.Sequential(", f"{network}\n    return nn.Sequential(")
    if schedule:
        text += SCHEDULE.replace("BODY", schedule)
    Path("my_nets.py").write_text(text)
    options = ["-o", "optim.schedule={name: custom, function: own}"] if schedule else []
    assert tool("train", "-c", "own.yaml", "--run", "run", *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not Path("run").exists()


def test_a_schedule_may_be_a_table_with_an_entry_per_epoch(tool, work):
    text = Path("my_nets.py").read_text() + SCHEDULE.replace("BODY", "return [1, 0.1][int(epoch)]")
    Path("my_nets.py").write_text(text)
    options = ["-o", "optim.schedule={name: custom, function: own}", "-o", "train.epochs=2"]
    assert tool("train", "-c", "own.yaml", "--run", "run", *options) == 0


BRANCHES = """
import paddle
import paddlecnn as pc


class Branches(paddle.nn.Layer):
    def __init__(self, num_classes):
        super().__init__()
        self.first, self.extra = paddle.nn.Linear(3 * 32 * 32, 16), paddle.nn.Linear(16, 16)
        self.last = paddle.nn.Linear(16, num_classes)

    def forward(self, images):
        hidden = paddle.nn.functional.relu(self.first(images.flatten(1)))
        skip = self.training and paddle.rand([1]).item() < 0.7
        return self.last(hidden if skip else hidden + self.extra(hidden))


@pc.register_model
def flat_net(num_classes, width):
    return Branches(num_classes)
"""


def test_a_network_whose_layers_do_not_all_run_in_each_step_resumes_to_the_same_weights(tool, work):
    """A layer that a batch does not reach keeps its weights, in a resumed run as in an uninterrupted one."""
    Path("my_nets.py").write_text(BRANCHES)
    options = ["-o", "optim.name=momentum", "-o", "train.epochs=3"]
    assert tool("train", "-c", "own.yaml", "--run", "whole", *options) == 0
    thread = interrupt_after(Path("cut"), 3, signal.SIGINT)
    stops = ["-o", "train.log_every=1", "-o", "train.checkpoint.every_steps=1"]
    assert tool("train", "-c", "own.yaml", "--run", "cut", *options, *stops) == 130
    thread.join()
    assert tool("train", "-c", "own.yaml", "--run", "cut", "--resume", *options, *stops) == 0
    assert weights_sha(Path("cut")) == weights_sha(Path("whole"))


def test_a_dotted_name_works_too(tool, work, monkeypatch):
    Path("own_package").mkdir()
    Path("own_package/__init__.py").write_text("")
    Path("own_package/nets.py").write_text(NETWORK.replace("flat_net", "dotted_net"))
    monkeypatch.syspath_prepend(work)
    options = ["-o", "model.module=own_package.nets", "-o", "model.name=dotted_net"]
    assert tool("train", "-c", "own.yaml", "--run", "run", *options) == 0
    assert tool("eval", "run", "--module", "own_package.nets") == 0


@pytest.mark.parametrize("name", ["my_nets.py", "packed.nets"])
def test_the_source_that_was_hashed_runs_and_no_compiled_file_beside_it(tool, work, monkeypatch, name):
    """Python uses an unchecked compiled file (PEP 552), whatever the source is."""
    Path("packed").mkdir()
    Path("packed/__init__.py").touch()
    path, network = (Path("my_nets.py"), "flat_net") if name == "my_nets.py" else (Path("packed/nets.py"), "packed_net")
    path.write_text(f"# {work}\n{NETWORK.replace('flat_net', network)}")
    Path("planted.py").write_text("import pathlib\npathlib.Path('planted').touch()\n")
    compiled = importlib.util.cache_from_source(str(path))
    py_compile.compile("planted.py", compiled, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    monkeypatch.syspath_prepend(work)
    options = ["-o", f"model.module={name}", "-o", f"model.name={network}"]
    assert tool("train", "-c", "own.yaml", "--run", "run", *options) == 0
    assert not Path("planted").exists()


def test_an_edit_of_the_same_size_within_a_second_is_the_one_that_runs(work, python):
    path, command = Path("my_nets.py"), "from paddlecnn.runs.user_module import load_module; load_module('my_nets.py')"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    said = []
    for word in ("first", "again"):
        path.write_text(f"print('{word}')\n")
        os.utime(path, (1e9, 1e9))
        done = subprocess.run([python, "-c", command], env=environment, capture_output=True, text=True, check=True)
        said.append(done.stdout.strip())
    assert said == ["first", "again"]
