"""Warnings about a signal: lost electrodes, noise, drift, clipping, leads that contradict each other.

The limits were chosen on folds 1 to 8 of the real sample of PTB-XL, whose cardiologists noted drift and noise.
``tests/ecg/test_quality.py`` checks them on folds 9 and 10. Comments give the share of PTB-XL's records beyond each limit.
"""

import numpy as np
from scipy.ndimage import uniform_filter1d

from cardiov.ecg.leads import ECG, FLAT, LEADS

BLOCK = 0.5  # s
FLAT_STRETCH = 1e-3  # mV, peak to peak in two successive blocks, which hold at least one heart beat
NOISE = 0.02  # mV, effective value above some 35 Hz between the beats; 1 record in 20
DRIFT = 1.5  # mV, peak to peak of the blocks' means; 1 record in 14
CLIPPED = 0.03  # share of samples within 1 µV of the lead's highest or lowest; 1 record in 3,000
CONTRADICTION = 0.7  # violation of Einthoven's or Goldberger's relations, relative to the leads; at most 0.07 in PTB-XL
REVERSED = -0.3  # correlation of the slopes of I and V6; 1 record in 100, but 19 in 20 with exchanged arm electrodes
MEANINGS = {
    "flat lead": "its electrode was off, or the lead was not recorded",
    "flat stretch": "the lead was lost for a second or longer",
    "noise": "muscle, mains or a loose electrode",
    "drift": "the baseline wanders, as with breathing or movement",
    "clipped": "the signal stops at a limit, as with an overdriven amplifier",
    "implausible amplitude": "more than 20 mV from peak to peak",
    "limb leads contradict each other": "Einthoven's or Goldberger's relations fail: leads are misnamed or not simultaneous",
    "arm electrodes may be exchanged": "lead I is opposite to V6; or the heart lies on the right",
    "derived lead": "computed from I and II by the relations of Einthoven and Goldberger",
    "derived signal": "the file has no signal as recorded, but this one, computed from it",
    "joined groups": "the file does not say that they were recorded at the same time",
    "lead off": "the device says that the electrode was off",
    "length": "a part may be missing",
    "unfinished recording": "the file does not say how long it is",
    "no checksum in the header": "damage to the samples would go unnoticed",
    "checksum ignored": "the samples contradict the file's own sum, and were taken as asked",
    "bridged gap": "invalid samples were replaced by a straight line, as asked",
    "unit as given": "the file's own unit cannot be read",
    "not read": "the file holds this beside the signals that were taken",
    "name with a remark": "the remark may say that the signal is not as recorded",
    "inverted in the file": "its name says so; it was turned back",
    "thousands marks": "the numbers have points or commas between thousands",
}


def quality_warnings(ecg: ECG) -> tuple[str, ...]:
    """An ECG's warnings, those of reading first: "flat lead: V1 (its electrode was off, or the lead was not recorded)"."""
    warnings = [*ecg.warnings, *_of_leads(ecg.signal, ecg.fs), *_between_leads(ecg.signal)]
    meanings = [(text, MEANINGS.get(text.partition(":")[0])) for text in warnings]
    return tuple(f"{text} ({meaning})" if meaning else text for text, meaning in meanings)


def _of_leads(signal, fs):
    blocks = _blocks(signal, round(BLOCK * fs))  # (12, blocks, samples)
    still = np.ptp(blocks, axis=-1) < FLAT_STRETCH
    lost = (still[:, 1:] & still[:, :-1]).any(axis=-1)
    top, bottom = signal.max(axis=-1, keepdims=True) - 1e-3, signal.min(axis=-1, keepdims=True) + 1e-3
    at_limit = np.maximum((signal >= top).mean(axis=-1), (signal <= bottom).mean(axis=-1))
    checks = {  # (12,) each
        "flat stretch": lost,
        "noise": _noise(signal, fs) > NOISE,
        "drift": np.ptp(blocks.mean(axis=-1), axis=-1) > DRIFT,
        "clipped": (at_limit > CLIPPED) & ~lost,
    }
    recorded = np.ptp(signal, axis=-1) > FLAT  # the others already have the warning "flat lead"
    leads = {name: np.array(LEADS)[flags & recorded] for name, flags in checks.items()}
    return [f"{name}: {', '.join(bad)}" for name, bad in leads.items() if bad.size]


def _blocks(signal, length):
    return signal[:, : signal.shape[1] // length * length].reshape(len(signal), -1, length)


def _noise(signal, fs):
    """Effective value (12,) of what exceeds a mean over 20 ms, the lower quartile of 0.1 s: that is between the beats."""
    fast = signal - uniform_filter1d(signal, max(2, round(0.02 * fs)), axis=-1)
    power = np.square(_blocks(fast, round(0.1 * fs))).mean(axis=-1)
    return np.sqrt(np.quantile(power, 0.25, axis=-1))


def _between_leads(signal):
    """Einthoven's and Goldberger's relations, and whether I and V6 show the heart from the same side."""
    slopes = np.diff(signal[[*range(6), 11]], axis=-1)  # free of drift
    i, ii, iii, avr, avl, avf, v6 = slopes
    goldberger = avr + (i + ii) / 2, avl - (i - ii / 2), avf - (ii - i / 2)
    if max(_ratio(i + iii - ii, slopes[:3]), *(_ratio(error, slopes[3:6]) for error in goldberger)) > CONTRADICTION:
        return ["limb leads contradict each other"]
    exchanged = (i * v6).mean() < REVERSED * _effective(i) * _effective(v6)
    return ["arm electrodes may be exchanged"] if exchanged else []


def _effective(x):
    return np.sqrt(np.square(x).mean())


def _ratio(x, reference):
    return _effective(x) / max(_effective(reference), np.finfo(np.float32).tiny)
