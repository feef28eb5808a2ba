"""Check the installation and this machine: Python, packages, PaddlePaddle, GPU, threads, memory, disk, Kaggle.

Each line is ok, a note (paddlecnn works, but not at its best) or a fault. The last line is the next step. Exits 2 if
there is a fault. No credential is printed.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from paddlecnn import gpu, runtime
from paddlecnn.cli.common import CommandParser
from paddlecnn.errors import ROOT, DeviceError, how_to_install

FIRST_RUN = "paddlecnn train -c configs/quickstart.yaml"
MIB, GIB = 2**20, 2**30


@dataclass(frozen=True)
class Finding:
    """One line of the report. `step` says what to do; without it the finding is ok."""

    name: str
    state: str
    step: str | None = None
    fault: bool = False

    def __str__(self) -> str:
        mark = "fault" if self.fault else "note" if self.step else "ok"
        return f"{mark:<6} {self.name:<12} {self.state}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = CommandParser("doctor", __doc__)
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="check this device: auto, cpu, gpu or gpu:N")
    device = parser.parse_args(arguments).device
    findings = []
    for finding in examine(device):
        print(finding, flush=True)
        findings.append(finding)
    print("Next step: " + next_step(findings))
    return 2 if any(finding.fault for finding in findings) else 0


def next_step(findings: Sequence[Finding]) -> str:
    """The step of the first fault; of the first note if there is no fault; otherwise a first run."""
    steps = sorted((finding for finding in findings if finding.step), key=lambda finding: not finding.fault)
    return (steps[0].step if steps else None) or FIRST_RUN


def examine(device: str) -> Iterator[Finding]:
    """All findings, in order. A check that needs a sound installation is skipped after a fault in it."""
    threads = os.environ.get("OMP_NUM_THREADS", "")  # read now: the import of Paddle replaces a wrong value
    yield Finding("Python", f"{platform.python_version()}, {sys.executable}")
    sound = True
    for finding in (check_packages(), check_paddle()):
        yield finding
        sound = sound and not finding.fault
    if sound:
        yield check_device(device)
    yield check_threads(threads, runtime.usable_cores())
    yield check_shared_memory(Path("/dev/shm"))
    yield check_disk(Path.cwd())
    yield check_kaggle(os.environ, Path.home())
    if sound:
        yield check_onednn()  # last: without it everything works, more slowly


def check_packages() -> Finding:
    """The packages that pyproject.toml requires, and their versions."""
    from packaging.requirements import Requirement

    try:
        lines = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    except OSError:  # an installation without its clone
        lines = [line for line in metadata.requires("paddlecnn") or () if "extra ==" not in line]
    wrong = []
    for requirement in map(Requirement, lines):
        found = next(iter(metadata.distributions(name=requirement.name)), None)
        if found is None:
            wrong.append(f"{requirement.name} is not installed")
        elif not requirement.specifier.contains(found.version, prereleases=True):
            wrong.append(f"{requirement.name} {found.version} is not {requirement.specifier}")
    if wrong:
        return Finding("Packages", "; ".join(wrong), how_to_install(), fault=True)
    return Finding("Packages", f"all {len(lines)} are installed")


def check_paddle() -> Finding:
    """Whether one supported build of PaddlePaddle is installed and can be imported, tried in a process of its own."""
    builds = gpu.installed_builds()
    if problem := gpu.two_builds(builds):
        state, _, step = problem.partition("; ")
        return Finding("PaddlePaddle", state, step, fault=True)
    if not builds:
        return Finding("PaddlePaddle", "not installed", how_to_install(), fault=True)
    version = metadata.version(builds[0])
    if not (2, 6, 2) <= gpu.version_of(version)[:3] < (4,):
        return Finding("PaddlePaddle", f"{version} is not supported (2.6.2 to 3.x is)", how_to_install(), fault=True)
    trial = subprocess.run([sys.executable, "-c", "import paddle"], capture_output=True, text=True, errors="replace")
    if trial.returncode:
        reason = (trial.stderr.strip().splitlines() or [f"exit code {trial.returncode}"])[-1]
        step = f"run `pip install --force-reinstall {builds[0]}=={version} setuptools`"
        return Finding("PaddlePaddle", f"{version} cannot be imported: {reason[:300]}", step, fault=True)
    return Finding("PaddlePaddle", f"{version}, package {builds[0]}")


def check_device(device: str) -> Finding:
    """The device that a command would compute on, after a small computation on it."""
    facts = gpu.gather(runtime.load_paddle())
    problem = gpu.gpu_problem(facts) if device == "auto" else None
    on_cpu = problem is not None and not (facts.cuda and facts.cards)  # then auto takes the CPU
    try:
        chosen = runtime.choose_device("cpu" if on_cpu else device)
    except DeviceError as error:
        state, _, step = str(error).rpartition("; ")
        return Finding("Device", state, step, fault=True)
    where = f"{chosen}, {facts.cards[int(chosen[4:])]}, driver {facts.driver}" if chosen != "cpu" else "cpu"
    state = f"{where}; {facts.build()}; a small computation gives the right result"
    if problem and (facts.cuda or facts.cards):
        state, _, step = f"{where}: {problem}".rpartition("; ")
        return Finding("Device", state, step)
    return Finding("Device", state)


def check_onednn() -> Finding:
    """The oneDNN library in Paddle's wheel, which the CPU engine calls."""
    from paddlecnn.onednn import Unavailable, available, describe_engine

    try:
        precisions = "float32 and bfloat16" if available("bfloat16") else "float32"
        return Finding("oneDNN", f"{describe_engine()}; engine auto uses it on a CPU, in {precisions}")
    except Unavailable as error:
        return Finding("oneDNN", str(error), "install PaddlePaddle 3.3; until then a CPU trains more slowly")


