"""Warnings about a signal: lost leads, noise, drift, clipping, spikes, contradictions of leads, and faults of recording.

The limits were chosen on folds 1 to 8 of the real sample of PTB-XL, whose cardiologists noted drift, noise and pacemakers.
``warnings.csv`` beside this file says what each warning catches on other ECGs (`cardiov.ecg.missed`). Comments give the share of
the sample's records beyond each limit.
"""

import numpy as np

from cardiov.ecg.beats import RATE, effective, hundredths, middle
from cardiov.ecg.faults import likely_fault
from cardiov.ecg.leads import ECG, FLAT, LEADS

BLOCK = 0.5  # s
FLAT_STRETCH = 1e-3  # mV, peak to peak in two successive blocks, which hold at least one heart beat
NOISE = 0.047  # of the noisiest second, relative to the lead's amplitude; 1 record in 25
DRIFT = 0.33  # standard deviation of the blocks' medians, likewise; 1 record in 10
LEAST = 0.1  # mV, added to a lead's amplitude, so that a lead without QRS complexes is not all noise and drift
CLIPPED = 0.03  # share of samples within 1 µV of the lead's highest or lowest; 1 record in 3,000
CONTRADICTION = 0.7  # violation of Einthoven's or Goldberger's relations, relative to the leads; at most 0.07 in PTB-XL
SPIKE = 2.45  # mV, of all leads together, above the mean of what lies 4 ms before and after; 1 in 60, most of them paced
SPIKE_REACH = 0.004  # s
DISTURBED = 3  # leads with noise or drift; with more of them, faults of recording would often be named falsely
TINY = np.finfo(np.float32).tiny
LOOKED_AT = 60  # s from the start, in which faults of recording show
SPIKE_RATE = 250.0  # Hz; recorded below it, spikes are as broad as QRS complexes
MEANINGS = {
    "flat lead": "its electrode was off, or the lead was not recorded",
    "flat stretch": "the lead was lost for a second or longer",
    "noise": "muscle, mains or a loose electrode",
    "drift": "the baseline wanders, as with breathing or movement",
    "clipped": "the signal stops at a limit, as with an overdriven amplifier",
    "implausible amplitude": "more than 20 mV from peak to peak",
    "limb leads contradict each other": "Einthoven's or Goldberger's relations fail: misnamed leads, different scales or times",
    "electrodes may be exchanged": "the leads would fit better with these at each other's places; or the heart lies unusually",
    "leads may be inverted": "the waves would fit better upside down",
    "sampling rate may be wrong": "beats are too fast and narrow, or too slow and broad, at the rate that is declared",
    "pacing spikes": "deflections too sharp for the heart's own, of a pacemaker or an artefact",
    "derived lead": "computed from I and II by the relations of Einthoven and Goldberger",
    "derived signal": "the file has no signal as recorded, but this one, computed from it",
    "joined groups": "the file does not say that they were recorded at the same time",
    "not simultaneous": "beats may not be the same in all leads",
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
    slow = hundredths(ecg.signal, ecg.fs)
    flags = _of_leads(ecg.signal, ecg.fs, slow)
    of_leads = [f"{name}: {', '.join(np.array(LEADS)[bad])}" for name, bad in flags.items() if bad.any()]
    clean = np.count_nonzero(flags["noise"] | flags["drift"]) <= DISTURBED
    warnings = [*ecg.warnings, *of_leads, *_contradictions(slow), *(_faults(slow) if clean else [])]
    meanings = [(text, MEANINGS.get(text.partition(":")[0])) for text in warnings]
    return tuple(f"{text} ({meaning})" if meaning else text for text, meaning in meanings)


def _of_leads(signal, fs, slow):
    """Flags (12,) of the leads that have each warning."""
    blocks = _blocks(signal, round(BLOCK * fs))  # (12, blocks, samples)
    still = np.ptp(blocks, axis=-1) < FLAT_STRETCH
    lost = (still[:, 1:] & still[:, :-1]).any(axis=-1)
    top, bottom = signal.max(axis=-1, keepdims=True) - 1e-3, signal.min(axis=-1, keepdims=True) + 1e-3
    at_limit = np.maximum(*([*map(np.count_nonzero, beyond)] for beyond in (signal >= top, signal <= bottom)))
    amplitude = middle(np.ptp(_blocks(slow, RATE), axis=-1).T) + LEAST
    checks = {  # (12,) each
        "flat stretch": lost,
        "noise": noise(slow) > NOISE * amplitude,
        "drift": drift(slow) > DRIFT * amplitude,
        "clipped": (at_limit > CLIPPED * signal.shape[-1]) & ~lost,
        "pacing spikes": spikes(signal, fs),
    }
    recorded = np.ptp(signal, axis=-1) > FLAT  # the others already have the warning "flat lead"
    return {name: flags & recorded for name, flags in checks.items()}


def _blocks(signal, length):
    return signal[:, : signal.shape[1] // length * length].reshape(len(signal), -1, length)


def noise(slow) -> np.ndarray:
    """Noise (12,) in mV between the beats of each lead's noisiest second, at 100 Hz: the deviation, were it white."""
    bends = np.diff(slow, 2, axis=-1)
    power = np.square(_blocks(bends, RATE // 10)).mean(axis=-1) / 6  # of tenths of a second; white noise has the sixth of it
    seconds = np.lib.stride_tricks.sliding_window_view(power, 10, axis=-1)[:, ::5]
    return np.sqrt(np.partition(seconds, 2, axis=-1)[..., 2].max(axis=-1))  # the third quietest tenth


def drift(slow) -> np.ndarray:
    """Standard deviation (12,) of the medians of half seconds of each lead of an ECG at 100 Hz, in mV."""
    middle = round(BLOCK * RATE) // 2
    return np.partition(_blocks(slow, 2 * middle), middle, axis=-1)[..., middle].std(axis=-1)


def sharpness(signal, fs) -> np.ndarray:
    """How far each sample of the leads lies from the mean of those 4 ms before and after, in mV: (12, n) -> (12, n - ...)."""
    reach = round(SPIKE_REACH * fs)
    around = signal[:, 2 * reach :] + signal[:, : -2 * reach]
    around /= 2
    return np.subtract(signal[:, reach:-reach], around, out=around)


def spikes(signal, fs) -> np.ndarray:
    """Whether each lead (12,) takes part in the sharpest spike of all, if there is any."""
    if fs < SPIKE_RATE:
        return np.zeros(len(signal), bool)
    sharp = sharpness(signal, fs)
    total = np.sqrt(np.square(sharp).sum(axis=0))
    if total.max() < SPIKE:
        return np.zeros(len(signal), bool)
    sizes = np.abs(sharp[:, total.argmax()])
    return sizes > sizes.max() / 2


def _contradictions(slow):
    """Einthoven's and Goldberger's relations."""
    i, ii, iii, avr, avl, avf = slopes = np.diff(slow[:6], axis=-1)  # free of drift
    goldberger = avr + (i + ii) / 2, avl - (i - ii / 2), avf - (ii - i / 2)
    violation = max(_ratio(i + iii - ii, slopes[:3]), *(_ratio(error, slopes[3:]) for error in goldberger))
    return ["limb leads contradict each other"] if violation > CONTRADICTION else []


def _faults(slow):
    """Exchanged electrodes, inverted leads or a wrong rate."""
    fault = likely_fault(slow[:, : LOOKED_AT * RATE])
    return [fault] if fault else []


def _ratio(x, reference):
    return effective(x) / max(effective(reference), TINY)
