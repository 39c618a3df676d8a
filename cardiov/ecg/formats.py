"""Readers of ECG files, from disk or memory: WFDB, CSV, NumPy, SCP-ECG, HL7 aECG, EDF and DICOM.

Each file becomes a `Recording`, from which `cardiov.ecg.leads` takes the twelve leads. Files may come from anybody:
nothing is unpickled or executed, declared sizes are checked, and only the file itself or files beside a WFDB header are
opened.
"""

import gzip
import io
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path, PurePath

from cardiov.ecg.clinical import read_aecg, read_dicom, read_edf, read_scp
from cardiov.ecg.recording import MAX_BYTES, File, Recording, content_of, library, refuse_large
from cardiov.ecg.tables import is_table, read_npz, read_table, refuse_npy
from cardiov.ecg.wfdb_files import read_wfdb
from cardiov.errors import SignalError


def read(source, ignore_checksum=False) -> Recording:
    """Read an ECG file of a format recognised by its content or else by its suffix; parameters as in `cardiov.read_ecg`."""
    if isinstance(source, str | PathLike):
        return _read_path(Path(source), ignore_checksum)
    if isinstance(source, Mapping) and all(isinstance(data, bytes | bytearray | memoryview) for data in source.values()):
        return _read_files(source, ignore_checksum)
    how = "cardiov.ecg_from_leads(leads, fs=500, unit='mV'), where leads is a DataFrame or a mapping with an array per lead name, or an "
    raise SignalError(f"a {type(source).__name__} is no ECG file: make an ECG of it by {how}array (leads, n) with names=['I', 'II', ...].")


def _read_path(path, ignore_checksum):
    if str(path) == "-":
        return _read_file(File(sys.stdin.buffer.read(MAX_BYTES + 1), "the standard input", ignore_checksum=ignore_checksum))
    if path.suffix.lower() in (".hea", ".dat", ".mat") or Path(f"{path}.hea").exists() or not (path.exists() or _known_suffix(path)):
        return _read_wfdb(path, ignore_checksum)
    return _read_file(File(content_of(path), str(path), path, ignore_checksum))


def _known_suffix(path):
    return path.suffix.lower().lstrip(".") in {*READERS, "gz"}


def _read_wfdb(path, ignore_checksum):
    base = path.with_suffix("") if path.suffix.lower() in (".hea", ".dat", ".mat") else path
    header = path if path.suffix.lower() == ".hea" else Path(f"{base}.hea")
    if not header.exists() and Path(f"{base}.HEA").exists():
        header = Path(f"{base}.HEA")
    try:
        data = content_of(header)
    except SignalError as error:
        raise SignalError(f"{str(error)[:-1]}, and give a WFDB record with its .hea file.") from error
    return read_wfdb(data, partial(_beside, base.parent), base, ignore_checksum)


def _beside(folder, name):
    """Content of a file in a folder, whose name may be written in other letter case; None without it."""
    path = folder / name
    if not path.is_file():
        path = _in_any_case(name, {other.name: other for other in folder.iterdir() if other.is_file()})
    return path and content_of(path)


def _in_any_case(name, files):
    """The only entry of {name: entry} whose name differs in case at most."""
    alike = [entry for other, entry in files.items() if other.lower() == name.lower()]
    return files.get(name) or (alike[0] if len(alike) == 1 else None)


def _read_files(files, ignore_checksum):
    for name, data in files.items():
        refuse_large(len(data), name)
    files = {name: bytes(data) for name, data in files.items()}
    headers = [name for name in files if name.lower().endswith(".hea")]
    if len(headers) == 1:
        return read_wfdb(files[headers[0]], partial(_in_any_case, files=files), headers[0][:-4], ignore_checksum)
    if headers or len(files) != 1:
        raise SignalError(f"{len(files)} files are not one ECG: give one file, or a WFDB header and its signal files.")
    (name, data), = files.items()
    return _read_file(File(data, name, ignore_checksum=ignore_checksum))


def _read_file(file):
    suffix = PurePath(file.where).suffix.lower().lstrip(".")
    kind = _kind(file.data) or suffix
    if kind == "gz":
        return _read_file(_unpacked(file))
    if kind not in READERS and is_table(file.data):
        kind = "csv"
    if kind not in READERS:
        formats = "WFDB (.hea with .dat or .mat), CSV, .npz, SCP-ECG, HL7 aECG, EDF or DICOM"
        raise SignalError(f"{file.where} is no ECG file of a known format: give {formats}.")
    return READERS[kind](file)


def _unpacked(file):
    with library(file.where, "a gzip file"), gzip.open(io.BytesIO(file.data)) as packed:
        data = packed.read(MAX_BYTES + 1)
    refuse_large(len(data), f"the unpacked content of {file.where}")
    return replace(file, data=data, where=file.where.removesuffix(".gz"), path=None)


def _kind(data):
    """Format of a file by its first bytes, or None."""
    signatures = {
        "gz": data[:2] == b"\x1f\x8b",
        "npz": data[:4] == b"PK\3\4",
        "npy": data[:6] == b"\x93NUMPY",
        "dcm": data[128:132] == b"DICM",
        "edf": data[:8] == b"0       ",
        "scp": data[8:10] == data[22:24] == b"\0\0" and data[28:32] == b"\7\0\0\0",  # section 0 lies at 7
        "xml": b"AnnotatedECG" in data[:4096].replace(b"\0", b""),  # UTF-8 or UTF-16
    }
    return next((kind for kind, present in signatures.items() if present), None)


def format_of(path) -> str:
    """The format as which `read` reads a file, such as "WFDB"; empty if that is unknown. Of an address the suffix decides."""
    suffix = PurePath(path).suffix.lower().lstrip(".")
    if suffix in ("hea", "dat", "mat") or os.path.exists(f"{path}.hea"):
        return "WFDB"
    kind = suffix
    if os.path.isfile(path):
        with suppress(OSError), open(path, "rb") as file:
            kind = _kind(file.read(4096)) or suffix
    return FORMAT_NAMES.get(kind, kind.upper()) if kind in READERS else ""


READERS = {
    "csv": read_table, "tsv": read_table, "txt": read_table, "npz": read_npz, "npy": refuse_npy,
    "edf": read_edf, "dcm": read_dicom, "scp": read_scp, "xml": read_aecg,
}  # fmt: skip
FORMAT_NAMES = {"scp": "SCP-ECG", "xml": "HL7 aECG", "dcm": "DICOM"}  # those that differ from the key
