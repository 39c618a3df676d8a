"""When the simulated heart beats, from before the record's start to after its end, in each rhythm."""

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sawtooth, sosfiltfilt

from cardiov.data.demo.heart import FS, SECONDS, TIME, Beat, first_of
RATES = {  # ventricular rate, beats per minute: lowest, most frequent, highest
    "SBRAD": (42, 53, 57), "STACH": (103, 110, 135), "SARRH": (61, 70, 84), "AFIB": (62, 88, 135), "SVTAC": (145, 165, 195),
    "2AVB": (68, 78, 92), "3AVB": (31, 38, 45), "PACE": (60, 68, 74), "BIGU": (63, 75, 85), "TRIGU": (63, 75, 85),
    "": (61, 72, 96),
}  # fmt: skip


def _times(rate, irregularity, heart, rng):
    """Onsets (s); `irregularity` is the share by which breathing changes the RR interval."""
    frequency, phase = heart.breath
    times = [-rng.uniform(1, 2)]
    while times[-1] < SECONDS + 1:
        breathing = irregularity * np.sin(2 * np.pi * frequency * times[-1] + phase)
        times.append(times[-1] + 60 / rate * (1 + breathing + 0.008 * rng.standard_normal()))
    return times


def _rate(codes, rng):
    return rng.triangular(*first_of(RATES, codes))


def _sinus(codes, heart, rng):
    irregularity = rng.uniform(0.12, 0.22) if "SARRH" in codes else rng.uniform(0.005, 0.035)
    symbol = first_of({"CLBBB": "L", "CRBBB": "R", "": "N"}, codes)
    return [Beat(t, heart.pr, symbol=symbol) for t in _times(_rate(codes, rng), irregularity, heart, rng)]


def _fibrillation(codes, heart, rng):
    beat, *others = _sinus(codes, heart, rng)
    mean = (others[-1].onset - beat.onset) / len(others)
    rr = mean * np.clip(rng.lognormal(-0.03, 0.24, 2 * len(others)), 0.6, 1.9)
    onsets = beat.onset + np.cumsum(np.maximum(rr, 0.33))
    return [beat._replace(onset=t, atria="") for t in onsets if t < SECONDS + 1]


def _flutter_period(heart):
    return 0.18 + 0.3 * (heart.pr - 0.125)  # s, the patient's own: 300 to 330 per minute


def _flutter(codes, heart, rng):
    varying = rng.random() < 0.4
    ratios = rng.choice([2, 3, 4], p=[0.35, 0.25, 0.4], size=60 if varying else 1)
    onsets = -1.0 + np.cumsum(np.resize(ratios, 60)) * _flutter_period(heart)
    return [Beat(t, 0, atria="") for t in onsets if t < SECONDS + 1]


def _tachycardia(codes, heart, rng):
    """Supraventricular tachycardia without visible P waves; the paroxysmal one starts within the record."""
    start = rng.uniform(2, 5) if "PSVT" in codes else -2.0
    run = np.arange(start, SECONDS + 1, 60 / rng.triangular(*RATES["SVTAC"]))
    before = [beat for beat in _sinus(codes, heart, rng) if beat.onset < start - 0.35]
    return before + [Beat(t, 0, symbol="S", atria="") for t in run]


def _second_degree(codes, heart, rng):
    """Wenckebach's growing PR intervals, or every second P wave blocked."""
    cycle, growth = (2, 0) if rng.random() < 0.4 else (rng.integers(3, 6), rng.uniform(0.05, 0.11))
    beats = []
    for k, beat in enumerate(_sinus(codes, heart, rng)):
        longer, blocked = growth * np.sqrt(k % cycle), k % cycle == cycle - 1
        beats.append(Beat(beat.onset + longer, heart.pr + longer, "" if blocked else "narrow"))
    return beats


def _third_degree(codes, heart, rng):
    """Atria and ventricles each at their own rate."""
    loop, symbol = ("left ventricle", "E") if rng.random() < 0.5 else ("narrow", "j")
    atria = [Beat(t, heart.pr, "") for t in _times(rng.uniform(68, 95), 0.02, heart, rng)]
    return atria + [Beat(t, 0, loop, symbol, "") for t in _times(_rate(codes, rng), 0.005, heart, rng)]


def _paced(codes, heart, rng):
    atria = "sinus" if rng.random() < 0.5 else ""  # following the patient's own P waves, or over silent atria
    return [Beat(t, 0.16, "paced", "/", atria) for t in _times(_rate(codes, rng), 0, heart, rng)]


RHYTHMS = {"AFIB": _fibrillation, "AFLT": _flutter, "SVTAC": _tachycardia, "PSVT": _tachycardia,
           "2AVB": _second_degree, "3AVB": _third_degree, "PACE": _paced, "": _sinus}  # fmt: skip


def premature(beats, codes, rng):
    """Make some beats premature: ventricular with a compensatory pause, or atrial that resets the rhythm."""
    onsets = [beat.onset for beat in beats]
    fit = [k for k in range(1, len(beats)) if 0.8 < onsets[k] < SECONDS - 0.8 and onsets[k] - onsets[k - 1] > 0.5]
    every = first_of({"BIGU": 2, "TRIGU": 3, "": 0}, codes)
    chosen = fit[::every] if every else rng.permutation(fit[:: rng.integers(3, 8)])[: rng.integers(1, 4)]
    atrial = "PAC" in codes or (every and rng.random() < 0.2)
    ventricle = "right ventricle" if rng.random() < 0.5 else "left ventricle"
    ectopic = {"symbol": "A", "atria": "ectopic"} if atrial else {"symbol": "V", "atria": "", "loop": ventricle}
    coupling, shift, result = rng.uniform(0.56, 0.68) + 0.06 * bool(atrial), 0.0, []
    for k, beat in enumerate(beats):
        early = (1 - coupling) * (onsets[k] - onsets[k - 1]) if k in chosen else 0.0
        result.append(beat._replace(onset=beat.onset - shift - early, **(ectopic if early else {})))
        shift += 0.8 * early if atrial else 0.0
    return result


def atrial_activity(codes, heart, rng):
    """Fibrillatory or flutter waves, (3, n) in mV."""
    if "AFIB" in codes:
        band = butter(1, (4.5, 9.0), "bandpass", fs=FS, output="sos")
        waves = sosfiltfilt(band, rng.standard_normal((3, len(TIME))))
        return waves / waves.std() * rng.uniform(0.02, 0.05) * np.array([[0.6], [1.0], [1.0]])
    if "AFLT" in codes:
        phase = 2 * np.pi * (TIME + 0.97) / _flutter_period(heart)
        wave = gaussian_filter1d(sawtooth(phase, 0.3), 0.009 * FS, mode="nearest")
        return np.outer((-0.01, 0.17, -0.06), wave) * rng.uniform(0.7, 1.3)
    return np.zeros((3, len(TIME)))
