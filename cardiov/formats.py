"""ECG files as people have them: WFDB, CSV, NumPy, SCP-ECG, HL7 aECG, EDF and DICOM, from disk or from memory.

Each becomes a `Recording`: signals by name, with the units and the rate that the file gives. Which of them are the
twelve leads is `cardiov.signals`' concern. Files may come from anybody: nothing is unpickled or executed, sizes are
checked before they are believed, and only the file itself, or what lies beside a WFDB header, is opened.
"""

import binascii
import csv
import io
import math
import os
import re
import threading
import warnings
import zipfile
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

import numpy as np

from cardiov.errors import SignalError

MAX_BYTES = 128 * 2**20  # of a file, and of what a compressed one holds
MAX_SCP_BYTES = 2**20  # the lengths of its leads have 16 bits, and its Huffman code is undone in Python, bit by bit
MAX_XML_BYTES = 8 * 2**20  # an XML document takes many times its size in memory
MAX_XML_TAGS = 100_000
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
class _File:
    """A file's content, its name in messages and, unless it is an upload, its path."""

    data: bytes
    where: str
    path: Path | None = None


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
    return _read_file(_File(_content(path), str(path), path))


def _read_files(files):
    for name, data in files.items():
        _refuse_large(len(data), name)
    files = {name: bytes(data) for name, data in files.items()}
    headers = [name for name in files if name.lower().endswith(".hea")]
    if len(headers) == 1:
        return _read_wfdb_files(headers[0], files)
    if headers or len(files) != 1:
        raise SignalError("one ECG at a time, please: give one file, or a WFDB header with its signal file.")
    (name, data), = files.items()
    return _read_file(_File(data, name))


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


def _content(path):
    try:
        _refuse_large(path.stat().st_size, path)
        return path.read_bytes()
    except OSError as error:
        raise SignalError(f"{path} cannot be read ({error.strerror}): check the path.") from error


def _refuse_large(size, where, limit=MAX_BYTES):
    if size > limit:
        raise SignalError(f"{where} has {size / 2**20:,.0f} MB, above the {limit // 2**20} MB allowed: cut out a part.")


def _decode(data):
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


_LIBRARIES = threading.Lock()  # Python's list of warning filters is one for all threads


@contextmanager
def _library(where, kind):
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
        raise _unreadable(where, kind, error) from error


def _unreadable(where, kind, cause):
    said = re.sub(r"/proc/self/fd/\d+", str(where), " ".join(str(cause).split()))
    cause = said.rstrip(".:")[:200] or type(cause).__name__
    return SignalError(
        f"{where} cannot be read as {kind} ({cause}): a file of it is missing, truncated or corrupt, so fetch or "
        "export it again."
    )


def _meta(record, comments=(), age=None, sex=None):
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
    lines = [line.strip() for line in _decode(header).splitlines() if line.strip()]
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
    meta = _meta(record[1], [line.strip(" \t#") for line in lines if line.startswith("#")])
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
        data = _content(header)
    except SignalError as error:
        raise SignalError(f"{str(error)[:-1]}, and give a WFDB record with its .hea file.") from error
    beside = lambda name: _content(base.parent / name) if (base.parent / name).is_file() else None  # noqa: E731
    return read_plain(data, beside, base) or _read_by_wfdb(base, _header_units(_decode(data), header))


def _read_wfdb_files(header, files):
    where = header[:-4]
    recording = read_plain(files[header], files.get, where)
    if recording is None:
        _header_units(_decode(files[header]), header)  # raises what it finds wrong
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
    with _library(base, "a WFDB record"):
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
    meta = _meta(record.record_name, [comment.strip() for comment in record.comments])
    return Recording(names, signals, units, float(record.fs), str(base), meta, unverified)


