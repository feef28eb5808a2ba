"""A file server on loopback."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Server:
    """A file server that can break the connection, and that records the requests."""

    data: bytes = b""
    breaks_after: int | None = None
    ranges: list[str | None] = field(default_factory=list)
    knows_ranges: bool = True
    url: str = ""
    announces: int | None = None
    goes_on: threading.Event | None = None  # what it waits for after half of the file


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A running server."""
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.knows_ranges else 0
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(state.announces or len(state.data) - begin))
            self.end_headers()
            end = len(state.data) if state.breaks_after is None else begin + state.breaks_after
            middle = (begin + end) // 2
            self.wfile.write(state.data[begin:middle])
            if state.goes_on:
                state.goes_on.wait(60)
            self.wfile.write(state.data[middle:end])

        def log_message(self, *_):
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        state.url = f"http://127.0.0.1:{httpd.server_port}/file"
        yield state
        httpd.shutdown()
        thread.join()
