"""WFDB records: a header and its signal files, as PhysioNet's header(5) and signal(5) describe them.

The package wfdb reads no files in memory and no header with an odd date, takes "µV" for "V", gives the rate of frames instead of
samples, and needs half a second to import. Tests compare every format with it.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from cardiov.ecg.names import lead_of
from cardiov.ecg.recording import Recording, decode, library, meta_of, refuse_large
from cardiov.errors import SignalError

_SIGNAL = re.compile(
    r"(?P<file>\S+)\s+(?P<fmt>\d{1,3})(?:x(?P<per_frame>\d{1,6}))?(?::(?P<skew>\d{1,9}))?(?:\+(?P<offset>\d{1,9}))?"
    r"(?:\s+(?P<gain>[-+]?(?:\d{1,20}\.?\d{0,20}|\.\d{1,20})(?:[eE][-+]?\d{1,2})?)"
    r"(?:\((?P<baseline>[-+]?\d{1,10})\))?(?:/(?P<unit>\S+))?)?"
    r"(?:\s+\d{1,2}(?!\S))?(?:\s+(?P<zero>[-+]?\d{1,10})(?!\S))?(?:\s+(?P<initial>[-+]?\d{1,10})(?!\S))?"
    r"(?:\s+(?P<checksum>[-+]?\d{1,10})(?!\S))?(?:\s+\d{1,9}(?!\S))?(?:\s+(?P<name>.*))?"
)
_NUMBER = re.compile(r"\d{1,9}(?:\.\d{0,12})?(?:[eE][-+]?\d{1,2})?")
_PATIENT = re.compile(r"\b(?:patient|subject)[ _-]?(?:id|number|no)\W+(\S+)", re.IGNORECASE)
_DATES = "%d/%m/%Y", "%d-%b-%Y"


@dataclass(eq=False)  # two signals may have equal lines
class Signal:
    """A signal's line of the header; None where it says nothing."""

    file: str
    fmt: str
    per_frame: int
    skew: int  # frames
    offset: int  # bytes
    gain: float  # 0 if unknown
    baseline: int
    unit: str
    initial: int
    checksum: int | None
    name: str


@dataclass(frozen=True)
class Header:
    """A record's header."""

    name: str
    fs: float | None  # frames per second
    frames: int | None
    recorded: datetime | None
    signals: list[Signal]
    comments: list[str]


def read_header(data, where) -> Header:
    """Parse a header; a SignalError says what is wrong with it."""
    text = decode(data)
    if "\0" in text:
        cause = f"{where}.hea is binary, so no WFDB header, but perhaps that of an Edan Holter, which gives no scale"
        raise SignalError(f"{cause}: export the ECG as another format.")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    comments = [line.strip(" \t#") for line in lines if line.startswith("#")]
    record, *signals = [line.split() for line in lines if not line.startswith("#")] or [[]]
    if not record or "/" in record[0]:
        raise SignalError(f"{where}.hea is empty, or lists segments where one is expected: give a WFDB record of a single segment.")
    if re.match(r"0*(\d*)", "".join(record[1:2]))[1] != str(len(signals)):
        raise SignalError(f"{where}.hea lists {len(signals)} signals, but declares another number: fetch or export it again.")
    rate = _NUMBER.fullmatch("".join(record[2:3]).partition("/")[0])
    counted = "".join(record[3:4]).isdecimal() and len(record[3]) < 12
    fs, frames = float(rate[0]) if rate else None, int(record[3]) if counted else 0
    recorded = _recorded(record[4 if counted else 3 :])
    return Header(record[0], fs or None, frames or None, recorded, [_signal(" ".join(line), where) for line in signals], comments)


