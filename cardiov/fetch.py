"""One file over HTTP: resumed at its byte, also by another process, and never spliced of two versions.

`requests` finds the proxies and certificates that users set; `urllib3.Retry` counts tries and measures pauses.
"""

import re
import threading
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from time import monotonic

import requests
from requests import exceptions
from urllib3 import Retry
from urllib3.exceptions import HTTPError, InvalidHeader, MaxRetryError, ReadTimeoutError

from cardiov.errors import DataSetError, DownloadError
from cardiov.results import read_note, write_note

CHUNK = 2**18  # bytes per read
LONGEST_ASKED = 600  # seconds; a server that asks for more is not waited for
AGAIN = "run the command again, which resumes it, or give another address by --from"
CHECK = "check the address that --from or PTBXL_FROM gives, or leave it out"
REASONS = {  # the first that fits; the libraries' own texts have several lines
    (exceptions.Timeout, ReadTimeoutError): "it is silent for too long",
    exceptions.SSLError: "its certificate is not trusted; behind a proxy, let REQUESTS_CA_BUNDLE name the file of the proxy's",
    exceptions.ConnectionError: "it cannot be reached",
    Exception: "it cuts the connection",
}


class _Failure(Exception):
    """What may go well another time: the reason, and the seconds that the server asks to be left alone."""


@dataclass(frozen=True)
class Client:
    """Connections to a server, and how long it is waited for.

    ``retry`` allows so many failures in a row, and begins again with every ``step`` bytes. A connection is given up if it
    brings nothing, or fewer than ``rate`` bytes per second, for ``silence`` seconds. ``stop`` ends all waits.
    """

    retry: Retry = Retry(total=7, backoff_factor=1, backoff_max=60)
    step: int = 2**20
    silence: float = 60.0
    rate: float = 1000.0
    stop: threading.Event = field(default_factory=threading.Event)
    session: requests.Session = field(default_factory=requests.Session)

    def fetch(self, address, path, limit):
        """Write a file to `path`, or resume it; it is whole when the iteration ends. ``<path>.json`` says what it is.

        Yields the bytes that are here, first before any is written, and in all (None if the server does not say). Raises
        DownloadError if the server fails too often, DataSetError if it refuses or has more than `limit` bytes.
        """
        path.touch()
        retry, reached = self.retry, path.stat().st_size
        while (known := read_note(f"{path}.json").get(address, {})).get("size") != (here := path.stat().st_size):
            try:
                yield from self._attempt(address, path, limit, known, here if known.get("size") else 0)
            except _Failure as failure:
                if path.stat().st_size >= reached + self.step:
                    retry, reached = self.retry, path.stat().st_size
                retry = self._pause(retry, address, *failure.args)

    def _pause(self, retry, address, reason, asked=None):
        try:
            retry = retry.increment("GET", address)
        except MaxRetryError:
            raise DownloadError(f"{address} failed {len(retry.history) + 1} times ({reason}): {AGAIN}.") from None
        seconds = retry.get_backoff_time() if asked is None else asked
        if seconds > LONGEST_ASKED:
            raise DownloadError(f"{address} asks to be left alone for {seconds:,.0f} s ({reason}): {AGAIN}, after that.")
        if self.stop.wait(seconds):
            raise CancelledError
        return retry

    def _attempt(self, address, path, limit, known, here):
        headers = {"Accept-Encoding": "identity"}  # or bytes could not be counted
        if here:
            weak = (known["ETag"] or "W/").startswith("W/")  # says nothing about bytes
            headers |= {"Range": f"bytes={here}-", "If-Range": known["Last-Modified" if weak else "ETag"]}
        try:
            with self.session.get(address, headers=headers, stream=True, timeout=self.silence) as response:
                known, here = _judge(response, address, path, known, here)
                yield from self._receive(response.raw, address, path, known["size"], here, limit)
        except (exceptions.TooManyRedirects, ValueError) as error:  # ValueError: of a malformed address
            raise DataSetError(f"{address} leads nowhere ({type(error).__name__}): {CHECK}.") from error
        except (exceptions.RequestException, HTTPError) as error:
            raise _Failure(next(text for kinds, text in REASONS.items() if isinstance(error, kinds))) from error
        write_note(f"{path}.json", {address: known | {"size": path.stat().st_size}})

    def _receive(self, raw, address, path, size, here, limit):
        mark, since = here, monotonic()
        # read1 gives what has come; read would wait for the whole chunk, however slowly it came
        with open(path, "ab") as file:
            for chunk in chain([b""], iter(lambda: raw.read1(CHUNK, decode_content=True), b"")):
                if (most := max(here + len(chunk), size or 0)) > limit:
                    raise DataSetError(f"{address} has {most:,} bytes or more, too many for what it should be: {CHECK}.")
                yield here, size
                here += file.write(chunk)
                if (elapsed := monotonic() - since) >= self.silence:
                    if here - mark < self.rate * elapsed:
                        raise _Failure(f"it sends fewer than {self.rate:,.0f} bytes per second")
                    mark, since = here, monotonic()
        if size not in (None, here):
            raise _Failure("it cuts the connection")


def _judge(response, address, path, known, here):
    """Size and validators of what the answer is, and its first byte, up to which the file is kept."""
    status, headers, plain = response.status_code, response.headers, "Content-Encoding" not in response.headers
    if status == 206 and here and plain and headers.get("ETag", known["ETag"]) == known["ETag"]:
        if re.fullmatch(rf"bytes {here}-\d+/({known['size']}|\*)", headers.get("Content-Range", "")):
            return known, here
    answer, asked = f"it answers {status} {response.reason or ''}".rstrip(), None
    if status >= 500 or status in (408, 425, 429):
        with suppress(InvalidHeader):
            asked = Retry().get_retry_after(response)
        raise _Failure(answer, asked)
    if status not in (200, 206, 416):
        raise DataSetError(f"{address} is not available, as {answer}: {CHECK}.")
    path.write_bytes(b"")
    if status != 200:
        raise _Failure("it sends another part of the file than was asked for")
    length = headers.get("Content-Length", "")
    known = {"ETag": headers.get("ETag"), "Last-Modified": headers.get("Last-Modified")}
    known["size"] = int(length) if length.isdecimal() and plain else None
    write_note(f"{path}.json", {address: known})
    return known, 0
