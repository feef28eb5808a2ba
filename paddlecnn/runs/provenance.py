"""The provenance of a result, apart from the config: versions, device, commit, command line."""

from __future__ import annotations

import datetime
import os
import platform
import re
import resource
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import paddle

from paddlecnn import runtime
from paddlecnn.config import Config
from paddlecnn.configfile import config_hash

PACKAGES = (
    "paddlecnn", "paddlepaddle", "paddlepaddle-gpu", "numpy", "scikit-learn", "pillow", "opencv-python-headless",
    "visualdl", "safetensors", "kaggle",
)  # fmt: skip


def describe_environment(config: Config, device: str, engine: str) -> dict[str, Any]:
    """Plain values for environment.json."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "config_hash": config_hash(config),
        "git": git_state(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in PACKAGES if (version := installed(name))},
        "device": device,
        "engine": engine,
        "device_name": paddle.device.cuda.get_device_name() if device.startswith("gpu") else cpu_name(),
        "processes": paddle.distributed.get_world_size(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "modes": runtime.numeric_modes(device),
    }


def installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cpu_name() -> str:
    """The model name of /proc/cpuinfo, or the platform's.

    A virtual machine may call every generation `AMD EPYC`: a name without a number gets the numbers of /proc/cpuinfo.
    """
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    known = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.*\S)", text, re.M))
    name = known.get("model name") or platform.processor()
    if re.search(r"\d", name) or not {"cpu family", "model"} <= known.keys():
        return name
    return f"{name} (family {known['cpu family']}, model {known['model']})"


def git_state() -> dict[str, Any] | None:
    """The commit of the source tree and whether files differ from it; None outside a checkout of the package."""
    place = Path(__file__).resolve()

    def git(*words: str) -> str:
        command = ["git", "-C", str(place.parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", place.name)  # a repository around an installed package is its user's own
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def peak_memory_mib(device: str) -> dict[str, float]:
    """The peak memory so far, in MiB: of the process and, on a GPU, of the device."""
    peak = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if device.startswith("gpu"):
        peak["gpu"] = paddle.device.cuda.max_memory_allocated() / 2**20
    return {name: round(value, 1) for name, value in peak.items()}
