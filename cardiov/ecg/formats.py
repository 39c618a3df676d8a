"""Readers of ECG files, from disk or memory: WFDB, CSV, NumPy, SCP-ECG, HL7 aECG, EDF and DICOM.

Each file becomes a `Recording`, from which `cardiov.ecg.leads` takes the twelve leads. Files may come from anybody:
nothing is unpickled or executed, declared sizes are checked, and only the file itself or files beside a WFDB header are
opened.
"""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np

from cardiov.ecg.clinical import read_aecg, read_dicom, read_edf, read_scp
from cardiov.ecg.recording import MILLIVOLTS, File, Recording, content_of, decode, library, meta_of, refuse_large
from cardiov.ecg.tables import read_npz, read_table, refuse_npy
from cardiov.errors import SignalError


def read(source, fs=None, unit=None) -> Recording:
    """Read an ECG file of a format recognised by its content or else by its suffix; parameters as in `read_ecg`."""
    recording = _read_files(source) if isinstance(source, Mapping) else _read_path(Path(source))
    where, file_fs = recording.where, recording.fs
    known = {MILLIVOLTS[name.lower()] for name in recording.units if name.lower() in MILLIVOLTS}
    if unit is not None and str(unit).lower() not in MILLIVOLTS:
        raise SignalError(f"the unit given for {where} is {unit!r}: give uV, mV or V.")
    if unit is not None and known - {MILLIVOLTS[unit.lower()]}:
        raise SignalError(f"{where} gives its signals in other units than the {unit} asked for: leave the unit out.")
    if None not in (file_fs, fs) and not math.isclose(file_fs, fs, rel_tol=1e-3):
        raise SignalError(f"{where} is sampled at {file_fs:g} Hz, not at the {fs:g} Hz asked for: leave the rate out.")
    return replace(recording, fs=fs if file_fs is None else file_fs, units=[name or unit or "" for name in recording.units])


def _read_path(path):
    if path.suffix.lower() in (".hea", ".dat", ".mat"):
        return _read_wfdb(path.with_suffix(""))
    if Path(f"{path}.hea").exists() or not (path.exists() or path.suffix.lower().lstrip(".") in READERS):
        return _read_wfdb(path)
    return _read_file(File(content_of(path), str(path), path))


def _read_files(files):
    for name, data in files.items():
        refuse_large(len(data), name)
    files = {name: bytes(data) for name, data in files.items()}
    headers = [name for name in files if name.lower().endswith(".hea")]
    if len(headers) == 1:
        return _read_wfdb_files(headers[0], files)
    if headers or len(files) != 1:
        raise SignalError(f"{len(files)} files are not one ECG: give one file, or a WFDB header and its signal file.")
    (name, data), = files.items()
    return _read_file(File(data, name))


def _read_file(file):
    kind = _kind(file.data) or PurePath(file.where).suffix.lower().lstrip(".")
    if kind not in READERS:
        formats = "WFDB (.hea with .dat or .mat), CSV, .npz, SCP-ECG, HL7 aECG, EDF or DICOM"
        raise SignalError(f"{file.where} is no ECG file of a known format: give {formats}.")
    return READERS[kind](file)


