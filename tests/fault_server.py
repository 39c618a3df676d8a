"""A local web server that misbehaves on request, for the tests of downloads."""

import gzip
import hashlib
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KINDS = ("cut", "cut unsized", "short", "no range", "wrong range", "403", "404", "429", "503", "500", "wrong byte",
         "trickle", "silent", "redirect", "loop", "new tag", "gzip", "cut gzip", "login page",
         "bad length")  # fmt: skip


@dataclass
class Served:
    """What is served and how: each request of a path takes the next of its faults; without one, all is well."""

    files: dict  # path -> bytes
    faults: dict = field(default_factory=lambda: defaultdict(list))  # path -> [(kind, share of the file)]
    log: list = field(default_factory=list)  # (path, Range or None, kind or None)
    tags: dict = field(default_factory=dict)
    sent: int = 0
    retry_after: str | None = "drawn"  # of 429, 500 and 503; drawn: by the fault's share
    slowly: float = 0.0  # seconds before every 16 kB
    on_sent: object = None  # called with `sent`
    address: str = ""
    lock: object = field(default_factory=threading.Lock)

    def next_fault(self, path, asked):
        with self.lock:
            kind, share = self.faults[path].pop(0) if self.faults[path] else (None, 0.0)
            self.log.append((path, asked, kind))
        return kind, share

    def tag(self, path):
        return self.tags.get(path, f'"{hashlib.md5(self.files[path]).hexdigest()}"')


@contextmanager
def serving(files):
    """Serve {path: bytes} at ``.address`` while the block runs."""
    served = Served(dict(files))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, served))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # a client that was killed
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    served.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, served, *arguments):
        self.served = served
        super().__init__(*arguments)

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.removeprefix("/elsewhere")
        if path not in self.served.files:
            return self._status(404)
        moved = self.path.startswith("/elsewhere")
        kind, share = (None, 0.0) if moved else self.served.next_fault(path, self.headers.get("Range"))
        if kind in ("403", "404", "429", "503", "500"):
            drawn = (None, "2", formatdate(time.time() + 3, usegmt=True))[int(share * 3) % 3]
            return self._status(int(kind), drawn if self.served.retry_after == "drawn" else self.served.retry_after)
        if kind in ("redirect", "loop"):
            return self._status(302, location=f"/elsewhere{path}" if kind == "redirect" else path)
        self._file(path, kind, share)

    def _status(self, status, retry=None, location=None):
        self.send_response(status)
        for name, value in (("Retry-After", retry), ("Location", location), ("Content-Length", "0")):
            if value:
                self.send_header(name, value)
        self.end_headers()

    def _file(self, path, kind, share):
        body, tag = self.served.files[path], self.served.tag(path)
        at = int(share * len(body))
        if kind == "new tag":
            self.served.tags[path] = tag = f'"{at}"'
        begin = self._begin(kind)
        if kind == "login page":
            body, begin = b"<html>Log in to the hospital's network</html>", 0
        if kind == "short":
            body = body[: max(at, begin)]
        if kind == "wrong byte" and body:
            body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        if "gzip" in str(kind):
            body, begin = gzip.compress(body), 0
            at = int(share * len(body))
        self._headers(body, begin, tag, kind)
        self._body(body[begin:], kind, max(at - begin, 0))

    def _begin(self, kind):
        """The byte at which the answer begins: what a Range asks for."""
        asked = self.headers.get("Range")
        return int(asked.removeprefix("bytes=").rstrip("-")) if asked and kind != "no range" else 0

    def _headers(self, body, begin, tag, kind):
        self.send_response(206 if begin else 200)
        self.send_header("ETag", tag)
        if kind:
            self.send_header("X-Fault", kind)  # for a client that plays the slow ones without their time
        if begin:
            said = begin + 1 if kind == "wrong range" else begin
            self.send_header("Content-Range", f"bytes {said}-{len(body) - 1}/{len(body)}")
        if "gzip" in str(kind):
            self.send_header("Content-Encoding", "gzip")
        if kind == "cut unsized":
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", "many" if kind == "bad length" else str(len(body) - begin))
        self.end_headers()

    def _body(self, body, kind, at):
        if kind == "silent":
            self.connection.recv(1)  # until the client closes the connection
        elif "cut" in str(kind):
            self._send(body[:at])
        else:
            for k in range(0, len(body), 2**14):
                time.sleep(self.served.slowly)
                self._send(body[k : k + 2**14])
        if kind is not None:
            self.close_connection = True

    def _send(self, piece):
        self.wfile.write(piece)
        with self.served.lock:
            self.served.sent += len(piece)
        if self.served.on_sent:
            self.served.on_sent(self.served.sent)
