"""The connection to Kaggle: the only module that imports its client, and only when it is used.

`import kaggle` logs in at once: without credentials it prints help, it creates a folder in the home directory, and with
VERBOSE=1 in the environment it prints every request including the credentials. So it is imported inside
`ask_kaggle`, its output is discarded, and every error it raises becomes one line. Its requests have no time limits;
this module sets them.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import requests
from requests.adapters import HTTPAdapter

from paddlecnn.errors import AccessError, ServiceError, UserError

logger = logging.getLogger(__name__)

SITE = "https://www.kaggle.com"
LOGIN_HELP = (
    f"create an API token at {SITE}/settings/api and set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and "
    "KAGGLE_KEY, or save it as ~/.kaggle/kaggle.json"
)
TOKEN_FILES = (Path("~/.kaggle/access_token"), Path("~/.kaggle/access_token.txt"))

SILENCE = "PADDLECNN_KAGGLE_TIMEOUT"  # environment variable: seconds without a byte before a request is abandoned
DEFAULT_SILENCE = 60.0
CALL_FACTOR = 5  # a whole call may take this many times the limit of one silence
SLOWEST = 10_000  # bytes per second; a slower download is abandoned

T = TypeVar("T")


def ask_kaggle(competition: str, question: Callable[[Any], T], seconds: float | None = None) -> T:
    """Return the answer of `question`, which is given Kaggle's logged-in client and asks about one competition.

    seconds: the limit of the whole call; five times the limit of one silence if not given
    Whatever the client raises becomes a UserError or, if Kaggle or the network is at fault, a ServiceError. Raises
    AccessError if there are no credentials or they are refused.
    """
    silence = silence_limit()
    output = io.StringIO()
    try:
        with time_limit_per_request(silence), contextlib.redirect_stdout(output):
            return within(seconds or CALL_FACTOR * silence, lambda: question(log_in(output)))
    except (UserError, KeyboardInterrupt):
        raise
    except requests.HTTPError as error:
        raise explain(error.response, competition) from None
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise ServiceError(
            f"Kaggle cannot be reached ({type(error).__name__}): check the network and the proxy "
            "settings, then run this again; a download is resumed where it stopped"
        ) from None
    except Exception as error:  # the client indexes and converts Kaggle's answers without checks
        if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
            raise  # a disk error
        logger.debug("Kaggle's client failed", exc_info=error)
        raise ServiceError(
            f"Kaggle sent something that its client does not understand ({type(error).__name__}); run this again later"
        ) from None


def silence_limit() -> float:
    """The seconds that a request may wait for a connection or for the next byte."""
    text = os.environ.get(SILENCE) or DEFAULT_SILENCE
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise AccessError(f"{SILENCE}={text}: must be a number of seconds above 0")
    return seconds


@contextlib.contextmanager
def time_limit_per_request(seconds: float) -> Iterator[None]:
    """Give every request a limit for connecting and for each read, unless it has one of its own."""
    unlimited = HTTPAdapter.send

    def send(
        self: HTTPAdapter, request: requests.PreparedRequest, stream: bool = False, timeout: Any = None, **options: Any
    ) -> requests.Response:
        return unlimited(self, request, stream=stream, timeout=timeout or seconds, **options)

    HTTPAdapter.send = send  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        HTTPAdapter.send = unlimited  # type: ignore[method-assign]


def within(seconds: float, function: Callable[[], T]) -> T:
    """Return the function's result, or raise ServiceError after `seconds`.

    Without this limit, a server that sends a byte now and then would never exceed the limit of a read. The thread
    that waits for it ends with the process.
    """
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_exception(error)

    Thread(target=work, daemon=True).start()
    try:
        return outcome.result(timeout=seconds)
    except TimeoutError:
        if outcome.done():
            raise
        raise ServiceError(
            f"Kaggle did not finish its answer within {seconds:g} s; run this again later, or raise {SILENCE}"
        ) from None


def log_in(output: io.StringIO) -> Any:
    """Kaggle's client, with credentials that are valid as far as it can check.

    output: receives the client's messages, which contain the reason for a failed login
    """
    for verbose in ("VERBOSE", "VERBOSE_OUTPUT"):  # makes the client print headers, including the credentials
        os.environ.pop(verbose, None)
    try:
        import kaggle

        if not kaggle.api._authenticated:  # the import swallows the reason; the second attempt prints it
            kaggle.api.authenticate()
    except SystemExit:
        raise AccessError(f"Kaggle: {reason_for_no_login(output.getvalue())}; {LOGIN_HELP}") from None
    except OSError as error:
        if error.filename is None:  # an error of requests, which is an OSError too
            raise
        raise AccessError(
            f"{error.filename}: Kaggle's client cannot create its folder here ({error.strerror}); "
            "set KAGGLE_CONFIG_DIR to a folder that you may write to"
        ) from None
    except (TypeError, AttributeError, ValueError, KeyError) as error:
        raise AccessError(
            f"Kaggle: the credentials in {config_file()} cannot be read ({type(error).__name__}); {LOGIN_HELP}"
        ) from None
    for path in (Path(kaggle.api.config).expanduser(), *(file.expanduser() for file in TOKEN_FILES)):
        if path.is_file() and readable_by_others(path):
            logger.warning(
                "warning: %s contains your Kaggle key and other users can read it; run: chmod 600 %s", path, path
            )
    return kaggle.api


def config_file() -> Path:
    """The kaggle.json that the client reads, if there is one."""
    folders = [os.environ.get("KAGGLE_CONFIG_DIR") or "~/.kaggle", "~/.config/kaggle"]
    files = [Path(folder).expanduser() / "kaggle.json" for folder in folders]
    return next((file for file in files if file.is_file()), files[0])


def reason_for_no_login(output: str) -> str:
    """The reason for a failed login: no credentials, an invalid or expired token, or an expired login."""
    if os.environ.get("KAGGLE_API_TOKEN") or any(file.expanduser().is_file() for file in TOKEN_FILES):
        return "the API token is not valid or has expired"
    if "Invalid credentials" in output:
        return "the login created by `kaggle auth login` has expired"
    return "no credentials found"


def readable_by_others(path: Path) -> bool:
    """Whether other users of this machine can read a file of credentials."""
    return os.name != "nt" and bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def explain(response: Any, competition: str) -> UserError:
    """The error for an HTTP status from Kaggle. It never quotes a URL, which may be signed."""
    if response is None:  # compared with None because a Response with a status of 400 or more is false
        return ServiceError("Kaggle's answer was cut off; run this again")
    code = response.status_code
    if code >= 500:
        return ServiceError(f"Kaggle answered {code}: a problem on its side; run this again later")
    seconds = response.headers.get("Retry-After", "")
    wait = f"in {int(seconds)} s" if seconds.isdigit() else "in a while"
    rules = f"Open {SITE}/c/{competition}/rules, accept, and run this again."
    reasons = {
        401: f"it does not accept these credentials; {LOGIN_HELP}",
        403: f"the rules of {competition} have not been accepted yet. {rules}",
        404: f"there is no competition {competition}; look for its name at {SITE}/competitions",
        429: f"your quota of requests is used up; run this again {wait}",
    }
    return AccessError(f"Kaggle answered {code}: {reasons.get(code) or message_in(response) or 'no reason given'}")


def message_in(response: Any) -> str:
    """The message in an answer from Kaggle, as one short line without URLs."""
    try:
        message = str(response.json().get("message", ""))
    except (ValueError, AttributeError):
        return ""
    return re.sub(r"https?://\S+", "", " ".join(message.split()))[:300].strip()
