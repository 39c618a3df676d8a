"""Readers of ECG files, from disk or memory: WFDB, and the table of all other formats.

Each file becomes a `Recording`, from which `cardiov.ecg.leads` takes the twelve leads. Files may come from anybody:
nothing is unpickled or executed, declared sizes are checked, and only the file itself or files beside a WFDB header are
opened.
"""

import gzip
import io
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from os import PathLike
from pathlib import Path, PurePath
from typing import NamedTuple

from cardiov.ecg.aecg import read_aecg, refuse_xml
from cardiov.ecg.clinical import (
    read_ishne,
    read_kardia,
    read_mfer,
    read_mortara,
    read_muse,
    read_scp,
    read_sierra,
    refuse_edan,
    refuse_xle,
)
from cardiov.ecg.dicom import read_dicom
from cardiov.ecg.edf import read_edf
from cardiov.ecg.recording import CUT, MAX_BYTES, File, Recording, content_of, library, refuse_large
from cardiov.ecg.tables import is_table, read_npz, read_table, refuse_npy
from cardiov.ecg.wfdb_segments import read_record, segments_of
from cardiov.errors import SignalError


BY_PARTS = "score it by `cardiov score` without --report, or by cardiov.scoring.holter.score_long, which read it part by part"


def read(source, ignore_checksum=False) -> Recording:
    """Read an ECG file of a format recognised by its content or else by its suffix; parameters as in `cardiov.read_ecg`."""
    if isinstance(source, str | PathLike):
        return _read_path(Path(source), ignore_checksum)
    if isinstance(source, Mapping) and all(isinstance(data, bytes | bytearray | memoryview) for data in source.values()):
        return _read_files(source, ignore_checksum)
    leads = "a DataFrame or a mapping with an array per lead name, or an array (leads, n) with names=['I', 'II', ...]"
    how = f"cardiov.ecg_from_leads(leads, fs=500, unit='mV'), where leads is {leads}"
    raise SignalError(f"a {type(source).__name__} is no ECG file: make an ECG of it by {how}.")


def _read_path(path, ignore_checksum):
    if str(path) == "-":
        return _read_file(File(_standard_input(), "the standard input", ignore_checksum=ignore_checksum))
    if is_wfdb(path) or not (path.exists() or _known_suffix(path)):
        return _read_wfdb(path, ignore_checksum)
    return _read_file(File(content_of(path, advice=_advice(path)), str(path), path, ignore_checksum))


def _advice(path):
    """What to do with a file that is too large to be read at once."""
    large = path.is_file() and path.stat().st_size > MAX_BYTES
    return BY_PARTS if large and format_of(path) in ("EDF", "BDF") else CUT


@cache
def _standard_input():
    """Read once, because a report needs it again."""
    return sys.stdin.buffer.read(MAX_BYTES + 1)


def _known_suffix(path):
    return path.suffix.lower().lstrip(".") in {*SUFFIXES, "gz"}


def _read_wfdb(path, ignore_checksum):
    base, data = read_header_of(path)
    return read_record(data, partial(beside, base.parent), base, ignore_checksum)


def is_wfdb(path) -> bool:
    """Whether a path stands for a WFDB record."""
    return path.suffix.lower() in (".hea", ".dat", ".mat") or Path(f"{path}.hea").exists()


def read_header_of(path) -> tuple[Path, bytes]:
    """A WFDB record's path without suffix, and the content of its header."""
    base = path.with_suffix("") if path.suffix.lower() in (".hea", ".dat", ".mat") else path
    header = path if path.suffix.lower() == ".hea" else Path(f"{base}.hea")
    try:
        return base, content_of(in_folder(header.parent, header.name) or header)
    except SignalError as error:
        raise SignalError(f"{str(error)[:-1]}, and give a WFDB record with its .hea file.") from error


def beside(folder, name) -> bytes | None:
    """The content of a file, whose name may be written in other letter case; None without it."""
    path = in_folder(folder, name)
    return path and content_of(path, advice=BY_PARTS)


def in_folder(folder, name) -> Path | None:
    """A file whose name may be written in other letter case; None without it."""
    if (folder / name).is_file() or not folder.is_dir():
        return folder / name
    return _in_any_case(name, {other.name: other for other in folder.iterdir() if other.is_file()})


def _in_any_case(name, files):
    """The only entry of {name: entry} whose name differs in case at most."""
    alike = [entry for other, entry in files.items() if other.lower() == name.lower()]
    return files.get(name) or (alike[0] if len(alike) == 1 else None)


