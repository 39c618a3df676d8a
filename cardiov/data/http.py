"""One file over HTTP: resumed at its byte, also by another process, and never spliced of two versions.

`requests` uses the proxies and certificates that users set; `urllib3.Retry` counts failures and measures pauses.
"""

import re
from concurrent.futures import CancelledError
from contextlib import suppress
from itertools import chain
from time import monotonic

import requests
import urllib3

from cardiov.errors import DataSetError, DownloadError
from cardiov.store.files import read_note, write_note

SESSION = requests.Session()  # keeps connections open; it only sends GET, so threads share it
RETRY = urllib3.Retry(total=7, backoff_factor=1, backoff_max=60)  # failures in a row, seconds
CHUNK, STEP = 2**18, 2**20  # bytes: per read, and of progress after which failures are counted from zero again
SILENCE, RATE = 60.0, 1000.0  # seconds after which a connection without bytes, or with fewer per second, is given up
LONGEST_ASKED = 600  # seconds; a server that asks for more is not waited for
AGAIN = "run the command again, which resumes it, or give another address by --from"
CHECK = "check the address that --from or PTBXL_FROM gives, or leave it out"
VALIDATORS = ("ETag", "Last-Modified")
REASONS = {  # the first that fits; the libraries' own texts have several lines
    (requests.exceptions.Timeout, urllib3.exceptions.ReadTimeoutError): "it is silent for too long",
    requests.exceptions.SSLError: "its certificate is not trusted; behind a proxy, set REQUESTS_CA_BUNDLE to the proxy's certificate file",
    requests.exceptions.ConnectionError: "it cannot be reached",
    Exception: "it cuts the connection",
}


class _Failure(Exception):
    """What may succeed later: the reason, and the seconds that the server asks to wait."""


def fetch(address, path, limit, stop):
    """Write or resume a file, which is whole when the iteration ends; ``<path>.json`` describes it.

    Yields the bytes that are here, first before any is written, and in all (None if unknown). Raises DownloadError if the
    server fails too often, DataSetError if it refuses or sends more than `limit` bytes; the event `stop` ends all pauses.
    """
    path.touch()
    retry, reached = RETRY, path.stat().st_size
    while (note := read_note(f"{path}.json").get(address, {})).get("size") != (offset := path.stat().st_size):
        try:
            yield from _attempt(address, path, limit, note, offset if note.get("size") else 0)
        except _Failure as failure:
            if path.stat().st_size >= reached + STEP:
                retry, reached = RETRY, path.stat().st_size
            retry = _pause(retry, stop, address, *failure.args)


def _pause(retry, stop, address, reason, asked=None):
    try:
        retry = retry.increment("GET", address)
    except urllib3.exceptions.MaxRetryError:
        raise DownloadError(f"{address} failed {len(retry.history) + 1} times ({reason}): {AGAIN}.") from None
    seconds = retry.get_backoff_time() if asked is None else asked
    if seconds > LONGEST_ASKED:
        raise DownloadError(f"{address} asks to wait {seconds:,.0f} s ({reason}): {AGAIN}, after that.")
    if stop.wait(seconds):
        raise CancelledError
    return retry


def _attempt(address, path, limit, note, offset):
    headers = {"Accept-Encoding": "identity", "Range": f"bytes={offset}-" if offset else None}  # compressed bytes have no offset
    try:
        with SESSION.get(address, headers=headers, stream=True, timeout=SILENCE) as response:
            if not _continues(response, note, offset):
                note, offset = _begin(response, address, path), 0
            yield from _receive(response.raw, address, path, note["size"], offset, limit)
    except (requests.exceptions.TooManyRedirects, ValueError) as error:  # ValueError: of a malformed address
        raise DataSetError(f"{address} leads nowhere ({type(error).__name__}): {CHECK}.") from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _Failure(next(text for kinds, text in REASONS.items() if isinstance(error, kinds))) from error
    write_note(f"{path}.json", {address: note | {"size": path.stat().st_size}})


def _receive(raw, address, path, size, offset, limit):
    begin, since = offset, monotonic()
    with open(path, "ab") as file:
        # read1 returns what has come; read would wait for a whole chunk, however slow
        for chunk in chain([b""], iter(lambda: raw.read1(CHUNK, decode_content=True), b"")):
            if (total := max(offset + len(chunk), size or 0)) > limit:
                raise DataSetError(f"{address} has {total:,} bytes or more, too many for this file: {CHECK}.")
            yield offset, size
            offset += file.write(chunk)
            if (elapsed := monotonic() - since) >= SILENCE:
                if offset - begin < RATE * elapsed:
                    raise _Failure(f"it sends fewer than {RATE:,.0f} bytes per second")
                begin, since = offset, monotonic()
    if size not in (None, offset):
        raise _Failure("it cuts the connection")


def _continues(response, note, offset):
    """Whether the same file goes on at byte `offset`."""
    headers = response.headers
    if response.status_code != 206 or not offset or "Content-Encoding" in headers:
        return False
    same = all(headers.get(name, note[name]) == note[name] for name in VALIDATORS)
    return same and re.fullmatch(rf"bytes {offset}-\d+/({note['size']}|\*)", headers.get("Content-Range", ""))


def _begin(response, address, path):
    """Empty the file for a response that sends all of it, and note its size and validators; raise what another means."""
    status, headers = response.status_code, response.headers
    answer, asked = f"it answers {status} {response.reason or ''}".rstrip(), None
    if status >= 500 or status in (408, 425, 429):
        with suppress(urllib3.exceptions.InvalidHeader):
            asked = urllib3.Retry().get_retry_after(response)
        raise _Failure(answer, asked)
    if status not in (200, 206, 416):
        raise DataSetError(f"{address} is not available, as {answer}: {CHECK}.")
    path.write_bytes(b"")
    if status != 200:
        raise _Failure("it sends another part of the file than was asked for")
    length = "" if "Content-Encoding" in headers else headers.get("Content-Length", "")
    note = {name: headers.get(name) for name in VALIDATORS} | {"size": int(length) if length.isdecimal() else None}
    write_note(f"{path}.json", {address: note})
    return note
