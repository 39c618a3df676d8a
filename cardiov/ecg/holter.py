"""Records of many hours, such as those of a Holter, read part by part in bounded memory: WFDB, EDF and BDF."""

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from cardiov.ecg.edf import read_edf
from cardiov.ecg.formats import beside, in_folder, is_wfdb, read_header_of
from cardiov.ecg.leads import ECG, as_ecg, read_ecg
from cardiov.ecg.names import lead_of
from cardiov.ecg.recording import File, library
from cardiov.ecg.wfdb_files import Flac, check_sums, form_of, read_header, read_signals, split
from cardiov.ecg.wfdb_segments import read_record
from cardiov.errors import SignalError

LONG = 32 * 2**20  # bytes of signals, from which on a record is read by parts: three hours of 12 leads at 125 Hz
PART = 60.0  # s


def read_unless_long(path, fs=None, unit=None, ignore_checksum=False, bridge_gaps=None) -> ECG | None:
    """`cardiov.read_ecg` of a file, or None if it is to be read by parts; a WFDB header is opened once for both."""
    path = Path(path)
    if not is_wfdb(path):
        return None if _is_long_edf(path) else read_ecg(path, fs, unit, ignore_checksum, bridge_gaps)
    base, header = read_header_of(path)
    if _is_long_wfdb(base, header):
        return None
    return as_ecg(read_record(header, partial(beside, base.parent), base, ignore_checksum), fs, unit, bridge_gaps)


def _is_long_edf(path):
    try:
        return path.is_file() and path.stat().st_size > LONG and _edf_layout(path) is not None
    except (OSError, SignalError):  # whoever reads it says so
        return False


def _is_long_wfdb(base, header):
    try:  # without parsing the whole header, which takes longer
        names = {line.split()[0].decode() for line in header.splitlines()[1:] if line.strip() and not line.startswith(b"#")}
        return sum(os.path.getsize(os.path.join(base.parent, name)) for name in names) > LONG
    except (OSError, UnicodeError):  # whoever reads it says so
        return False


def read_parts(path, fs=None, unit=None, ignore_checksum=False, bridge_gaps=None) -> Iterator[tuple[float, ECG | SignalError]]:
    """Starts in seconds and ECGs of a long record's parts, of `PART` s each, or the reasons why a part cannot be read.

    Parameters as in `cardiov.read_ecg`.

    Raises
    ------
    SignalError
        If the record as a whole cannot be read.
    """
    path = Path(path)
    recordings = _wfdb_parts(path, ignore_checksum) if is_wfdb(path) else _edf_parts(path)
    start = 0.0
    for seconds, recording in recordings:
        try:
            yield start, as_ecg(recording, fs, unit, bridge_gaps)
        except SignalError as error:
            yield start, error
        start += seconds


def _files(header, base):
    """{name: path} of the signal files that hold leads."""
    names = dict.fromkeys(signal.file for signal in header.signals if lead_of(signal.name))
    return {name: path for name in names if (path := in_folder(base.parent, Path(name).name))}


def _spans(frames, per_second, multiple=1):
    """(start, stop) of parts in frames; the last is the longest, so that none is too short for a score."""
    length = max(round(PART * per_second) // multiple, 1) * multiple
    starts = list(range(0, max(frames - length, 0) + 1, length))
    return list(zip(starts, [*starts[1:], frames], strict=True))


def _wfdb_parts(path, ignore_checksum):
    base, data = read_header_of(path)
    header = read_header(data, base)
    files = _files(header, base)
    groups = {name: [signal for signal in header.signals if signal.file == name] for name in files}
    forms = {name: form_of(signals, base) for name, signals in groups.items()}
    if any(isinstance(form, Flac) or signal.fmt == "8" or signal.skew for name, form in forms.items() for signal in groups[name]):
        raise SignalError(f"{base} is too long for a record in FLAC, in format 8 or with skews: cut out a part.")
    frames = _frames(header, files, groups, forms, base)
    spans = _spans(frames, header.fs or 250, multiple=6)  # whole bytes in any format
    warnings = _verified(files, groups, forms, spans, base, ignore_checksum)
    for start, stop in spans:
        signals = [replace(signal, checksum=0, offset=0) for signal in header.signals]
        part = replace(header, frames=stop - start, signals=signals)
        slices = {name: _slice(files[name], groups[name], forms[name], start, stop) for name in files}
        recording = read_signals(part, slices.get, str(base), ignore_checksum=True)
        yield (stop - start) / (header.fs or 1), replace(recording, warnings=warnings)


def _frames(header, files, groups, forms, base):
    held = min(
        (path.stat().st_size - groups[name][0].offset) * forms[name].samples // forms[name].size // _width(groups[name])
        for name, path in files.items()
    )
    if header.frames and header.frames > held:
        cause = f"its header declares {header.frames:,} frames, of which its files hold {held:,}"
        raise SignalError(f"{base} is truncated: {cause}, so fetch or export it again.")
    return header.frames or held


def _width(signals):
    return sum(signal.per_frame for signal in signals)


def _slice(path, signals, form, start, stop):
    """The bytes of some frames; where a format packs several samples, parts begin at whole groups."""
    first, count = (n * _width(signals) * form.size for n in (start, stop - start))
    with path.open("rb") as file:
        file.seek(signals[0].offset + first // form.samples)
        return file.read(-(-count // form.samples))


def _verified(files, groups, forms, spans, base, ignore):
    """Warnings of the checksums, which need one pass over all files."""
    sums = {signal: 0 for signals in groups.values() for signal in signals if lead_of(signal.name)}
    for name, signals in groups.items():
        for start, stop in spans:
            data = _slice(files[name], signals, forms[name], start, stop)
            parts = split(forms[name].decode(data, (stop - start) * _width(signals)), signals)
            sums |= {signal: sums[signal] + int(parts[signal].sum(dtype=np.int64)) for signal in signals if signal in sums}
    return check_sums(sums, base, ignore)


def _edf_layout(path):
    """Bytes of the header and of a data record, seconds of a record, and number of records; None if it is no EDF or BDF."""
    with path.open("rb") as file:
        head = file.read(256)
        if head[:8] not in (b"0       ", b"\xffBIOSEMI"):
            return None
        with library(path, "EDF"):
            size, seconds, count = int(head[184:192]), float(head[244:252].replace(b",", b".")), int(head[252:256])
            samples = file.read(size - 256)[216 * count : 224 * count]
            record = sum(int(samples[8 * i : 8 * i + 8]) for i in range(count)) * (3 if head[0] == 0xFF else 2)
            declared, held = int(head[236:244]), (path.stat().st_size - size) // record
    if declared > held:
        raise SignalError(f"{path} is truncated: it holds {held:,} of {declared:,} data records, so fetch or export it again.")
    return size, record, seconds, held if declared < 0 else declared


def _edf_parts(path):
    """Each part is an EDF file of its own: the header, with another number of records, and so many data records."""
    size, record, seconds, count = _edf_layout(path)
    with path.open("rb") as file:
        header = file.read(size)
        for start, stop in _spans(count, 1 / seconds if seconds else 1):
            file.seek(size + start * record)
            part = header[:236] + str(stop - start).ljust(8).encode() + header[244:] + file.read((stop - start) * record)
            yield (stop - start) * seconds, read_edf(File(part, str(path), path))
