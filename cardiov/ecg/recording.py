"""What every reader of ECG files shares: a `Recording`, limits of size, and errors that users understand."""

import re
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cardiov.errors import SignalError

MAX_BYTES = 128 * 2**20  # of a file, and of what a compressed one holds
MAX_SIGNALS = 256
MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "v": 1e3}  # both signs for micro: U+00B5 and U+03BC


@dataclass(frozen=True)
class Recording:
    """What an ECG file holds.

    Attributes
    ----------
    names : list of str
        As the file has them.
    samples : list of ndarray, each of shape (n,), or ndarray of shape (signals, n)
        In ``units``; NaN where a sample is invalid.
    units : list of str
        Of each signal; empty where neither the file nor the caller says.
    fs : float or None
        Sampling rate in Hz; None where neither the file nor the caller says.
    where : str
        How messages name the file.
    meta : dict
        ``record`` (name), ``age`` (years or None), ``sex`` ("male", "female" or None), ``comments`` (list of str).
    warnings : tuple of str
    """

    names: list[str]
    samples: list[np.ndarray] | np.ndarray
    units: list[str]
    fs: float | None
    where: str
    meta: dict = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class File:
    """A file's content, its name in messages and, unless it is an upload, its path."""

    data: bytes
    where: str
    path: Path | None = None


def content_of(path):
    try:
        refuse_large(path.stat().st_size, path)
        return path.read_bytes()
    except OSError as error:
        raise SignalError(f"{path} cannot be read ({error.strerror}): check the path.") from error


def refuse_large(size, where, limit=MAX_BYTES):
    if size > limit:
        raise SignalError(f"{where} has {size / 2**20:,.0f} MB, above the {limit // 2**20} MB allowed: cut out a part.")


def decode(data):
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


_LIBRARIES = threading.Lock()  # Python's list of warning filters is one for all threads


@contextmanager
def library(where, kind):
    """Whatever a reading library stumbles over becomes one sentence; its warnings are yielded, not shown."""
    try:
        with _LIBRARIES, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield caught
    except SignalError:
        raise
    except ImportError as error:
        raise SignalError(
            f'{where} needs a reader of {kind} that is not installed ({error.name}): pip install "cardiov[formats]".'
        ) from error
    except Exception as error:  # the libraries raise whatever their parsing stumbles over
        raise unreadable(where, kind, error) from error


def unreadable(where, kind, cause):
    said = re.sub(r"/proc/self/fd/\d+", str(where), " ".join(str(cause).split()))
    cause = said.rstrip(".:")[:200] or type(cause).__name__
    return SignalError(
        f"{where} cannot be read as {kind} ({cause}): a file of it is missing, truncated or corrupt, so fetch or "
        "export it again."
    )


def meta_of(record, comments=(), age=None, sex=None):
    """Age and sex from the comments, where they are not given."""
    text = "\n".join(comments).lower()
    age = age or next(iter(re.findall(r"\bage\W+(\d{1,3}(?:\.\d+)?)", text)), None)
    sex = (sex or next(iter(re.findall(r"\b(?:sex|gender)\W+(male|female|m|f)\b", text)), "")).lower()
    return {
        "record": record,
        "age": None if age is None else float(age),
        "sex": {"m": "male", "male": "male", "f": "female", "female": "female"}.get(sex),
        "comments": list(comments),
    }
