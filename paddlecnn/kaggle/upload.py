"""Upload a submission to Kaggle, check that it was accepted, and wait for its score. Needs no Paddle."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Set
from pathlib import Path
from typing import Any

from paddlecnn.errors import ServiceError, SubmissionError, UserError
from paddlecnn.files import file_digest, only_process
from paddlecnn.kaggle.client import ask_kaggle
from paddlecnn.kaggle.competitions import COMPETITIONS, REDUX, competition_named
from paddlecnn.kaggle.ledger import Entry, Ledger, now
from paddlecnn.kaggle.submission import check_submission, read_submission

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between two requests for the score
SHORTEST_CALL = 10.0  # seconds that logging in, sending and one request may take, however short the wait


def upload(
    path: Path, message: str | None = None, slug: str | None = None, again: bool = False, seconds: float | None = None
) -> Entry:
    """Upload a file with Kaggle's client and record Kaggle's reference number in the ledger.

    slug: the competition; without it the one in the ledger, or Redux for a file that the ledger does not contain
    seconds: the limit for the upload
    Raises SubmissionError if the file breaks the competition's rules, if the same content was uploaded before and
    `again` is not set, or if another process is uploading; AccessError; ServiceError if Kaggle did not accept it.
    """
    table = read_submission(path)
    ledger = Ledger(path.parent)
    known = ledger.find(path)
    if known is not None and not known.competition and slug is None:
        raise SubmissionError(
            f"{path}: was written for a data set without a competition on Kaggle; --competition NAME uploads it anyway"
        )
    competition = competition_named(slug or (known.competition if known else REDUX.slug))
    check_submission(table, competition, str(path))
    digest = file_digest(path)
    busy = SubmissionError(f"{path}: another upload from {ledger.folder} is running; wait for it or stop it")
    with only_process(ledger.folder / ".upload.lock", busy):
        before = [entry for entry in ledger.entries() if entry.sha256 == digest and entry.ref]
        if before and not again:
            last = before[-1]
            raise SubmissionError(
                f"{path}: already uploaded, as {last.file} on {last.uploaded}"
                f"{f', public score {last.public_score}' if last.public_score else ''}; "
                "--again uploads it once more"
            )
        known_refs = {entry.ref for entry in ledger.entries()}
        ref = send(path, message or f"{path.name} {digest[:12]}", competition.slug, known_refs, seconds)
        fresh = known or Entry(file=path.name, sha256=digest, metric=competition.metric)
        sent = {"competition": competition.slug, "status": "uploaded", "uploaded": now(), "ref": ref}
        entry = dataclasses.replace(fresh, **sent, public_score="", private_score="")
        ledger.replace(None if fresh.ref else fresh, entry)
    return entry


def send(path: Path, message: str, slug: str, known_refs: Set[str], seconds: float | None = None) -> str:
    """Upload a file and return Kaggle's reference number.

    The client reports a failed upload only in its message, so an answer without a number is a failure. Before a failure
    is raised, Kaggle is asked whether it has the file: an answer can be lost, and each upload counts towards the day's
    allowance.
    """
    limit = None if seconds is None else max(seconds, SHORTEST_CALL)
    try:
        answer = ask_kaggle(slug, lambda api: api.competition_submit(str(path), message, slug, quiet=True), limit)
        if str(answer.ref or "").isdigit():
            return str(answer.ref)
        reason = answer.message or "no reason given"
        failure = ServiceError(f"{path}: Kaggle did not accept it ({reason}); run this again")
    except ServiceError as error:
        failure = error
    newest, expected = newest_submission(slug), (message, path.stat().st_size)
    if newest is None or (newest.description, newest.total_bytes) != expected or str(newest.ref) in known_refs:
        raise failure
    return str(newest.ref)


def newest_submission(slug: str) -> Any:
    """Kaggle's record of the newest submission; None if there is none, or if Kaggle does not answer."""
    with contextlib.suppress(UserError):
        return next(iter(ask_kaggle(slug, lambda api: api.competition_submissions(slug) or [], SHORTEST_CALL)), None)
    return None


def wait_for_score(path: Path, seconds: float, started: float | None = None) -> Entry:
    """Ask for the score of a file's last upload until it is there, and record it in the ledger.

    started: the time.monotonic() from which the seconds count; now if not given
    A request that fails is repeated. Raises SubmissionError if Kaggle refuses the file or it was never uploaded,
    ServiceError if there is no score after `seconds`.
    """
    ledger = Ledger(path.parent)
    entry = ledger.find(path)
    if entry is None or not entry.ref:
        raise SubmissionError(f"{path}: not uploaded yet; add --upload")
    deadline = (time.monotonic() if started is None else started) + seconds
    pause, trouble = FIRST_PAUSE, "not scored yet"
    while True:
        try:
            answer, reason = look_up(entry, max(deadline - time.monotonic(), SHORTEST_CALL))
            trouble = "not scored yet"
        except ServiceError as error:
            answer, reason, trouble = entry, "", str(error)
        if answer != entry:
            ledger.replace(entry, answer)
        if answer.status == "refused":
            raise SubmissionError(f"{path}: Kaggle refused it: {reason}")
        if answer.status == "scored":
            return answer
        if time.monotonic() + pause > deadline:
            raise ServiceError(
                f"{path}: no score after {seconds:g} s ({trouble}); "
                f"ask again later with `paddlecnn submit {path} --wait`"
            )
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def look_up(entry: Entry, seconds: float) -> tuple[Entry, str]:
    """The entry with Kaggle's current answer, and the reason if Kaggle refused the file."""
    found = ask_kaggle(entry.competition, lambda api: find_submission(api, entry), seconds)
    if found is None or found.status.name == "PENDING":
        return entry, ""
    if found.status.name == "ERROR":
        return dataclasses.replace(entry, status="refused"), found.error_description or "no reason given"
    return dataclasses.replace(
        entry, status="scored", public_score=found.public_score or "", private_score=found.private_score or ""
    ), ""


def find_submission(api: Any, entry: Entry) -> Any:
    """Kaggle's record of an upload; None if it is not listed."""
    listed = api.competition_submissions(entry.competition, page_size=100) or []
    return next((one for one in listed if one is not None and str(one.ref) == entry.ref), None)


def score_report(entry: Entry) -> list[str]:
    """Lines for the user about a scored file: its scores, the expected one, and the nearest reference scores."""
    lines = [
        f"{entry.file}: public score {entry.public_score or 'not shown'}, "
        f"private score {entry.private_score or 'not shown'}"
    ]
    if entry.expected:
        lines.append(f"expected {entry.metric.replace('_', ' ')} {entry.expected} (95 %: {entry.low} to {entry.high})")
    score = math.nan
    with contextlib.suppress(ValueError):
        score = float(entry.private_score or entry.public_score)
    references = COMPETITIONS[entry.competition].reference_scores
    better = [reference for reference in references if reference[0] < score]
    worse = [reference for reference in references if reference[0] >= score]
    if better:
        lines.append(f"behind   {better[-1][0]:g} ({better[-1][1]})")
    if worse:
        lines.append(f"ahead of {worse[0][0]:g} ({worse[0][1]})")
    return lines
