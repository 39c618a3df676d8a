"""ECGs as tables of numbers: CSV, TSV and NumPy's .npz."""

import csv
import io
import math
import re
import zipfile
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePath

import numpy as np

from cardiov.ecg.names import lead_of
from cardiov.ecg.numerals import Marks, has_decimal_point, marks_of
from cardiov.ecg.recording import MAX_SIGNALS, MILLIVOLTS, Recording, decode, library, meta_of, refuse_large
from cardiov.errors import SignalError

HEAD = 100  # lines in which the row of names is looked for
LONGEST = 2**16  # characters of a row of names
ENOUGH = 8  # leads in a row of names: I, II and V1 to V6
SAMPLE, PART = 200, 20_000  # rows
_RATE = re.compile(r"\b(?:fs|sampl\w{0,8}[ _-]?(?:rate|freq\w{0,7}))\b(?:[\s\"'=:;,|()\[\]]|in\b|k?hz\b){0,12}"
                   r"(\d{1,9}(?:[.,]\d{1,9})?)(?![\d.,]*\d|e[+-]?\d|\s*[mnuµμ]?s\b)\s*(?:k?hz\b)?", re.IGNORECASE)  # fmt: skip
_UNIT = re.compile(r"\bunits?\s*[:=;,]\s*([^,;\n]*)", re.IGNORECASE)
_WITH_UNIT = re.compile(r"(.*?)(?:\s*[(\[]([^()\[\]]*)[)\]]|[_\s]+([mnuµμ]v))\s*", re.IGNORECASE)
_UNREADABLE_UNIT = re.compile(
    r"[\d.,\s]*[munµμk]?v(?:olts?)?(?:\W.*)?|counts?|adu?c?|lsb|bits?|digits?|a\.?u\.?|arb.*|units?|norm.*|%", re.IGNORECASE
)
_TIME = re.compile(r"(?=.)(?:elapsed )?(?:time|t|zeit)?[ _]*[(\[]?(s|sec|seconds|ms|msec|milliseconds)?[)\]]?", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """Where a table's names and numbers are."""

    separator: str  # a regular expression, as pandas takes it
    quote: str
    names: list[str]
    units: list[str]  # from a row below the names, else empty
    head: list[str]  # lines above the names, and comments below
    start: int  # character at which the numbers begin
    width: int  # cells of a row, of which those without a name are empty


def is_table(data) -> bool:
    """Whether a file without known suffix is text with a row of lead names."""
    return any(_names_in(line) for line in _first_lines(decode(data[: 2**18])))


def read_table(file):
    """One column per signal under a row of names; lines above may give ``# fs: 500`` and ``# unit: uV``."""
    text = decode(file.data).replace("\N{MINUS SIGN}", "-")
    layout = _layout(text, file.where)
    body, warnings = _whole_rows(text[layout.start :], layout, file.where)
    time = next((i for i, name in enumerate(layout.names) if _TIME.fullmatch(name)), None)
    kept = [i for i in range(len(layout.names)) if i != time]
    named = [_split_unit(layout.names[i]) for i in kept]
    leads = [k for k, (name, _) in enumerate(named) if lead_of(name)]  # other columns may hold anything
    head = "\n".join(layout.head)
    unit = _unit_in(head)
    with library(file.where, "CSV"):
        columns, marks = _numbers(body, layout, [kept[k] for k in leads])
        times = None if time is None else _times(body, layout, time)
    fs = _rate_in(head)
    if times is not None:
        fs = _rate(times, _TIME.fullmatch(layout.names[time])[1] or layout.units[time] or "s", fs, file.where)
    samples = dict(zip(leads, columns, strict=True))
    units = [own or layout.units[i] or unit for i, (_, own) in zip(kept, named, strict=True)]
    meta = meta_of(PurePath(file.where).stem, [line.strip("#%; ") for line in layout.head if line.strip("#%; ")])
    return Recording([name for name, _ in named], [samples.get(k, ()) for k in range(len(kept))], units, fs, file.where, meta,
                     warnings + marks.warnings)  # fmt: skip


def _first_lines(text):
    return text[: 2**20].split("\n", HEAD)[:HEAD]


def _layout(text, where):
    lines = _first_lines(text)
    rows = {i: row for i, line in enumerate(lines) if (row := _names_in(line))}
    at = max(rows, key=lambda i: (rows[i][0], not lines[i].startswith(("#", "%"))), default=None)
    if at is None:  # says later which leads are missing
        at = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith(("#", "%"))), len(lines))
    line = lines[at].lstrip("#% ") if at < len(lines) else ""
    _, separator, quote = rows.get(at) or (0, max("\t;,", key=line.count), '"')
    names = _cells(line, separator, quote) if line else []
    if not 1 < len(names) <= MAX_SIGNALS:
        raise SignalError(f"{where} has {len(names)} columns: give a row of lead names and one column per lead.")
    below = list(takewhile(lambda line: not line.strip() or line.startswith(("#", "%")), lines[at + 1 :]))
    first = lines[at + 1 + len(below) :][:1]
    units = [unit.strip("()[]") for unit in _cells(first[0], separator, quote)] if first else []
    has_units = any(unit.lower() in MILLIVOLTS for unit in units)
    skipped = [*lines[: at + 1], *below, *(first if has_units else [])]
    row = lines[len(skipped) :][:1]
    width = _width(_cells(row[0], separator, quote) if row else names, names, where)
    units = (units * has_units + [""] * len(names))[: len(names)]
    return Layout(separator, quote, names, units, lines[:at] + below, sum(len(line) + 1 for line in skipped), width)


