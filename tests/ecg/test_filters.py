"""Filters and resampling against scipy's."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.signal
from ecg_files import simulated_signal

from cardiov.ecg.filters import BAND, ORDER, _gain, bandpass, prepare_signal, resample, to_microvolts, whole_microvolts


def butterworth(fs):
    return scipy.signal.butter(ORDER, BAND, "bandpass", fs=fs, output="sos")


def test_bandpass_is_sosfiltfilt_of_the_oddly_continued_signal():
    x = simulated_signal() / 1000 + 3
    before, after = 2 * x[:, :1] - x[:, ::-1], 2 * x[:, -1:] - x[:, ::-1]
    expected = scipy.signal.sosfiltfilt(butterworth(500), np.hstack([before, x, after]), padlen=4999)[:, 5000:10000]
    np.testing.assert_allclose(bandpass(x, 500), expected, atol=1e-4)  # mV: 0.1 µV, at the edges too


def test_bandpass_agrees_with_sosfiltfilt_within_microvolts():
    x = simulated_signal() / 1000
    difference = np.abs(bandpass(x, 500) - scipy.signal.sosfiltfilt(butterworth(500), x, padlen=4999))  # mV
    assert difference[:, 1000:-1000].max() < 1e-4
    assert difference[:, 25:-25].max() < 5e-3  # the edges are continued differently, by half a sample


@pytest.mark.parametrize(("frequency", "gain", "tolerance"), [
    (0.1, 0, 1e-3), (0.5, 0.5, 0.01), (5, 1, 0.01), (20, 1, 0.01), (50, 0.5, 0.01), (150, 0, 0.01),
])  # fmt: skip
def test_bandpass_has_its_gain_and_no_phase(frequency, gain, tolerance):
    phase, middle = 2 * np.pi * frequency * np.arange(30_000) / 500, slice(10_000, 20_000)  # whole periods
    filtered = bandpass(np.sin(phase), 500)[middle]
    in_phase, quadrature = (2 * np.mean(filtered * wave(phase)[middle]) for wave in (np.sin, np.cos))
    assert in_phase == pytest.approx(gain, abs=tolerance) and quadrature == pytest.approx(0, abs=1e-3)


def test_bandpass_removes_an_offset_and_a_slope_to_the_edge():
    assert np.abs(bandpass(300 + np.arange(5000) / 1000, 500)).max() < 1e-3


@pytest.mark.parametrize("fs", [80, 100])
def test_bandpass_at_low_rates_is_a_high_pass(fs):
    x = simulated_signal(fs=fs, seconds=20) / 1000
    sos = scipy.signal.butter(ORDER, BAND[0], "highpass", fs=fs, output="sos")
    expected = scipy.signal.sosfiltfilt(sos, x, padlen=x.shape[1] - 1)
    np.testing.assert_allclose(bandpass(x, fs)[:, 4 * fs : -4 * fs], expected[:, 4 * fs : -4 * fs], atol=1e-3)


@pytest.mark.parametrize(("fs", "rate", "n"), [(500, 100, 1000), (360, 500, 5000), (257, 500, 5000), (1000, 500, 5000)])
def test_resample_keeps_a_sine(fs, rate, n):
    wave = lambda rate: np.sin(2 * np.pi * 5 * np.arange(10 * rate) / rate)  # noqa: E731
    resampled = resample(wave(fs).astype(np.float32), fs, rate)
    assert resampled.dtype == np.float32 and resampled.shape == (n,)
    np.testing.assert_allclose(resampled[rate:-rate], wave(rate)[rate:-rate], atol=2e-3)


def test_prepare_signal_filters_then_resamples():
    x = simulated_signal() / 1000
    assert prepare_signal(x, 500, 500).shape == (12, 5000)
    np.testing.assert_array_equal(prepare_signal(x, 500, 500), bandpass(x, 500))
    np.testing.assert_array_equal(prepare_signal(x, 500, 100), resample(bandpass(x, 500, fades=True), 500, 100))


@pytest.mark.parametrize("fs", [100, 250, 500])
def test_the_band_fades_from_37_to_43_hz_at_any_rate(fs):
    time, middle = np.arange(20 * fs) / fs, slice(5 * fs, -5 * fs)
    for frequency, gain in ((36, 1), (40, 0.5), (41.5, 0.5 - 0.5 * np.sqrt(0.5)), (44, 0)):
        wave = np.sin(2 * np.pi * frequency * time)
        assert np.abs(bandpass(wave, fs, fades=True)[middle] - gain * wave[middle]).max() < 2e-3


@pytest.mark.parametrize("rate", [100, 125, 500])
def test_what_a_network_sees_at_100_hz_does_not_depend_on_the_recorders_rate(rate):
    """A beat with frequencies up to 35 Hz, recorded at several rates."""

    def seen(fs):
        time = np.arange(10 * fs) / fs - 5
        beat = np.exp(-(time**2) / 0.1) * sum(np.cos(2 * np.pi * f * time) for f in range(1, 34)) / 33
        return prepare_signal(beat[None].astype(np.float32), fs, 100)

    assert np.ptp(seen(250)) > 1
    np.testing.assert_allclose(seen(rate), seen(250), atol=2e-3)


@pytest.mark.parametrize(("fs", "band"), [(500, BAND), (257, BAND), (1000, BAND), (100, BAND[0])])
def test_the_gain_is_that_of_scipys_butterworth(fs, band):
    sos = scipy.signal.butter(ORDER, band, "bandpass" if fs > 100 else "highpass", fs=fs, output="sos")
    frequencies = np.arange(1, 5001) * fs / 10_000
    expected = np.abs(scipy.signal.freqz_sos(sos, frequencies, fs=fs)[1]) ** 2
    np.testing.assert_allclose(_gain(5000, fs, fades=False), expected, atol=1e-6)


def test_microvolts_are_rounded_and_clipped():
    signal = np.array([0.0004, -0.0006, 1.2344, 32.767, 32.768, -40], np.float32)  # mV
    np.testing.assert_array_equal(to_microvolts(signal)[0], np.array([0, -1, 1234, 32767, 32767, -32767], "<i2"))
    assert to_microvolts(signal)[1] == 2
    np.testing.assert_allclose(whole_microvolts(signal)[:3], [0, -0.001, 1.234], atol=1e-7)


@pytest.mark.parametrize("seconds", [5, 7.3, 10])
@pytest.mark.parametrize("fs", [101, 120, 250, 257, 360, 500, 977, 1000, 100_000])
def test_resampling_is_scipys(fs, seconds):
    signal = (simulated_signal(seconds, fs) / 1000).astype(np.float32)[:, : round(seconds * fs)]
    ratio = Fraction(100, fs)
    expected = scipy.signal.resample_poly(signal.astype(float), ratio.numerator, ratio.denominator, axis=-1, padtype="line")
    np.testing.assert_allclose(resample(signal, fs, 100), expected, atol=5e-6)
    assert resample(signal, fs, 100).dtype == np.float32