def check_threads(setting: str, cores: int) -> Finding:
    """OMP_NUM_THREADS compared with the cores that this process may use."""
    if not re.fullmatch(r"[1-9]\d*", setting):
        return Finding("Threads", f"OMP_NUM_THREADS is {setting!r}, not a number", "unset OMP_NUM_THREADS", fault=True)
    step = None if int(setting) == cores else f"unset OMP_NUM_THREADS to use all {cores} core(s)"
    return Finding("Threads", f"{setting} on {cores} usable core(s)", step)


def check_shared_memory(folder: Path) -> Finding:
    """Shared memory, through which NCCL connects the processes of several GPUs."""
    if not folder.is_dir():
        return Finding("/dev/shm", "absent", "training on several GPUs needs it")
    free = shutil.disk_usage(folder).free
    step = "for several GPUs start the container with --shm-size=1g" if free < 256 * MIB else None
    return Finding("/dev/shm", f"{free / MIB:,.0f} MiB free", step)


def check_disk(folder: Path) -> Finding:
    """Whether runs can be written below `folder`. A checkpoint of VGG16 with momentum takes 1.1 GB."""
    runs = folder / "runs"
    if runs.exists() and not runs.is_dir():
        return Finding("Disk", f"{runs} is a file", f"rename {runs}: training needs that folder", fault=True)
    target = runs if runs.is_dir() else folder
    if not os.access(target, os.W_OK):
        return Finding("Disk", f"{target} cannot be written", "change to a folder that you may write to", fault=True)
    free = shutil.disk_usage(target).free
    state = f"{free / GIB:,.1f} GiB free at {target}"
    if free < GIB:
        return Finding("Disk", state, "free some space, or change to a folder on another disk", fault=True)
    return Finding("Disk", state)


def check_kaggle(environment: os._Environ[str] | dict[str, str], home: Path) -> Finding:
    """Where Kaggle's client will find credentials, in its own order; their values are not shown."""
    from paddlecnn.kaggle.client import LOGIN_HELP, TOKEN_FILES

    if environment.get("KAGGLE_API_TOKEN"):
        return Finding("Kaggle", "credentials in KAGGLE_API_TOKEN")
    tokens = [home / file.relative_to("~") for file in TOKEN_FILES]
    if token := next((file for file in tokens if file.is_file()), None):
        return private_file(token)
    if environment.get("KAGGLE_USERNAME") and environment.get("KAGGLE_KEY"):
        return Finding("Kaggle", "credentials in KAGGLE_USERNAME and KAGGLE_KEY")
    folders = [Path(environment.get("KAGGLE_CONFIG_DIR") or home / ".kaggle"), home / ".config/kaggle"]
    if file := next((folder / "kaggle.json" for folder in folders if (folder / "kaggle.json").is_file()), None):
        if holds_key(file):
            return private_file(file)
        return Finding("Kaggle", f"{file} is not a JSON object with username and key", LOGIN_HELP, fault=True)
    if (login := home / ".kaggle/credentials.json").is_file():
        return private_file(login)
    return Finding("Kaggle", "no credentials found; competitions need them (docs/kaggle.md)")


def holds_key(file: Path) -> bool:
    """Whether a kaggle.json has a user name and a key."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and bool(content.get("username")) and bool(content.get("key"))


def private_file(file: Path) -> Finding:
    """A credentials file, and whether other users of this machine can read it."""
    from paddlecnn.kaggle.client import readable_by_others

    if readable_by_others(file):
        return Finding("Kaggle", f"credentials in {file}, which other users can read", f"chmod 600 {file}")
    return Finding("Kaggle", f"credentials in {file}")
