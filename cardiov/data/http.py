"""One file over HTTP, whatever the connection does: resumed at its byte, tried again with patience, never spliced.

`requests` finds proxies and certificates where users have set them and follows redirects. What no library that is kept
does, pooch included, is here: going on at the byte where a transfer stopped, also in another process.
"""

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import requests
import urllib3

from cardiov.errors import DataSetError, DownloadError
from cardiov.store.files import replacing

CHUNK = 2**18  # bytes that are asked for at once
LATER = (408, 425, 429)  # statuses that, as all from 500 on, may be another one a little later
RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
AGAIN = "run the command again, which goes on from there, or give another address by --from"
WRONG = "check the address that --from or PTBXL_FROM gives, or leave it out"

# The first that fits; the texts of the libraries run over several lines.
REASONS = (
    ((requests.Timeout, urllib3.exceptions.TimeoutError), "it is silent for too long"),
    ((requests.exceptions.ProxyError,), "the proxy fails"),
    ((requests.exceptions.SSLError, urllib3.exceptions.SSLError),
     "its certificate is not trusted; where a proxy stands between, REQUESTS_CA_BUNDLE names the file of its own"),
    ((requests.exceptions.ContentDecodingError, urllib3.exceptions.DecodeError), "it sends what cannot be decoded"),
    ((requests.exceptions.ChunkedEncodingError, urllib3.exceptions.ProtocolError), "it cuts the connection"),
    ((requests.ConnectionError,), "it cannot be reached"),
)  # fmt: skip
NEVER = (requests.TooManyRedirects, requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema,
         requests.exceptions.MissingSchema)  # fmt: skip


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for. All times in seconds.

    Attributes
    ----------
    tries : int
        Failures in a row after which it is given up; they are counted anew whenever ``step`` more bytes have arrived.
    step : int
        In bytes.
    pause, longest_pause : float
        Wait after the first failure, doubled with each; and the most that is waited, unless the server says longer.
    longest_asked : float
        The most that a server's Retry-After is followed.
    silence : float
        Without a byte, after which a connection is given up.
    window, rate : float
        A connection is also given up that has brought fewer than ``rate`` bytes a second over a window.
    clock, wait : callable
        ``clock()``, and ``wait(stop, seconds)``, which returns true, and at once, when the event is set.
    """

    tries: int = 8
    step: int = 2**20
    pause: float = 1.0
    longest_pause: float = 60.0
    longest_asked: float = 600.0
    silence: float = 60.0
    window: float = 60.0
    rate: float = 1000.0
    clock: Callable = time.monotonic
    wait: Callable = threading.Event.wait


@dataclass(frozen=True)
class _About:
    """What is known of a file that is under way; beside it as JSON."""

    address: str
    size: int | None = None  # None: not said, or said of something compressed
    etag: str | None = None
    modified: str | None = None
    whole: bool = False


class _Failure(Exception):
    """An attempt that may go better another time."""

    def __init__(self, reason, after=None, slow=False):
        super().__init__(reason)
        self.after, self.slow = after, slow


class Stopped(Exception):
    """The caller has set the event ``stop``."""


def fetch(session, address, path, patience, stop, limit, room=lambda to_come: None, progress=lambda here, size: None):
    """Bring a file here, and go on with what an earlier call has left of it.

    Parameters
    ----------
    session : requests.Session
    address : str
    path : Path
        Where it is written; what is known of it stands in ``<path>.json`` until `forget`. Only a return says that it is
        whole.
    patience : Patience
    stop : threading.Event
        Ends the fetch from another thread.
    limit : int
        Bytes more than which the file can't have.
    room, progress : callable
        ``room(bytes to come)`` is called before any is written and may raise, ``progress(bytes here, bytes in all)``
        whenever some have been; numbers that the server doesn't say are None.

    Raises
    ------
    DataSetError
        If the address is refused (such as by 403 or 404), redirects without end or has more than ``limit`` bytes.
    DownloadError
        If the server can't be reached or fails time and again.
    Stopped
        If ``stop`` is set.
    """
    failures, reached = 0, size_of(path)
    while not _read(path, address).whole:
        try:
            _attempt(session, address, path, patience, stop, limit, room, progress)
        except _Failure as failure:
            if size_of(path) >= reached + patience.step:
                failures, reached = failures if failure.slow else 0, size_of(path)
            failures += 1
            if failures == patience.tries:
                raise DownloadError(f"{address} failed {failures} times ({failure}): {AGAIN}.") from failure
            _pause(address, failure, failures, patience, stop)


def forget(path):
    """Delete a file that was fetched or is under way, and what is known of it."""
    path.unlink(missing_ok=True)
    _beside(path).unlink(missing_ok=True)


def _pause(address, failure, failures, patience, stop):
    seconds = min(patience.pause * 2 ** (failures - 1), patience.longest_pause)
    if failure.after is not None:
        seconds = failure.after
    if seconds > patience.longest_asked:
        raise DownloadError(f"{address} asks to be left alone for {seconds:,.0f} s ({failure}): {AGAIN}, after that.")
    if patience.wait(stop, seconds):
        raise Stopped


def _attempt(session, address, path, patience, stop, limit, room, progress):
    about = _read(path, address)
    offset = size_of(path) if about.size else 0  # what is compressed, or of unknown size, begins anew
    if about.size and offset == about.size:  # killed just before that was noted
        return _write_about(path, about, whole=True)
    try:
        with session.get(address, headers=_headers(about, offset), stream=True, timeout=patience.silence) as response:
            about, offset = _judge(response, about, offset, path)
            if (about.size or 0) > limit:
                raise DataSetError(f"{address} has {about.size:,} bytes, too many for what it should be: {WRONG}.")
            room(about.size and about.size - offset)
            _receive(response.raw, about, offset, path, patience, stop, limit, progress)
    except NEVER as error:
        raise DataSetError(f"{address} leads nowhere ({type(error).__name__}): {WRONG}.") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        reason = next((text for kinds, text in REASONS if isinstance(error, kinds)), type(error).__name__)
        raise _Failure(reason) from error
    _write_about(path, about, whole=True)


def _headers(about, offset):
    headers = {"Accept-Encoding": "identity"}  # or bytes could not be counted
    if offset:
        headers["Range"] = f"bytes={offset}-"
        # a weak tag says nothing about bytes
        validator = about.modified if (about.etag or "W/").startswith("W/") else about.etag
        headers |= {"If-Range": validator} if validator else {}
    return headers


def _judge(response, about, offset, path):
    """What the answer is about and at which byte it begins."""
    status, headers = response.status_code, response.headers
    if status == 200:
        plain = headers.get("Content-Encoding", "identity") == "identity"
        length = headers.get("Content-Length", "")
        size = int(length) if plain and length.isdecimal() else None
        forget(path)
        about = _About(about.address, size, headers.get("ETag"), headers.get("Last-Modified"))
        _write_about(path, about)
        return about, 0
    if status == 206 and _continues(headers, about, offset):
        return about, offset
    if status in (206, 416):
        forget(path)
        raise _Failure("it sends another part of the file than was asked for")
    _refuse(response, about.address)


def _continues(headers, about, offset):
    begin = RANGE.fullmatch(headers.get("Content-Range", ""))
    same = headers.get("ETag", about.etag) == about.etag and headers.get("Content-Encoding", "identity") == "identity"
    return bool(offset and same and begin and int(begin[1]) == offset and begin[2] in ("*", str(about.size)))


def _refuse(response, address):
    status = response.status_code
    said = f"it answers {status} {response.reason or ''}".rstrip()
    if status < 500 and status not in LATER:
        raise DataSetError(f"{address} is not to be had, as {said}: {WRONG}.")
    try:
        after = urllib3.Retry().parse_retry_after(response.headers["Retry-After"])
    except (KeyError, urllib3.exceptions.InvalidHeader):
        after = None
    raise _Failure(said, after)


def _receive(raw, about, offset, path, patience, stop, limit, progress):
    position = mark = offset
    since = patience.clock()
    with open(path, "r+b" if offset else "wb") as file:
        file.seek(offset)
        # read1 gives what is there; read would wait for the whole chunk, however slowly it came
        while chunk := raw.read1(CHUNK, decode_content=True):
            file.write(chunk)
            position += len(chunk)
            progress(position, about.size)
            if stop.is_set():
                raise Stopped
            if position > limit:
                raise DataSetError(f"{about.address} has no end, or more bytes than it should: {WRONG}.")
            elapsed = patience.clock() - since
            if elapsed >= patience.window:
                if position - mark < patience.rate * elapsed:
                    raise _Failure(f"it sends fewer than {patience.rate:,.0f} bytes a second", slow=True)
                mark, since = position, patience.clock()
    if about.size is not None and position != about.size:
        raise _Failure("it cuts the connection")


def size_of(path) -> int:
    """Bytes of a file, none if it is not there."""
    return path.stat().st_size if path.exists() else 0


def _beside(path):
    return Path(f"{path}.json")


def _read(path, address):
    """What is known of the file at `path`, if it is of this address and has not been changed since."""
    try:
        about = _About(**json.loads(_beside(path).read_text(encoding="utf-8")))
        usable = about.address == address and (not about.whole or size_of(path) == about.size)
    except (OSError, ValueError, TypeError):
        usable = False
    return about if usable else _About(address)


def _write_about(path, about, whole=False):
    known = asdict(about)
    if whole:
        known |= {"size": size_of(path), "whole": True}
    with replacing(_beside(path)) as temporary:
        temporary.write_text(json.dumps(known), encoding="utf-8")
