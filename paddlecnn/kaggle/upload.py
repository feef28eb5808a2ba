"""Send a submission to Kaggle, make sure it was taken, wait for its score. Needs no Paddle."""
from __future__ import annotations

import contextlib
import dataclasses
import io
import time
from pathlib import Path

from paddlecnn.errors import ServiceError, SubmissionError
from paddlecnn.files import file_digest
from paddlecnn.kaggle.client import connected
from paddlecnn.kaggle.competitions import COMPETITIONS, REDUX, Competition, competition_named
from paddlecnn.kaggle.ledger import Entry, Ledger, now
from paddlecnn.kaggle.submission import check_submission, read_submission

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between two questions for the score


def upload(path: Path, message: str | None = None, slug: str | None = None, again: bool = False) -> Entry:
    """Upload a file through Kaggle's client and write the number it got into the ledger.

    The competition is the one the ledger names, or `slug`, or Redux for a file the ledger does not know.
    Raises SubmissionError where the file breaks the competition's rules, or where the same content was
    uploaded before and not `again`; AccessError; ServiceError where Kaggle did not take it.
    """
    table = read_submission(path)
    ledger = Ledger(path.parent)
    known = ledger.find(path)
    competition = competition_to_ask(path, known, slug)
    check_submission(table, competition, str(path))
    digest = file_digest(path)
    before = [entry for entry in ledger.entries() if entry.sha256 == digest and entry.ref]
    if before and not again:
        last = before[-1]
        raise SubmissionError(f"{path}: uploaded already, as {last.file} on {last.uploaded}"
                              f"{f', public score {last.public_score}' if last.public_score else ''}; "
                              "--again uploads it once more")
    ref = send(path, message or f"{path.name} {digest[:12]}", competition.slug)
    fresh = known or Entry(file=path.name, sha256=digest, competition=competition.slug, metric=competition.metric)
    entry = dataclasses.replace(fresh, competition=competition.slug, status="uploaded", uploaded=now(), ref=ref,
                                public_score="", private_score="")
    ledger.replace(None if fresh.ref else fresh, entry)
    return entry


def competition_to_ask(path: Path, known: Entry | None, slug: str | None) -> Competition:
    """Which competition a file is for. Raises SubmissionError where it was written for none."""
    if known is not None and not known.competition and slug is None:
        raise SubmissionError(f"{path}: was written for a data set without a competition on Kaggle; "
                              "--competition NAME uploads it to one all the same")
    return competition_named(slug or (known.competition if known else REDUX.slug))


def send(path: Path, message: str, slug: str) -> str:
    """Upload a file and return the number Kaggle gave it.

    The client tells of a failed upload only in its message, so an answer without a number is a failure.
    """
    said = io.StringIO()
    with connected(slug) as api, contextlib.redirect_stdout(said):
        answer = api.competition_submit(str(path), message, slug, quiet=True)
    if not answer.ref:
        raise ServiceError(f"{path}: Kaggle did not take it ({answer.message or 'no reason given'}); run this again")
    return str(answer.ref)


def wait_for_score(path: Path, seconds: float) -> Entry:
    """Ask for the score of a file's last upload until it is there, and write it into the ledger.

    A question that fails is asked again. Raises SubmissionError where Kaggle refuses the file or it was never
    uploaded, ServiceError where there is no score after so many seconds.
    """
    ledger = Ledger(path.parent)
    entry = ledger.find(path)
    if entry is None or not entry.ref:
        raise SubmissionError(f"{path}: was not uploaded yet; add --upload")
    deadline, pause, trouble = time.monotonic() + seconds, FIRST_PAUSE, "not scored yet"
    while True:
        try:
            answer, reason = look_up(entry)
        except ServiceError as error:
            answer, trouble = entry, str(error)
        if answer != entry:
            ledger.replace(entry, answer)
        if answer.status == "refused":
            raise SubmissionError(f"{path}: Kaggle refused it: {reason}")
        if answer.status == "scored":
            return answer
        if time.monotonic() + pause > deadline:
            raise ServiceError(f"{path}: no score after {seconds:g} s ({trouble}); "
                               f"ask again later with `python tools/submit.py {path} --wait`")
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def look_up(entry: Entry) -> tuple[Entry, str]:
    """The entry with what Kaggle knows of it by now, and the reason where Kaggle refused the file."""
    with connected(entry.competition) as api:
        uploads = api.competition_submissions(entry.competition, page_size=100)
    found = next((one for one in uploads if str(one.ref) == entry.ref), None)
    if found is None or found.status.name == "PENDING":
        return entry, ""
    if found.status.name == "ERROR":
        return dataclasses.replace(entry, status="refused"), found.error_description or "no reason given"
    return dataclasses.replace(entry, status="scored", public_score=found.public_score,
                               private_score=found.private_score), ""


def score_report(entry: Entry) -> list[str]:
    """What to tell a person about a scored file: its scores, what was expected, and where it would stand."""
    lines = [f"{entry.file}: public score {entry.public_score}, private score {entry.private_score or 'not shown'}"]
    if entry.expected:
        lines.append(f"expected {entry.metric.replace('_', ' ')} {entry.expected} (95 %: {entry.low} to {entry.high})")
    reference_scores = COMPETITIONS[entry.competition].reference_scores
    score = float(entry.private_score or entry.public_score)
    better = [mark for mark in reference_scores if mark[0] < score]
    worse = [mark for mark in reference_scores if mark[0] >= score]
    if better:
        lines.append(f"behind   {better[-1][0]:g} ({better[-1][1]})")
    if worse:
        lines.append(f"ahead of {worse[0][0]:g} ({worse[0][1]})")
    return lines
