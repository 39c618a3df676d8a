"""From a recorded ECG to the network's input: band-pass, resampling, whole microvolts."""

from fractions import Fraction
from functools import lru_cache

import numpy as np
import scipy.fft

BAND = (0.5, 50.0)  # Hz, as in the paper
ORDER = 3  # of the Butterworth prototype, which doubles as the filter runs forward and backward
# Hz, at 100 Hz. PTB-XL's own signals at that rate fade above 40 Hz, other recorders' elsewhere below 50 Hz; they are alike below.
FADE = (37.0, 43.0)
LARGEST = 32767  # µV, of int16


@lru_cache(maxsize=8)
def _gain(n, fs, fades):
    """Squared magnitude of the Butterworth filter at the frequencies of a sine transform of n points, faded out if asked."""
    frequencies = np.arange(1, n + 1) * fs / (2 * n)
    at, low, high = (np.tan(np.pi * f / fs) for f in (frequencies, *BAND))  # as the bilinear transform warps them
    # nothing lies above the upper edge at low rates; where the signal fades before it, it has nothing to do
    band = fs / 2 > BAND[1] and not fades
    gain = 1 / (1 + ((at**2 - low * high) / (at * (high - low)) if band else low / at) ** (2 * ORDER))
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
    spectrum = scipy.fft.dst(x - (first + (last - first) * along), type=2, overwrite_x=True)
    spectrum *= _gain(n, float(fs), fades)
    return scipy.fft.idst(spectrum, type=2, overwrite_x=True)


@lru_cache(maxsize=8)
def _ratio(rate, fs):
    return (Fraction(rate) / Fraction(fs)).limit_denominator(1000)


@lru_cache(maxsize=8)
def _resampling(up, down):
    """A low-pass as a matrix (2 size, outputs): from two successive blocks of the signal, the outputs that belong to the first.

    The second value is the number of samples before an output that it depends on; so far ahead of the outputs do blocks begin.
    """
    half = 10 * max(up, down)
    at = np.arange(-half, half + 1)
    taps = np.sinc(at / max(up, down)) * np.kaiser(len(at), 5.0)
    taps *= up / taps.sum()
    before = half // up
    blocks = -(-(2 * before + 2) // down)  # periods of `down` samples, for which there are `up` outputs
    sample, output = np.arange(2 * blocks * down)[:, None] - before, np.arange(blocks * up)
    place = half + output * down - sample * up
    return np.where((0 <= place) & (place <= 2 * half), taps[place.clip(0, 2 * half)], 0).astype(np.float32), before


def resample(signal, fs, rate) -> np.ndarray:
    """Polyphase resampling from ``fs`` to ``rate`` in Hz: (..., n) -> (..., ceil(n * rate / fs)), float32.

    As `scipy.signal.resample_poly` with ``padtype="line"``, which takes longer to import than a first score takes.
    """
    ratio = _ratio(rate, fs)
    if ratio == 1:
        return signal
    (matrix, before), n = _resampling(ratio.numerator, ratio.denominator), signal.shape[-1]
    count, size = -(-n * ratio.numerator // ratio.denominator), len(matrix) // 2
    lead, rows = signal.shape[:-1], -(-count // matrix.shape[1])
    first, slope = signal[..., :1], (signal[..., -1:] - signal[..., :1]) / np.float32(n - 1)
    padded = first + slope * np.arange(-before, (rows + 1) * size - before, dtype=np.float32)  # the line, continued
    padded[..., before : before + n] = signal
    blocks = padded.reshape(*lead, rows + 1, size)
    outputs = blocks[..., :-1, :] @ matrix[:size] + blocks[..., 1:, :] @ matrix[size:]
    return outputs.reshape(*lead, -1)[..., :count]


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
