"""Downloads from a real server on loopback: resumed, checked, all or nothing."""
from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from paddlecnn.config import DataConfig
from paddlecnn.data.datasets import open_parts
from paddlecnn.data.sources import cifar
from paddlecnn.data.storage.download import bring_cifar, bring_competition
from paddlecnn.errors import DataError, ServiceError


@dataclass
class Server:
    """A file server that can break off, and remembers what it was asked."""

    data: bytes = b""
    breaks_after: int | None = None
    ranges: list[str | None] = field(default_factory=list)
    knows_ranges: bool = True
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.knows_ranges else 0
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(state.data) - begin))
            self.end_headers()
            end = len(state.data) if state.breaks_after is None else begin + state.breaks_after
            self.wfile.write(state.data[begin:end])

        def log_message(self, *_):
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        state.url = f"http://127.0.0.1:{httpd.server_port}/cifar-10-python.tar.gz"
        yield state
        httpd.shutdown()
        thread.join()


def official(path: Path) -> cifar.Official:
    data = path.read_bytes()
    return cifar.Official(len(data), hashlib.md5(data).hexdigest())


@pytest.fixture
def edition(cifar_folder, cifar_tar, server) -> cifar.Edition:
    """CIFAR-10 with few images, published on the server with its own checksums."""
    real = cifar.CIFAR10
    files = {part: {name: official(cifar_folder / name) for name in getattr(real, part)}
             for part in ("train", "test", "meta")}
    archive = cifar_tar / real.archive
    server.data = archive.read_bytes()
    return replace(real, **files, archive_is=official(archive), mirrors=("http://127.0.0.1:9/gone", server.url))


@pytest.fixture
def dest(tmp_path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def test_the_second_mirror_serves_when_the_first_does_not(edition, cifar_folder, dest):
    folder = bring_cifar(edition, dest)
    assert {path.name for path in folder.iterdir()} == {path.name for path in cifar_folder.iterdir()}
    assert len(open_parts(DataConfig(name="cifar10", root=str(dest))).train) == 200


def test_what_is_there_is_not_fetched_again(edition, server, dest):
    bring_cifar(edition, dest)
    asked = len(server.ranges)
    bring_cifar(edition, dest)
    assert len(server.ranges) == asked


def test_a_broken_download_goes_on_where_it_stopped(edition, server, dest):
    server.breaks_after = 10_000
    with pytest.raises(ServiceError, match=r"could not be downloaded .*--from"):
        bring_cifar(edition, dest)
    assert not (dest / edition.folder).exists()
    server.breaks_after = None
    bring_cifar(edition, dest)
    assert server.ranges == [None, "bytes=10000-"]


def test_a_server_without_ranges_begins_again(edition, server, dest):
    server.breaks_after, server.knows_ranges = 10_000, False
    with pytest.raises(ServiceError):
        bring_cifar(edition, dest)
    server.breaks_after = None
    bring_cifar(edition, dest)


def test_a_wrong_md5_is_refused_and_not_kept(edition, server, dest):
    server.data = server.data[:-1] + b"x"
    with pytest.raises(DataError, match=r"MD5 \w+ is not the published \w+"):
        bring_cifar(edition, dest)
    assert list(dest.iterdir()) == []


def test_from_an_archive_and_from_a_folder(edition, tmp_path, cifar_tar, cifar_folder):
    for number, source in enumerate((cifar_tar / edition.archive, cifar_folder, cifar_folder.parent)):
        dest = tmp_path / f"data{number}"
        dest.mkdir()
        assert bring_cifar(edition, dest, source) == dest / "cifar-10-batches-py"


@pytest.mark.parametrize(("harm", "message"), [
    (lambda file: file.write_bytes(file.read_bytes()[:-5]), r"bytes instead of"),
    (lambda file: file.write_bytes(file.read_bytes()[:-1] + b"x"), r"MD5 \w+ is not the published"),
    (lambda file: file.unlink(), r"no such file; --from takes an archive or a folder"),
])
def test_a_bad_archive_given_by_hand(edition, cifar_tar, harm, message, dest):
    harm(cifar_tar / edition.archive)
    with pytest.raises(DataError, match=message):
        bring_cifar(edition, dest, cifar_tar / edition.archive)


def test_a_bad_file_in_a_folder_given_by_hand(edition, cifar_folder, dest):
    (cifar_folder / "data_batch_4").write_bytes(b"x")
    with pytest.raises(DataError, match=r"data_batch_4: 1 bytes with MD5 .* instead of the published"):
        bring_cifar(edition, dest, cifar_folder)
    assert list(dest.iterdir()) == []


def test_the_tool_takes_a_bundle_from_disk(tool, dogs_bundle, tmp_path, dogs_files, capsys, dest):
    assert tool("download", "dogs_vs_cats", "--dest", tmp_path / "data", "--from", dogs_bundle) == 0
    folder = tmp_path / "data" / "dogs-vs-cats-redux-kernels-edition"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {*dogs_files, "sample_submission.csv"}
    told = capsys.readouterr().out.splitlines()
    assert "MiB to unpack the bundle and the zips in it" in told[0]
    assert told[-1].endswith(f"ready; configs find it with data.root: {tmp_path / 'data'}")
    parts = open_parts(DataConfig(name="dogs_vs_cats", root=str(tmp_path / "data")))
    assert (len(parts.train), len(parts.test)) == (24, 5)


def test_an_unpacked_folder_is_copied(dogs_bundle, tmp_path):
    first = bring_competition("dogs-vs-cats-redux-kernels-edition", tmp_path, dogs_bundle)
    other = tmp_path / "other"
    other.mkdir()
    copy = bring_competition("dogs-vs-cats-redux-kernels-edition", other, first)
    assert sorted(path.name for path in copy.rglob("*")) == sorted(path.name for path in first.rglob("*"))


def test_a_damaged_inner_zip_leaves_nothing(dogs_bundle, tmp_path, tool, capsys, dest):
    data = dogs_bundle.read_bytes()
    place = data.index(b"train/dog.3.jpg") + 500
    dogs_bundle.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1:])
    assert tool("download", "dogs_vs_cats", "--dest", tmp_path / "data", "--from", dogs_bundle) == 2
    assert "Bad CRC-32" in capsys.readouterr().err
    assert list((tmp_path / "data").iterdir()) == []


def test_too_little_room_is_said_first(edition, cifar_tar, dest):
    huge = replace(edition, archive_is=cifar.Official(1 << 50, "0"))
    with pytest.raises(DataError, match=r"1,073,741,824 MiB needed to download and .* MiB free"):
        bring_cifar(huge, dest)