def _read_files(files, ignore_checksum):
    for name, data in files.items():
        refuse_large(len(data), name)
    files = {name: bytes(data) for name, data in files.items()}
    headers = [name for name in files if name.lower().endswith(".hea")]
    whole = headers if len(headers) == 1 else [name for name in headers if segments_of(files[name]) is not None]
    if len(whole) == 1:
        return read_record(files[whole[0]], partial(_in_any_case, files=files), whole[0][:-4], ignore_checksum)
    if headers or len(files) != 1:
        raise SignalError(f"{len(files)} files are not one ECG: give one file, or a WFDB header and its signal files.")
    (name, data), = files.items()
    return _read_file(File(data, name, ignore_checksum=ignore_checksum))


def _read_file(file):
    if file.data[:2] == b"\x1f\x8b":
        return _read_file(_unpacked(file))
    form = _form(file.data, file.where)
    if form:
        recording = form.read(file)
        said = f".{form.name}".lower().startswith(PurePath(file.where).suffix.lower() or "none")  # by the suffix
        return recording if said else replace(recording, where=f"{recording.where} ({form.name})")
    if is_table(file.data):
        return read_table(file)
    names = [form.name for form in FORMATS if form.read.__name__.startswith("read_")]
    raise SignalError(f"{file.where} is no ECG file of a known format: give WFDB (.hea with .dat or .mat), {', '.join(names)}.")


def _unpacked(file):
    with library(file.where, "a gzip file"), gzip.open(io.BytesIO(file.data)) as packed:
        data = packed.read(MAX_BYTES + 1)
    refuse_large(len(data), f"the unpacked content of {file.where}")
    return replace(file, data=data, where=file.where.removesuffix(".gz"), path=None)


def format_of(path) -> str:
    """The format as which `read` reads a file, such as "WFDB"; empty if that is unknown. Of an address the suffix decides."""
    if is_wfdb(Path(path)):
        return "WFDB"
    start = b""
    if os.path.isfile(path):
        with suppress(OSError), open(path, "rb") as file:
            start = file.read(65_536)
    form = _form(start, path)
    return form.name if form else ""


def _form(data, where):
    """The format of a file by its content, else by its suffix; None if it is unknown."""
    suffix = PurePath(where).suffix.lower().lstrip(".")
    marked = (form for form in FORMATS if form.marked(data))
    return next(marked, None) or next((form for form in FORMATS if suffix in form.suffixes), None)


class Format(NamedTuple):
    """A format of one file; `marked` recognises it by its content, else its suffixes do."""

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[File], Recording]
    marked: Callable[[bytes], bool] = lambda data: False


def _starts(mark, at=0):
    return lambda data: data[at : at + len(mark)] == mark


def _root(name):
    """Whether the first element of an XML document is this one, in any namespace."""
    elements = re.compile(rb"<(?:[\w.-]+:)?([A-Za-z]\w*)[\s/>]")

    def marked(data):
        start = data[:65_536].replace(b"\0", b"").lstrip(_BEFORE_XML)  # also UTF-16
        first = elements.search(re.sub(rb"<!--.*?-->", b"", start, flags=re.DOTALL))
        return start[:1] == b"<" and first is not None and first[1] == name

    return marked


_BEFORE_XML = b"\xef\xbb\xbf\xff\xfe \t\r\n"  # byte order marks and blanks
FORMATS = (  # docs/formats.md says how to add one
    Format("CSV", ("csv", "tsv", "txt"), read_table),
    Format("NPZ", ("npz",), read_npz, _starts(b"PK\3\4")),
    Format("NPY", ("npy",), refuse_npy, _starts(b"\x93NUMPY")),
    Format("EDF", ("edf",), read_edf, _starts(b"0       ")),
    Format("BDF", ("bdf",), read_edf, _starts(b"\xffBIOSEMI")),
    Format("DICOM", ("dcm",), read_dicom, _starts(b"DICM", 128)),
    Format("SCP-ECG", ("scp",), read_scp, lambda data: data[8:10] == data[22:24] == b"\0\0" and data[28:32] == b"\7\0\0\0"),
    Format("HL7 aECG", (), read_aecg, _root(b"AnnotatedECG")),
    Format("GE MUSE XML", (), read_muse, _root(b"RestingECG")),
    Format("Philips Sierra XML", (), read_sierra, _root(b"restingecgdata")),
    Format("Mortara ELI XML", (), read_mortara, _root(b"ECG")),
    Format("ISHNE", ("ecg",), read_ishne, _starts(b"ISHNE1.0")),
    Format("MFER", ("mwf", "mfer", "mfr"), read_mfer, _starts(b"MFR ", 2)),
    Format("AliveCor Kardia JSON", ("json",), read_kardia),
    Format("other XML", ("xml",), refuse_xml),
    Format("Edan Holter", ("arc",), refuse_edan, _starts(b"##NEUTRAL HOLTER RECORDING##", 4)),
    Format("XLE", ("xle",), refuse_xle),
)
SUFFIXES = {suffix for form in FORMATS for suffix in form.suffixes}
