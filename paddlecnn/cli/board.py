"""Show runs in VisualDL: paddlecnn board runs/cifar10

All runs in the folder, at any depth, are overlaid in the same charts. The page is served to this machine only
(127.0.0.1), without VisualDL's telemetry, until Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import requests

from paddlecnn.cli.common import CommandParser
from paddlecnn.errors import RunError
from paddlecnn.runs.run_dir import find_path

HOST, PORT = "127.0.0.1", 8040
START = "from visualdl.server.app import main; main()"


def main(argv: list[str] | None = None) -> int:
    parser = CommandParser("board", __doc__)
    text = "a folder of runs, or a run (its folder, a config, or latest; default: runs)"
    parser.add_argument("runs", nargs="?", default="runs", metavar="RUNS", help=text)
    parser.add_argument("--port", type=int, help=f"the port of the page (default: {PORT}, or a free one)")
    args = parser.parse_args(argv)
    folder = find_path(args.runs)
    if not any(folder.rglob("vdlrecords.*")):
        raise RunError(f"{folder}: contains no run with a record for VisualDL; `paddlecnn train` writes one")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the server, too
    port = free_port(args.port)
    command = [sys.executable, "-c", START, "--logdir", str(folder), "--host", HOST, "--port", str(port)]
    command += ["--disable-telemetry", "--language", "en"]
    direct = {**os.environ, "NO_PROXY": HOST, "no_proxy": HOST}  # the server asks itself whether it is alive
    with subprocess.Popen(command, env=direct, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            address = f"http://{HOST}:{port}/app/scalar"
            wait_for(address, server)
            print(f"{address}\nCtrl-C ends it", flush=True)
            return server.wait()
        finally:
            server.terminate()


def free_port(wanted: int | None) -> int:
    """The port to use: `wanted`, or PORT, or if that is taken a free one. Raises RunError if `wanted` is taken."""
    for port in (PORT, 0) if wanted is None else (wanted,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except (OSError, OverflowError):
                continue
            return int(probe.getsockname()[1])
    raise RunError(f"--port {wanted}: is not free on this machine; choose another one")


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until the page answers. Raises RunError if the server ends before that."""
    with requests.Session() as session:
        session.trust_env = False  # no proxy
        while server.poll() is None:
            try:
                session.get(address, headers={"Accept-Language": "en"}, timeout=5)
                return
            except requests.RequestException:
                time.sleep(0.2)
    raise RunError(f"VisualDL ended with exit code {server.returncode} before it answered; is it installed completely?")
