"""The one door to Kaggle: the only module that imports its client, and only when it is used.

`import kaggle` logs in at once: it prints help when there are no credentials, makes a folder in the
home directory, and with VERBOSE=1 in the environment it prints every request with the credentials in it.
So it is imported inside `connected`, its output is held back, and every error it raises leaves as one line.
"""
from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paddlecnn.errors import AccessError, ServiceError, UserError

SITE = "https://www.kaggle.com"
HOW_TO_LOG_IN = (f"make an API token at {SITE}/settings/api and set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and "
                 "KAGGLE_KEY, or save it as ~/.kaggle/kaggle.json")

TOKEN_FILES = (Path("~/.kaggle/access_token"), Path("~/.kaggle/access_token.txt"))


@contextlib.contextmanager
def connected(competition: str) -> Iterator[Any]:
    """Kaggle's client, logged in, for one competition.

    Inside the block whatever the client raises becomes a UserError or, where Kaggle or the network is at
    fault, a ServiceError. Raises AccessError where there are no credentials or they are refused.
    """
    import requests

    try:
        yield log_in()
    except UserError:
        raise
    except requests.HTTPError as error:
        raise explain(error.response, competition) from None
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise ServiceError(f"Kaggle cannot be reached ({type(error).__name__}): check the network and the proxy "
                           "settings, then run this again; a download goes on where it stopped") from None
    except (requests.RequestException, ValueError) as error:
        raise ServiceError(f"Kaggle sent something that its client does not understand ({type(error).__name__}); "
                           "run this again later") from None


def log_in() -> Any:
    """Kaggle's client with credentials that it has found and, where it can tell, found to be good."""
    for loud in ("VERBOSE", "VERBOSE_OUTPUT"):  # makes the client print headers, credentials among them
        os.environ.pop(loud, None)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            import kaggle

            if not kaggle.api._authenticated:  # the import swallows the reason; ask again to hear it
                kaggle.api.authenticate()
    except SystemExit:
        raise AccessError(f"Kaggle: {reason_for_no_login(said.getvalue())}; {HOW_TO_LOG_IN}") from None
    except OSError as error:
        if error.filename is None:  # of requests, whose errors are OSErrors too
            raise
        raise AccessError(f"{error.filename}: Kaggle's client cannot make its folder here ({error.strerror}); "
                          "set KAGGLE_CONFIG_DIR to a folder that you may write to") from None
    for file in (Path(kaggle.api.config), *TOKEN_FILES):
        warn_if_readable_by_others(file.expanduser())
    return kaggle.api


def reason_for_no_login(said: str) -> str:
    """Why the client found no login: none there, or a token that Kaggle does not know (any more)."""
    if os.environ.get("KAGGLE_API_TOKEN") or any(file.expanduser().is_file() for file in TOKEN_FILES):
        return "the API token is not valid or has expired"
    if "Invalid credentials" in said:
        return "the login made by `kaggle auth login` has expired"
    return "no credentials found"


def warn_if_readable_by_others(path: Path) -> None:
    """Say on stderr that a credentials file can be read by other users of this machine."""
    if os.name != "nt" and path.is_file() and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        print(f"warning: {path} holds your Kaggle key and other users can read it; run: chmod 600 {path}",
              file=sys.stderr)


def explain(response: Any, competition: str) -> UserError:
    """The error that tells a person what an HTTP status of Kaggle means. Never quotes an address: it may be signed."""
    if response is None:  # compared with None because a Response with a status of 400 or more is false
        return ServiceError("Kaggle's answer was cut off; run this again")
    code = response.status_code
    if code >= 500:
        return ServiceError(f"Kaggle answered {code}: it is in trouble itself; run this again later")
    if code == 401:
        return AccessError(f"Kaggle answered 401: it does not accept these credentials; {HOW_TO_LOG_IN}")
    if code == 403:
        return AccessError(f"Kaggle answered 403: the rules of {competition} are not accepted yet. "
                           f"Open {SITE}/c/{competition}/rules, accept, and run this again.")
    if code == 404:
        return AccessError(f"Kaggle answered 404: it knows no competition {competition}; "
                           f"look for its name at {SITE}/competitions")
    if code == 429:
        wait = response.headers.get("Retry-After", "")
        return AccessError("Kaggle answered 429: your quota of requests is used up; "
                           f"run this again {f'in {int(wait)} s' if wait.isdigit() else 'in a while'}")
    return AccessError(f"Kaggle answered {code}: {message_in(response) or 'no reason given'}")


def message_in(response: Any) -> str:
    """What Kaggle says in an answer, as one short line without addresses."""
    try:
        said = str(response.json().get("message", ""))
    except (ValueError, AttributeError):
        return ""
    return re.sub(r"https?://\S+", "", " ".join(said.split()))[:300].strip()
