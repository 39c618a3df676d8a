"""The input contract: an ECG file becomes twelve named leads in mV at a known rate, filtered and resampled."""

import re
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import scipy.fft
import scipy.signal

from cardiov.errors import SignalError

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
BAND = (0.5, 50.0)  # Hz, the paper's
ORDER = 3  # of the Butterworth prototype; forward and backward it acts as twice that
MIN_SECONDS = 5.0
MIN_RATE = 100.0  # Hz, below it the paper's band does not fit under half the rate
FLAT = 0.01  # mV, peak to peak: a lead under it carries no ECG
IMPLAUSIBLE_LEAD = 20.0  # mV, peak to peak: an artefact in this lead
IMPLAUSIBLE_RECORD = 100.0  # mV, median of the leads' peak to peak: wrong units, as when µV are declared mV
MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "v": 1e3}  # both signs for micro: U+00B5 and U+03BC

_LEAD_OF = {lead.upper(): lead for lead in LEADS}
_PREFIX = re.compile(r"^(MDC_ECG_LEAD|ECG|LEAD)[ _-]*")


@dataclass(frozen=True)
class ECG:
    """A twelve-lead ECG.

    Attributes
    ----------
    signal : ndarray of float32, shape (12, n)
        In mV, the leads in the order of `LEADS`, as recorded (neither filtered nor resampled).
    fs : float
        Sampling rate in Hz.
    meta : dict
        ``record`` (name), ``age`` (years or None), ``sex`` ("male", "female" or None), ``comments`` (list of str).
    warnings : tuple of str
        What a reader should know before trusting the signal, such as "flat lead: V1".
    """

    signal: np.ndarray
    fs: float
    meta: dict = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_ecg(path, fs=None, unit=None) -> ECG:
    """Read a WFDB record as twelve leads in mV.

    Leads are found by name in any order and case ("AVR", "Lead I", "MDC_ECG_LEAD_V1", "ecg_ii"); others are ignored.
    Units, gain and baseline are taken from the header for each lead, and the header's checksums are verified. A single
    invalid sample is an error, not a gap to be filled: the network has no notion of a missing sample.

    Parameters
    ----------
    path : str or Path
        The record, with or without ``.hea`` or ``.dat``.

    Returns
    -------
    ECG

    Raises
    ------
    SignalError
        If the record is absent, unreadable, truncated or corrupt; if a lead is missing, duplicated or has invalid
        samples, no gain or unknown units; if the amplitudes suggest wrong units; or if it is shorter than 5 s or
        sampled below 100 Hz.
    """
    path = Path(path)
    base = path.with_suffix("") if path.suffix in (".hea", ".dat") else path
    units = _header_units(Path(f"{base}.hea"))
    record = _read_wfdb(base)
    order = lead_order(record.sig_name, base)
    unverified = _verify_checksums([record.e_d_signal[i] for i in order], [record.checksum[i] for i in order], base)
    scale = [_millivolts_per(units[i], record.sig_name[i], base) for i in order]
    physical = record.dac(expanded=True)  # float64, in the header's units, NaN where a sample is invalid
    signal = np.stack([physical[i] * factor for i, factor in zip(order, scale, strict=True)]).astype(np.float32)
    _refuse_invalid(signal, base)
    fs = float(record.fs)
    return ECG(signal, fs, _meta(record), unverified + check_signal(signal, fs, base))


def _header_units(header):
    """Units of each signal, from the header's text, and what of it wfdb would guess or misread.

    wfdb drops what is not ASCII, so that "µV" becomes "V", and fills in a missing gain (200) and rate (250 Hz).
    """
    lines = [line.split() for line in _text(header).splitlines() if line.strip() and not line.startswith("#")]
    if not lines or "/" in lines[0][0]:
        raise SignalError(f"{header} is empty or lists several segments: give a record of a single segment.")
    if len(lines[0]) < 3:
        raise SignalError(f"{header} gives no sampling rate: add it to its first line, as in 'name 12 500 5000'.")
    for file, *fields in lines[1:]:
        if re.search(r"[/\\]|\.\.", file):
            raise SignalError(f"{header} points to {file!r}: move it beside the header and name it without a path.")
        if len(fields) < 2 or not re.match(r"-?[\d.]*[1-9]", fields[1]):
            raise SignalError(f"{header} gives no gain for a signal of {file!r}: add it, as in '1000(0)/mV'.")
    return [fields[2].partition("/")[2] or "mV" for fields in lines[1:]]  # mV is WFDB's default


