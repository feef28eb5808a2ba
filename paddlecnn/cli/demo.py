"""Try a run in the browser: paddlecnn demo RUN

Serves a page, until Ctrl-C, where you drop an image and see its class, the probabilities and Grad-CAM. The page is for
this machine only (127.0.0.1). Needs the extra `demo`: pip install -e '.[demo]'
"""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

from paddlecnn.cli.common import CommandParser, add_engine_arguments, add_run_argument
from paddlecnn.runs.run_dir import find_run
from paddlecnn.runtime import choose_device, load_paddle


def main(argv: list[str] | None = None) -> int:
    parser = CommandParser("demo", __doc__)
    add_run_argument(parser)
    parser.add_argument("--port", type=int, help="the port of the page (default: a free one)")
    add_engine_arguments(parser)
    args = parser.parse_args(argv)
    run = find_run(args.run)

    load_paddle()
    choose_device(args.device)
    from paddlecnn.evaluation.load_run import load_run
    from paddlecnn.reporting.demo import start_demo

    loaded = load_run(run, module=args.module, engine=args.engine, precision=args.precision)
    title = f"{loaded.config.model.name} on {loaded.config.data.name}, run {run.path.resolve().name}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # removes the uploads, too
    with tempfile.TemporaryDirectory(prefix="paddlecnn-demo-") as uploads:
        page = start_demo(loaded, title, Path(uploads), args.port)
        print(f"{page.local_url}\nCtrl-C ends it", flush=True)
        try:
            signal.pause()
        finally:
            page.close(verbose=False)
    return 0