def _width(row, names, where):
    """Cells of a row; one more than there are names if it is empty, as after a last separator."""
    if len(row) > len(names) + 1 or (len(row) == len(names) + 1 and row[-1]):
        raise SignalError(f"{where} cannot be read as CSV (rows have more values than there are names): give each column a name.")
    return max(len(row), len(names))


def _names_in(line):
    """Number of leads, separator and quotation mark of a row of lead names, also in a comment as NumPy writes it; else None."""
    line = line.lstrip("#% ")
    if len(line) > LONGEST or not re.search(r"[vc]\W?_?0?[6₆]", line, re.IGNORECASE):
        return None
    quote = "'" if line.count("'") > line.count('"') else '"'
    for separator in ("\t", ";", ",", "|", r"\s+"):
        leads = {lead_of(_split_unit(name)[0]) for name in _cells(line, separator, quote)} - {None}
        if len(leads) >= ENOUGH:
            return len(leads), separator, quote
    return None


def _cells(line, separator, quote):
    line = line[:LONGEST]
    if separator == r"\s+":
        cells = line.split()
    else:
        try:
            cells = next(csv.reader([line], delimiter=separator, quotechar=quote, skipinitialspace=True), [])
        except csv.Error:  # a cell of more than 128 KB
            cells = [line]
    return [cell.strip(" '\"") for cell in cells]


def _split_unit(name):
    """Name and unit, or the whole name if it ends in no unit: "V1 (uV)", "V1_mV", but "V1 (filtered)"."""
    match = _WITH_UNIT.fullmatch(name)
    unit = (match[2] or match[3] or "").strip() if match else ""
    return (match[1], unit) if unit.lower() in MILLIVOLTS or _UNREADABLE_UNIT.fullmatch(unit) else (name, "")


def _whole_rows(body, layout, where):
    """The rows that end with their line, and a warning about a last one that does not: its last number may be cut."""
    rows, _, last = body.rpartition("\n")
    if not last.strip():
        return body, ()
    cells = _cells(last, layout.separator, layout.quote)
    if len(cells) < layout.width or not cells[len(layout.names) - 1]:
        cause = f"its last row has {sum(map(bool, cells))} of {len(layout.names)} values"
        raise SignalError(f"{where} is truncated: {cause}, so fetch or export it again.")
    return rows + "\n", ("no line end after the last row: it was left out, and more may be missing",)


def _numbers(body, layout, columns):
    """Columns as (columns, n), NaN for what is no number, and the marks in them."""
    parts = list(_texts(body, layout, columns, nrows=SAMPLE))
    marks = marks_of(parts)
    table = _parsed(body, layout, columns, marks) if marks == Marks() and any(map(has_decimal_point, parts)) else None
    if table is None or np.isnan(table).any():  # the first rows do not decide
        marks = marks_of(_texts(body, layout, columns, chunksize=PART))
        table = _parsed(body, layout, columns, marks)
    return table, marks


def _read(body, layout, **settings):
    import pandas as pd

    return pd.read_csv(io.StringIO(body), sep=layout.separator, quotechar=layout.quote, header=None, names=range(layout.width),
                       index_col=False, skipinitialspace=True, **settings)  # fmt: skip


def _texts(body, layout, columns, **settings):
    """Cells of columns, one per line, in parts."""
    frames = _read(body, layout, dtype=str, **settings)
    for frame in [frames] if "nrows" in settings else frames:
        yield "\n".join(cell.strip() for i in columns for cell in frame[i].dropna())


def _parsed(body, layout, columns, marks):
    import pandas as pd

    frame = _read(body, layout, decimal=marks.decimal, thousands=marks.thousands, low_memory=False)
    if frame.iloc[:, len(layout.names) :].notna().any(axis=None):
        raise ValueError("rows have more values than there are names")
    return np.array([pd.to_numeric(frame[i], errors="coerce").to_numpy(float) for i in columns])


def _times(body, layout, column):
    """A column of times, also such as "0:00.002"."""
    first = "".join(_texts(body, layout, [column], nrows=SAMPLE))
    if ":" not in first:
        return _numbers(body, layout, [column])[0][0]
    cells = "\n".join(_texts(body, layout, [column], chunksize=PART)).split("\n")
    parts = [cell.strip("'\"[] ").replace(",", ".").split(":") for cell in cells]
    return np.array([sum(60**k * float(number) for k, number in enumerate(reversed(part))) for part in parts])


def _unit_in(head):
    """Unit that the lines above a table give; all that they give, if that is contradictory or unknown."""
    given = [text.strip("\"' ") for text in _UNIT.findall(head)]
    known = [unit for unit in given if unit.lower() in MILLIVOLTS]
    return known[0] if len({MILLIVOLTS[unit.lower()] for unit in known}) == 1 else " and ".join(given)


def _rate_in(head):
    """Rate in Hz that the lines above a table give, or None."""
    match = _RATE.search(head)
    return float(match[1].replace(",", ".")) * (1000 if "khz" in match[0].lower() else 1) if match else None


def _rate(time, unit, comment_fs, where):
    """Rate in Hz of a column of times, which must be regular and agree with the rate of a comment."""
    steps = np.diff(time) * (1e-3 if unit.lower().startswith("m") else 1.0)
    usual = np.median(steps) if steps.size else np.nan
    if not (steps > usual / 2).all() or not (steps < usual * 1.5).all() or not usual > 0:  # rounded times may differ
        raise SignalError(f"{where} has times that do not rise by equal steps: correct them, or leave them out.")
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
        names = [name.decode("latin-1") if isinstance(name, bytes) else str(name) for name in leads.tolist()]
        meta = meta_of(PurePath(file.where).stem)
        return Recording(names, signal, [unit] * len(names), float(fs), file.where, meta)
