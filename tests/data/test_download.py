"""Downloads against a local server that misbehaves: a complete verified copy, or one sentence and no copy."""

import errno
import hashlib
import io
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections import namedtuple
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import pandas as pd
import pytest
from urllib3 import Retry

from cardiov.data import download, http
from cardiov.data.checksums import digest_of, read_list
from cardiov.data.ptbxl import VERSIONS
from cardiov.errors import CardioVError, DataSetError, ParameterError, StorageError
from cardiov.store import files as store
from tests.ecg_files import list_of_digests, published_files
from tests.fault_server import KINDS, serving

SHARED = Path(os.environ.get("CARDIOV_SHARED", Path(__file__).parents[3] / "shared"))
SAMPLE = SHARED / "ptbxl-sample"
NEEDED = ("SHA256SUMS.txt", "LICENSE.txt", "RECORDS", "ptbxl_database.csv", "scp_statements.csv")
TOP = "ptb-xl-of-some-version/"  # of the archive


class Pauses(threading.Event):
    """An event that is not waited for; `seconds` has the lengths of all pauses."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def wait(self, seconds):
        self.seconds.append(seconds)
        return self.is_set()


class Ticks(threading.local):
    """A clock per thread that advances by half a second whenever it is read, which is once per piece that arrives."""

    now = 0

    def __call__(self):
        self.now += 1
        return self.now / 2


def hasten(response, *_, **__):
    """Play a server that trickles or is silent, without its time and however busy the machine is."""
    kind, raw = response.headers.get("X-Fault"), response.raw
    if kind == "trickle":
        read1 = raw.read1
        raw.read1 = lambda _, **options: read1(1, **options)  # one byte per reading of the clock
    if kind == "silent":
        assert raw.connection.sock.gettimeout() == http.SILENCE
        raw.connection.sock.settimeout(0.01)


@contextmanager
def patience(tries=4, step=2000, stop=None):
    """How long the server is waited for, in the tests' time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http, "RETRY", Retry(total=tries - 1, backoff_factor=1, backoff_max=60))
        patch.setattr(http, "STEP", step)
        patch.setattr(http, "monotonic", Ticks())
        patch.setitem(http.SESSION.hooks, "response", [hasten])
        patch.setattr(download, "Event", Pauses if stop is None else lambda: stop)
        yield


@pytest.fixture(autouse=True)
def impatient():
    with patience():
        yield


def published(files):
    """The files by path as PhysioNet serves them, single and as an archive, with their list of digests."""
    files = {name: body for name, body in files.items() if name != "SHA256SUMS.txt"}
    files["SHA256SUMS.txt"] = list_of_digests(files)
    return {f"/files/{name}": body for name, body in files.items()} | {"/ptb-xl.zip": packed(files)}


def packed(files, top=TOP, method=zipfile.ZIP_DEFLATED):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as opened:
        for name, body in files.items():
            opened.writestr(top + name, body)
    return archive.getvalue()


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    return published_files(tmp_path_factory.mktemp("published"))


@pytest.fixture
def server(files):
    with serving(published(files)) as served:
        yield served


def source(server, mode):
    return server.address + ("/ptb-xl.zip" if mode == "archive" else "/files/")


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wanted(server):
    names = {path.removeprefix("/files/"): body for path, body in server.files.items() if path.startswith("/files/")}
    return {name: body for name, body in names.items() if name in NEEDED or name.startswith("records500/")}


def tried(folder, address, **settings):
    """Download; return the sentence of an error, after which the folder must not exist."""
    try:
        with patience(**settings):
            download.download(folder, source=address)
    except CardioVError as error:
        assert not folder.exists()
        assert str(error).endswith(".") and "\n" not in str(error) and "Traceback" not in str(error)
        return str(error)


both = pytest.mark.parametrize("mode", ["archive", "files"])


@both
def test_a_copy_has_what_is_needed_as_it_was_published(tmp_path, server, mode, capsys):
    folder = tmp_path / "ptbxl"
    assert download.download(folder, source=source(server, mode)) == 4
    assert contents(folder) == wanted(server)
    assert {path.name for path in tmp_path.iterdir()} == {"ptbxl", "ptbxl.lock"}
    shown = capsys.readouterr().err
    assert re.search(r"needs about 0.\d MB in .*, where [\d,.]+ [MG]B are free\.\n", shown)
    assert ("B/s" if mode == "archive" else "files/s") in shown
    asked = len(server.log)
    assert download.download(folder, source=source(server, mode)) == 4 and len(server.log) == asked


