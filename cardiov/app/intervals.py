"""Heart rate, PR, QRS, QT and QTc of an ECG, measured automatically by NeuroKit2, or the reason why they cannot be.

Its delineator by peak prominence (Emrich et al. 2024, EUSIPCO, 1402) marks the waves of every lead alone. PR and QT are medians
over leads, QRS is the upper quartile, because leads across the heart's axis show the complex too short. It marks no complex wider
than 100 ms, and with wider limits it measures narrow ones wrong, so a wide one is "not measurable". These choices and the limits
were made on the odd records of LUDB; ``tests/benchmarks/test_interval_marks.py`` measures the differences from the marks of its
cardiologists on the even ones, for ``results/benchmarks/intervals.json``.
"""

import warnings
from typing import NamedTuple

import numpy as np

from cardiov.ecg.filters import resample

RATE = 500  # Hz, of the delineated signal
BEATS, LEADS = 4, 6  # of each at least
APART = 100  # ms between the R peaks of one beat in two leads, at most
REACH = {"P": 400, "QRS": 150, "T": 650}  # ms from the R peak, within which a wave belongs to the beat
SHARE = {"PR": 0.5, "QRS": 0.75, "QT": 0.5}  # quantile over leads
STEADY = {"PR": 15, "QRS": 20, "QT": 40}  # ms, largest interquartile range over the beats of a lead, the median over leads
PLAUSIBLE = {"PR": (80, 350), "QRS": (50, 220), "QT": (220, 650)}  # ms
WIDE, IN_LEADS = 94, 2  # ms; a complex so wide in two leads may be much wider; if it is in most, its PR interval comes too short
REGULAR = 0.15  # largest interquartile range of the RR intervals, relative to their median, with which a P wave is believed


class Measure(NamedTuple):
    """One measurement; a value of None is "not measurable", for the reason ``why``."""

    name: str
    value: int | None
    unit: str
    why: str = ""

    @property
    def text(self) -> str:
        return "not measurable" if self.value is None else f"{self.value} {self.unit}"


def measure(signal, fs) -> tuple[Measure, ...]:
    """Heart rate per minute, and PR, QRS, QT and Fridericia's QTc in ms, of a signal (12, n) in mV at ``fs`` Hz."""
    try:
        leads = _leads_that_agree(resample(signal.astype(np.float64), fs, RATE))
    except ImportError as error:
        return _none(f'{error.name} is not installed: pip install "cardiov[app]"')
    if len(leads) < LEADS:
        return _none("the leads disagree on the beats, or show fewer than four")
    intervals = [np.diff(peaks) / RATE for peaks, _ in leads]
    rr, spread = np.median([rr.mean() for rr in intervals]), np.median([_spread(rr) / np.median(rr) for rr in intervals])
    pr, qrs, qt = [_over_leads(name, [beats[name] for _, beats in leads]) for name in SHARE]
    if (qrs.value or 0) >= WIDE:
        pr = Measure("PR", None, "ms", "the QRS complex may be wide")
    if spread > REGULAR:
        pr = Measure("PR", None, "ms", "the rhythm is irregular")
    if sum(_median(beats["QRS"]) >= WIDE for _, beats in leads) >= IN_LEADS:
        qrs = Measure("QRS", None, "ms", f"{WIDE} ms or wider")
    qtc = qt._replace(name="QTc", value=qt.value and round(qt.value / np.cbrt(rr)))
    return Measure("heart rate", round(60 / rr), "/min"), pr, qrs, qt, qtc


def _none(why):
    units = {"heart rate": "/min"} | dict.fromkeys(("PR", "QRS", "QT", "QTc"), "ms")
    return tuple(Measure(name, None, unit, why) for name, unit in units.items())


def _leads_that_agree(signal):
    """R peaks and intervals of the largest group of leads with enough beats, which are the same ones."""
    import neurokit2  # takes seconds

    leads = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a lead without beats, which is left out
        for lead in signal:
            try:
                leads.append(_delineated(neurokit2, lead))
            except Exception:  # neurokit2 raises errors of any kind where it finds no beats
                continue
    leads = [lead for lead in leads if len(lead[0]) >= BEATS]
    return max(([other for other in leads if _same_beats(one[0], other[0])] for one in leads), key=len, default=[])


def _same_beats(peaks, others):
    """Whether two leads show the same beats, but for one at an end."""
    apart = np.median([np.abs(others - peak).min() for peak in peaks])
    return apart * 1000 / RATE < APART and abs(len(peaks) - len(others)) <= 1


def _delineated(neurokit2, lead):
    """R peaks (beats,) in samples, and by name the intervals (beats,) in ms of one lead; NaN where a wave is not found."""
    clean = neurokit2.ecg_clean(lead, RATE)
    peaks = np.asarray(neurokit2.ecg_peaks(clean, RATE)[1]["ECG_R_Peaks"])
    waves = neurokit2.ecg_delineate(clean, peaks, RATE, method="prominence")[1]
    places = {name: np.sort(np.asarray(found, float)) for name, found in waves.items()}  # NaN last
    p, onset = _before(places["ECG_P_Onsets"], peaks, REACH["P"]), _before(places["ECG_R_Onsets"], peaks, REACH["QRS"])
    end, t = _after(places["ECG_R_Offsets"], peaks, REACH["QRS"]), _after(places["ECG_T_Offsets"], peaks, REACH["T"])
    samples = {"PR": onset - p, "QRS": end - onset, "QT": t - onset}
    return peaks, {name: 1000 / RATE * intervals for name, intervals in samples.items()}


def _before(places, peaks, reach):
    """The last place before each peak, NaN if it is farther than so many ms."""
    before = np.r_[np.nan, places][np.searchsorted(places, peaks)]
    return np.where(peaks - before < reach * RATE / 1000, before, np.nan)


def _after(places, peaks, reach):
    return -_before(-places[np.isfinite(places)][::-1], -peaks, reach)


def _spread(x):
    return np.subtract(*np.quantile(x, (0.75, 0.25)))


def _median(beats):
    return np.median(beats[np.isfinite(beats)]) if np.isfinite(beats).any() else np.nan


def _over_leads(name, leads):
    """One interval from those of the beats of each lead, if enough beats have it and they agree."""
    found = [beats[np.isfinite(beats)] for beats in leads]
    found = [beats for beats in found if len(beats) >= BEATS]
    if len(found) < LEADS:
        return Measure(name, None, "ms", "too few waves were found")
    if np.median([_spread(beats) for beats in found]) > STEADY[name]:
        return Measure(name, None, "ms", "the beats differ too much")
    value = round(np.quantile([np.median(beats) for beats in found], SHARE[name]))
    low, high = PLAUSIBLE[name]
    return Measure(name, value, "ms") if low <= value <= high else Measure(name, None, "ms", f"{value} ms would be implausible")
