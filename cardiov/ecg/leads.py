"""From an ECG file or arrays to twelve leads in mV at a known rate, checked."""

from dataclasses import dataclass, field

import numpy as np

from cardiov.ecg import formats
from cardiov.ecg.names import LEADS, lead_of
from cardiov.ecg.recording import MILLIVOLTS, Recording, meta_of
from cardiov.errors import SignalError

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


def read_ecg(source, fs=None, unit=None) -> ECG:
    """Read an ECG file as twelve leads in mV: WFDB, CSV, .npz, SCP-ECG, HL7 aECG, EDF or DICOM.

    Leads are identified by name in any order and case ("AVR", "Lead I (Einthoven)", "MDC_ECG_LEAD_V1", "ecg_ii"); other
    signals are ignored. Missing leads among III, aVR, aVL and aVF are derived from I and II, with a warning.

    Parameters
    ----------
    source : str, Path or mapping of str to bytes
        A file (WFDB with or without ``.hea``, ``.dat`` or ``.mat``), or names and contents of files in memory.
    fs, unit : optional
        Sampling rate in Hz and unit (uV, mV or V), for a file that gives none.

    Raises
    ------
    SignalError
        If the file is absent, unreadable, truncated, corrupt or of an unknown format; if a lead is missing, duplicated
        or has an invalid sample, no gain or no known unit; if ``fs`` or ``unit`` contradicts the file; if the amplitudes
        suggest wrong units; or if it is shorter than 5 s or sampled below 100 Hz or above 100 kHz.
    """
    return as_ecg(formats.read(source, fs, unit))


def ecg_from_leads(leads, fs, unit="mV", record="") -> ECG:
    """Make an ECG from arrays (n,) by lead name, with the checks and errors of `read_ecg`.

    ``fs`` is in Hz, ``unit`` uV, mV or V; ``record`` is the name in messages and ``meta``.
    """
    where = record or "the ECG"
    try:
        samples, fs = [np.asarray(lead, float) for lead in leads.values()], float(fs)
    except (TypeError, ValueError) as error:
        raise SignalError(f"{where} has leads or a rate that are not numbers ({error}): give numbers.") from error
    return as_ecg(Recording(list(leads), samples, [unit] * len(samples), fs, where, meta_of(record)))


def as_ecg(recording) -> ECG:
    """The twelve leads of a `cardiov.ecg.recording.Recording`, with the checks and errors of `read_ecg`."""
    where, place = recording.where, _places(recording.names, recording.where)
    if recording.fs is None:
        raise SignalError(f"{where} gives no sampling rate: give it, in Hz, or add a line '# fs: 500' to a CSV file.")
    shapes = {np.shape(recording.samples[i]) for i in place.values()}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 1:
        raise SignalError(f"{where} has leads of different lengths: give leads that were recorded at the same time.")
    signal = np.empty((len(LEADS), *shape), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # the next check finds it
        for lead, i in place.items():
            scale = _millivolts_per(recording.units[i], recording.names[i], where)
            np.multiply(recording.samples[i], scale, out=signal[LEADS.index(lead)], casting="same_kind")
    invalid = np.count_nonzero(~np.isfinite(signal), axis=-1)  # a gap is not filled: the network knows no missing samples
    if bad := ", ".join(f"{lead} ({invalid[LEADS.index(lead)]})" for lead in place if invalid[LEADS.index(lead)]):
        raise SignalError(f"{where} has invalid samples (NaN) in lead {bad}: cut them out or leave the record out.")
    derived = [lead for lead in LIMB if lead not in place]
    for lead in derived:
        signal[LEADS.index(lead)] = LIMB[lead][0] * signal[0] + LIMB[lead][1] * signal[1]
    warnings = recording.warnings + ((f"derived lead: {', '.join(derived)}",) if derived else ())
    return ECG(signal, float(recording.fs), recording.meta, warnings + check_signal(signal, float(recording.fs), where))


def _places(names, where):
    """{lead: position among a file's signals}; III, aVR, aVL and aVF may be missing."""
    leads = [lead_of(name) for name in names]
    if missing := [lead for lead in LEADS if lead not in leads and lead not in LIMB]:
        raise SignalError(f"{where} lacks lead {', '.join(missing)}: give a record with at least I, II and V1 to V6.")
    if repeated := [lead for lead in LEADS if leads.count(lead) > 1]:
        raise SignalError(f"{where} has lead {', '.join(repeated)} more than once: remove or rename the extra signals.")
    return {lead: leads.index(lead) for lead in LEADS if lead in leads}


def _millivolts_per(unit, name, where):
    if not unit:
        raise SignalError(f"{where} gives no unit for signal {name!r:.40}: give the unit (uV, mV or V).")
    if unit.lower() not in MILLIVOLTS:
        raise SignalError(f"{where} gives signal {name!r:.40} in {unit!r:.40}: correct the header to uV, mV or V.")
    return MILLIVOLTS[unit.lower()]


def check_signal(signal, fs, where) -> tuple[str, ...]:
    """Warnings of flat and implausible leads of a (12, n) signal in mV; a SignalError if it is no ECG as a whole."""
    if not MIN_RATE <= fs <= MAX_RATE:
        raise SignalError(f"{where} is sampled at {fs:g} Hz: give a record of {MIN_RATE:g} to {MAX_RATE:,.0f} Hz.")
    seconds = signal.shape[-1] / fs
    if seconds < MIN_SECONDS - 1 / fs:  # one sample less is enough, because a file's rate may be rounded
        raise SignalError(f"{where} is {seconds:.2f} s long: give a record of at least {MIN_SECONDS:g} s.")
    extent = np.ptp(signal, axis=-1)  # (12,)
    flat, large = extent < FLAT, extent > IMPLAUSIBLE_LEAD
    if flat.all() or np.median(extent) > IMPLAUSIBLE_RECORD:
        cause = f"{where} has a median lead amplitude of {np.median(extent):.3g} mV peak to peak, which no ECG has"
        raise SignalError(f"{cause}: check the units and the gain in its header.")
    flags = {"flat lead": flat, "implausible amplitude": large}
    return tuple(f"{name}: {', '.join(np.array(LEADS)[bad])}" for name, bad in flags.items() if bad.any())