def test_the_archive_is_the_default_and_the_files_the_second_choice(tmp_path, server, monkeypatch):
    archive, files = download._addresses("1.0.1", None)
    assert archive == ("https://physionet.org/static/published-projects/ptb-xl/"
                       "ptb-xl-a-large-publicly-available-electrocardiography-dataset-1.0.1.zip")  # fmt: skip
    assert files == "https://physionet.org/files/ptb-xl/1.0.1/"
    monkeypatch.setattr(download, "ARCHIVE", f"{server.address}/gone-{{}}.zip")
    monkeypatch.setattr(download, "FILES", f"{server.address}/files/")
    assert download.download(tmp_path / "ptbxl") == 4
    assert contents(tmp_path / "ptbxl") == wanted(server)


def test_an_archive_that_may_come_later_is_not_given_up_for_the_files(tmp_path, server, monkeypatch):
    monkeypatch.setattr(download, "ARCHIVE", f"{server.address}/ptb-xl.zip")
    monkeypatch.setattr(download, "FILES", f"{server.address}/files/")
    server.faults["/ptb-xl.zip"] = [("503", 0.0)] * 4
    assert "ptb-xl.zip failed 4 times" in tried(tmp_path / "ptbxl", None)
    assert tried(tmp_path / "ptbxl", None) is None and {path for path, *_ in server.log} == {"/ptb-xl.zip"}


@pytest.mark.parametrize("seed", range(60))
def test_any_sequence_of_faults_ends_with_a_whole_copy_or_a_sentence(tmp_path, server, seed):
    draw, mode = random.Random(seed), ("archive", "files")[seed % 2]
    paths = ["/ptb-xl.zip"] if mode == "archive" else [f"/files/{name}" for name in wanted(server)]
    for _ in range(draw.randint(1, 6) if mode == "archive" else draw.randint(1, 12)):
        server.faults[draw.choice(paths)].append((draw.choice(KINDS), draw.random()))
    for _ in range(20):  # at least one fault is taken by every run that fails
        faults_before = sum(map(len, server.faults.values()))
        if (sentence := tried(tmp_path / "ptbxl", source(server, mode))) is None:
            break
        assert faults_before, sentence
    listed = any("SHA256SUMS" in path and kind in ("wrong byte", "short") for path, _, kind in server.log)
    copy, expected = contents(tmp_path / "ptbxl"), wanted(server)
    if listed:  # the list is what all else is checked by; damage to it is seen where it concerns what is needed
        for name in ("SHA256SUMS.txt", "LICENSE.txt", "RECORDS"):
            copy.pop(name, None), expected.pop(name)
    assert copy == expected


@pytest.mark.parametrize("kind", KINDS)
@both
def test_one_fault_of_each_kind(tmp_path, server, mode, kind):
    path = "/ptb-xl.zip" if mode == "archive" else "/files/records500/00000/00002_hr.dat"
    server.faults[path] = [("cut", 0.5), (kind, 0.7)]
    sentence = tried(tmp_path / "ptbxl", source(server, mode))
    assert [kind for path, _, kind in server.log if kind] == ["cut", kind]
    if kind in ("403", "404"):
        assert f"answers {kind}" in sentence
        assert tried(tmp_path / "ptbxl", source(server, mode)) is None
    assert contents(tmp_path / "ptbxl") == wanted(server)


@both
def test_it_is_resumed_at_the_byte_where_it_stopped(tmp_path, server, mode):
    path = "/ptb-xl.zip" if mode == "archive" else "/files/records500/00000/00003_hr.dat"
    size = len(server.files[path])
    server.faults[path] = [("cut", 0.25), ("503", 0), ("503", 0), ("503", 0)]
    sentence = tried(tmp_path / "ptbxl", source(server, mode), step=size)
    assert "failed 4 times (it answers 503 Service Unavailable)" in sentence
    before = server.sent
    assert tried(tmp_path / "ptbxl", source(server, mode)) is None
    assert [asked for name, asked, _ in server.log if name == path] == [None, *[f"bytes={size // 4}-"] * 4]
    if mode == "archive":
        assert server.sent - before == size - size // 4
    assert contents(tmp_path / "ptbxl") == wanted(server)


