"""What all readers of ECG files share: `Recording`, `File`, size limits and plain errors."""

import codecs
import os
import re
import stat
import struct
import threading
import warnings
import zipfile
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from cardiov.errors import SignalError

MAX_BYTES = 128 * 2**20  # of a file, also when unpacked
CUT = "cut out a part"
MAX_SIGNALS = 256
MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "v": 1e3, "nv": 1e-6,  # both signs for micro: U+00B5 and U+03BC
              "millivolt": 1.0, "millivolts": 1.0, "microvolt": 1e-3, "microvolts": 1e-3, "volt": 1e3, "volts": 1e3}  # fmt: skip


@dataclass(frozen=True)
class Recording:
    """The content of an ECG file."""

    names: list[str]  # of the signals, as in the file
    samples: list[np.ndarray] | np.ndarray  # (signals, n) in `units`, NaN where a sample is invalid
    units: list[str]  # of the signals, empty where unknown
    fs: float | list[float] | None  # Hz; of each signal, if they differ
    where: str  # the file's name in messages
    meta: dict = field(default_factory=dict)  # see `cardiov.ecg.leads.ECG`
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class File:
    """A file's content, its name in messages and, unless it is an upload, its path."""

    data: bytes
    where: str
    path: Path | None = None
    ignore_checksum: bool = False


def content_of(path, advice=CUT):
    """A file's bytes; a SignalError if it cannot be read or is too large, which says what then to do."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):  # a pipe has no size
                data = file.read(MAX_BYTES + 1)
                refuse_large(len(data), path)
                return data
            refuse_large(status.st_size, path, advice=advice)
            return file.read()
    except OSError as error:
        raise SignalError(f"{path} cannot be read ({error.strerror}): check the path.") from error


def refuse_large(size, where, limit=MAX_BYTES, advice=CUT):
    if size > limit:
        raise SignalError(f"{where} has {size / 2**20:,.0f} MB, above the {limit // 2**20} MB allowed: {advice}.")


def decode(data):
    """Text in UTF-8, UTF-16 or Latin-1, with or without byte order mark, its lines ended by newlines."""
    return _decoded(data).replace("\r\n", "\n").replace("\r", "\n")


def _decoded(data):
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    if (zeros := [data[start:400:2].count(0) for start in (0, 1)]) and max(zeros) > 100 and min(zeros) < 10:
        return data.decode("utf-16-be" if zeros[0] > zeros[1] else "utf-16-le", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def moment(text):
    """The time that DICOM and HL7 write as "20210131235959.000+0100", without its zone; None for a day or what is unreadable."""
    digits = re.match(r"\d{12,14}", text.strip())
    with suppress(ValueError):
        return datetime.strptime(digits[0].ljust(14, "0"), "%Y%m%d%H%M%S") if digits else None


def years_between(born, start):
    """Whole years of age from dates or times, or None if one is absent or they contradict each other."""
    if born is None or start is None:
        return None
    years = start.year - born.year - ((start.month, start.day) < (born.month, born.day))
    return years if 0 <= years < 130 else None


class Damaged(Exception):
    """Raised by a reader within `library` if the file is truncated or corrupt, so that fetching it again helps."""


_DAMAGE = Damaged, EOFError, struct.error, zipfile.BadZipFile, zlib.error  # as Python reports it
_ONE_LIBRARY = threading.Lock()  # all threads share Python's warning filters


@contextmanager
def library(where, kind):
    """Turn every error of a reading library into one sentence; yield its warnings instead of showing them."""
    try:
        with _ONE_LIBRARY, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield caught
    except SignalError:
        raise
    except ImportError as error:
        reader = f"{where} needs a reader of {kind} that is not installed ({error.name})"
        raise SignalError(f'{reader}: run pip install "cardiov[formats]".') from error
    except Exception as error:  # the libraries raise errors of any kind
        raise unreadable(where, kind, error, damaged=isinstance(error, _DAMAGE)) from error


def unreadable(where, kind, cause, damaged=False):
    """The error of a file that was recognised as ``kind``; only a damaged file need be fetched again."""
    message = re.sub(r"/proc/self/fd/\d+", str(where), " ".join(str(cause).split())).rstrip(".:")[:200] or type(cause).__name__
    again, otherwise = "it is truncated or corrupt, so fetch or export it again", "correct that, or export it as another format"
    return SignalError(f"{where} cannot be read as {kind} ({message}): {again if damaged else otherwise}.")


def meta_of(record, comments=(), age=None, sex=None, recorded=None, patient=None):
    """An ECG's ``meta``; age and sex, if not given, come from the comments.

    ``recorded`` is the recording's start as ISO 8601 text or a `datetime.datetime`, ``patient`` the file's identifier.
    """
    text = "\n".join(comments).lower()
    age = age or next(iter(re.findall(r"\bage\W+(\d{1,3}(?:\.\d+)?)", text)), None)
    sex = (sex or next(iter(re.findall(r"\b(?:sex|gender)\W+(male|female|m|f)\b", text)), "")).lower()
    sex = {"m": "male", "male": "male", "f": "female", "female": "female"}.get(sex)
    recorded = recorded.isoformat() if hasattr(recorded, "isoformat") else recorded
    identity = {"recorded": recorded or None, "patient": str(patient or "").strip() or None}
    return {"record": record, "age": None if age is None else float(age), "sex": sex, "comments": list(comments), **identity}