def _kind(data):
    """Format of a file by its first bytes, or None."""
    signatures = {
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
    path = Path(path)
    suffix = path.suffix.lower().lstrip(".")
    if suffix in ("hea", "dat", "mat") or Path(f"{path}.hea").exists():
        return "WFDB"
    kind = suffix
    if path.is_file():
        with suppress(OSError), path.open("rb") as file:
            kind = _kind(file.read(4096)) or suffix
    return FORMAT_NAMES.get(kind, kind.upper()) if kind in READERS else ""


_RECORD_LINE = re.compile(r"([^/\s]+)\s+(\d{1,3})\s+(\d{1,6}(?:\.\d{1,9})?)\s+(\d{1,9})(?:\s.*)?")
_SIGNAL_LINE = re.compile(
    r"(?!.*\.\.)([\w.-]+)\s+16(?:x1)?(?:\+(\d{1,9}))?\s+"  # file, format, offset
    r"(-?\d{1,9}(?:\.\d{1,17})?(?:e[+-]?\d{1,2})?)(?:\((-?\d{1,9})\))?(?:/(\S+))?"  # gain, baseline, unit
    r"\s+\d{1,2}\s+(-?\d{1,9})\s+-?\d+\s+(-?\d{1,9})\s+0\s+(\S.*?)\s*"  # zero, checksum, name
)


def read_plain(header, load, where) -> Recording | None:
    """Read a WFDB record in the form of PTB-XL and the PhysioNet/CinC challenges; None for another form.

    All signals have format 16 in one file; the header gives gain, checksum and name of each. wfdb would take milliseconds
    per header and reads no files in memory. ``load`` returns the bytes of a file by name, or None without such a file.
    """
    lines = [line.strip() for line in decode(header).splitlines() if line.strip()]
    record, *signals = [line for line in lines if not line.startswith("#")] or [""]
    record, signals = _RECORD_LINE.fullmatch(record), [_SIGNAL_LINE.fullmatch(line) for line in signals]
    if not record or not signals or len(signals) != int(record[2]) or not all(signals):
        return None
    files, offsets, gains, baselines, units, zeros, sums, names = zip(*(line.groups() for line in signals), strict=True)
    gain = np.array(gains, float)
    data = load(files[0]) if len({*files}) == len({*offsets}) == 1 and gain.all() else None
    count, offset = int(record[4]), int(offsets[0] or 0)
    if data is None or len(data) < offset + 2 * count * len(names):
        return None
    samples = np.frombuffer(data, "<i2", count * len(names), offset).reshape(count, len(names))
    samples = np.ascontiguousarray(samples.T)  # (signals, n)
    _refuse_corrupt(zip(names, samples.sum(axis=1, dtype=np.int64), sums, strict=True), where)
    baseline = np.array([zero if given is None else given for given, zero in zip(baselines, zeros, strict=True)], int)
    physical = samples - baseline[:, None].astype(float)
    physical /= gain[:, None]
    if samples.min(initial=0) == -32768:
        physical[samples == -32768] = np.nan  # WFDB's invalid sample
    meta = meta_of(record[1], [line.strip(" \t#") for line in lines if line.startswith("#")])
    return Recording(list(names), physical, [unit or "mV" for unit in units], float(record[3]), str(where), meta)


def _refuse_corrupt(signals, where):
    """Compare (name, sum of samples, checksum) of each signal; the checksum is the sum modulo 2^16."""
    if bad := [name for name, total, checksum in signals if (int(total) - int(checksum)) % 65536]:
        cause = f"the samples of lead {', '.join(bad)} do not match the header's checksum"
        raise SignalError(f"{where} is corrupt: {cause}, so fetch or export the record again.")


def _read_wfdb(base):
    header = Path(f"{base}.hea")
    try:
        data = content_of(header)
    except SignalError as error:
        raise SignalError(f"{str(error)[:-1]}, and give a WFDB record with its .hea file.") from error
    load = lambda name: content_of(base.parent / name) if (base.parent / name).is_file() else None  # noqa: E731
    return read_plain(data, load, base) or _read_by_wfdb(base, _header_units(decode(data), header))


def _read_wfdb_files(header, files):
    if recording := read_plain(files[header], files.get, header[:-4]):
        return recording
    _header_units(decode(files[header]), header)  # raises the header's own error
    cause = f"the signal file that {header} names is missing, truncated or not in format 16"
    raise SignalError(f"{cause}: give both files; the command line reads other formats.")


def _header_units(text, header):
    """Units of the signals from the header's text, after a check of what wfdb would misread.

    wfdb drops what is not ASCII, so "µV" becomes "V", and fills in a missing gain (200) and rate (250 Hz).
    """
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines or "/" in lines[0][0]:
        raise SignalError(f"{header} is empty or lists several segments: give a record of a single segment.")
    if len(lines[0]) < 3:
        raise SignalError(f"{header} gives no sampling rate: add it to its first line, as in 'name 12 500 5000'.")
    if re.match(r"0*(\d*)", lines[0][1])[1] != str(len(lines) - 1):  # wfdb would make lists of any declared length
        raise SignalError(f"{header} lists {len(lines) - 1} signals, but declares another number: fetch or export it again.")
    for file, *fields in lines[1:]:
        if re.search(r"[/\\:]|\.\.", file):
            raise SignalError(f"{header} points to {file!r:.80}: move it beside the header and name it without a path.")
        if len(fields) < 2 or not re.match(r"-?[\d.]*[1-9]", fields[1]):
            raise SignalError(f"{header} gives no gain for a signal of {file!r:.80}: add it, as in '1000(0)/mV'.")
    return [fields[2].partition("/")[2] or "mV" for fields in lines[1:]]  # mV is WFDB's default


def _read_by_wfdb(base, units):
    with library(base, "a WFDB record"):
        import wfdb  # takes half a second, which plain records do not need

        _refuse_absurd(wfdb.rdheader(str(base.absolute())), base)
        record = wfdb.rdrecord(str(base.absolute()), physical=False, smooth_frames=False)
        signals = record.dac(expanded=True)  # float64, in the header's units, NaN where a sample is invalid
        if len({len(samples) for samples in signals}) != 1:
            raise SignalError(f"{base} samples its leads at different rates: export it with one rate for all leads.")
        names, sums = [name or "" for name in record.sig_name], [x.sum(dtype=np.int64) for x in record.e_d_signal]
        known = [signal for signal in zip(names, sums, record.checksum, strict=True) if signal[2] is not None]
        _refuse_corrupt(known, base)
    unverified = () if len(known) == len(units) else ("no checksum in the header",)
    meta = meta_of(record.record_name, [comment.strip() for comment in record.comments])
    return Recording(names, signals, units, float(record.fs), str(base), meta, unverified)


def _refuse_absurd(header, base):
    """Compare the samples that the header declares, for which wfdb allocates memory, with the files, packed 8:1 at most."""
    sizes = [(base.parent / name).stat().st_size for name in {*header.file_name}]
    samples = sum(n or 1 for n in header.samps_per_frame) * ((header.sig_len or 0) + max(n or 0 for n in header.skew))
    refuse_large(max(sizes), base)
    if samples > 4 * sum(sizes):
        raise SignalError(f"{base} is truncated: its header declares {samples:,} samples, so fetch or export it again.")


READERS = {
    "csv": read_table, "tsv": read_table, "txt": read_table, "npz": read_npz, "npy": refuse_npy,
    "edf": read_edf, "dcm": read_dicom, "scp": read_scp, "xml": read_aecg,
}  # fmt: skip
FORMAT_NAMES = {"scp": "SCP-ECG", "xml": "HL7 aECG", "dcm": "DICOM"}  # those that differ from the key