def test_a_file_that_changed_is_not_spliced(tmp_path, server, files, caplog):
    changed = published(files | {"LICENSE.txt": b"another text"})["/ptb-xl.zip"]
    path = "/ptb-xl.zip"
    server.faults[path] = [("cut", 0.5), ("503", 0), ("503", 0), ("503", 0)]
    assert tried(tmp_path / "ptbxl", source(server, "archive"), step=10**6)
    server.files[path] = changed
    server.faults[path] = []
    assert tried(tmp_path / "ptbxl", source(server, "archive")) is None
    assert contents(tmp_path / "ptbxl")["LICENSE.txt"] == b"another text"
    assert server.log[-1][1] is None and "damaged" not in caplog.text


@pytest.mark.parametrize("kind", ["wrong range", "new tag"])
def test_another_part_than_was_asked_for_is_not_taken(tmp_path, server, caplog, kind):
    server.faults["/ptb-xl.zip"] = [("cut", 0.5), (kind, 0)]
    assert tried(tmp_path / "ptbxl", source(server, "archive")) is None
    assert [asked and asked[:6] for _, asked, _ in server.log] == [None, "bytes=", None]
    assert "damaged" not in caplog.text


def test_where_one_file_is_refused_the_other_connections_stop_too(tmp_path, server):
    names = [f"/files/records500/00000/0000{k}_hr.{suffix}" for k in (1, 2, 3, 4) for suffix in ("dat", "hea")]
    server.retry_after = None
    server.faults |= {name: [("503", 0.0)] * 9 for name in names} | {"/files/LICENSE.txt": [("404", 0.0)]}
    stop = threading.Event()
    given_up = tried(tmp_path / "ptbxl", source(server, "files"), tries=50, stop=stop)
    assert "LICENSE.txt is not available" in given_up and stop.is_set()
    assert not any(path.endswith(".dat") for path, _, kind in server.log if not kind)


def test_a_download_from_another_address_is_not_resumed(tmp_path, server, caplog):
    server.files["/other.zip"] = server.files["/ptb-xl.zip"][::-1]
    server.faults["/other.zip"] = [("cut", 0.5), ("404", 0)]
    assert "404" in tried(tmp_path / "ptbxl", f"{server.address}/other.zip")
    assert tried(tmp_path / "ptbxl", source(server, "archive")) is None
    assert server.log[-1] == ("/ptb-xl.zip", None, None) and "damaged" not in caplog.text


def test_a_weak_tag_does_not_prevent_resuming(tmp_path, server):
    server.tags["/ptb-xl.zip"] = 'W/"1"'
    server.faults["/ptb-xl.zip"] = [("cut", 0.5)]
    before = len(server.files["/ptb-xl.zip"])
    assert tried(tmp_path / "ptbxl", source(server, "archive")) is None and server.sent == before


@both
def test_a_server_that_always_compresses_is_no_obstacle(tmp_path, server, mode):
    for path in server.files:
        server.faults[path] = [("gzip", 0.0)] * 20
    assert tried(tmp_path / "ptbxl", source(server, mode)) is None
    assert contents(tmp_path / "ptbxl") == wanted(server)


def test_a_trickle_is_given_up(tmp_path, server):
    server.faults["/ptb-xl.zip"] = [("trickle", 0.0)] * 30
    sentence = tried(tmp_path / "ptbxl", source(server, "archive"))
    assert "failed 4 times (it sends fewer than 1,000 bytes per second)" in sentence
    assert len(server.log) == 4


@pytest.mark.parametrize(
    ("kind", "sentence"), [(None, "has 24,000 bytes or more, too many"), ("cut unsized", "bytes or more, too many")]
)
def test_more_bytes_than_a_file_can_have_are_refused(tmp_path, server, monkeypatch, kind, sentence):
    path = "/files/records500/00000/00004_hr.dat"
    monkeypatch.setattr(download, "FILE_LIMIT", 20_000)
    server.faults[path] = [(kind, 1.0)]
    for k in (1, 2, 3):
        server.files[path.replace("4_hr", f"{k}_hr")] = b""
    server.files |= published(wanted(server))
    assert sentence in tried(tmp_path / "ptbxl", source(server, "files"))