def _text(header):
    try:
        content = header.read_bytes()
    except OSError as error:
        raise SignalError(
            f"{header} cannot be read ({error.strerror}): check the path, and give a WFDB record with its .hea file."
        ) from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _read_wfdb(base):
    import wfdb  # takes half a second, which those who only read PTB-XL's plain records need not wait

    try:
        record = wfdb.rdrecord(str(base.absolute()), physical=False, smooth_frames=False)
    except Exception as error:  # wfdb raises whatever its parsing stumbles over
        raise SignalError(
            f"{base} cannot be read as a WFDB record ({error}): its header or signal file is missing, truncated or "
            "corrupt, so fetch or export it again."
        ) from error
    if len({len(samples) for samples in record.e_d_signal}) != 1:
        raise SignalError(f"{base} samples its leads at different rates: export it with one rate for all leads.")
    return record


def lead_order(names, where) -> list[int]:
    """Positions of the twelve leads, in the order of `LEADS`, among a file's signal names.

    Raises
    ------
    SignalError
        If a lead is missing or there is more than one of it.
    """
    found = [_LEAD_OF.get(_PREFIX.sub("", (name or "").strip().upper())) for name in names]
    missing = [lead for lead in LEADS if lead not in found]
    twice = [lead for lead in LEADS if found.count(lead) > 1]
    if missing:
        raise SignalError(f"{where} lacks lead {', '.join(missing)}: give a record of all twelve standard leads.")
    if twice:
        raise SignalError(f"{where} has lead {', '.join(twice)} more than once: remove or rename the extra signals.")
    return [found.index(lead) for lead in LEADS]


def _verify_checksums(digital, checksums, base):
    """A signal's checksum is the sum of its samples modulo 2^16; the warning, if any, of leads that have none."""
    signals = zip(LEADS, digital, checksums, strict=True)
    known = [(lead, int(samples.sum(dtype=np.int64)) - given) for lead, samples, given in signals if given is not None]
    bad = [lead for lead, difference in known if difference % 65536]
    if bad:
        raise SignalError(
            f"{base} is corrupt: the samples of lead {', '.join(bad)} do not match the header's checksum, so fetch or "
            "export the record again."
        )
    return () if len(known) == len(LEADS) else ("no checksum in the header",)


def _refuse_invalid(signal, base):
    counts = zip(LEADS, np.isnan(signal).sum(axis=-1), strict=True)
    bad = [f"{lead} ({count})" for lead, count in counts if count]
    if bad:
        raise SignalError(
            f"{base} has invalid samples (NaN) in lead {', '.join(bad)}: cut them out or leave the record out."
        )


def _millivolts_per(unit, name, base):
    if unit.lower() not in MILLIVOLTS:
        raise SignalError(f"{base} gives signal {name!r} in {unit!r}: correct the header to uV, mV or V.")
    return MILLIVOLTS[unit.lower()]


def _meta(record):
    comments = [comment.strip() for comment in record.comments]
    text = "\n".join(comments).lower()
    age = re.search(r"\bage\W+(\d+(?:\.\d+)?)", text)
    sex = re.search(r"\b(?:sex|gender)\W+(male|female|m|f)\b", text)
    return {
        "record": record.record_name,
        "age": float(age[1]) if age else None,
        "sex": {"m": "male", "f": "female"}[sex[1][0]] if sex else None,
        "comments": comments,
    }


