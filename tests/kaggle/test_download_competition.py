"""Downloads with Kaggle's real client from our server: resumed, refused, and never half."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.images import zipped

TOOL = Path(__file__).resolve().parents[2] / "tools" / "download.py"
REDUX = "dogs-vs-cats-redux-kernels-edition"
LOGIN = (
    "create an API token at https://www.kaggle.com/settings/api and set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and "
    "KAGGLE_KEY, or save it as ~/.kaggle/kaggle.json"
)


def files_in(folder) -> list[str]:
    """All files below a folder, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_broken_connection_is_resumed_and_complete_files_are_not_fetched_again(kaggle, download, tmp_path):
    kaggle.state.cut_after = [2_500_000]
    done = download()
    assert done.returncode == 0, done.stderr
    data = tmp_path / "work" / "data"
    assert (data / f"{REDUX}.zip").read_bytes() == kaggle.state.contests[REDUX].bundle.read_bytes()
    assert [one for one in kaggle.state.requests if one.startswith("GET")] == ["GET from 0", f"GET from {2 << 20}"]
    assert files_in(data) == sorted(
        [
            f"{REDUX}.zip",
            *(
                f"{REDUX}/{name}"
                for name in (
                    "sample_submission.csv",
                    "test/1.jpg",
                    "test/2.jpg",
                    "test/3.jpg",
                    "train/cat.0.jpg",
                    "train/dog.0.jpg",
                    "train/dog.1.jpg",
                )
            ),
        ]
    )
    assert "3 images in test, 3 images in train" in done.stdout
    kaggle.state.requests.clear()
    assert download().returncode == 0
    assert kaggle.state.requests == []


def test_a_killed_download_is_resumed(kaggle, download, tmp_path):
    kaggle.state.stall_after = 2_500_000
    partial = tmp_path / "work" / "data" / f".{REDUX}.partial" / f"{REDUX}.zip"
    child = subprocess.Popen(
        [sys.executable, TOOL, "dogs-vs-cats"],
        cwd=tmp_path / "work",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=kaggle.environment(tmp_path / "home"),
    )
    try:
        while not (partial.exists() and partial.stat().st_size == 2 << 20):
            assert child.poll() is None
            time.sleep(0.05)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert not (tmp_path / "work" / "data" / f"{REDUX}.zip").exists()
    kaggle.state.stall_after = None
    done = download()
    assert done.returncode == 0, done.stderr
    assert kaggle.state.requests[-1] == f"GET from {2 << 20}"
    assert (tmp_path / "work" / "data" / REDUX / "test" / "3.jpg").stat().st_size == 500_000