def test_only_failures_without_progress_are_counted(tmp_path, server):
    server.faults["/ptb-xl.zip"] = [("cut", k / 20) for k in range(1, 20)]
    assert tried(tmp_path / "a", source(server, "archive"), step=1000) is None
    assert len(server.log) == 20
    server.faults["/ptb-xl.zip"] = [("cut", 0.5)] * 30
    assert "failed 4 times (it cuts the connection)" in tried(tmp_path / "b", source(server, "archive"), step=1000)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [("403", "answers 403 Forbidden"), ("404", "answers 404 Not Found"), ("loop", "leads nowhere (TooManyRedirects)")],
)
@both
def test_a_refusal_is_reported_at_once(tmp_path, server, mode, kind, sentence):
    path = "/ptb-xl.zip" if mode == "archive" else "/files/scp_statements.csv"
    server.faults[path] = [(kind, 0.0)] * 50
    assert sentence in tried(tmp_path / "ptbxl", source(server, mode))
    assert sum(name == path for name, *_ in server.log) == (31 if kind == "loop" else 1)


@pytest.mark.parametrize(
    ("retry_after", "failures", "expected"),
    [(None, 7, [0, 2, 4, 8, 16, 32, 60]), ("30", 2, [30, 30]), ("0", 1, [0]), ("soon", 2, [0, 2]), (590, 1, [450])],
)
def test_pauses_double_up_to_a_bound_or_last_as_the_server_asks(tmp_path, server, retry_after, failures, expected):
    """In seconds, or as a date, which the number stands for."""
    server.retry_after = formatdate(time.time() + 590, usegmt=True) if retry_after == 590 else retry_after
    server.faults["/ptb-xl.zip"] = [("503", 0.0)] * failures
    pauses = Pauses()
    assert tried(tmp_path / "ptbxl", source(server, "archive"), tries=8, stop=pauses) is None
    assert pauses.seconds == pytest.approx(expected, abs=150 if retry_after == 590 else 0)


def test_a_server_that_asks_for_hours_is_not_waited_for(tmp_path, server):
    server.retry_after = "7200"
    server.faults["/ptb-xl.zip"] = [("429", 0.0)]
    assert "asks to wait 7,200 s (it answers 429" in tried(tmp_path / "ptbxl", source(server, "archive"))
    assert len(server.log) == 1


def test_a_server_that_is_not_there_is_a_sentence(tmp_path):
    assert "failed 4 times (it cannot be reached)" in tried(tmp_path / "ptbxl", "http://127.0.0.1:9/ptb-xl.zip")


ESCAPES = ["../evil.txt", "/etc/evil.txt", "a/../../evil.txt", "..\\evil.txt"]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_member_that_leads_out_of_its_folder_is_never_written(tmp_path, server, name):
    inside = {f"{TOP}{key}": value for key, value in wanted(server).items()}
    server.files["/ptb-xl.zip"] = packed(inside | {name: b"!"}, top="")
    (tmp_path / "inside").mkdir()
    assert tried(tmp_path / "inside/ptbxl", source(server, "archive")) is None
    assert contents(tmp_path / "inside/ptbxl") == wanted(server)
    assert not list(tmp_path.rglob("*evil*")) and not Path("/etc/evil.txt").exists()


@pytest.mark.parametrize("name", ["records500/../../evil.dat", "records500/..\\evil.dat"])
@both
def test_a_list_that_leads_out_of_its_folder_is_refused(tmp_path, server, mode, name):
    line = f"{hashlib.sha256(b'!').hexdigest()} {name}\n".encode()
    server.files["/files/SHA256SUMS.txt"] += line
    server.files["/ptb-xl.zip"] = packed(wanted(server))
    assert "names files outside the data set" in tried(tmp_path / "ptbxl", source(server, mode))


