"""Features of ECGs whose rate and amplitudes are known, and beats of real ones."""

import numpy as np
import pytest
from wfdb.processing import xqrs_detect

from cardiov.ecg.examples import examples, read_example
from cardiov.ecg.filters import prepare_signal
from cardiov.ecg.leads import LEADS
from cardiov.experiments.features import RATE, beat_positions, features

SIZES = np.linspace(0.4, 1.5, 12)  # of the R peak in each lead, in mV


def ecg(intervals):
    """P, QRS and T as bells, the QRS complexes these intervals (s) apart: (12, n) in mV."""
    peaks = np.cumsum([0.5, *intervals])
    time = np.arange(round((peaks[-1] + 0.5) * RATE)) / RATE
    bells = ((0.1, -0.16, 0.02), (1.0, 0.0, 0.012), (0.3, 0.25, 0.04))  # share of the R peak, place and width in s
    beat = sum(size * np.exp(-0.5 * ((time - peak - place) / width) ** 2) for size, place, width in bells for peak in peaks)
    return SIZES[:, None] * beat


def by_lead(values, name):
    return np.array([values[f"{name}_{lead}"] for lead in LEADS])


def test_rate_and_amplitudes_of_a_regular_rhythm():
    values = features(ecg([0.8] * 10))
    assert values["beats"] == 11 and values["rr_mean"] == pytest.approx(0.8) and values["rr_ratio"] == pytest.approx(1)
    assert values["rr_spread"] == pytest.approx(0) == values["rr_rmssd"] and values["likeness_min"] == pytest.approx(1)
    assert by_lead(values, "qrs_max") == pytest.approx(SIZES, rel=0.01)
    assert by_lead(values, "p_max") == pytest.approx(0.1 * SIZES, rel=0.01)
    assert by_lead(values, "t_max") == pytest.approx(0.3 * SIZES, rel=0.01)
    assert by_lead(values, "beat_+0") == pytest.approx(SIZES, rel=0.01)
    assert all(np.isfinite(list(values.values())))


def test_every_second_beat_comes_early():
    values = features(ecg([0.6, 1.0] * 5))
    expected = {"beats": 11, "rr_mean": 0.8, "rr_spread": 0.2, "rr_rmssd": 0.4, "rr_ratio": 1 / 0.6}
    assert {name: values[name] for name in expected} == pytest.approx(expected)


def test_one_beat_of_another_shape_is_the_least_alike():
    signal = ecg([1.0] * 9)
    signal[:, 400:500] *= -1
    values = features(signal)
    assert values["likeness_min"] < -0.9 and values["likeness_mean"] == pytest.approx(0.8, abs=0.05)
    assert by_lead(values, "qrs_max") == pytest.approx(SIZES, rel=0.01)  # of the median beat


def test_power_is_in_the_band_of_a_wave():
    values = features(np.sin(2 * np.pi * 6 * np.arange(1000) / RATE) * SIZES[:, None])
    bands = {name: value for name, value in values.items() if name.startswith("power_") and name.endswith("_V1")}
    assert max(bands, key=bands.get) == "power_4_hz_V1" and len(bands) == 5
    assert bands["power_4_hz_V1"] == pytest.approx(np.log10((SIZES[LEADS.index("V1")] * 500) ** 2))  # of n / 2 at one frequency


def test_a_flat_record_has_no_beats():
    values = features(np.zeros((12, 1000)))
    assert values["beats"] == 0 and np.isnan([values["rr_mean"], values["likeness_min"], values["qrs_max_V1"]]).all()
    assert list(values) == list(features(ecg([0.8] * 10)))


def test_beats_of_real_ecgs_are_those_of_xqrs():
    near, extra = [], []
    for recorded in map(read_example, examples()):
        found = beat_positions(prepare_signal(recorded.signal, recorded.fs, RATE)) / RATE
        other = xqrs_detect(recorded.signal[1].astype(float), recorded.fs, verbose=False) / recorded.fs
        if len(other):  # of one record it finds none
            alike = np.abs(np.subtract.outer(other, found)) < 0.1
            near += list(alike.any(axis=1))
            extra += list(~alike.any(axis=0)[(found > other[0]) & (found < other[-1])])
    assert len(near) > 100 and np.mean(near) > 0.97 and np.mean(extra) < 0.03
