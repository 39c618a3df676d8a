"""WFDB records of several segments, which are records of their own and follow each other in time."""

from dataclasses import replace
from pathlib import PurePath

import numpy as np

from cardiov.ecg.recording import Recording, decode, refuse_large
from cardiov.ecg.wfdb_files import read_header, read_signals, read_wfdb
from cardiov.errors import SignalError

MAX_SEGMENTS = 1000


def read_record(data, load, where, ignore_checksum=False) -> Recording:
    """Read a record of one or several segments from its header's bytes; parameters as in `read_wfdb`."""
    segments = segments_of(data)
    if segments is None:
        return read_wfdb(data, load, where, ignore_checksum)
    if not 0 < len(segments) <= MAX_SEGMENTS:
        raise SignalError(f"{where}.hea lists {len(segments):,} segments: give a record of 1 to {MAX_SEGMENTS:,}.")
    headers = [_header(*segment, load, where) for segment in segments]
    refuse_large(2 * sum(header.frames * len(header.signals) for header in headers), where)
    places = [str(PurePath(where).with_name(name)) for name, _ in segments]
    parts = [read_signals(header, load, place, ignore_checksum) for header, place in zip(headers, places, strict=True)]
    return _joined(parts, where)


def segments_of(data) -> list[tuple[str, str]] | None:
    """Names of the segments that a header lists, and their numbers of frames as text; None if it is of a single segment."""
    lines = [line.split() for line in decode(data).splitlines() if line.strip() and not line.strip().startswith("#")]
    if not lines or "/" not in lines[0][0]:
        return None
    segments = [(line[0], "".join(line[1:2])) for line in lines[1:]]
    return [(name, frames) for name, frames in segments if frames != "0"]  # of no frames is the layout of a record with gaps


def _header(name, frames, load, where):
    """The header of a segment."""
    if name == "~":
        raise SignalError(f"{where} has a gap between its segments: give one of its segments.")
    if "/" in name or "\\" in name or ":" in name or ".." in name or not frames.isdecimal() or len(frames) > 11:
        raise SignalError(f"{where}.hea has a segment that is not WFDB's ({f'{name} {frames}'!r:.80}): fetch or export it again.")
    if (data := load(f"{name}.hea")) is None:
        raise SignalError(f"{where} lacks the segment {name!r:.80} that {where}.hea names: give the files of all segments.")
    header = read_header(data, PurePath(where).with_name(name))
    if header.frames not in (None, int(frames)):
        cause = f"it says that segment {name} has {int(frames):,} frames, {name}.hea says {header.frames:,}"
        raise SignalError(f"{where}.hea contradicts itself: {cause}, so fetch or export it again.")
    return replace(header, frames=int(frames))


def _joined(parts, where):
    """Segments with the same signals as one recording."""
    first = parts[0]
    if any((part.names, part.units, part.fs) != (first.names, first.units, first.fs) for part in parts):
        raise SignalError(f"{where} has segments with different signals, units or rates: give one of its segments.")
    samples = [np.concatenate(rows) for rows in zip(*(part.samples for part in parts), strict=True)]
    warnings = tuple(dict.fromkeys(text for part in parts for text in part.warnings))
    meta = {**first.meta, "record": PurePath(where).name}
    return replace(first, samples=samples, where=str(where), meta=meta, warnings=warnings)