def test_a_link_in_an_archive_is_never_made(tmp_path, server):
    """Neither beside the data set's files nor, where the list has it with the digest of the text, among them."""
    files = wanted(server) | {"records500/link": b"/etc"}
    files["SHA256SUMS.txt"] = list_of_digests({name: body for name, body in files.items() if name != "SHA256SUMS.txt"})
    archive = io.BytesIO(packed({name: body for name, body in files.items() if name != "records500/link"}))
    with zipfile.ZipFile(archive, "a") as opened:
        for name in ("records500/link", "records500/other"):
            link = zipfile.ZipInfo(f"{TOP}{name}")
            link.external_attr = 0o120777 << 16
            opened.writestr(link, "/etc")
    server.files["/ptb-xl.zip"] = archive.getvalue()
    assert tried(tmp_path / "ptbxl", source(server, "archive")) is None
    assert contents(tmp_path / "ptbxl") == files and not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_an_archive_that_would_fill_the_disk_is_refused(tmp_path, server, monkeypatch):
    monkeypatch.setattr(download, "FILE_LIMIT", 10**6)
    server.files |= published(wanted(server) | {"records500/bomb.dat": bytes(2 * 10**6)})
    assert len(server.files["/ptb-xl.zip"]) < 10**6
    assert "bomb.dat has 2,000,000 bytes, too many" in tried(tmp_path / "ptbxl", source(server, "archive"))


def shifted(body):
    """The archive, whose last record says that its directory begins far later: its members would begin before the file."""
    at = body.rindex(b"PK\5\6") + 16
    return body[:at] + struct.pack("<I", 2 * len(body)) + body[at + 4 :]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda body: body[:-30], "is damaged"),
        (lambda body: b"no archive", "is damaged"),
        (lambda body: shifted(body), "is packed in an unusual way"),
        (lambda body: packed({"a": b"b"}), "holds no SHA256SUMS.txt"),
        (lambda body: body.replace(b"records500/00000/00002_hr.dat", b"records500/00000/0000x_hr.dat"),
         "no item named 'ptb-xl-of-some-version/records500/00000/00002_hr.dat' in the archive"),
    ],
)  # fmt: skip
def test_a_wrong_archive_is_fetched_twice_and_then_a_sentence(tmp_path, server, change, sentence):
    whole = server.files["/ptb-xl.zip"]
    server.files["/ptb-xl.zip"] = change(whole)
    assert sentence in tried(tmp_path / "ptbxl", source(server, "archive"))
    assert len(server.log) == (1 if "holds no" in sentence else 2)
    server.files["/ptb-xl.zip"] = whole
    assert tried(tmp_path / "ptbxl", source(server, "archive")) is None


def test_an_archive_that_is_packed_otherwise_is_refused(tmp_path, server):
    server.files["/ptb-xl.zip"] = packed(wanted(server), method=zipfile.ZIP_BZIP2)
    assert "is packed in an unusual way" in tried(tmp_path / "ptbxl", source(server, "archive"))


@pytest.mark.parametrize("count", [15, pytest.param(60, marks=pytest.mark.slow)])
def test_whichever_byte_of_an_archive_is_damaged_nothing_wrong_comes_out(tmp_path, server, count):
    draw, whole, expected = random.Random(count), server.files["/ptb-xl.zip"], wanted(server)
    positions = [*draw.sample(range(len(whole)), count), *draw.sample(range(len(whole) - 2500, len(whole)), 3 * count)]
    for at in positions:
        server.files["/ptb-xl.zip"] = whole[:at] + bytes([whole[at] ^ draw.randrange(1, 256)]) + whole[at + 1 :]
        if tried(tmp_path / "ptbxl", source(server, "archive")) is None:
            assert contents(tmp_path / "ptbxl") == expected
            shutil.rmtree(tmp_path / "ptbxl")
        shutil.rmtree(tmp_path / "ptbxl.part", ignore_errors=True)


def test_an_archive_with_another_file_than_its_list_says_is_refused(tmp_path, server):
    server.files["/ptb-xl.zip"] = packed(wanted(server) | {"LICENSE.txt": b"another"})
    assert "not as SHA256SUMS.txt says, the first being LICENSE.txt" in tried(tmp_path / "ptbxl", source(server, "archive"))


def test_a_file_that_stays_wrong_is_named(tmp_path, server):
    server.files["/files/records500/00000/00001_hr.dat"] = b"wrong"
    sentence = tried(tmp_path / "ptbxl", source(server, "files"))
    assert "not as SHA256SUMS.txt says, the first being records500/00000/00001_hr.dat" in sentence
    assert sum(path.endswith("00001_hr.dat") for path, *_ in server.log) == 2


