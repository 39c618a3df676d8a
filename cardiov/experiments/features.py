"""What can be measured of an ECG without a network: rhythm, amplitudes, spectrum and the median beat.

Signals are prepared as a network's input is, (12, n) in mV at `RATE`. A record without beats has NaN where a feature needs them.
"""

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from cardiov.ecg.beats import AFTER, BEFORE, LEVEL, RATE, beat_positions, cut_beats
from cardiov.ecg.leads import LEADS

WAVES = {"p": slice(0, 17), "qrs": slice(19, 32), "st": slice(32, 38), "t": slice(38, 70)}
QUANTILES = (0.01, 0.05, 0.25, 0.75, 0.95, 0.99)
BANDS = ((0.5, 4), (4, 8), (8, 15), (15, 25), (25, 40))  # Hz


def record_features(cache) -> pd.DataFrame:
    """Features of every record of a cache at `RATE`, by ``ecg_id``: float64 (N, features)."""
    rows = (features(cache.read([row])[0]) for row in tqdm(range(len(cache.ecg_ids)), unit=" records", desc="measuring ECGs"))
    return pd.DataFrame(list(rows), index=pd.Index(cache.ecg_ids, name="ecg_id"))


def features(signal) -> dict[str, float]:
    """All features of one signal, (12, n) in mV: intervals in s, amplitudes in mV, powers as logarithms."""
    signal = np.asarray(signal, np.float64)
    peaks = beat_positions(signal)
    beats = cut_beats(signal, peaks)
    beat = np.median(beats, axis=0) if len(beats) else np.full((len(LEADS), BEFORE + AFTER), np.nan)
    return rhythm(peaks) | likeness(beats, beat) | amplitudes(signal) | powers(signal) | waves(beat) | samples(beat)


def rhythm(peaks) -> dict[str, float]:
    """Number of beats, and of the intervals between them the mean, spread, RMSSD and ratio of the extremes."""
    values = dict.fromkeys(("rr_mean", "rr_spread", "rr_rmssd", "rr_ratio"), np.nan)
    intervals = np.diff(peaks) / RATE
    if len(intervals) > 1:
        rmssd = np.sqrt(np.square(np.diff(intervals)).mean())
        values = dict(zip(values, (intervals.mean(), intervals.std(), rmssd, intervals.max() / intervals.min()), strict=True))
    return {"beats": float(len(peaks))} | values


def likeness(beats, beat) -> dict[str, float]:
    """How beats correlate with the median beat, the least alike and the mean; and what is left of them without it, in mV."""
    if not len(beats):
        return dict.fromkeys(("likeness_min", "likeness_mean", "remainder"), np.nan)
    alike = [np.corrcoef(one.ravel(), beat.ravel())[0, 1] for one in beats]
    return {"likeness_min": min(alike), "likeness_mean": np.mean(alike), "remainder": (beats - beat).std()}


def amplitudes(signal) -> dict[str, float]:
    """Quantiles of each lead."""
    return _by_lead(np.quantile(signal, QUANTILES, axis=-1), [f"quantile_{share:g}" for share in QUANTILES])


def powers(signal) -> dict[str, float]:
    """Logarithm of each lead's power in each of the `BANDS`."""
    spectrum = np.square(np.abs(np.fft.rfft(signal, axis=-1)))
    frequencies = np.fft.rfftfreq(signal.shape[-1], 1 / RATE)
    inside = [(frequencies >= low) & (frequencies < high) for low, high in BANDS]
    logarithms = [np.log10(spectrum[:, band].sum(axis=-1) + 1e-6) for band in inside]
    return _by_lead(logarithms, [f"power_{low:g}_hz" for low, _ in BANDS])


def waves(beat) -> dict[str, float]:
    """Highest and lowest sample and mean of each wave of the median beat, by lead, from the level before the QRS complex."""
    above = beat - beat[:, LEVEL].mean(axis=-1, keepdims=True)
    values = {}
    for wave, place in WAVES.items():
        part = above[:, place]
        values |= _by_lead([part.max(-1), part.min(-1), part.mean(-1)], [f"{wave}_max", f"{wave}_min", f"{wave}_mean"])
    return values


def samples(beat) -> dict[str, float]:
    """The median beat itself."""
    return _by_lead(beat.T, [f"beat_{place - BEFORE:+d}" for place in range(BEFORE + AFTER)])


def _by_lead(values, names):
    """Values (names, 12) by name and lead."""
    by_name = zip(names, values, strict=True)
    return {f"{name}_{lead}": value for name, row in by_name for lead, value in zip(LEADS, row, strict=True)}
