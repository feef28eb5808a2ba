"""A trainer that is killed leaves no process and no lock, so that its run can be resumed at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from helpers.images import encoded, photo
from helpers.processes import training

ROOT = Path(__file__).resolve().parents[2]


def children_of(pid: int) -> list[int]:
    """The child processes that /proc knows."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # ended in the meantime
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


def test_a_run_with_workers_is_one_process_and_is_resumed_after_a_kill(tmp_path):
    for number in range(400):
        path = tmp_path / "tree" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(photo(number), "PNG"))
    config = tmp_path / "c.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "data": {"name": "folder", "root": str(tmp_path / "tree"), "preprocess": {"size": 32}, "workers": 2},
                "model": {"name": "simple_cnn"},
                "train": {"epochs": 10_000, "batch_size": 4, "checkpoint": {"every_steps": 5}},
            }
        )
    )
    run = tmp_path / "run"
    trainer = training("-c", config, "--run", run)
    assert wait_until(lambda: (run / "checkpoints" / "last").exists())
    assert children_of(trainer.pid) == []
    trainer.kill()
    trainer.communicate()
    resumed = training("-c", config, "--run", run, "--resume")
    steps = (run / "metrics.csv").stat().st_size
    assert wait_until(lambda: resumed.poll() is not None or (run / "metrics.csv").stat().st_size > steps)
    assert resumed.poll() is None, resumed.stdout.read()
    resumed.kill()
    resumed.communicate()


def test_a_child_process_does_not_hold_the_lock_of_the_run(tmp_path):
    """While a child is still alive, the lock is free as soon as the trainer is gone."""
    code = f"""
import os, sys, time
from filelock import FileLock
lock = FileLock({str(tmp_path / "lock")!r}); lock.acquire()
if os.fork() == 0:
    time.sleep(60); os._exit(0)
print("locked", flush=True); time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "locked\n"
    (child,) = children_of(holder.pid)
    holder.kill()
    holder.wait()
    from filelock import FileLock

    with FileLock(tmp_path / "lock", timeout=5):
        assert is_alive(child)
    os.kill(child, signal.SIGKILL)
