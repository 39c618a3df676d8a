"""From an ECG file or arrays to twelve leads in mV at a known rate, checked."""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from cardiov.ecg import formats
from cardiov.ecg.names import LEADS, choose_leads, name_of
from cardiov.ecg.recording import MILLIVOLTS, Recording, meta_of
from cardiov.errors import ParameterError, SignalError

MIN_SECONDS = 5.0
MIN_RATE = 100.0  # Hz; half of it is the upper edge of the paper's band
MAX_RATE = 100_000.0  # Hz; no ECG is sampled faster
FLAT = 0.01  # mV, peak to peak; a lead below it carries no ECG
IMPLAUSIBLE_LEAD = 20.0  # mV, peak to peak; a lead above it has an artefact
IMPLAUSIBLE_RECORD = 100.0  # mV, median peak to peak of the leads; a record above it has wrong units
# weights of I and II in the leads that Einthoven and Goldberger derive from them
LIMB = {"III": (-1.0, 1.0), "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0)}


@dataclass(frozen=True)
class ECG:
    """A twelve-lead ECG, as recorded: neither filtered nor resampled."""

    signal: np.ndarray  # float32 (12, n) in mV, the leads in the order of LEADS
    fs: float  # sampling rate in Hz
    # record (name), age (years or None), sex ("male", "female" or None), comments (list), recorded (the start as ISO 8601 text
    # or None), patient (identifier or None)
    meta: dict = field(default_factory=dict)
    warnings: tuple[str, ...] = ()  # doubts about the signal, such as "flat lead: V1"


def read_ecg(source, fs=None, unit=None, ignore_checksum=False, bridge_gaps=None) -> ECG:
    """Read an ECG file as twelve leads in mV: WFDB, CSV, EDF, DICOM, SCP-ECG, HL7 aECG and others (docs/formats.md lists them).

    Leads are identified by name in any order and case ("AVR", "Lead I (Einthoven)", "MDC_ECG_LEAD_V1", "ecg_ii", "DII", "C1");
    other signals are ignored. III, aVR, aVL and aVF are derived from I and II where they are missing or invalid, with a warning.

    Parameters
    ----------
    source : str, Path or mapping of str to bytes
        A file (WFDB with or without ``.hea``, ``.dat`` or ``.mat``; "-" is the standard input), or names and contents of files
        in memory.
    fs, unit : optional
        Sampling rate in Hz and unit (uV, mV or V), for a file that gives none that can be read.
    ignore_checksum : bool
        Take samples that contradict the file's checksum, with a warning.
    bridge_gaps : float, optional
        Longest gap in ms that is filled by a straight line, with a warning.

    Raises
    ------
    SignalError
        If the file is absent, unreadable, truncated, corrupt or of an unknown format; if a lead is missing, duplicated
        or has an invalid sample, no gain or no known unit; if ``fs`` or ``unit`` contradicts the file; if the amplitudes
        suggest wrong units; or if it is shorter than 5 s or sampled below 100 Hz or above 100 kHz.
    """
    return as_ecg(formats.read(source, ignore_checksum), fs, unit, bridge_gaps)


def ecg_from_leads(leads, fs, unit="mV", record="", names=None) -> ECG:
    """Make an ECG from arrays, with the checks and errors of `read_ecg`.

    Parameters
    ----------
    leads : mapping of str to array (n,), DataFrame with a column per lead, or array (leads, n)
        Columns that are no leads are ignored.
    fs, unit : float, str
        Sampling rate in Hz; uV, mV or V.
    record : str
        Name in messages and ``meta``.
    names : sequence of str
        Names of an array's leads.
    """
    where = record or "the ECG"
    leads = [(name, samples) for name, samples in _named(leads, names, where) if name_of(name)]
    try:
        samples, fs = [_numbers(lead) for _, lead in leads], float(fs)
    except (TypeError, ValueError) as error:
        raise SignalError(f"{where} has leads or a rate that are not numbers ({error}): give numbers.") from error
    units = [str(unit or "")] * len(samples)
    return as_ecg(Recording([str(name) for name, _ in leads], samples, units, fs, where, meta_of(record)))


def _numbers(lead):
    """A lead as floats, NaN where it is masked."""
    if np.iscomplexobj(lead):
        raise TypeError("complex numbers")
    return np.ma.asanyarray(lead).astype(float).filled(np.nan)


def _named(leads, names, where):
    if hasattr(leads, "items"):  # also a DataFrame
        return leads.items()
    if names is None or np.ndim(leads) != 2 or len(names) != len(leads):
        cause = f"{where} is an array of shape {np.shape(leads)} with {len(names) if names is not None else 'no'} names"
        raise SignalError(f"{cause}: give an array (leads, n) and one name per lead, as in names=['I', 'II', ...].")
    return zip(names, leads, strict=True)


def as_ecg(recording, fs=None, unit=None, bridge_gaps=None) -> ECG:
    """The twelve leads of a `cardiov.ecg.recording.Recording`, with the parameters, checks and errors of `read_ecg`."""
    where, choice = recording.where, choose_leads(recording)
    fs = _settled_rate(choice.fs, fs, where)
    signal, units = _in_millivolts(recording, choice, unit)
    bridged = () if bridge_gaps is None else _bridge_gaps(signal, _longest(bridge_gaps, fs))
    derived = _derive(signal, choice.places, where)
    warnings = recording.warnings + choice.warnings + units + bridged + derived
    return ECG(signal, fs, recording.meta, warnings + check_signal(signal, fs, where))


def _settled_rate(of_file, given, where):
    readable = of_file is not None and math.isfinite(of_file) and of_file > 0
    if readable and given is not None and not math.isclose(of_file, given, rel_tol=1e-3):
        raise SignalError(f"{where} is sampled at {of_file:g} Hz, not at the {given:g} Hz asked for: leave the rate out.")
    fs = of_file if readable or given is None else given
    if fs is None:
        raise SignalError(f"{where} gives no sampling rate: give it, in Hz, or add a line '# fs: 500' to a CSV file.")
    return float(fs)


def _in_millivolts(recording, choice, unit):
    """(12, n), NaN where a lead is missing, and warnings."""
    shapes = {np.shape(recording.samples[i]) for i in choice.places.values()}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 1:
        raise SignalError(f"{recording.where} has leads of different lengths: give leads that were recorded at the same time.")
    scales = _scales(recording, choice, unit)
    with np.errstate(over="ignore", invalid="ignore"):  # `_derive` finds it
        signal = _scaled(recording.samples, choice, scales, shape)
    settled = {recording.units[i] for i in choice.places.values() if recording.units[i].lower() not in MILLIVOLTS} - {""}
    return signal, (f"unit as given: {unit}, the file says {', '.join(sorted(settled))!r:.80}",) if settled else ()


def _scaled(samples, choice, scales, shape):
    """(12, n), NaN where a lead is missing."""
    ordered = [*choice.places.values()] == [*range(len(LEADS))] and not choice.inverted
    if isinstance(samples, np.ndarray) and ordered and len({*scales.values()}) == 1:  # all at once
        whole, scale = samples[: len(LEADS)], scales["I"]
        return (whole if scale == 1 else whole * scale).astype(np.float32)
    signal = np.full((len(LEADS), *shape), np.nan, np.float32)
    for lead, i in choice.places.items():
        scale = -scales[lead] if lead in choice.inverted else scales[lead]
        np.multiply(samples[i], scale, out=signal[LEADS.index(lead)], casting="same_kind")
    return signal


def _scales(recording, choice, given):
    """Millivolts per unit of each lead; the given unit is for leads whose own is missing or unknown."""
    where, units = recording.where, {lead: recording.units[i] for lead, i in choice.places.items()}
    if given is not None and str(given).lower() not in MILLIVOLTS:
        raise SignalError(f"the unit given for {where} is {given!r}: give uV, mV or V.")
    known = {lead: MILLIVOLTS[unit.lower()] for lead, unit in units.items() if unit.lower() in MILLIVOLTS}
    if given is None and (unknown := [lead for lead in units if lead not in known]):
        name, unit = recording.names[choice.places[unknown[0]]], units[unknown[0]]
        if not unit:
            raise SignalError(f"{where} gives no unit for signal {name!r:.40}: give the unit (uV, mV or V).")
        cause = f"{where} gives signal {name!r:.40} in {unit!r:.40}"
        raise SignalError(f"{cause}: correct the header to uV, mV or V, or give the unit.")
    if given is not None and {*known.values()} - {MILLIVOLTS[given.lower()]}:
        raise SignalError(f"{where} gives its signals in other units than the {given} asked for: leave the unit out.")
    return {lead: known[lead] if lead in known else MILLIVOLTS[given.lower()] for lead in units}


def _longest(bridge_gaps, fs):
    """Samples of the longest gap, which is given in ms."""
    if not (isinstance(bridge_gaps, int | float) and 0 < bridge_gaps < math.inf):
        raise ParameterError(f"gaps of {bridge_gaps} ms cannot be bridged: give a number of milliseconds above 0.")
    return math.floor(bridge_gaps * fs / 1000 + 1e-6)


def _bridge_gaps(signal, longest):
    """Fill invalid stretches of at most so many samples by straight lines, at the ends by the nearest sample; the warning."""
    filled = {}
    for lead, samples in zip(LEADS, signal, strict=True):
        bad = ~np.isfinite(samples)
        gaps = np.flatnonzero(np.diff(bad, prepend=False, append=False)).reshape(-1, 2)  # starts and ends
        short = [np.arange(*gap) for gap in gaps if gap[1] - gap[0] <= longest]
        if short and not bad.all():
            places = np.concatenate(short)
            samples[places] = np.interp(places, np.flatnonzero(~bad), samples[~bad])
            filled[lead] = len(places)
    texts = [f"{lead} ({count} {'samples' if count > 1 else 'sample'})" for lead, count in filled.items()]
    return (f"bridged gap: {', '.join(texts)}",) if texts else ()


def _derive(signal, places, where):
    """Compute limb leads that are missing or invalid from I and II; the warning, or a SignalError for other invalid samples."""
    if len(places) == len(LEADS) and np.isfinite(signal).all():
        return ()
    invalid = dict(zip(LEADS, np.count_nonzero(~np.isfinite(signal), axis=-1), strict=True))  # gaps are filled on request only
    needed = [lead for lead in places if invalid[lead] and (lead not in LIMB or invalid["I"] or invalid["II"])]
    if bad := ", ".join(f"{lead} ({invalid[lead]})" for lead in needed):
        cause = f"{where} has invalid samples (NaN) in lead {bad}"
        raise SignalError(f"{cause}: cut them out, have short gaps bridged (--bridge-gaps MS), or leave the record out.")
    derived = [lead for lead in LIMB if invalid[lead] or lead not in places]
    for lead in derived:
        signal[LEADS.index(lead)] = LIMB[lead][0] * signal[0] + LIMB[lead][1] * signal[1]
    return (f"derived lead: {', '.join(derived)}",) if derived else ()


def check_ecg(ecg) -> ECG:
    """An ECG that the caller made, with the checks, errors and warnings of `read_ecg`."""
    shape = np.shape(ecg.signal)
    numbers = np.asarray(ecg.signal).dtype.kind in "fiu" and np.isfinite(ecg.signal).all() and not np.ma.is_masked(ecg.signal)
    if len(shape) != 2 or shape[0] != len(LEADS) or not numbers:
        raise SignalError(
            f"the ECG's signal has the shape {shape} or samples that are no numbers: give finite mV in the shape (12, n), "
            "leads I II III aVR aVL aVF V1 to V6."
        )
    signal = np.asarray(ecg.signal, np.float32)
    warnings = dict.fromkeys([*ecg.warnings, *check_signal(signal, ecg.fs, "the ECG")])
    return replace(ecg, signal=signal, warnings=tuple(warnings))


def check_signal(signal, fs, where) -> tuple[str, ...]:
    """Warnings of flat and implausible leads of a (12, n) signal in mV; a SignalError if it is no ECG as a whole."""
    if not MIN_RATE <= fs <= MAX_RATE:
        raise SignalError(f"{where} is sampled at {fs:g} Hz: give a record of {MIN_RATE:g} to {MAX_RATE:,.0f} Hz.")
    seconds = signal.shape[-1] / fs
    if seconds < MIN_SECONDS - 1 / fs:  # one sample less is enough, because a file's rate may be rounded
        raise SignalError(f"{where} is {seconds:.2f} s long: give a record of at least {MIN_SECONDS:g} s.")
    extent = np.ptp(signal, axis=-1)  # (12,)
    flat, large = extent < FLAT, extent > IMPLAUSIBLE_LEAD
    if flat.all() or large.any() and np.median(extent) > IMPLAUSIBLE_RECORD:
        cause = f"{where} has a median lead amplitude of {np.median(extent):.3g} mV peak to peak, which no ECG has"
        raise SignalError(f"{cause}: check the units and the gain in its header.")
    flags = {"flat lead": flat, "implausible amplitude": large}
    return tuple(f"{name}: {', '.join(np.array(LEADS)[bad])}" for name, bad in flags.items() if bad.any())