@pytest.mark.parametrize("body", [b"<html>", b"\xff\xfe", b"", b"00 records500/a\n"])
def test_what_is_no_list_of_digests_is_refused(tmp_path, server, body):
    whole = server.files["/files/SHA256SUMS.txt"]
    server.files["/files/SHA256SUMS.txt"] = body
    assert "SHA256SUMS.txt" in tried(tmp_path / "ptbxl", source(server, "files"))
    server.files["/files/SHA256SUMS.txt"] = whole
    assert tried(tmp_path / "ptbxl", source(server, "files")) is None


def test_a_list_without_some_of_the_records_is_refused(tmp_path, server):
    whole = server.files["/files/SHA256SUMS.txt"]
    lines = whole.splitlines(keepends=True)
    server.files["/files/SHA256SUMS.txt"] = b"".join(line for line in lines if b"00003_hr.hea" not in line)
    sentence = tried(tmp_path / "ptbxl", source(server, "files"))
    assert "lacks 1 records of ptbxl_database.csv, such as records500/00000/00003_hr" in sentence
    server.files["/files/SHA256SUMS.txt"] = whole
    for mode in ("archive", "files"):
        assert tried(tmp_path / "ptbxl", source(server, mode)) is None


def test_another_version_than_the_requested_one_is_refused(tmp_path, server, monkeypatch):
    monkeypatch.setitem(VERSIONS, "1.0.1", VERSIONS["1.0.1"].__class__(records=4, patients=2, doi=""))
    assert "has the 4 records of version 1.0.1, not of 1.0.3" in tried(tmp_path / "ptbxl", source(server, "files"))
    assert download.download(tmp_path / "ptbxl", "1.0.1", source(server, "files")) == 4


Usage = namedtuple("Usage", "total used free")


@both
def test_the_space_is_checked_before_it_starts(tmp_path, server, mode, monkeypatch):
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: Usage(0, 0, 1000))
    with pytest.raises(StorageError, match="needs about .* MB in .*, where 0.0 MB are free: free some space"):
        download.download(tmp_path / "ptbxl", source=source(server, mode))
    assert server.sent < 2**17  # of the archive no more than the sockets hold
    monkeypatch.undo()
    assert tried(tmp_path / "ptbxl", source(server, mode)) is None


@both
def test_a_disk_that_fills_up_is_a_sentence_and_the_download_is_resumed_later(tmp_path, server, mode, monkeypatch):
    class Full(io.FileIO):
        def write(self, data):
            if self.tell() > 3000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(http, "CHUNK", 1000)
    monkeypatch.setattr(http, "open", lambda path, mode: Full(path, mode.replace("b", "")), raising=False)
    with pytest.raises(StorageError, match="no space left to write .*ptbxl: free some space"):
        download.download(tmp_path / "ptbxl", source=source(server, mode))
    monkeypatch.undo()
    assert tried(tmp_path / "ptbxl", source(server, mode)) is None
    assert contents(tmp_path / "ptbxl") == wanted(server)


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path, server):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="ptbxl cannot be written, for .*file is a file: give another folder"):
        download.download(tmp_path / "file/ptbxl", source=source(server, "archive"))