def _signal(line, where):
    match = _SIGNAL.fullmatch(line)
    if not match:
        raise SignalError(f"{where}.hea has a signal line that is not WFDB's ({line!r:.80}): fetch or export it again.")
    zero, baseline, checksum = match["zero"] or 0, match["baseline"], match["checksum"]
    return Signal(
        match["file"], match["fmt"], int(match["per_frame"] or 1) or 1, int(match["skew"] or 0), int(match["offset"] or 0),
        float(match["gain"] or 0), int(zero if baseline is None else baseline), match["unit"] or "mV", int(match["initial"] or 0),
        None if checksum is None else int(checksum), match["name"] or "",
    )  # fmt: skip


def _recorded(words):
    """The start of a record from time and date in either order; None if there is no date that can be read."""
    dates = [_parsed(word, form).date() for word in words for form in _DATES if _parsed(word, form)]
    times = [time.time() for word in words if (time := _parsed(word.partition(".")[0], "%H:%M:%S"))]
    return datetime.combine(dates[0], times[0]) if dates and times else dates[0] if dates else None


def _parsed(word, form):
    try:
        return datetime.strptime(word, form)
    except ValueError:
        return None


def read_wfdb(data, load, where, ignore_checksum=False) -> Recording:
    """Read a record from its header's bytes; ``load`` gives the bytes of a file by name, or None without such a file."""
    return read_signals(read_header(data, where), load, str(where), ignore_checksum)


def read_signals(header, load, where, ignore_checksum=False) -> Recording:
    """Read the signals of a parsed header."""
    leads = [signal for signal in header.signals if lead_of(signal.name)]  # other signals may be anything
    read = _read_matrix if _is_matrix(header.signals, leads) else _read_one_by_one
    samples, sums = read(header, leads, load, where)
    warnings = check_sums(sums, where, ignore_checksum)
    rates = [header.fs and header.fs * signal.per_frame for signal in header.signals]
    patient = _PATIENT.search("\n".join(header.comments))
    meta = meta_of(header.name, header.comments, recorded=header.recorded, patient=patient and patient[1])
    names, units = [signal.name for signal in header.signals], [signal.unit for signal in header.signals]
    return Recording(names, samples, units, rates if len({*rates}) > 1 else (rates or [None])[0], where, meta, warnings)


def _is_matrix(signals, leads):
    """Whether all signals are leads of one file, sample by sample, as most records have them."""
    first = signals[0] if signals else None
    return 0 < len(leads) == len(signals) and all(
        signal.file == first.file and signal.per_frame == 1 and not signal.skew and signal.fmt in INTEGERS and signal.gain
        for signal in signals
    )


def _read_matrix(header, leads, load, where):
    """Samples (leads, n) in their units, NaN where they are invalid, and the sum of each lead as stored, modulo 2^16."""
    stored, _ = _of_file(leads[0].file, header, load, where)
    stored = np.ascontiguousarray(stored.reshape(-1, len(leads)).T)
    sums = stored.sum(axis=1, dtype=f"i{stored.itemsize}").tolist()  # may overflow, by multiples of 2^16
    gains, baselines = (np.array([[getattr(signal, name)] for signal in leads], float) for name in ("gain", "baseline"))
    physical = (stored - baselines if baselines.any() else stored) / gains
    invalid = FORMATS[leads[0].fmt].invalid
    if stored.min(initial=0) == invalid:
        physical[stored == invalid] = np.nan
    return physical, dict(zip(leads, sums, strict=True))


def _read_one_by_one(header, leads, load, where):
    """As `_read_matrix`, with an array for each signal of the header; that of a signal that is no lead is empty."""
    digital = {}
    for file in dict.fromkeys(signal.file for signal in leads):
        digital |= split(*_of_file(file, header, load, where))
    physical = _aligned({signal: _physical(signal, digital[signal], where) for signal in leads}, where)
    sums = {signal: int(digital[signal].sum(dtype=np.int64)) for signal in leads}
    return [physical.get(signal, ()) for signal in header.signals], sums


