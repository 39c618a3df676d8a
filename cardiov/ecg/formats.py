"""ECG files as people have them: WFDB, CSV, NumPy, SCP-ECG, HL7 aECG, EDF and DICOM, from disk or from memory.

Each becomes a `Recording`: signals by name, with the units and the rate that the file gives. Which of them are the
twelve leads is `cardiov.ecg.leads`' concern. Files may come from anybody: nothing is unpickled or executed, sizes are
checked before they are believed, and only the file itself, or what lies beside a WFDB header, is opened.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np

from cardiov.ecg.clinical import read_aecg, read_dicom, read_edf, read_scp
from cardiov.ecg.recording import MILLIVOLTS, File, Recording, content_of, decode, library, meta_of, refuse_large
from cardiov.ecg.tables import read_npz, read_table, refuse_npy
from cardiov.errors import SignalError


def read(source, fs=None, unit=None) -> Recording:
    """Read an ECG file of any known format, recognised by its content where it can be, else by its suffix.

    Parameters
    ----------
    source : str, Path or mapping of str to bytes
        A path, for WFDB with or without suffix; or the names and contents of files in memory, which for WFDB are the
        header and the signal file.
    fs : float, optional
        Sampling rate in Hz, for a file that gives none.
    unit : str, optional
        uV, mV or V, for a file that gives none.

    Returns
    -------
    Recording

    Raises
    ------
    SignalError
        If the file is absent, too large, damaged or of an unknown format, or if ``fs`` or ``unit`` contradict it.
    """
    recording = _read_files(source) if isinstance(source, Mapping) else _read_path(Path(source))
    return _settle(recording, fs, unit)


def _settle(recording, fs, unit):
    """What the caller says stands where the file says nothing, and must not contradict it."""
    where, told = recording.where, recording.fs
    known = {MILLIVOLTS[name.lower()] for name in recording.units if name.lower() in MILLIVOLTS}
    if unit is not None and str(unit).lower() not in MILLIVOLTS:
        raise SignalError(f"the unit given for {where} is {unit!r}: give uV, mV or V.")
    if unit is not None and known - {MILLIVOLTS[unit.lower()]}:
        raise SignalError(f"{where} gives its signals in other units than the {unit} asked for: leave the unit out.")
    if None not in (told, fs) and not math.isclose(told, fs, rel_tol=1e-3):
        raise SignalError(f"{where} is sampled at {told:g} Hz, not at the {fs:g} Hz asked for: leave the rate out.")
    units = [name or unit or "" for name in recording.units]
    return replace(recording, fs=fs if told is None else told, units=units)


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
        raise SignalError("one ECG at a time, please: give one file, or a WFDB header with its signal file.")
    (name, data), = files.items()
    return _read_file(File(data, name))


def _read_file(file):
    kind = _kind(file.data) or PurePath(file.where).suffix.lower().lstrip(".")
    if kind not in READERS:
        raise SignalError(
            f"{file.where} is no ECG file of a known format: give WFDB (.hea with .dat or .mat), CSV, .npz, SCP-ECG, "
            "HL7 aECG, EDF or DICOM."
        )
    return READERS[kind](file)


def _kind(data):
    """Format of a file by its first bytes, or None."""
    signs = {
        "npz": data[:4] == b"PK\3\4",
        "npy": data[:6] == b"\x93NUMPY",
        "dcm": data[128:132] == b"DICM",
        "edf": data[:8] == b"0       ",
        "scp": data[8:10] == data[22:24] == b"\0\0" and data[28:32] == b"\7\0\0\0",  # section 0 is said to be at 7
        "xml": b"AnnotatedECG" in data[:4096].replace(b"\0", b""),  # whether it is UTF-8 or UTF-16
    }
    return next((kind for kind, there in signs.items() if there), None)


# WFDB

_RECORD_LINE = re.compile(r"([^/\s]+)\s+(\d{1,3})\s+(\d{1,6}(?:\.\d{1,9})?)\s+(\d{1,9})(?:\s.*)?")
_SIGNAL_LINE = re.compile(
    r"(?!.*\.\.)([\w.-]+)\s+16(?:x1)?(?:\+(\d{1,9}))?\s+"  # file, format, offset
    r"(-?\d{1,9}(?:\.\d{1,17})?(?:e[+-]?\d{1,2})?)(?:\((-?\d{1,9})\))?(?:/(\S+))?"  # gain, baseline, unit
    r"\s+\d{1,2}\s+(-?\d{1,9})\s+-?\d+\s+(-?\d{1,9})\s+0\s+(\S.*?)\s*"  # zero, checksum, name
)


def read_plain(header, load, where) -> Recording | None:
    """Read a WFDB record of the form that PTB-XL and the PhysioNet/CinC challenges use; None if it is of another.

    wfdb takes milliseconds to parse a header, and reads no files in memory. Here all signals are of format 16 in one
    file (in a ``.mat`` of a challenge after 24 bytes), and the header gives gain, checksum and name of each.

    Parameters
    ----------
    header : bytes
    load : callable
        From the signal file's name to its bytes, or to None if there is no such file.
    where : str or Path
        How messages name the record.

    Raises
    ------
    SignalError
        If samples do not match their checksums.
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
    """A signal's checksum is the sum of its samples modulo 2^16; signals are (name, sum, checksum)."""
    bad = [name for name, found, given in signals if (int(found) - int(given)) % 65536]
    if bad:
        raise SignalError(
            f"{where} is corrupt: the samples of lead {', '.join(bad)} do not match the header's checksum, so fetch or "
            "export the record again."
        )


