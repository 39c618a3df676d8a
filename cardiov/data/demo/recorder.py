"""The simulated recorder: noise at the nine electrodes, twelve leads in digital units, annotations of the waves."""

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sosfilt

from cardiov.data.demo.heart import FS, SECONDS, TIME
from cardiov.ecg.electrodes import ELECTRODES

UNITS_PER_MV = 1000  # as PTB-XL: 1 µV per unit
QUIET = 0.006  # mV, noise of an electrode in a good record
MUSCLE_BAND = butter(1, (15, 150), "bandpass", fs=FS, output="sos")


def _muscle(size, rng):
    return 1.5 * size * sosfilt(MUSCLE_BAND, rng.standard_normal(len(TIME)))


def _drift(size, rng):
    frequency, phase = rng.uniform(0.05, 0.4, (3, 1)), rng.uniform(0, 2 * np.pi, (3, 1))
    return size * np.sin(2 * np.pi * frequency * TIME + phase).sum(axis=0)


def _static(size, rng):
    mains = np.sin(2 * np.pi * 50 * TIME + rng.uniform(0, 2 * np.pi))
    return rng.uniform(0.5, 1) * size * mains + _muscle(size, rng)


def _burst(size, rng):
    places = rng.uniform(0.5, SECONDS - 0.5, (rng.integers(1, 4), 1))
    return _muscle(size, rng) * np.exp(-0.5 * ((TIME - places) / 0.15) ** 2).sum(axis=0)


def _loose(size, rng):
    """Sudden steps of a loose electrode."""
    steps = np.sort(rng.uniform(0, SECONDS, 6))
    return gaussian_filter1d(rng.normal(0, size, 7)[np.searchsorted(steps, TIME)], 2)


NOISES = {  # column: share of records, PTB-XL's notation of the place, source, size (mV)
    "baseline_drift": (0.08, " , {}", _drift, (0.12, 0.3)),
    "static_noise": (0.14, " , {},  ", _static, (0.02, 0.04)),
    "burst_noise": (0.03, "{}", _burst, (0.2, 0.4)),
    "electrodes_problems": (0.01, "{}", _loose, (0.4, 0.8)),
}
PLACES = {name: [k] for k, name in enumerate(ELECTRODES) if k > 2}  # leads as PTB-XL writes them -> electrodes
PLACES |= {"alles": range(9), "I-AVF": range(3), "I-AVR": [0], "II,III,AVF": [2], "I-V1": range(4)}


def noise_of(rng):
    """Noise at the electrodes, (9, n) in mV, and the metadata's columns that report it."""
    quiet = QUIET * rng.lognormal(0, 0.4)
    noise = np.array([_muscle(quiet, rng) + _drift(0.03, rng) for _ in ELECTRODES])
    notes = dict.fromkeys(NOISES)
    for column, (share, text, source, sizes) in NOISES.items():
        if rng.random() < share:
            place = list(PLACES)[rng.integers(6 if column == "electrodes_problems" else len(PLACES))]
            notes[column] = text.format(place)
            for electrode in PLACES[place]:
                noise[electrode] += source(rng.uniform(*sizes), rng)
    return noise, notes


def twelve_leads(leads):
    """(8, n) in mV to (12, n) in digital units; III and the augmented leads follow from the digitised I and II."""
    i, ii, *chest = np.clip(np.rint(leads * UNITS_PER_MV), -10000, 10000)
    return np.rint([i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2, *chest]).astype("<i2")


def annotations_of(marks, potentials):
    """WFDB annotations (sample, symbol, number) of the waves that lie wholly within the record, in order of time."""
    annotations = []
    for onset, peak, end, symbol, number in marks:
        a, b = round(onset * FS), round(end * FS)
        if 0 <= a < b < len(TIME):
            strongest = a + int(np.square(potentials[:, a:b]).sum(axis=0).argmax())
            annotations += [(a, "(", number), (round(peak * FS) if peak else strongest, symbol, number), (b, ")", number)]
    return sorted(annotations)
