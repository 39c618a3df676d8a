"""The input contract: an ECG file becomes twelve named leads in mV at a known rate, filtered and resampled."""

import re
from dataclasses import dataclass, field

import numpy as np

from cardiov.ecg import formats
from cardiov.ecg.recording import MILLIVOLTS, Recording
from cardiov.errors import SignalError

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
MIN_SECONDS = 5.0
MIN_RATE = 100.0  # Hz, below it the paper's band does not fit under half the rate
MAX_RATE = 100_000.0  # Hz, no ECG is sampled faster
FLAT = 0.01  # mV, peak to peak: a lead under it carries no ECG
IMPLAUSIBLE_LEAD = 20.0  # mV, peak to peak: an artefact in this lead
IMPLAUSIBLE_RECORD = 100.0  # mV, median of the leads' peak to peak: wrong units, as when µV are declared mV
# weights of I and II in what Einthoven and Goldberger derive from them
LIMB = {"III": (-1.0, 1.0), "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0)}

_LEAD_OF = {lead.upper(): lead for lead in LEADS}
_AROUND = re.compile(r"^(?:(?:MDC_ECG_LEAD|ECG|EKG|LEAD)[ _-]*)+|\s*\(.*\)$")  # "LEAD I (EINTHOVEN)"


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


def read_ecg(source, fs=None, unit=None) -> ECG:
    """Read an ECG file as twelve leads in mV: WFDB, CSV, .npz, SCP-ECG, HL7 aECG, EDF or DICOM.

    Leads are found by name in any order and case ("AVR", "Lead I (Einthoven)", "MDC_ECG_LEAD_V1", "ecg_ii"); others
    are ignored. Of III, aVR, aVL and aVF, those missing are derived from I and II, with a warning. Units are taken
    from the file for each lead, and checksums are verified. A single invalid sample is an error, not a gap to be
    filled: the network has no notion of a missing sample.

    Parameters
    ----------
    source : str, Path or mapping of str to bytes
        A file, of WFDB with or without ``.hea``, ``.dat`` or ``.mat``; or the names and contents of files in memory.
    fs, unit : optional
        Sampling rate in Hz and unit (uV, mV or V), for a file that does not say.

    Returns
    -------
    ECG

    Raises
    ------
    SignalError
        If the file is absent, unreadable, truncated, corrupt or of an unknown format; if a lead is missing, duplicated
        or has invalid samples, no gain or unknown units; if the amplitudes suggest wrong units; or if it is shorter
        than 5 s or sampled below 100 Hz or above 100 kHz.
    """
    return as_ecg(formats.read(source, fs, unit))


def ecg_from_leads(leads, fs, unit="mV", record="") -> ECG:
    """An ECG of arrays in memory, with the checks of `read_ecg`.

    Parameters
    ----------
    leads : mapping of str to array_like, each of shape (n,)
        By lead name.
    fs : float
        Sampling rate in Hz.
    unit : str
        uV, mV or V.
    record : str
        A name for messages and ``meta``.

    Returns
    -------
    ECG

    Raises
    ------
    SignalError
        As `read_ecg`.
    """
    where = record or "the ECG"
    try:
        samples, fs = [np.asarray(lead, float) for lead in leads.values()], float(fs)
    except (TypeError, ValueError) as error:
        raise SignalError(f"{where} has leads or a rate that are no numbers ({error}): give numbers.") from error
    meta = {"record": record, "age": None, "sex": None, "comments": []}
    return as_ecg(Recording(list(leads), samples, [unit] * len(samples), fs, where, meta))


def as_ecg(recording) -> ECG:
    """The twelve leads of a `cardiov.ecg.recording.Recording`; raises and warns as `read_ecg`."""
    where, place = recording.where, _places(recording.names, recording.where)
    if recording.fs is None:
        raise SignalError(f"{where} gives no sampling rate: give it, in Hz, or add a line '# fs: 500' to a CSV file.")
    shapes = {np.shape(recording.samples[i]) for i in place.values()}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 1:
        raise SignalError(f"{where} has leads of different lengths: give leads that were recorded at the same time.")
    signal = np.empty((len(LEADS), *shape), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # found by the next check
        for lead, i in place.items():
            scale = _millivolts_per(recording.units[i], recording.names[i], where)
            np.multiply(recording.samples[i], scale, out=signal[LEADS.index(lead)], casting="same_kind")
    _refuse_invalid(signal, place, where)
    derived = [lead for lead in LIMB if lead not in place]
    for lead in derived:
        signal[LEADS.index(lead)] = LIMB[lead][0] * signal[0] + LIMB[lead][1] * signal[1]
    told = (f"derived lead: {', '.join(derived)}",) if derived else ()
    fs = float(recording.fs)
    return ECG(signal, fs, recording.meta, recording.warnings + told + check_signal(signal, fs, where))


def _places(names, where):
    """{lead: position among a file's signals}; not all of III, aVR, aVL and aVF need be there."""
    found = [_LEAD_OF.get(_AROUND.sub("", (name or "").strip().upper())) for name in names]
    missing = [lead for lead in LEADS if lead not in found and lead not in LIMB]
    twice = [lead for lead in LEADS if found.count(lead) > 1]
    if missing:
        raise SignalError(f"{where} lacks lead {', '.join(missing)}: give a record of I, II and V1 to V6 at least.")
    if twice:
        raise SignalError(f"{where} has lead {', '.join(twice)} more than once: remove or rename the extra signals.")
    return {lead: found.index(lead) for lead in LEADS if lead in found}


def _refuse_invalid(signal, place, where):
    """Samples that are no numbers, or beyond what float32 holds."""
    count = np.count_nonzero(~np.isfinite(signal), axis=-1)
    bad = {lead: count[LEADS.index(lead)] for lead in place}
    if any(bad.values()):
        named = ", ".join(f"{lead} ({count})" for lead, count in bad.items() if count)
        raise SignalError(f"{where} has invalid samples (NaN) in lead {named}: cut them out or leave the record out.")


def _millivolts_per(unit, name, where):
    if not unit:
        raise SignalError(f"{where} does not say in which unit its signals are: give the unit (uV, mV or V).")
    if unit.lower() not in MILLIVOLTS:
        raise SignalError(f"{where} gives signal {name!r:.40} in {unit!r:.40}: correct the header to uV, mV or V.")
    return MILLIVOLTS[unit.lower()]


def check_signal(signal, fs, where) -> tuple[str, ...]:
    """Check length, rate and amplitudes of a (12, n) signal in mV.

    Returns
    -------
    tuple of str
        The named warnings: "flat lead: ..." and "implausible amplitude: ...".

    Raises
    ------
    SignalError
        If it is too short, sampled too slowly or impossibly fast, or if the amplitudes suggest wrong units.
    """
    if not MIN_RATE <= fs <= MAX_RATE:
        raise SignalError(f"{where} is sampled at {fs:g} Hz: give a record of {MIN_RATE:g} to {MAX_RATE:,.0f} Hz.")
    seconds = signal.shape[-1] / fs
    if seconds < MIN_SECONDS - 1 / fs:  # a file's rate may be rounded, so a sample less will do
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