def _read_wfdb(base):
    header = Path(f"{base}.hea")
    try:
        data = content_of(header)
    except SignalError as error:
        raise SignalError(f"{str(error)[:-1]}, and give a WFDB record with its .hea file.") from error
    beside = lambda name: content_of(base.parent / name) if (base.parent / name).is_file() else None  # noqa: E731
    return read_plain(data, beside, base) or _read_by_wfdb(base, _header_units(decode(data), header))


def _read_wfdb_files(header, files):
    where = header[:-4]
    recording = read_plain(files[header], files.get, where)
    if recording is None:
        _header_units(decode(files[header]), header)  # raises what it finds wrong
        raise SignalError(
            f"{where} cannot be read: either the signal file that {header} names is missing or truncated, so give both "
            "files, or it has another form than format 16, which only the command line reads."
        )
    return recording


def _header_units(text, header):
    """Units of each signal, from the header's text, and what of it wfdb would guess or misread.

    wfdb drops what is not ASCII, so that "µV" becomes "V", and fills in a missing gain (200) and rate (250 Hz).
    """
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines or "/" in lines[0][0]:
        raise SignalError(f"{header} is empty or lists several segments: give a record of a single segment.")
    if len(lines[0]) < 3:
        raise SignalError(f"{header} gives no sampling rate: add it to its first line, as in 'name 12 500 5000'.")
    if re.match(r"0*(\d*)", lines[0][1])[1] != str(len(lines) - 1):  # of which wfdb would make lists
        raise SignalError(f"{header} lists {len(lines) - 1} signals, not as many as it says: fetch or export it again.")
    for file, *fields in lines[1:]:
        if re.search(r"[/\\:]|\.\.", file):
            raise SignalError(f"{header} points to {file!r:.80}: move it beside the header and name it without a path.")
        if len(fields) < 2 or not re.match(r"-?[\d.]*[1-9]", fields[1]):
            raise SignalError(f"{header} gives no gain for a signal of {file!r:.80}: add it, as in '1000(0)/mV'.")
    return [fields[2].partition("/")[2] or "mV" for fields in lines[1:]]  # mV is WFDB's default


def _read_by_wfdb(base, units):
    """A record of any other form."""
    with library(base, "a WFDB record"):
        import wfdb  # takes half a second, which those who only read plain records need not wait

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
    """wfdb allocates what the header declares, so that must fit the files (by 8:1 where they are compressed)."""
    sizes = [(base.parent / name).stat().st_size for name in {*header.file_name}]
    samples = sum(n or 1 for n in header.samps_per_frame) * ((header.sig_len or 0) + max(n or 0 for n in header.skew))
    refuse_large(max(sizes), base)
    if samples > 4 * sum(sizes):
        raise SignalError(f"{base} is truncated: its header declares {samples:,} samples, so fetch or export it again.")


READERS = {
    "csv": read_table, "tsv": read_table, "txt": read_table, "npz": read_npz, "npy": refuse_npy,
    "edf": read_edf, "dcm": read_dicom, "scp": read_scp, "xml": read_aecg,
}  # fmt: skip
