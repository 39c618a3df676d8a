"""What speaks against trusting a signal: lost electrodes, noise, drift, clipping, leads that contradict each other.

The limits were chosen on folds 1 to 8 of the real sample of PTB-XL, whose cardiologists noted drift and noise:
`tests/test_quality.py` holds them to that on folds 9 and 10.
"""

import numpy as np
from scipy.ndimage import uniform_filter1d

from cardiov.ecg.leads import ECG, FLAT, LEADS

BLOCK = 0.5  # s
FLAT_STRETCH = 1e-3  # mV, peak to peak in two blocks running: no heart beats between them leave it
NOISE = 0.02  # mV, effective, above some 35 Hz in all but the quietest quarter of tenths of a second; 1 in 20 records
DRIFT = 1.5  # mV, of the means of blocks; 1 record in 14
CLIPPED = 0.03  # share of samples within 1 µV of the lead's highest or lowest; 1 record in 3,000
CONTRADICTION = 0.7  # of what other limb leads say of one, relative to the three of its kind; PTB-XL: 0.07 at most
REVERSED = -0.3  # correlation of the slopes of I and V6; 1 record in 100, but 19 in 20 with the arms' electrodes exchanged
WORDS = {
    "flat lead": "its electrode was off, or the lead was not recorded",
    "flat stretch": "the lead was lost for a second or longer",
    "noise": "muscle, mains or a loose electrode",
    "drift": "the baseline wanders, as with breathing or movement",
    "clipped": "the signal stops at a limit, as where an amplifier is overdriven",
    "implausible amplitude": "more than 20 mV from peak to peak",
    "limb leads contradict each other": "Einthoven's or Goldberger's relations fail, so leads may be misnamed or not "
    "simultaneous",
    "arm electrodes may be exchanged": "lead I is opposite to V6; or the heart lies on the right",
    "derived lead": "computed from I and II by the relations of Einthoven and Goldberger",
    "no checksum in the header": "damage to the samples would go unnoticed",
}


def quality_warnings(ecg: ECG) -> tuple[str, ...]:
    """What a reader should know before trusting a score.

    Parameters
    ----------
    ecg : ECG

    Returns
    -------
    tuple of str
        The warnings that reading left and those found here: each a name, the leads concerned, if any, and in brackets
        what it means, such as "flat lead: V1 (its electrode was off, or the lead was not recorded)".
    """
    found = [*ecg.warnings, *_of_leads(ecg.signal, ecg.fs), *_between_leads(ecg.signal)]
    names = [(text, WORDS.get(text.partition(":")[0])) for text in found]
    return tuple(f"{text} ({words})" if words else text for text, words in names)


def _of_leads(signal, fs):
    blocks = _blocks(signal, round(BLOCK * fs))  # (12, blocks, samples)
    extent, means = np.ptp(blocks, axis=-1), blocks.mean(axis=-1)
    still = extent < FLAT_STRETCH
    limits = signal.max(axis=-1, keepdims=True) - 1e-3, signal.min(axis=-1, keepdims=True) + 1e-3
    at_limit = np.maximum((signal >= limits[0]).mean(axis=-1), (signal <= limits[1]).mean(axis=-1))
    alive = np.ptp(signal, axis=-1) > FLAT  # else "flat lead" says it
    lost = (still[:, 1:] & still[:, :-1]).any(axis=-1)
    checks = {
        "flat stretch": lost,
        "noise": _noise(signal, fs) > NOISE,
        "drift": np.ptp(means, axis=-1) > DRIFT,
        "clipped": (at_limit > CLIPPED) & ~lost,
    }
    leads = {name: [lead for lead, bad in zip(LEADS, flags & alive, strict=True) if bad] for name, flags in checks.items()}
    return [f"{name}: {', '.join(bad)}" for name, bad in leads.items() if bad]


def _blocks(signal, length):
    return signal[:, : signal.shape[1] // length * length].reshape(len(signal), -1, length)


def _noise(signal, fs):
    """Effective value (12,) of what a mean over 20 ms leaves, between the beats: the lower quartile of tenths of a second."""
    fast = signal - uniform_filter1d(signal, max(2, round(0.02 * fs)), axis=-1)
    power = np.square(_blocks(fast, round(0.1 * fs))).mean(axis=-1)
    return np.sqrt(np.quantile(power, 0.25, axis=-1))


def _between_leads(signal):
    """Einthoven's and Goldberger's relations, and whether I and V6 show the heart from the same side."""
    slopes = np.diff(signal[[*range(6), 11]], axis=-1)  # of I II III aVR aVL aVF V6, without drift
    i, ii, iii, *augmented, v6 = slopes
    expected = -(i + ii) / 2, i - ii / 2, ii - i / 2
    apart = [_ratio(i + iii - ii, slopes[:3])]
    apart += [_ratio(lead - law, slopes[3:6]) for lead, law in zip(augmented, expected, strict=True)]
    if max(apart) > CONTRADICTION:
        return ["limb leads contradict each other"]
    exchanged = (i * v6).mean() < REVERSED * _effective(i) * _effective(v6)
    return ["arm electrodes may be exchanged"] if exchanged else []


def _effective(x):
    return np.sqrt(np.square(x).mean())


def _ratio(x, to):
    return _effective(x) / max(_effective(to), np.finfo(np.float32).tiny)
