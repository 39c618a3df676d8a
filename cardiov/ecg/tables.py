"""ECGs as tables of numbers: CSV, TSV and NumPy's .npz."""

import csv
import io
import math
import re
import zipfile
from pathlib import PurePath

import numpy as np

from cardiov.ecg.recording import MAX_SIGNALS, Recording, decode, library, meta_of, refuse_large
from cardiov.errors import SignalError

_RATE_COMMENT = re.compile(r"#\W*fs\s*[:=]\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
_UNIT_COMMENT = re.compile(r"#\W*unit\s*[:=]\s*(\w+)", re.IGNORECASE)
_WITH_UNIT = re.compile(r"(.*?)\s*[(\[](.*)[)\]]")
_TIME = re.compile(r"(?=.)(?:time|t)?[ _]*[(\[]?(s|sec|seconds|ms|milliseconds)?[)\]]?", re.IGNORECASE)


def read_table(file):
    """One column per signal under a row of names; comments above may give ``# fs: 500`` and ``# unit: uV``."""
    stream, comments = io.StringIO(decode(file.data)), []
    while (line := stream.readline()).startswith("#") or line.isspace():
        comments.append(line.strip())
    separator = max("\t;,", key=line.count)
    with library(file.where, "CSV"):
        names = [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
    if not 1 < len(names) <= MAX_SIGNALS:
        raise SignalError(f"{file.where} has {len(names)} columns: give a row of lead names and one column per lead.")
    with library(file.where, "CSV"):
        columns = _columns(stream, separator, len(names))
    fs, unit = (pattern.search("\n".join(comments)) for pattern in (_RATE_COMMENT, _UNIT_COMMENT))
    fs, unit = float(fs[1]) if fs else None, unit[1] if unit else ""
    time = next((i for i, name in enumerate(names) if _TIME.fullmatch(name)), None)
    if time is not None:
        fs = _rate(columns[time], _TIME.fullmatch(names[time])[1] or "s", fs, file.where)
    kept = [i for i in range(len(names)) if i != time]
    names, units = zip(*[match.groups() if (match := _WITH_UNIT.fullmatch(names[i])) else (names[i], unit) for i in kept], strict=True)
    meta = meta_of(PurePath(file.where).stem, [comment.strip("# ") for comment in comments if comment])
    return Recording(names, columns[kept], units, fs, file.where, meta)


def _columns(stream, separator, count):
    """The rest of a table as (count, n), with NaN for what is not a number."""
    import pandas as pd

    start, line = stream.tell(), stream.readline()
    stream.seek(start)
    if line.count(separator) >= count:  # pandas would turn the surplus into an index of any width
        raise ValueError("rows have more values than there are names")
    decimal = "," if separator != "," and "," in line else "."  # as a German Excel writes
    frame = pd.read_csv(stream, sep=separator, decimal=decimal, header=None, names=range(count), low_memory=False)
    return np.stack([pd.to_numeric(frame[i], errors="coerce").to_numpy(float) for i in range(count)])


def _rate(time, unit, comment_fs, where):
    """Rate in Hz of a column of times, which must be regular and agree with the rate of a comment."""
    steps = np.diff(time) * (1e-3 if unit.lower().startswith("m") else 1.0)
    usual = np.median(steps) if steps.size else np.nan
    if not (steps > usual / 2).all() or not (steps < usual * 1.5).all() or not usual > 0:  # rounded times may differ
        raise SignalError(f"{where} has times that do not rise by equal steps: correct them, or give the sampling rate instead.")
    rate = 1 / steps.mean()
    if comment_fs is not None and not math.isclose(comment_fs, rate, rel_tol=1e-3):
        raise SignalError(f"{where} gives {comment_fs:g} Hz in a comment, but {rate:g} Hz in its time column: correct one of them.")
    return float(round(rate)) if math.isclose(rate, round(rate), rel_tol=1e-4) else rate


def refuse_npy(file):
    command = "np.savez('ecg.npz', signal=array, leads=['I', 'II', ...], fs=500, unit='mV')"
    raise SignalError(f"{file.where} holds an array without lead names and rate: save it with {command}.")


def read_npz(file):
    """Arrays ``signal`` (leads, n), ``leads``, ``fs`` and, optionally, ``unit``."""
    with library(file.where, ".npz"), zipfile.ZipFile(io.BytesIO(file.data)) as archive:
        members = archive.infolist()
        refuse_large(sum(member.file_size for member in members), f"the unpacked content of {file.where}")
        if {member.compress_type for member in members} - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise ValueError("its compression is not NumPy's")  # zipfile would unpack it at any size
        with np.load(io.BytesIO(file.data), allow_pickle=False) as arrays:
            signal, leads, fs = (arrays[name] for name in ("signal", "leads", "fs"))
            unit = str(arrays["unit"]) if "unit" in arrays else ""
        if signal.ndim != 2 or signal.dtype.kind not in "iuf" or leads.shape != signal.shape[:1] or fs.shape:
            raise ValueError(f"signal {signal.shape}, leads {leads.shape} and fs {fs.shape} do not fit together")
        names, meta = [str(name) for name in leads], meta_of(PurePath(file.where).stem)
        return Recording(names, signal, [unit] * len(names), float(fs), file.where, meta)