def test_of_two_downloads_at_once_one_waits_for_the_other(tmp_path, server):
    server.slowly = 0.02
    done = []

    def job():
        done.append(download.download(tmp_path / "ptbxl", source=source(server, "archive")))

    threads = [threading.Thread(target=job) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [4, 4, 4] and len(server.log) == 1


@pytest.mark.parametrize("address", ["ptb-xl.zip", "ftp://a/b.zip", "http://host/files", "http://host", "file:///a/"])
def test_an_address_of_neither_kind_is_refused(tmp_path, address):
    with pytest.raises(ParameterError, match="neither of an archive nor of files"):
        download.download(tmp_path / "ptbxl", source=address)


# Killed

RUN = """
import sys
from cardiov.data.download import download
download(sys.argv[1], source=sys.argv[2])
"""


@pytest.mark.parametrize("seed", range(6))
def test_a_killed_download_is_resumed(tmp_path, server, seed):
    draw, mode = random.Random(seed), ("archive", "files")[seed % 2]
    server.slowly = 0.01
    size = len(server.files["/ptb-xl.zip"]) if mode == "archive" else sum(map(len, wanted(server).values()))
    at = draw.randrange(size)
    environment = os.environ | {"PYTHONPATH": str(Path(download.__file__).parents[2])}
    run = subprocess.Popen([sys.executable, "-c", RUN, tmp_path / "ptbxl", source(server, mode)], env=environment,
                           stderr=subprocess.DEVNULL)  # fmt: skip
    server.on_sent = lambda sent: sent > at and run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert not (tmp_path / "ptbxl").exists()
    server.on_sent, before = None, server.sent
    assert tried(tmp_path / "ptbxl", source(server, mode)) is None
    assert contents(tmp_path / "ptbxl") == wanted(server)
    assert {path.name for path in tmp_path.iterdir()} == {"ptbxl", "ptbxl.lock"}
    if at > size / 2:
        assert server.sent - before < 0.8 * size


EVERY_STEP = """
import os, signal, sys
from cardiov.data.download import download

def child(folder, last):  # killed before the last file that it may give its name
    pid = os.fork()
    if pid == 0:
        done, replace = [], os.replace
        kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
        os.replace = lambda *a: done.append(a) if len(done) < last and not replace(*a) else kill()
        download(folder, source=sys.argv[2])
        os._exit(0)
    return os.waitpid(pid, 0)[1]

for last in range(0, 1000, int(sys.argv[3])):
    folder = f"{sys.argv[1]}/{last}"
    if child(folder, last) == 0:
        break
    assert not os.path.exists(folder)
    assert child(folder, 10**6) == 0
"""


@both
def test_killed_at_any_step_it_is_completed_by_the_next_run(tmp_path, server, mode):
    environment = os.environ | {"PYTHONPATH": str(Path(download.__file__).parents[2])}
    stride = {"archive": "1", "files": "4"}[mode]  # a file takes three steps
    run = subprocess.run([sys.executable, "-c", EVERY_STEP, tmp_path, source(server, mode), stride], env=environment,
                         capture_output=True, text=True)  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    folders = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(folders) == (17 if mode == "archive" else 11) and not any(path.suffix for path in folders)
    assert all(contents(folder) == wanted(server) for folder in folders)


def test_a_finished_folder_that_was_changed_is_fixed_by_renaming_it(tmp_path, server):
    copy = tmp_path / "copy"
    published_files(copy)
    (copy / "records500/00000/00001_hr.dat").write_bytes(b"?")
    with pytest.raises(DataSetError, match="rename it to copy.part and run the command again, with --from https://phys"):
        download.download(copy, source=source(server, "files"))
    copy.rename(tmp_path / "copy.part")
    assert tried(copy, source(server, "files")) is None
    assert [path for path, *_ in server.log] == ["/files/SHA256SUMS.txt", "/files/records500/00000/00001_hr.dat"]


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the real sample of PTB-XL is not here (CARDIOV_SHARED)")
@both
def test_real_records_arrive_with_their_official_digests(tmp_path, mode):
    with tarfile.open(SAMPLE / "records500-00000.tar.xz", "r|xz") as archive:
        members = (member for member in archive if member.isfile())
        first = (member for member, _ in zip(members, range(40)))
        files = {member.name.removeprefix("./"): archive.extractfile(member).read() for member in first}
    table = pd.read_csv(SAMPLE / "ptbxl_database.csv")
    pairs = [name for name in table["filename_hr"] if {f"{name}.hea", f"{name}.dat"} <= set(files)]
    table = table[table["filename_hr"].isin(pairs)]
    files |= {"ptbxl_database.csv": table.to_csv(index=False).encode()}
    files |= {"scp_statements.csv": (SAMPLE / "scp_statements.csv").read_bytes()}
    official = dict(line.split(maxsplit=1)[::-1] for line in (SAMPLE / "SHA256SUMS.txt").read_text().splitlines())
    with serving(published(files)) as server:
        assert len(pairs) >= 15 and tried(tmp_path / "ptbxl", source(server, mode)) is None
    listed = read_list(tmp_path / "ptbxl")
    assert all(listed[f"{name}.dat"] == official[f"{name}.dat"] for name in pairs)
    assert all(digest_of(tmp_path / f"ptbxl/{name}.hea") == official[f"{name}.hea"] for name in pairs)
