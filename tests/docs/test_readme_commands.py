"""Every command block of the README runs, line by line, in a folder that looks like a clone.

The lines run as they are, in bash, with the clone's own `python` and `kaggle`. Only budgets change: SMALLER
appends options to the trainings. CIFAR-10 is a small imitation in the default folder, and Kaggle is the server of
tests/helpers on loopback.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import requests

from helpers import kaggle_server as server
from helpers.docs import ROOT, code_blocks
from helpers.environments import linked_environment
from helpers.images import encoded, inner_zips, photo, pickled, zipped
from paddlecnn.data.sources.cifar import CIFAR10_CLASSES

REDUX = "dogs-vs-cats-redux-kernels-edition"
ELSEWHERE = {
    "make test": "runs the tests, this one among them; .ci/run runs it as it is written",
    # The mirrors are not asked for 170 MB; tests/data/test_download.py downloads from a server on loopback.
    "python tools/download.py cifar10": "needs the network",
    # Nor for 553 MB each; tests/data/test_install_weights.py.
    "python tools/download.py weights paddle_vgg16": "needs the network",
    "python tools/download.py weights frossard_vgg16": "needs the network",
}
CUT = "-o train.epochs=1 -o data.limit=60 -o train.batch_size=20"
# VGG16 at 224 pixels and its published weights need a GPU and 553 MB.
SMALL_NETWORK = (
    f"{CUT} -o data.limit=100 -o data.workers=1 -o model.name=simple_cnn -o model.weights=null -o model.freeze=none "
    "-o data.preprocess.size=32 -o data.preprocess.resize=32"
)
SMALLER = {
    "tools/train.py -c configs/quickstart.yaml": CUT,
    "tools/train.py -c configs/cifar10/": f"{CUT} -o model.options.hidden=[64,64]",
    "tools/train.py -c configs/dogs_vs_cats/vgg16_finetune.yaml": SMALL_NETWORK,
    # bfloat16 is not everywhere.
    "tools/train.py -c configs/dogs_vs_cats/vgg16_block5.yaml": f"{SMALL_NETWORK} -o model.options={{}} "
    "-o train.precision=float32",
}


def lines_of_the_readme() -> list[str]:
    """The command lines, a continued line as one, without comments."""
    lines = [
        line for block in code_blocks(ROOT / "README.md", "sh") for line in block.replace("\\\n", " ").splitlines()
    ]
    return [" ".join(words) for line in lines if (words := shlex.split(line, comments=True, posix=False))]


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """The project's folders, an environment as `make install` leaves it, and a small CIFAR-10 in the default place."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("Makefile", "setup.py", "pyproject.toml", "paddlecnn", "tools", "configs"):
        (folder / name).symlink_to(ROOT / name)
    linked_environment(folder / ".venv")
    (folder / ".venv/bin/kaggle").symlink_to(Path(sys.executable).parent / "kaggle")
    (folder / ".venv/.build").write_text("cpu\n")
    (folder / ".venv/.installed-cpu").touch()
    random = np.random.default_rng(0)
    batches = folder / "data/cifar-10-batches-py"
    batches.mkdir(parents=True)
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        batch = {b"data": random.integers(0, 256, (40, 3072), np.uint8), b"labels": [i % 10 for i in range(40)]}
        (batches / name).write_bytes(pickled(batch))
    names = [name.encode() for name in CIFAR10_CLASSES]
    (batches / "batches.meta").write_bytes(pickled({b"label_names": names}))
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The variables of a process that reaches only our Kaggle, whose competition has 100 photographs and 5 to label."""
    folder = tmp_path_factory.mktemp("kaggle")
    names = [f"train/{kind}.{number}.jpg" for kind in ("cat", "dog") for number in range(50)]
    names += [f"test/{number}.jpg" for number in range(1, 6)]
    bundle = folder / f"{REDUX}.zip"
    bundle.write_bytes(zipped(inner_zips({name: encoded(photo(number)) for number, name in enumerate(names)})))
    with server.Kaggle() as running:
        running.state.contests[REDUX] = server.Contest(bundle, {str(number): "1" for number in range(1, 6)})
        variables = running.environment(folder)
        # conftest's PYTHONPATH and threads are not a user's
        yield (
            running,
            {name: value for name, value in variables.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"},
        )


def expanded(line: str, clone: Path) -> list[str]:
    """A line as the commands to run: those of a make target's recipe, trainings cut short."""
    if line.startswith("make "):
        done = subprocess.run(
            ["make", "-n", "--no-print-directory", *shlex.split(line)[1:]],
            cwd=clone,
            env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},  # `make test`'s own
            capture_output=True,
            text=True,
            check=True,
        )
        return [command for step in done.stdout.splitlines() for command in expanded(step, clone)]
    (options,) = [options for start, options in SMALLER.items() if start in line] or [""]
    return [f"{line} {options}"]


def run_line(line: str, clone: Path, variables: dict[str, str]) -> str:
    """Run a line in bash in the clone, whose environment is activated; returns its output."""
    done = subprocess.run(
        ["bash", "-c", f". .venv/bin/activate\n{line}"],
        cwd=clone,
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


BOARD = "python tools/board.py "


def page_of_visualdl(line: str, clone: Path, variables: dict[str, str]) -> str:
    """Start VisualDL by its line on a free port, get its page, and stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}/app/"
    with contextlib.ExitStack() as stack:
        session = stack.enter_context(requests.Session())
        session.trust_env = False  # no proxy
        process = subprocess.Popen(
            ["bash", "-c", f". .venv/bin/activate\nexec {line.partition('#')[0]} --port {port}"],
            cwd=clone,
            env=variables | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},  # it asks itself whether it is alive
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        stack.callback(process.wait)
        stack.callback(os.killpg, process.pid, signal.SIGTERM)
        for _ in range(600):
            assert process.poll() is None, f"{line}: ended by itself"
            with contextlib.suppress(requests.ConnectionError):
                return session.get(address, timeout=60).text
            time.sleep(0.1)
    raise AssertionError(f"{line}: no page")


def test_every_command_block_of_the_readme_runs(clone, environment):
    if not shutil.which("make"):
        pytest.skip("no make on this machine")
    kaggle, variables = environment
    lines = lines_of_the_readme()
    assert set(ELSEWHERE) <= set(lines), "a line that is tested elsewhere is no longer in the README"
    outputs = {}
    for line in lines:
        if line in ELSEWHERE:
            continue
        if line.startswith(BOARD):
            outputs[line] = page_of_visualdl(line, clone, variables)
            continue
        for command in expanded(line, clone):
            outputs[command] = run_line(command, clone, variables)
    assert any("VisualDL" in text for line, text in outputs.items() if line.startswith(BOARD))
    assert any("expected accuracy" in text for text in outputs.values())
    assert (clone / "submissions/quickstart.csv").is_file()
    for name in ("vgg16", "block5"):
        assert (clone / f"submissions/{name}.csv").read_text().startswith("id,label\n1,")
    assert list(clone.glob("runs/cifar10/alexnet_lrn/*/evaluation_test.json"))
    (submission,) = kaggle.state.submissions
    assert submission["score"] is not None
