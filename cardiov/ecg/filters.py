"""From a recorded ECG to the network's input: band-pass, resampling, whole microvolts."""

from fractions import Fraction
from functools import lru_cache

import numpy as np
import scipy.signal

BAND = (0.5, 50.0)  # Hz, as in the paper
ORDER = 3  # of the Butterworth prototype, which doubles as the filter runs forward and backward
# Hz, at 100 Hz. PTB-XL's own signals at that rate fade above 40 Hz, other recorders' elsewhere below 50 Hz; they are alike below.
FADE = (37.0, 43.0)
LARGEST = 32767  # µV, of int16


@lru_cache(maxsize=8)
def _gain(n, fs, fades):
    """Squared magnitude of the Butterworth filter at the frequencies of a sine transform of n points, faded out if asked."""
    # nothing lies above the upper edge at low rates; where the signal fades before it, it has nothing to do
    band, kind = (BAND, "bandpass") if fs / 2 > BAND[1] and not fades else (BAND[0], "highpass")
    sos = scipy.signal.butter(ORDER, band, kind, fs=fs, output="sos")
    frequencies = np.arange(1, n + 1) * fs / (2 * n)
    gain = np.abs(scipy.signal.freqz_sos(sos, frequencies, fs=fs)[1]) ** 2
    if fades:
        gain *= 0.5 + 0.5 * np.cos(np.pi * np.clip((frequencies - FADE[0]) / (FADE[1] - FADE[0]), 0, 1))
    return gain.astype(np.float32)


def bandpass(signal, fs, fades=False) -> np.ndarray:
    """Zero-phase band-pass of 0.5 to 50 Hz (a high-pass of 0.5 Hz for rates up to 100 Hz): (..., n) -> float32 (..., n).

    If it fades, it ends between 37 and 43 Hz as a cosine instead, at any rate.

    A third-order Butterworth filter runs forward and backward, as in `scipy.signal.sosfiltfilt`, but over a signal that
    continues oddly without end: the straight line from first to last sample is subtracted, the rest is a sum of sines, and
    the filter one product in the frequency domain. ``sosfiltfilt`` padded by the whole signal differs on PTB-XL by up to
    25 µV within 10 ms of the edges and by less than 1 µV from one second on. The gain is one half at 0.5 and 50 Hz; that of
    the authors' FIR filter (MNE's default design) is one within the band.
    """
    x = np.asarray(signal, np.float32)
    n = x.shape[-1]
    first, last = x[..., :1], x[..., -1:]
    along = (np.arange(n, dtype=np.float32) + 0.5) / n
    spectrum = scipy.fft.dst(x - (first + (last - first) * along), type=2)
    return scipy.fft.idst(spectrum * _gain(n, float(fs), fades), type=2, overwrite_x=True)


@lru_cache(maxsize=8)
def _taps(up, down):
    """The default low-pass of `scipy.signal.resample_poly`, which designs it at every call."""
    return scipy.signal.firwin(20 * max(up, down) + 1, 1 / max(up, down), window=("kaiser", 5.0)).astype(np.float32)


def resample(signal, fs, rate) -> np.ndarray:
    """Polyphase resampling from ``fs`` to ``rate`` in Hz: (..., n) -> (..., ceil(n * rate / fs))."""
    ratio = (Fraction(rate) / Fraction(fs)).limit_denominator(1000)
    if ratio == 1:
        return signal
    up, down = ratio.numerator, ratio.denominator
    return scipy.signal.resample_poly(signal, up, down, axis=-1, padtype="line", window=_taps(up, down))


def prepare_signal(signal, fs, rate) -> np.ndarray:
    """The network's input: a (12, n) signal in mV, band-passed, then resampled to ``rate``; float32.

    At rates up to 100 Hz the band fades at 40 Hz (`FADE`), so that ECGs recorded at 100 Hz and at higher rates look alike.
    """
    return resample(bandpass(signal, fs, fades=rate / 2 <= BAND[1]), fs, rate)


def band_at(rate) -> tuple[float, float]:
    """The band, in Hz, of what `prepare_signal` gives at a rate in Hz."""
    return BAND if rate / 2 > BAND[1] else (BAND[0], sum(FADE) / 2)


def whole_microvolts(signal) -> np.ndarray:
    """A signal in mV rounded to whole µV, as caches store it and networks are trained on it; float32."""
    return np.multiply(np.rint(signal * np.float32(1000)), 1e-3, dtype=np.float32)


def to_microvolts(signal) -> tuple[np.ndarray, int]:
    """A signal in mV as int16 of 1 µV, and the number of samples that were clipped."""
    microvolts = np.rint(signal * np.float32(1000))
    clipped = int(np.count_nonzero(np.abs(microvolts) > LARGEST))
    return np.clip(microvolts, -LARGEST, LARGEST).astype("<i2"), clipped
