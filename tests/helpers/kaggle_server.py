"""A Kaggle on loopback: the protocol of the real client, real state, real scores.

The unmodified client reaches it as its HTTP proxy (`Kaggle.environment`). It has one user, serves bundles with
ranges, accepts uploads, and scores them against given solutions. A test sets what goes wrong and when:
`server.state.faults["CreateSubmission"] = [500]` answers the next such call with 500.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import io
import json
import math
import os
import socket
import threading
import zipfile
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

USER, KEY, TOKEN = "ada", "0123456789abcdef0123456789abcdef", "KGAT_fedcba9876543210"
SERVICE = "/api/v1/competitions.CompetitionApiService/"
MESSAGES = {
    400: "Your team has used its daily Submission allowance (5) today, please try again tomorrow UTC.",
    401: "Unauthenticated",
    403: "You must accept this competition's rules",
    404: "Not found",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
}


def log_loss(solution: dict[str, str], rows: dict[str, str]) -> float:
    """-mean(y log p + (1 - y) log(1 - p)), p kept 1e-15 away from 0 and 1."""
    total = 0.0
    for name, truth in solution.items():
        p = min(max(float(rows[name]), 1e-15), 1 - 1e-15)
        total -= math.log(p) if truth == "1" else math.log(1 - p)
    return total / len(solution)


def accuracy(solution: dict[str, str], rows: dict[str, str]) -> float:
    """The share of ids with the right label."""
    return sum(rows[name] == truth for name, truth in solution.items()) / len(solution)


@dataclass
class Contest:
    """A competition: its bundle, the true label of each test id, and how submissions are scored."""

    bundle: Path
    solution: dict[str, str]
    metric: str = "log_loss"
    rules_accepted: bool = True
    served: bytes | None = None  # served instead of the bundle

    def score(self, content: bytes) -> tuple[float | None, str]:
        """(score, "") of a submission, or (None, why it is refused)."""
        rows = list(csv.reader(io.StringIO(content.decode())))
        if not rows or rows[0] != ["id", "label"]:
            return None, "Required columns: id, label"
        labels = {row[0]: row[1] for row in rows[1:]}
        if len(labels) != len(self.solution) or labels.keys() != self.solution.keys():
            return None, f"Submission must have {len(self.solution)} rows. This submission has {len(labels)} rows."
        try:
            return {"log_loss": log_loss, "accuracy": accuracy}[self.metric](self.solution, labels), ""
        except ValueError:
            return None, "Submission must contain only numbers"


@dataclass
class State:
    """The state of this Kaggle, and the faults set for its next answers."""

    contests: dict[str, Contest] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    submissions: list[dict[str, Any]] = field(default_factory=list)
    faults: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # statuses of the next answers
    cut_after: list[int] = field(default_factory=list)  # the next downloads are cut off after so many bytes
    stall_after: int | None = None  # downloads stall after so many bytes
    hangs: dict[str, str] = field(default_factory=dict)  # "silent" or "drip" for a method, for as long as it is set
    loses_answers: bool = False  # a submission is accepted, and the connection ends before the answer
    replies: dict[str, dict[str, Any]] = field(default_factory=dict)  # what a method answers instead of the truth
    polls_until_scored: int = 0
    requests: list[str] = field(default_factory=list)  # method and path of each, downloads with their range


class Kaggle(ThreadingHTTPServer):
    """The server; `with Kaggle() as server:` runs it on a free port of loopback."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.state = State()
        self.over = threading.Event()

    def __enter__(self) -> Kaggle:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()

    def environment(self, home: Path) -> dict[str, str]:
        """The variables of a process for which this server is Kaggle and which can reach nothing else.

        Loopback is the HTTP proxy; the HTTPS proxy is a closed port, and no host is exempt from the proxies. The
        Kaggle login of the person who runs the tests is not passed on.
        """
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("KAGGLE_") and not name.lower().endswith("_proxy")
        }
        here, dead = f"http://127.0.0.1:{self.server_port}", f"http://127.0.0.1:{dead_port()}"
        return inherited | {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "HTTP_PROXY": here,
            "http_proxy": here,
            "HTTPS_PROXY": dead,
            "https_proxy": dead,
            "ALL_PROXY": dead,
            "all_proxy": dead,
            "NO_PROXY": "",
            "no_proxy": "",
            "HOME": str(home),
            "KAGGLE_USERNAME": USER,
            "KAGGLE_KEY": KEY,
        }