@pytest.mark.parametrize(
    ("fault", "environment", "code", "message"),
    [
        ("no credentials", {"KAGGLE_USERNAME": None, "KAGGLE_KEY": None}, 2, f"Kaggle: no credentials found; {LOGIN}"),
        (
            "wrong key",
            {"KAGGLE_KEY": "wrong"},
            2,
            f"Kaggle answered 401: it does not accept these credentials; {LOGIN}",
        ),
        (
            "wrong token",
            {"KAGGLE_API_TOKEN": "KGAT_wrong", "KAGGLE_USERNAME": None, "KAGGLE_KEY": None},
            2,
            f"Kaggle: the API token is not valid or has expired; {LOGIN}",
        ),
        (
            "rules",
            {},
            2,
            f"Kaggle answered 403: the rules of {REDUX} have not been accepted yet. Open "
            f"https://www.kaggle.com/c/{REDUX}/rules, accept, and run this again.",
        ),
        (
            "unknown",
            {},
            2,
            f"Kaggle answered 404: there is no competition {REDUX}; look for its name at "
            "https://www.kaggle.com/competitions",
        ),
        ("quota", {}, 2, "Kaggle answered 429: your quota of requests is used up; run this again in a while"),
        ("in trouble", {}, 3, "Kaggle answered 503: a problem on its side; run this again later"),
        (
            "no network",
            {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
            3,
            "Kaggle cannot be reached (ProxyError): check the network and the proxy settings, then run this again; a "
            "download is resumed where it stopped",
        ),
        (
            "the real Kaggle",
            {"KAGGLE_API_ENVIRONMENT": None},
            3,  # it cannot be reached from these tests
            "Kaggle cannot be reached (ProxyError): check the network and the proxy settings, then run this again; a "
            "download is resumed where it stopped",
        ),
        ("no zip", {}, 3, f"{REDUX}.zip: Kaggle did not send the bundle: it is not a zip file; run this again"),
        (
            "a short file",
            {},
            3,
            f"{REDUX}.zip: Kaggle did not send the bundle: expected 27 bytes of sample_submission.csv, found 9; "
            "run this again",
        ),
        (
            "other files",
            {},
            3,
            f"{REDUX}.zip: Kaggle did not send the bundle: it contains none of the files that Kaggle lists "
            "(sample_submission.csv, ...); run this again",
        ),
    ],
)
def test_each_failure_is_one_line_and_leaves_nothing(kaggle, download, tmp_path, fault, environment, code, message):
    contest = kaggle.state.contests[REDUX]
    contest.rules_accepted = fault != "rules"
    kaggle.state.faults["ListDataFiles"] = {"quota": [429], "in trouble": [503]}.get(fault, [])
    if fault == "unknown":
        kaggle.state.contests.clear()
    contest.served = {
        "no zip": b"<html>Not what you wanted</html>",
        "a short file": zipped({"sample_submission.csv": b"id,label\n"}),
        "other files": zipped({"train.csv": b"id,label\n"}),
    }.get(fault)
    done = download(**environment)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (code, message)
    assert files_in(tmp_path / "work") == []
    if contest.served is None:  # otherwise the client has shown its progress before
        assert (done.stdout, done.stderr) == ("", f"{message}\n")


def test_credentials_in_a_file_that_others_can_read_are_used_with_a_warning_and_never_shown(kaggle, download, tmp_path):
    file = tmp_path / "home" / ".kaggle" / "kaggle.json"
    file.parent.mkdir()
    file.write_text('{"username": "ada", "key": "0123456789abcdef0123456789abcdef"}')
    file.chmod(0o644)
    done = download(KAGGLE_USERNAME=None, KAGGLE_KEY=None, VERBOSE="1")
    assert done.returncode == 0, done.stderr
    assert f"warning: {file} contains your Kaggle key and other users can read it; run: chmod 600 {file}" in done.stderr
    for said in (done.stdout, done.stderr):
        assert "0123456789abcdef" not in said
        assert "Authorization" not in said


def test_a_home_that_cannot_be_written_is_named(download, tmp_path):
    (tmp_path / "file").touch()
    done = download(HOME=str(tmp_path / "file"))
    assert (done.returncode, done.stderr) == (
        2,
        f"{tmp_path}/file/.config: Kaggle's client cannot create its folder here (Not a directory); set "
        "KAGGLE_CONFIG_DIR to a folder that you may write to\n",
    )
    assert download(HOME=str(tmp_path / "file"), KAGGLE_CONFIG_DIR=str(tmp_path / "elsewhere")).returncode == 0


@pytest.mark.parametrize("place", ["environment", "file"])
def test_an_api_token_is_enough(download, tmp_path, place):
    token = "KGAT_fedcba9876543210"
    environment = {"KAGGLE_USERNAME": None, "KAGGLE_KEY": None}
    if place == "environment":
        environment["KAGGLE_API_TOKEN"] = token
    else:
        (tmp_path / "home" / ".kaggle").mkdir()
        (tmp_path / "home" / ".kaggle" / "access_token").write_text(token)
        (tmp_path / "home" / ".kaggle" / "access_token").chmod(0o600)
    done = download(**environment)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    assert token not in done.stdout + done.stderr


def test_kaggles_own_command_line_works_against_the_server(kaggle, python, tmp_path):
    listed = python("-m", "kaggle", "competitions", "files", "-c", REDUX, "--csv")
    assert "train.zip,1500" in listed.stdout
    fetched = python("-m", "kaggle", "competitions", "download", "-c", REDUX, "-q")
    assert fetched.returncode == 0, fetched.stderr
    assert (tmp_path / "work" / f"{REDUX}.zip").read_bytes() == kaggle.state.contests[REDUX].bundle.read_bytes()


@pytest.mark.parametrize("content", ["[]", "null", '{"username": "ada"}', '{"username": 1, "key": []}', "{"])
def test_an_invalid_kaggle_json_is_one_line(download, tmp_path, content):
    file = tmp_path / "home" / ".kaggle" / "kaggle.json"
    file.parent.mkdir()
    file.write_text(content)
    file.chmod(0o600)
    done = download(KAGGLE_USERNAME=None, KAGGLE_KEY=None)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "KAGGLE_API_TOKEN" in done.stderr


@pytest.mark.parametrize(
    "answer",
    [
        {"files": [None]},
        {"files": [{"name": None, "totalBytes": None}]},
        {"files": 7},
        {"files": []},
        {"files": [{"name": "train.zip", "totalBytes": 7}], "nextPageToken": "again"},
    ],
)
def test_a_list_of_files_that_makes_no_sense_is_one_line(kaggle, download, tmp_path, answer):
    kaggle.state.replies["ListDataFiles"] = answer
    done = download()
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
    if answer["files"] == []:
        assert f"Kaggle lists no files of {REDUX}" in done.stderr
    if "nextPageToken" in answer:
        assert done.stderr == f"Kaggle's list of the files of {REDUX} does not end; run this again later\n"
    assert files_in(tmp_path / "work") == []


@pytest.mark.parametrize("kind", ["silent", "drip"])
def test_a_list_of_files_that_hangs_ends(kaggle, download, kind):
    kaggle.state.hangs["ListDataFiles"] = kind
    done = download(PADDLECNN_KAGGLE_TIMEOUT="1")
    assert done.returncode == 3
    assert done.stderr.startswith(
        "Kaggle cannot be reached (ReadTimeout)" if kind == "silent" else "Kaggle did not finish its answer within 5 s"
    )
