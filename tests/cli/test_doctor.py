"""paddlecnn doctor on a sound machine and with faults planted in real environments, folders and variables."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from helpers.docs import ROOT
from helpers.environments import fork_in, linked_environment, run_in, unlinked
from paddlecnn.cli.doctor import check_kaggle

DOCTOR = ROOT / "tools" / "doctor.py"
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def here(tmp_path) -> Path:
    """The working folder and home of a process; environments lie beside it."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def report(done: subprocess.CompletedProcess[str], name: str) -> tuple[str, str, str]:
    """The mark and the text of one finding, and the next step."""
    lines = done.stdout.splitlines()
    mark, text = next((line[:6].strip(), line[20:]) for line in lines if line[7:].startswith(name))
    assert lines[-1].startswith("Next step: ")
    return mark, text, lines[-1].removeprefix("Next step: ")


def assert_fault(done: subprocess.CompletedProcess[str], name: str, words: str, step: str) -> None:
    mark, text, next_step = report(done, name)
    assert (mark, done.returncode) == ("fault", 2), done.stdout
    assert words in text
    assert step in next_step


def assert_note(done: subprocess.CompletedProcess[str], name: str, words: str, step: str) -> None:
    mark, text, next_step = report(done, name)
    assert (mark, done.returncode) == ("note", 0), done.stdout
    assert words in text
    assert step in next_step