def dead_port() -> int:
    """A closed port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Handler(BaseHTTPRequestHandler):
    """One request. As a proxy it receives whole addresses; only the path counts."""

    protocol_version = "HTTP/1.1"

    @property
    def state(self) -> State:
        return self.server.state  # type: ignore[attr-defined]

    @property
    def over(self) -> threading.Event:
        return self.server.over  # type: ignore[attr-defined]

    def log_message(self, *_) -> None:
        """Write nothing to the stderr of the tests."""

    def answer(self, status: int, body: dict[str, Any] | None = None, **headers: str) -> None:
        content = json.dumps(
            {"code": status, "message": MESSAGES[status]} if status >= 400 and body is None else body or {}
        ).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def hang(self, kind: str) -> None:
        """Answer nothing, or one byte every 0.1 s, until the server ends or the client leaves."""
        self.close_connection = True
        if kind == "silent":
            self.over.wait(60)
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            while not self.over.wait(0.1):
                self.wfile.write(b" ")
                self.wfile.flush()

    def known_user(self) -> bool:
        basic = base64.b64encode(f"{USER}:{KEY}".encode()).decode()
        return self.headers.get("Authorization") in (f"Basic {basic}", f"Bearer {TOKEN}")

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        request = json.loads(self.body() or b"{}")
        method = path.rpartition("/")[2]
        self.state.requests.append(f"POST {method}")
        if method in self.state.hangs:
            return self.hang(self.state.hangs[method])
        if self.state.faults[method]:
            return self.answer(self.state.faults[method].pop(0))
        if method in self.state.replies:
            return self.answer(200, self.state.replies[method])
        if method == "IntrospectToken":
            good = request["token"] == TOKEN
            return self.answer(200, {"active": good, "username": USER if good else ""})
        if not self.known_user():
            return self.answer(401)
        contest = self.state.contests.get(request["competitionName"])
        if contest is None:
            return self.answer(404)
        if not contest.rules_accepted:
            return self.answer(403)
        return getattr(self, method)(request, contest)

    def ListDataFiles(self, request: dict[str, Any], contest: Contest) -> None:
        with zipfile.ZipFile(contest.bundle) as bundle:
            members = sorted(bundle.infolist(), key=lambda member: member.filename)
        start, size = int(request.get("pageToken") or 0), int(request.get("pageSize") or 20)
        files = [
            {"name": member.filename, "totalBytes": member.file_size, "creationDate": "2016-09-02T00:00:00Z"}
            for member in members[start : start + size]
        ]
        more = {"nextPageToken": str(start + size)} if start + size < len(members) else {}
        self.answer(200, {"files": files} | more)

    def DownloadDataFiles(self, request: dict[str, Any], contest: Contest) -> None:
        self.answer(
            302,
            {},
            Location=f"http://localhost/blobs/{contest.bundle.name}?competition="
            f"{request['competitionName']}&signature=secret",
        )

    def StartSubmissionUpload(self, request: dict[str, Any], contest: Contest) -> None:
        token = hashlib.sha256(f"{request['fileName']} {len(self.state.uploads)}".encode()).hexdigest()[:16]
        self.state.uploads[token] = b""
        self.answer(200, {"token": token, "createUrl": f"http://localhost/uploads/{token}"})

    def CreateSubmission(self, request: dict[str, Any], contest: Contest) -> None:
        content = self.state.uploads[request["blobFileTokens"]]
        score, refused = contest.score(content)
        self.state.submissions.append(
            {
                "ref": 1000 + len(self.state.submissions),
                "fileName": "submission.csv",
                "date": "2026-11-22T07:56:00Z",
                "description": request.get("submissionDescription", ""),
                "totalBytes": len(content),
                "polls": self.state.polls_until_scored,
                "score": score,
                "refused": refused,
            }
        )
        if self.state.loses_answers:
            self.close_connection = True
            return
        self.answer(200, {"message": "Successfully submitted", "ref": self.state.submissions[-1]["ref"]})

    def ListSubmissions(self, request: dict[str, Any], contest: Contest) -> None:
        shown = []
        for one in reversed(self.state.submissions):
            seen = {key: one[key] for key in ("ref", "fileName", "date", "description", "totalBytes")}
            if one["polls"] > 0:
                one["polls"] -= 1
                seen["status"] = "PENDING"
            elif one["refused"]:
                seen |= {"status": "ERROR", "errorDescription": one["refused"]}
            else:
                score = f"{one['score']:.5f}"
                seen |= {"status": "COMPLETE", "publicScore": score, "privateScore": score}
            shown.append(seen)
        self.answer(200, {"submissions": shown})

    def GetSubmissionLimits(self, request: dict[str, Any], contest: Contest) -> None:
        self.answer(200, {"numToday": len(self.state.submissions), "numAllowedNow": 5})

    def do_PUT(self) -> None:
        self.state.requests.append("PUT upload")
        content = self.body()
        if "upload" in self.state.hangs:
            return self.hang(self.state.hangs["upload"])
        if self.state.faults["upload"]:
            return self.answer(self.state.faults["upload"].pop(0))
        self.state.uploads[urlsplit(self.path).path.rpartition("/")[2]] = content
        return self.answer(200)

    def do_GET(self) -> None:
        """A bundle, complete or from `Range: bytes=N-` on; cut off or stalled if a test has set it."""
        contest = self.state.contests[parse_qs(urlsplit(self.path).query)["competition"][0]]
        content = contest.bundle.read_bytes() if contest.served is None else contest.served
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        asked = self.headers.get("Range", "")
        fresh = self.headers.get("If-Range", tag) == tag
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and fresh else 0
        self.state.requests.append(f"GET from {start}")
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "application/zip")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", tag)
        self.send_header("Last-Modified", "Fri, 02 Sep 2016 00:00:00 GMT")
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(ConnectionError):  # the client may be killed while we send
            self.send_part(content[start:])

    def send_part(self, content: bytes) -> None:
        if self.state.stall_after is not None:
            self.wfile.write(content[: self.state.stall_after])
            self.wfile.flush()
            self.over.wait(60)
        elif self.state.cut_after:
            self.wfile.write(content[: self.state.cut_after.pop(0)])
        else:
            self.wfile.write(content)
