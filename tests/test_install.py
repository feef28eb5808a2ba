"""Installation: commands without their packages, and which build of PaddlePaddle make installs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import paddlecnn
from helpers.docs import ROOT
from helpers.environments import empty_environment, linked_environment, run_in


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize("command", ["train", "doctor", "summary"])
def test_a_command_without_any_package_says_what_to_install(command, tmp_path):
    done = run_in(empty_environment(tmp_path / "environment"), ROOT / "tools" / f"{command}.py", "--help", cwd=tmp_path)
    assert_one_line(done, "not installed for", "make install", "pip install -e")


@pytest.mark.parametrize("package", ["numpy", "paddle"])
def test_a_command_without_one_package_names_it(package, tmp_path):
    packages = linked_environment(tmp_path / "packages", without=[package])
    done = run_in(packages, ROOT / "tools" / "summary.py", "alexnet", cwd=tmp_path)
    assert_one_line(done, f"{package}: not installed for", "make install")


def test_an_old_python_is_one_line(tmp_path):
    old = next((path for version in ("3.10", "3.9", "3.8") if (path := find_python(version))), None)
    if old is None:
        pytest.skip("no Python older than 3.11 on this machine")
    done = subprocess.run([old, ROOT / "tools" / "train.py"], capture_output=True, text=True, cwd=tmp_path)
    assert_one_line(done, "paddlecnn requires 3.11 or newer")


def find_python(version: str) -> str | None:
    """A working interpreter of this version, from the path or from pyenv."""
    candidates = [
        shutil.which(f"python{version}"),
        *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python")),
    ]
    return next(
        (
            path
            for path in candidates
            if path and subprocess.run([path, "--version"], capture_output=True).returncode == 0
        ),
        None,
    )


def test_the_extras_name_one_build_each_and_the_gpu_build_is_never_2_6():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["cpu"][0] == "paddlepaddle>=3.0,<4"
    assert extras["gpu"][0] == "paddlepaddle-gpu>=3.0,<4"


# make: what it would run, in a copy of the project's build files


@pytest.fixture
def clone(tmp_path) -> Path:
    for name in ("Makefile", "setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def would_run(clone: Path, *arguments: str) -> str:
    """The output of make for a dry run."""
    if not shutil.which("make"):
        pytest.skip("no make on this machine")
    return subprocess.run(["make", "-n", *arguments], cwd=clone, capture_output=True, text=True, check=True).stdout


def after_install(clone: Path, build: str) -> None:
    """The state that an installation leaves in .venv."""
    (clone / ".venv").mkdir()
    (clone / ".venv" / ".build").write_text(f"{build}\n")
    (clone / ".venv" / f".installed-{build}").touch()


def test_make_installs_the_cpu_build(clone):
    commands = would_run(clone)
    assert ".[cpu,test" in commands
    assert "index-url" not in commands


def test_the_gpu_build_comes_from_paddles_own_index_and_is_checked(clone):
    commands = would_run(clone, "GPU=1")
    assert ".[gpu,test" in commands
    assert "/packages/stable/cu126/" in commands
    assert "paddle.utils.run_check()" in commands
    assert "/packages/stable/cu129/" in would_run(clone, "GPU=1", "CUDA=cu129")


def test_make_after_a_gpu_installation_keeps_it(clone):
    after_install(clone, "cu129")
    assert "pip" not in would_run(clone, "install")
    assert "pip" not in would_run(clone, "test")
    (clone / ".venv" / ".installed-cu129").unlink()  # an installation that did not finish is repeated as it was
    assert "/packages/stable/cu129/" in would_run(clone, "test")


def test_another_build_replaces_the_first_one(clone):
    after_install(clone, "cu126")
    commands = would_run(clone, "GPU=0")
    assert commands.index("pip uninstall --yes") < commands.index(".[cpu,test")


def test_another_paddle_has_an_environment_of_its_own(clone):
    commands = would_run(clone, "test-paddle", "PADDLE=3.0.0")
    assert ".venv-paddle-3.0.0/bin/python -m pytest" in commands
    assert "paddlepaddle==3.0.0" in commands
    assert " .venv/" not in commands


# The wheel and the editable installation


@pytest.fixture
def tree(tmp_path) -> Path:
    """The files of a clone that the package is built from, in a folder of the usual name."""
    tree = tmp_path / "paddlecnn"
    tree.mkdir()
    for name in ("paddlecnn", "pyproject.toml", "setup.py", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tree / name)
    return tree


def pip(*arguments: object) -> None:
    """Run pip without dependencies. Building needs a newer setuptools than Paddle installs: pip gets it."""
    command = [sys.executable, "-m", "pip", *map(str, arguments), "--quiet", "--no-deps"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("building needs setuptools 77 from a package index, which cannot be reached")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def wheel(tree, tmp_path) -> Path:
    pip("wheel", "--wheel-dir", tmp_path, tree)
    (found,) = tmp_path.glob("*.whl")
    return found


def test_the_wheel_in_a_new_environment_trains_without_the_clone(wheel, tiny, tmp_path):
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
    assert "paddlecnn/py.typed" in names
    assert all(name.startswith(("paddlecnn/", "paddlecnn-")) for name in names)
    packages = linked_environment(tmp_path / "environment", without=["paddlecnn", "__editable__"])
    pip("install", "--target", packages, wheel)
    place = tmp_path / "elsewhere"
    place.mkdir()
    train = ["-m", "paddlecnn", "train", "-c", tiny, "--run", "run", "-o", "train.epochs=1", "-o", "data.limit=64"]
    done = run_in(packages, *train, cwd=place)
    assert done.returncode == 0, done.stderr
    assert (place / "run/checkpoints/best/model.safetensors").is_file()
    where = run_in(packages, "-c", "import paddlecnn; print(paddlecnn.__file__, paddlecnn.__version__)", cwd=place)
    assert where.stdout.split() == [str(packages / "paddlecnn/__init__.py"), paddlecnn.__version__]


def test_an_editable_installation_is_found_beside_the_clone(tree, tmp_path):
    """There Python sees a folder of the package's name, the clone, before the package."""
    packages = linked_environment(tmp_path / "environment", without=["paddlecnn", "__editable__"])
    pip("--python", packages.parents[2] / "bin/python", "install", "--editable", tree)
    done = run_in(packages, "-c", "import paddlecnn; print(paddlecnn.__file__, paddlecnn.train)", cwd=tree.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tree / 'paddlecnn/__init__.py'} <function train")


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == paddlecnn.__version__
    assert {"cff-version", "title", "message", "authors"} <= citation.keys()  # all that the format requires