def _of_file(file, header, load, where):
    """Samples of a signal file as stored, end to end, and its signals."""
    if re.search(r"[/\\:]|\.\.", file):
        raise SignalError(f"{where}.hea points to {file!r:.80}: move it beside the header and name it without a path.")
    if (data := load(file)) is None:
        raise SignalError(f"{where} lacks the signal file {file!r:.80} that {where}.hea names: give both files.")
    signals = [signal for signal in header.signals if signal.file == file]
    form = form_of(signals, where)
    width, data = sum(signal.per_frame for signal in signals), memoryview(data)[signals[0].offset :]
    with library(where, f"a WFDB record in format {signals[0].fmt}"):
        held = form.count(data) // width
        frames = held if header.frames is None else header.frames
        if not 0 < frames <= held:
            cause = f"its header declares {frames * width:,} samples in {file!r:.80}, which holds {held * width:,}"
            raise SignalError(f"{where} is truncated: {cause}, so fetch or export it again.")
        return form.decode(data, frames * width), signals


def form_of(signals, where):
    """The format of a file's signals."""
    first = signals[0]
    if len({(signal.fmt, signal.offset) for signal in signals}) > 1:
        cause = f"{where}.hea gives the signals of {first.file!r:.80} different formats or offsets"
        raise SignalError(f"{cause}: export the record again.")
    if first.fmt not in FORMATS:
        known = ", ".join(FORMATS)
        raise SignalError(f"{where} is a WFDB record in format {first.fmt}, which is not read: export it in one of {known}.")
    return FORMATS[first.fmt]


def split(samples, signals):
    """{signal: its samples} of frames that lie end to end."""
    if isinstance(FORMATS[signals[0].fmt], Flac):
        return dict(zip(signals, samples.reshape(-1, len(signals)).T, strict=True))
    columns = np.ascontiguousarray(samples.reshape(-1, sum(signal.per_frame for signal in signals)).T)
    parts, start = {}, 0
    for signal in signals:
        own = columns[start : start + signal.per_frame]
        parts[signal] = own[0] if signal.per_frame == 1 else own.T.ravel()
        start += signal.per_frame
        if signal.fmt == "8":
            parts[signal] = signal.initial + parts[signal].cumsum(dtype=np.int32)
    return parts


def check_sums(sums, where, ignore=False) -> tuple[str, ...]:
    """Compare {signal: sum of its samples} with the header's checksums, modulo 2^16; warnings, or a SignalError."""
    unverified = ("no checksum in the header",) if any(signal.checksum is None for signal in sums) else ()
    known = {signal: total for signal, total in sums.items() if signal.checksum is not None}
    bad = [signal for signal, total in known.items() if (total - signal.checksum) % 65536]
    if not bad:
        return unverified
    names = ", ".join(signal.name for signal in bad)
    if ignore:
        return (*unverified, f"checksum ignored: {names}")
    if all(signal.checksum == 0 for signal in known):
        cause = f"{where}.hea gives 0 as every checksum, as writers do that compute none"
        raise SignalError(f"{cause}: have the checksums ignored (--ignore-checksum), if the record is whole.")
    cause = f"the samples of lead {names} do not match the header's checksum"
    raise SignalError(f"{where} is corrupt: {cause}, so fetch or export the record again.")


def _physical(signal, samples, where):
    """Samples in the signal's unit, NaN where they are invalid."""
    if not signal.gain:
        cause = f"{where}.hea gives no gain for signal {signal.name!r:.40} of {signal.file!r:.80}"
        raise SignalError(f"{cause}: add it, as in '1000(0)/mV'.")
    physical = samples - float(signal.baseline)
    physical /= signal.gain
    invalid = FORMATS[signal.fmt].invalid
    if invalid is not None and samples.min(initial=0) == invalid:
        physical[samples == invalid] = np.nan
    return physical