def _refuse_absurd(header, base):
    """wfdb allocates what the header declares, so that must fit the files (by 8:1 where they are compressed)."""
    sizes = [(base.parent / name).stat().st_size for name in {*header.file_name}]
    samples = sum(n or 1 for n in header.samps_per_frame) * ((header.sig_len or 0) + max(n or 0 for n in header.skew))
    _refuse_large(max(sizes), base)
    if samples > 4 * sum(sizes):
        raise SignalError(f"{base} is truncated: its header declares {samples:,} samples, so fetch or export it again.")


# CSV

_RATE_SAID = re.compile(r"#\W*fs\s*[:=]\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
_UNIT_SAID = re.compile(r"#\W*unit\s*[:=]\s*(\w+)", re.IGNORECASE)
_WITH_UNIT = re.compile(r"(.*?)\s*[(\[](.*)[)\]]")
_TIME = re.compile(r"(?=.)(?:time|t)?[ _]*[(\[]?(s|sec|seconds|ms|milliseconds)?[)\]]?", re.IGNORECASE)


def _read_table(file):
    """A column for each signal under a row of names; comments before it may say ``# fs: 500`` and ``# unit: uV``."""
    stream, comments = io.StringIO(_decode(file.data)), []
    while (line := stream.readline()).startswith("#") or line.isspace():
        comments.append(line.strip())
    separator = max("\t;,", key=line.count)
    with _library(file.where, "CSV"):
        names = [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
    if not 1 < len(names) <= MAX_SIGNALS:
        raise SignalError(f"{file.where} has {len(names)} columns: give a row of lead names, and a column a lead.")
    with _library(file.where, "CSV"):
        columns = _columns(stream, separator, len(names))
    rate, unit = _RATE_SAID.search("\n".join(comments)), _UNIT_SAID.search("\n".join(comments))
    fs, unit = float(rate[1]) if rate else None, unit[1] if unit else ""
    time = next((i for i, name in enumerate(names) if _TIME.fullmatch(name)), None)
    if time is not None:
        fs = _rate(columns[time], _TIME.fullmatch(names[time])[1] or "s", fs, file.where)
    kept = [i for i in range(len(names)) if i != time]
    split = [_WITH_UNIT.fullmatch(names[i]) for i in kept]
    units = [cell[2] if cell else unit for cell in split]
    names = [cell[1] if cell else names[i] for cell, i in zip(split, kept, strict=True)]
    meta = _meta(PurePath(file.where).stem, [comment.strip("# ") for comment in comments if comment])
    return Recording(names, columns[kept], units, fs, file.where, meta)


def _columns(stream, separator, count):
    """The rest of a table as (count, n), NaN where there is no number."""
    import pandas as pd

    start, line = stream.tell(), stream.readline()
    stream.seek(start)
    if line.count(separator) >= count:  # pandas would make an index, of any width, of what is too much in the first row
        raise ValueError("rows have more values than there are names")
    decimal = "," if separator != "," and "," in line else "."  # as a German Excel writes
    frame = pd.read_csv(stream, sep=separator, decimal=decimal, header=None, names=range(count), low_memory=False)
    return np.stack([pd.to_numeric(frame[i], errors="coerce").to_numpy(float) for i in range(count)])


def _rate(time, unit, said, where):
    """Rate in Hz of a column of times, which must be regular and agree with what a comment says."""
    steps = np.diff(time) * (1e-3 if unit.lower().startswith("m") else 1.0)
    usual = np.median(steps) if steps.size else np.nan
    if not (steps > usual / 2).all() or not (steps < usual * 1.5).all() or not usual > 0:  # rounded times may differ
        raise SignalError(f"{where} has times that do not rise by equal steps: mend them, or give a rate instead.")
    rate = 1 / steps.mean()
    if said is not None and not math.isclose(said, rate, rel_tol=1e-3):
        raise SignalError(f"{where} says {said:g} Hz, but its time column {rate:g} Hz: correct one of them.")
    return float(round(rate)) if math.isclose(rate, round(rate), rel_tol=1e-4) else rate


# NumPy


def _refuse_npy(file):
    raise SignalError(
        f"{file.where} holds an array without lead names and rate: save it by "
        "np.savez('ecg.npz', signal=array, leads=['I', 'II', ...], fs=500, unit='mV')."
    )


def _read_npz(file):
    """Arrays ``signal`` (leads, n), ``leads``, ``fs`` and, if the caller gives none, ``unit``."""
    with _library(file.where, ".npz"), zipfile.ZipFile(io.BytesIO(file.data)) as archive:
        members = archive.infolist()
        _refuse_large(sum(member.file_size for member in members), f"the unpacked content of {file.where}")
        if {member.compress_type for member in members} - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise ValueError("it is compressed otherwise than NumPy does")  # and zipfile would unpack it at any size
        with np.load(io.BytesIO(file.data), allow_pickle=False) as arrays:
            signal, leads, fs = (arrays[name] for name in ("signal", "leads", "fs"))
            unit = str(arrays["unit"]) if "unit" in arrays else ""
        if signal.ndim != 2 or signal.dtype.kind not in "iuf" or leads.shape != signal.shape[:1] or fs.shape:
            raise ValueError(f"signal {signal.shape}, leads {leads.shape} and fs {fs.shape} do not fit together")
        names, meta = [str(name) for name in leads], _meta(PurePath(file.where).stem)
        return Recording(names, signal, [unit] * len(names), float(fs), file.where, meta)


# Clinical formats, by libraries that are imported only where they are needed


def _read_edf(file):
    with _library(file.where, "EDF") as caught:
        import edfio

        edf = edfio.read_edf(file.data, header_encoding="latin-1")
        if edf.reserved.startswith("EDF+D"):
            raise ValueError("it is EDF+D, whose signals may have gaps")
        fs = Counter(signal.sampling_frequency for signal in edf.signals).most_common(1)[0][0]
        signals = [signal for signal in edf.signals if signal.sampling_frequency == fs]
        samples = [signal.data for signal in signals]
        if caught:  # of a file that is shorter than declared, or signals without calibration
            raise ValueError(caught[0].message)
        meta = _meta(PurePath(file.where).stem, sex=edf.patient.sex)
    units = [signal.physical_dimension for signal in signals]
    return Recording([signal.label for signal in signals], samples, units, fs, file.where, meta)


_DEFLATED = b"1.2.840.10008.1.2.1.99"
_DICOM_LEADS = dict(zip(
    ["1", "2", "61", "62", "63", "64", "3", "4", "5", "6", "7", "8"],
    ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"], strict=True,
))  # fmt: skip


def _read_dicom(file):
    """The longest waveform group of eight or more channels: the others are median beats or other signals."""
    if _DEFLATED in file.data:  # pydicom would unpack it at any size
        raise SignalError(f"{file.where} is deflated DICOM: export it uncompressed (Explicit VR Little Endian).")
    with _library(file.where, "a DICOM waveform"):
        import pydicom
        from pydicom.waveforms import multiplex_array

        dataset = pydicom.dcmread(io.BytesIO(file.data))
        if dataset.original_encoding[1] is False:
            raise ValueError("it is big-endian")
        groups = dict(enumerate(dataset.WaveformSequence))
        wide = {i: group for i, group in groups.items() if group.NumberOfWaveformChannels >= 8} or groups
        index, group = max(wide.items(), key=lambda item: item[1].NumberOfWaveformSamples / item[1].SamplingFrequency)
        raw = multiplex_array(dataset, index).T  # (channels, n)
        channels = group.ChannelDefinitionSequence
        samples = [_scaled(channel, row, group) for channel, row in zip(channels, raw, strict=True)]
        units = [channel.ChannelSensitivityUnitsSequence[0].CodeValue for channel in channels]
        names = [_dicom_name(channel.ChannelSourceSequence[0], channel) for channel in channels]
        age = re.fullmatch(r"(\d{3})Y", str(dataset.get("PatientAge", "")))
        meta = _meta(PurePath(file.where).stem, age=age and age[1], sex=str(dataset.get("PatientSex", "")))
        return Recording(names, samples, units, float(group.SamplingFrequency), file.where, meta)


def _dicom_name(source, channel):
    """By the code of SCP-ECG or MDC (CID 3001), else by what it is called."""
    code = re.fullmatch(r"(?:5\.6\.3-9-|2:)(\d+)", str(source.get("CodeValue", "")))
    said = source.get("CodeMeaning") or channel.get("ChannelLabel") or source.get("CodeValue", "")
    return _DICOM_LEADS.get(code[1] if code else "", str(said))


def _scaled(channel, raw, group):
    correction = float(channel.get("ChannelSensitivityCorrectionFactor", 1))
    samples = raw * (float(channel.ChannelSensitivity) * correction) + float(channel.get("ChannelBaseline", 0))
    if "WaveformPaddingValue" in group:
        samples[raw == np.frombuffer(group.WaveformPaddingValue, raw.dtype, 1)[0]] = np.nan
    return samples


def _read_scp(file):
    _refuse_large(len(file.data), file.where, MAX_SCP_BYTES)
    size = int.from_bytes(file.data[2:6], "little")
    if binascii.crc_hqx(file.data[2:size], 0xFFFF) != int.from_bytes(file.data[:2], "little"):
        raise _unreadable(file.where, "SCP-ECG", "its checksum is wrong")
    with _library(file.where, "SCP-ECG"), _on_disk(file) as path:
        from ecgdatakit.parsing.parsers.scp_ecg import SCPECGParser

        record = SCPECGParser().parse(path)
        if len({lead.annotations.get("start_sample", "1") for lead in record.leads}) > 1:
            raise ValueError("its leads begin at different times")
        return _of_leads(record, 1e6 / record.raw_metadata["rhythm_sample_interval_us"], file.where)


def _read_aecg(file):
    _refuse_large(len(file.data), file.where, MAX_XML_BYTES)
    if file.data.count(b"<") > MAX_XML_TAGS:
        raise _unreadable(file.where, "HL7 aECG", f"it has more than {MAX_XML_TAGS} tags")
    with _library(file.where, "HL7 aECG"), _on_disk(file) as path:
        from ecgdatakit.parsing.parsers.hl7_aecg import HL7aECGParser

        record = HL7aECGParser().parse(path)
        return _of_leads(record, record.raw_metadata["rhythm_time"]["sampling_rate_exact"], file.where)


def _of_leads(record, fs, where):
    """From ecgdatakit's record; its own rates are rounded to whole Hz."""
    leads = [lead.to_physical() for lead in record.leads]  # raises where a lead has no unit
    meta = _meta(PurePath(where).stem, age=record.patient.age, sex=record.patient.sex)
    return Recording([lead.label for lead in leads], [lead.samples for lead in leads],
                     [lead.units for lead in leads], float(fs), where, meta)  # fmt: skip


@contextmanager
def _on_disk(file):
    """A path for libraries that want one; of an upload a file in memory, as nothing of it goes to disk."""
    if file.path:
        yield file.path
        return
    if not hasattr(os, "memfd_create"):
        raise SignalError(f"{file.where} can be read from memory on Linux only: give it to the command line.")
    with open(os.memfd_create("ecg"), "wb") as memory:
        memory.write(file.data)
        memory.flush()
        yield Path(f"/proc/self/fd/{memory.fileno()}")


READERS = {
    "csv": _read_table, "tsv": _read_table, "txt": _read_table, "npz": _read_npz, "npy": _refuse_npy,
    "edf": _read_edf, "dcm": _read_dicom, "scp": _read_scp, "xml": _read_aecg,
}  # fmt: skip
