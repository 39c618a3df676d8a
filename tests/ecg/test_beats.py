"""Means of hundredths of a second, medians and peaks, against NumPy's and SciPy's own."""

import numpy as np
import pytest
import scipy.signal

from cardiov.ecg.beats import _peaks, effective, hundredths, middle


@pytest.mark.parametrize("fs", [100, 128, 200, 250, 257, 360, 500, 800, 1000, 2000])
def test_hundredths_are_means(fs):
    signal = np.random.default_rng(fs).normal(size=(12, 5 * fs + 3)).astype(np.float32)
    edges = np.rint(np.arange(501) * fs / 100).astype(int)
    means = [signal[:, start:end].astype(float).mean(axis=1) for start, end in zip(edges, edges[1:], strict=False)]
    found = hundredths(signal, fs)
    assert found.shape[1] >= 500 and found.dtype == np.float32
    np.testing.assert_allclose(found[:, :500], np.transpose(means), atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_the_middle_is_the_median(count):
    values = np.random.default_rng(0).normal(size=(count, 3, 5)).astype(np.float32)
    np.testing.assert_array_equal(middle(values), np.median(values, axis=0))
    assert effective(np.array([3.0, -4.0])) == pytest.approx(np.sqrt(12.5))


def test_peaks_are_those_of_scipy():
    for seed in range(20):
        values = np.convolve(np.random.default_rng(seed).normal(size=1000), np.ones(5), "same")
        np.testing.assert_array_equal(_peaks(values, 0.5, 30.0), scipy.signal.find_peaks(values, height=0.5, distance=30)[0])