def _aligned(signals, where):
    """Samples without those that precede the skew, cut to the common end; skews are in frames."""
    if not any(signal.skew for signal in signals):
        return signals
    shifted = {signal: samples[signal.skew * signal.per_frame :] for signal, samples in signals.items()}
    frames = min(len(samples) // signal.per_frame for signal, samples in shifted.items())
    if not frames:
        raise SignalError(f"{where}.hea gives skews that exceed the record: correct them.")
    return {signal: samples[: frames * signal.per_frame] for signal, samples in shifted.items()}


@dataclass(frozen=True)
class Form:
    """A format of signal files."""

    samples: int  # in so many bytes
    size: int
    decode: Callable  # (bytes, number of samples) -> integers (n,)
    invalid: int | None

    def count(self, data):
        """Samples that bytes hold."""
        return len(data) * self.samples // self.size


@dataclass(frozen=True)
class Flac:
    """A signal file compressed by FLAC, with a channel per signal."""

    bits: int

    @property
    def invalid(self):
        return -(1 << self.bits - 1)

    def count(self, data):
        with self._open(data) as file:
            refuse_large(4 * file.frames * file.channels, "the unpacked signal file")
            return file.frames * file.channels

    def decode(self, data, n):
        with self._open(data) as file:
            samples = file.read(dtype="int32", always_2d=True)  # in the highest bits
        return (samples >> 32 - self.bits).ravel()[:n]

    def _open(self, data):
        import soundfile  # comes with wfdb

        return soundfile.SoundFile(io.BytesIO(data))


def _plain(dtype):
    return lambda data, n: np.frombuffer(data, dtype, n)


def _groups(data, n, of, size, dtype="u1"):
    """Groups of ``of`` samples in ``size`` numbers each, (groups, size); a last group may be incomplete."""
    whole, width = -(-n // of) * size, np.dtype(dtype).itemsize
    padded = bytes(data[: whole * width]).ljust(whole * width, b"\0")
    return np.frombuffer(padded, dtype).reshape(-1, size).astype(np.int32)


def _signed(columns, bits, n):
    samples, half = np.stack(columns, axis=1).ravel()[:n] & (1 << bits) - 1, 1 << bits - 1
    return (samples ^ half) - half


def _decode_24(data, n):
    low, middle, high = _groups(data, n, 1, 3).T
    return _signed([low | middle << 8 | high << 16], 24, n)


def _decode_212(data, n):
    first, middle, second = _groups(data, n, 2, 3).T
    return _signed([first | (middle & 15) << 8, second | (middle >> 4) << 8], 12, n)


def _decode_310(data, n):
    one, two = _groups(data, n, 3, 2, "<u2").T
    return _signed([one >> 1, two >> 1, one >> 11 | (two >> 11) << 5], 10, n)


def _decode_311(data, n):
    word, = _groups(data, n, 3, 1, "<u4").T
    return _signed([word, word >> 10, word >> 20], 10, n)


FORMATS = {
    "16": Form(1, 2, _plain("<i2"), -(2**15)), "61": Form(1, 2, _plain(">i2"), -(2**15)), "32": Form(1, 4, _plain("<i4"), -(2**31)),
    "80": Form(1, 1, lambda data, n: np.frombuffer(data, "u1", n).astype(np.int16) - 128, -(2**7)),
    "160": Form(1, 2, lambda data, n: np.frombuffer(data, "<u2", n).astype(np.int32) - 2**15, -(2**15)),
    "8": Form(1, 1, _plain("i1"), None), "24": Form(1, 3, _decode_24, -(2**23)), "212": Form(2, 3, _decode_212, -(2**11)),
    "310": Form(3, 4, _decode_310, -(2**9)), "311": Form(3, 4, _decode_311, -(2**9)),
    "508": Flac(8), "516": Flac(16), "524": Flac(24),
}  # fmt: skip
INTEGERS = {name for name, form in FORMATS.items() if isinstance(form, Form) and form.invalid is not None}  # not differences