def test_a_sound_machine_has_no_fault_and_the_next_step_is_a_run(here):
    done = run_in(None, DOCTOR, cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("Python", "Packages", "PaddlePaddle", "Device", "oneDNN", "Threads", "/dev/shm", "Disk", "Kaggle"):
        assert report(done, name)[0] in ("ok", "note")
    assert "gives the right result" in report(done, "Device")[1]


# Faults of the installation


def test_paddle_is_not_installed(here, tmp_path):
    packages = linked_environment(tmp_path / "packages", without=["paddle"])
    assert_fault(run_in(packages, DOCTOR, cwd=here), "PaddlePaddle", "not installed", "make install")


def test_both_builds_are_installed(here, tmp_path):
    packages = linked_environment(tmp_path / "packages", without=["paddlepaddle"])
    for name in ("paddlepaddle", "paddlepaddle_gpu"):
        (packages / f"{name}-3.3.1.dist-info").mkdir()
        (packages / f"{name}-3.3.1.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 3.3.1\n"
        )
    assert_fault(run_in(packages, DOCTOR, cwd=here), "PaddlePaddle", "both installed", "pip uninstall -y")
    config = ROOT / "configs" / "quickstart.yaml"
    refused = run_in(packages, ROOT / "tools" / "train.py", "-c", config, "--device", "cpu", cwd=here)
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "both installed" in refused.stderr


def test_a_library_of_paddle_is_truncated(here, tmp_path):
    packages = linked_environment(tmp_path / "packages")
    library = unlinked(unlinked(packages / "paddle") / "base") / "libpaddle.so"
    content = library.read_bytes()[:4096]
    library.unlink()
    library.write_bytes(content)
    assert_fault(run_in(packages, DOCTOR, cwd=here), "PaddlePaddle", "cannot be imported", "--force-reinstall")


def test_a_version_of_paddle_that_is_not_supported(here, tmp_path):
    packages = linked_environment(tmp_path / "packages", without=["paddlepaddle"])
    (packages / "paddlepaddle-2.4.2.dist-info").mkdir()
    (packages / "paddlepaddle-2.4.2.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: paddlepaddle\nVersion: 2.4.2\n"
    )
    assert_fault(run_in(packages, DOCTOR, cwd=here), "PaddlePaddle", "2.4.2 is not supported", "make install")


def test_a_required_package_is_missing(here, tmp_path):
    packages = linked_environment(tmp_path / "packages", without=["six"])
    assert_fault(run_in(packages, DOCTOR, cwd=here), "Packages", "six is not installed", "make install")


def test_a_required_package_is_too_old(here, tmp_path):
    packages = linked_environment(tmp_path / "packages", without=["pydantic-"])
    (packages / "pydantic-1.10.0.dist-info").mkdir()
    (packages / "pydantic-1.10.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: pydantic\nVersion: 1.10.0\n"
    )
    assert_fault(run_in(packages, DOCTOR, cwd=here), "Packages", "pydantic 1.10.0 is not >=2.6", "make install")


def test_a_gpu_is_requested_and_paddle_is_a_cpu_build(here):
    import paddle

    if paddle.device.is_compiled_with_cuda():
        pytest.skip("this PaddlePaddle is a GPU build")
    done = fork_in(DOCTOR, "--device", "gpu", cwd=here)
    assert_fault(done, "Device", "CPU build", "GPU=1 CUDA=cu126 make install")


def test_the_onednn_library_is_missing(here):
    done = fork_in(DOCTOR, cwd=here, PADDLECNN_ONEDNN_LIBRARY=str(here / "libdnnl.so.3"))
    assert_note(done, "oneDNN", "does not exist", "install PaddlePaddle 3.3")


# Faults of the machine


def test_threads_are_not_a_number(here):
    assert_fault(fork_in(DOCTOR, cwd=here, OMP_NUM_THREADS="all"), "Threads", "'all'", "unset OMP_NUM_THREADS")


def test_threads_differ_from_the_cores(here):
    cores = len(os.sched_getaffinity(0))
    done = fork_in(DOCTOR, cwd=here, OMP_NUM_THREADS=str(cores + 1))
    assert_note(done, "Threads", f"{cores + 1} on {cores}", "unset OMP_NUM_THREADS")


def test_runs_is_a_file(here):
    (here / "runs").write_text("")
    assert_fault(fork_in(DOCTOR, cwd=here), "Disk", "runs is a file", "rename")


def in_mounts(here: Path, *mounts: str) -> subprocess.CompletedProcess[str]:
    """Doctor in a process with its own mounts; skips the test if this user may not mount."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("this user may not mount (unshare -m)")
    script = " && ".join([*mounts, f"cd {here}", 'exec "$@"'])
    wrapper = here.parent / "wrapper.py"
    wrapper.write_text(
        "import os, sys\nos.execvp('unshare', "
        f"['unshare', '-m', 'sh', '-c', {script!r}, 'sh', sys.executable, {str(DOCTOR)!r}])\n"
    )
    return run_in(None, wrapper, cwd=here)


def test_shared_memory_is_small(here):
    done = in_mounts(here, "mount -t tmpfs -o size=64m tmpfs /dev/shm")
    assert_note(done, "/dev/shm", "64 MiB free", "--shm-size")


def test_the_disk_is_almost_full(here):
    done = in_mounts(here, f"mount -t tmpfs -o size=200m tmpfs {here}")
    assert_fault(done, "Disk", "0.2 GiB free", "free some space")


def test_the_disk_is_read_only(here):
    done = in_mounts(here, f"mount -t tmpfs -o size=4g,ro tmpfs {here}")
    assert_fault(done, "Disk", "cannot be written", "change to a folder")


# Kaggle's credentials


def credentials(home: Path, content: str, mode: int = 0o600) -> Path:
    (home / ".kaggle").mkdir()
    file = home / ".kaggle" / "kaggle.json"
    file.write_text(content)
    file.chmod(mode)
    return file


def test_credentials_are_found_and_never_printed(here):
    credentials(here, json.dumps({"username": "someone", "key": SECRET}))
    for done in (fork_in(DOCTOR, cwd=here), fork_in(DOCTOR, cwd=here, KAGGLE_API_TOKEN=SECRET)):
        mark, text, _ = report(done, "Kaggle")
        assert mark == "ok"
        assert text.startswith("credentials in")
        assert SECRET not in done.stdout + done.stderr


def test_credentials_that_others_can_read(here):
    file = credentials(here, json.dumps({"username": "someone", "key": SECRET}), 0o644)
    assert_note(fork_in(DOCTOR, cwd=here), "Kaggle", "which other users can read", f"chmod 600 {file}")


def test_damaged_credentials(here):
    credentials(here, "[]")
    assert_fault(fork_in(DOCTOR, cwd=here), "Kaggle", "not a JSON object with username and key", "API token")


@pytest.mark.parametrize(
    ("environment", "state"),
    [
        ({"KAGGLE_USERNAME": "someone", "KAGGLE_KEY": SECRET}, "KAGGLE_USERNAME and KAGGLE_KEY"),
        ({"KAGGLE_USERNAME": "someone"}, "no credentials found"),
        ({}, "no credentials found"),
    ],
)
def test_credentials_in_the_environment(environment, state, tmp_path):
    finding = check_kaggle(environment, tmp_path)
    assert not finding.fault
    assert state in finding.state
