"""Worker processes of a trainer that is killed: they end too, and the run can be resumed at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from helpers.images import encoded, photo

ROOT = Path(__file__).resolve().parents[2]


def children_of(pid: int) -> list[int]:
    """The child processes that /proc knows."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # ended in between
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


def start(config: Path, run: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, ROOT / "tools" / "train.py", "-c", config, "--run", run, *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_workers_end_with_a_killed_trainer_and_leave_the_run_free(tmp_path):
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
    trainer = start(config, run)
    assert wait_until(lambda: (run / "checkpoints" / "last").exists() and len(children_of(trainer.pid)) >= 2)
    workers = children_of(trainer.pid)
    os.kill(trainer.pid, signal.SIGSTOP)  # the workers fill their queues and wait
    time.sleep(0.5)
    trainer.kill()
    trainer.wait()
    resumed = start(config, run, "--resume")  # at once: a worker that holds the lock would have it refused
    steps = (run / "metrics.csv").stat().st_size
    assert wait_until(lambda: resumed.poll() is not None or (run / "metrics.csv").stat().st_size > steps)
    assert resumed.poll() is None, resumed.stderr.read()
    assert wait_until(lambda: not any(map(is_alive, workers)), 10)
    resumed.kill()
    resumed.communicate()


def test_workers_do_not_hold_the_lock_of_the_run(tmp_path):
    """While a worker is still alive, the lock is free as soon as the trainer is gone."""
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