def check_signal(signal, fs, where) -> tuple[str, ...]:
    """Check length, rate and amplitudes of a (12, n) signal in mV.

    Returns
    -------
    tuple of str
        The named warnings: "flat lead: ..." and "implausible amplitude: ...".

    Raises
    ------
    SignalError
        If it is too short or too slowly sampled, or if the amplitudes suggest wrong units.
    """
    if not fs >= MIN_RATE:
        raise SignalError(f"{where} is sampled at {fs:g} Hz: give a record of at least {MIN_RATE:g} Hz.")
    seconds = signal.shape[-1] / fs
    if seconds < MIN_SECONDS:
        raise SignalError(f"{where} is {seconds:.2f} s long: give a record of at least {MIN_SECONDS:g} s.")
    extent = np.ptp(signal, axis=-1)  # (12,)
    flat, large = extent < FLAT, extent > IMPLAUSIBLE_LEAD
    if flat.all() or np.median(extent) > IMPLAUSIBLE_RECORD:
        raise SignalError(
            f"{where} has a median lead amplitude of {np.median(extent):.3g} mV peak to peak, which no ECG has: check "
            "the units and the gain in its header."
        )
    warnings = []
    for name, leads in (("flat lead", flat), ("implausible amplitude", large)):
        if leads.any():
            warnings.append(f"{name}: {', '.join(np.array(LEADS)[leads])}")
    return tuple(warnings)


@lru_cache(maxsize=8)
def _gain(n, fs):
    """Squared magnitude of the Butterworth band-pass at the frequencies of a sine transform of n points."""
    if fs / 2 > BAND[1]:
        sos = scipy.signal.butter(ORDER, BAND, "bandpass", fs=fs, output="sos")
    else:  # nothing lies above the upper edge
        sos = scipy.signal.butter(ORDER, BAND[0], "highpass", fs=fs, output="sos")
    frequencies = np.arange(1, n + 1) * fs / (2 * n)
    response = scipy.signal.freqz_sos(sos, frequencies, fs=fs)[1]
    return (np.abs(response) ** 2).astype(np.float32)


def bandpass(signal, fs) -> np.ndarray:
    """Zero-phase band-pass of 0.5 to 50 Hz (below 100 Hz of rate: high-pass of 0.5 Hz).

    A third-order Butterworth filter run forward and backward, as `scipy.signal.sosfiltfilt` does with odd extension,
    but as one product in the frequency domain: the line between the first and the last sample, which the filter
    removes anyway, is subtracted, and what is left, continued oddly at both ends for ever, is exactly a sum of sines.
    It equals ``sosfiltfilt`` of the signal so continued within 0.1 µV, in a fraction of the time. ``sosfiltfilt``
    itself repeats no edge sample: told to continue the signal by its whole length, it differs on PTB-XL by up to 25 µV
    in the first and last 10 ms, by 6 µV after them and by less than 1 µV a second inside. (By default it continues the
    signal by 21 samples, too few for 0.5 Hz, and differs by hundreds of µV at the edges.)

    The authors' code uses a zero-phase FIR filter of the same band (MNE's default design, on float64). The exact
    transfer functions differ: theirs has a gain of one within the band and falls over 0.5 Hz below and 12.5 Hz above
    it, this one has a gain of one half at 0.5 and at 50 Hz.

    Parameters
    ----------
    signal : ndarray, shape (..., n)
    fs : float
        Sampling rate in Hz.

    Returns
    -------
    ndarray of float32, shape (..., n)
    """
    x = np.asarray(signal, np.float32)
    n = x.shape[-1]
    first, last = x[..., :1], x[..., -1:]
    along = (np.arange(n, dtype=np.float32) + 0.5) / n
    spectrum = scipy.fft.dst(x - (first + (last - first) * along), type=2)
    return scipy.fft.idst(spectrum * _gain(n, float(fs)), type=2, overwrite_x=True)


def resample(signal, fs, rate) -> np.ndarray:
    """Resample (..., n) from ``fs`` to ``rate``, both in Hz, by a polyphase filter; (..., ceil(n * rate / fs))."""
    ratio = (Fraction(rate) / Fraction(fs)).limit_denominator(1000)
    if ratio == 1:
        return signal
    return scipy.signal.resample_poly(signal, ratio.numerator, ratio.denominator, axis=-1, padtype="line")


def prepare_signal(signal, fs, rate) -> np.ndarray:
    """What the network sees of a (12, n) signal in mV: band-passed, then resampled to ``rate``; float32."""
    return resample(bandpass(signal, fs), fs, rate)


def whole_microvolts(signal) -> np.ndarray:
    """A signal in mV rounded to whole µV, as a cache keeps it and a network is trained on it; float32."""
    return np.multiply(np.rint(signal * np.float32(1000)), 1e-3, dtype=np.float32)
