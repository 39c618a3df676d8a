"""Faults of recording that a whole ECG shows: exchanged electrodes, inverted leads, a wrong sampling rate.

A multinomial logistic model compares the ECG as it is with what each fault would make of an ordinary one, from the waves of
its median beat, how leads resemble each other, and its speed. ``cardiov/experiments/faults.py`` simulates the faults on folds
1 to 8 of the real sample of PTB-XL, fits the model, chooses the limits, and writes ``faults.csv``.
"""

import csv
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np

from cardiov.ecg.beats import BEFORE, LEVEL, RATE, beat_positions, cut_beats, effective, middle
from cardiov.ecg.leads import FLAT, LEADS

MEASURED = (0, 1, *range(6, 12))  # I, II and V1 to V6: the others follow from them
GROUPS = (slice(0, 2), slice(2, 8))  # of these, limbs and chest, whose amplitudes are relative to their own mean
WAVES = {"P": slice(3, 16), "QRS": slice(18, 33), "T": slice(34, 68)}  # samples of a beat
PARTS = {"P": 2, "QRS": 5, "T": 4}  # of equal length
EDGES = {wave: np.linspace(0, WAVES[wave].stop - WAVES[wave].start, PARTS[wave] + 1).round().astype(int) for wave in WAVES}
WIDTHS = {wave: np.diff(edges) for wave, edges in EDGES.items()}
SMALL = 0.02  # mV; what is smaller weighs little
BEATS = (3, 60)  # fewer say nothing, and more say nothing new
PAIRS = tuple(np.transpose(list(combinations(range(len(MEASURED)), 2))))
TABLE = Path(__file__).with_name("faults.csv")


def likely_fault(signal) -> str:
    """The warning of the likeliest fault of an ECG (12, n) at 100 Hz, "" if none is likely enough or beats are too few."""
    measured = features(signal)
    if measured is None:
        return ""
    names, limits, weights = _model()
    log_odds = np.append(measured, 1) @ weights  # against the ECG as it is
    return names[log_odds.argmax()] if (log_odds > limits).any() else ""


@cache
def _model():
    """Names (faults,), limits (faults,) and weights (features + 1, faults), the last of them the intercept."""
    with open(TABLE, encoding="utf-8", newline="") as file:
        (_, *names), *rows = csv.reader(file)
    numbers = np.array([row[1:] for row in rows], float)
    return names, numbers[0], numbers[1:]


def features(signal) -> np.ndarray | None:
    """What tells faults apart, named by `feature_names`; None of fewer than three beats or a flat chest lead."""
    leads = signal[MEASURED, :]
    leads = leads - leads.mean(axis=-1, keepdims=True)
    peaks = beat_positions(leads)
    beats = cut_beats(leads, peaks[:: max(1, len(peaks) // BEATS[1])])
    if len(beats) < BEATS[0] or (np.ptp(leads[2:], axis=-1) < FLAT).any():
        return None
    beat = middle(beats)
    beat -= beat[:, LEVEL].mean(axis=-1, keepdims=True)
    shapes, likeness = [_shape(beat, wave).ravel() for wave in WAVES], [_likeness(beat, wave) for wave in WAVES]
    return np.concatenate([*shapes, *likeness, _limbs(beat), _speed(leads, peaks, beat)])


def _shape(beat, wave):
    """Means of a wave's parts, and extremes of the QRS complex, relative to the group's effective value: (leads, values)."""
    values = beat[:, WAVES[wave]].copy()
    for group in GROUPS:
        values[group] /= effective(values[group]) + SMALL
    means = np.add.reduceat(values, EDGES[wave][:-1], axis=-1) / WIDTHS[wave]
    extremes = [values.max(axis=-1), values.min(axis=-1)] if wave == "QRS" else []
    return np.stack([*means.T, *extremes], axis=-1)


def _likeness(beat, wave):
    """Correlations of each two leads' waves, of the QRS complex's slopes."""
    part = beat[:, WAVES[wave]]
    part = np.diff(part, axis=-1) if wave == "QRS" else part - part.mean(axis=-1, keepdims=True)
    part = part / (np.sqrt(np.square(part).sum(axis=-1, keepdims=True)) + SMALL)
    return (part @ part.T)[PAIRS]


def _limbs(beat):
    """Logarithms of the QRS complexes of I, II and III, relative to the largest: an arm's electrode on a leg flattens one."""
    i, ii = beat[:2, WAVES["QRS"]]
    sizes = np.array([effective(lead) for lead in (i, ii, ii - i)])
    return np.log((sizes + 1e-3) / (sizes.max() + 1e-3))


def _speed(leads, peaks, beat):
    """Logarithms of the RR interval, of steepness and sharpness, of widths and of the T wave's place."""
    slopes, rise = np.diff(leads, axis=-1), np.diff(beat, axis=-1)
    steep, sharp = effective(slopes) / effective(leads), effective(np.diff(slopes, axis=-1)) / effective(slopes)
    qrs = slice(10, 40)
    widths = [power.sum() ** 2 / np.square(power).sum() for power in (np.square(x[:, qrs]).sum(axis=0) for x in (beat, rise))]
    t = np.square(beat[:, 33:] - beat.mean(axis=-1, keepdims=True)).sum(axis=0)
    place = (t * (np.arange(t.size) + 33 - BEFORE)).sum() / t.sum()
    return np.log([middle(np.diff(peaks)) / RATE, steep, sharp, *widths, place])


def feature_names() -> list[str]:
    """Names of the `features`, in their order."""
    leads = [LEADS[k] for k in MEASURED]
    extremes = {"QRS": ("highest", "lowest")}
    parts = {wave: (*range(1, PARTS[wave] + 1), *extremes.get(wave, ())) for wave in WAVES}
    shapes = [f"{wave} {part} of {lead}" for wave in WAVES for lead in leads for part in parts[wave]]
    likeness = [f"{wave} of {leads[a]} and {leads[b]}" for wave in WAVES for a, b in zip(*PAIRS, strict=True)]
    limbs = [f"size of {lead}" for lead in ("I", "II", "III")]
    return [*shapes, *likeness, *limbs, "RR", "steepness", "sharpness", "width", "width of slopes", "place of T"]
