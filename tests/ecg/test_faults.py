"""Faults of recording: what exchanged electrodes do to the leads, and that the faults are named on real ECGs."""

import numpy as np
import pytest

from cardiov.ecg.beats import _peaks, hundredths
from cardiov.ecg.electrodes import ELECTRODES, with_electrodes_of
from cardiov.ecg.examples import examples, read_example
from cardiov.ecg.faults import _model, feature_names, features, likely_fault
from cardiov.ecg.filters import resample
from cardiov.ecg.leads import ECG
from cardiov.ecg.quality import MEANINGS, quality_warnings
from cardiov.experiments.faults import EXCHANGES, fault_names, with_fault
from cardiov.experiments.stress import disturb

NORMAL = "normal ECG"
SEVERE = [name for name in fault_names() if name.partition(": ")[2] not in ("LA and LL", "V2 and V3", "V4 and V5", "V5 and V6")]


@pytest.fixture(scope="module")
def signal():
    return read_example(NORMAL).signal


def exchanged(signal, name):
    return with_electrodes_of(signal, EXCHANGES[name])


def test_arms_exchanged_mirror_lead_one_and_leave_the_chest(signal):
    i, ii, iii, avr, avl, avf, *chest = signal
    np.testing.assert_allclose(exchanged(signal, "RA and LA"), [-i, iii, ii, avl, avr, avf, *chest], atol=0.01)


def test_an_arm_exchanged_with_the_left_leg(signal):
    i, ii, iii, avr, avl, avf, *chest = signal
    np.testing.assert_allclose(exchanged(signal, "RA and LL"), [-iii, -ii, -i, avf, avl, avr, *chest], atol=0.01)
    np.testing.assert_allclose(exchanged(signal, "LA and LL"), [ii, i, -iii, avr, avf, avl, *chest], atol=0.01)


def test_an_arm_on_the_right_leg_flattens_a_lead_and_moves_the_terminal(signal):
    i, ii, iii, _, _, _, *chest = signal
    leads = exchanged(signal, "RA and RL")  # RA reads the leg: II is flat, and the terminal rises by a third of II
    np.testing.assert_allclose(leads[:3], [-iii, 0 * ii, iii], atol=0.01)
    np.testing.assert_allclose(leads[6:], chest - ii / 3, atol=0.01)
    assert np.ptp(exchanged(signal, "LA and RL")[2]) < 0.01 and np.ptp(exchanged(signal, "arms and legs")[0]) < 0.01


def test_chest_electrodes_carry_their_leads_along(signal):
    np.testing.assert_array_equal(exchanged(signal, "V1 to V6 in reverse order"), [*signal[:6], *signal[:5:-1]])
    np.testing.assert_array_equal(with_electrodes_of(signal, ELECTRODES), signal)


@pytest.mark.parametrize("fs", [100, 257, 500, 1000])
@pytest.mark.parametrize("name", SEVERE)
def test_faults_of_a_normal_ecg_are_named_at_any_rate(signal, name, fs):
    disturbed, declared = with_fault(resample(signal, 500, fs), fs, name)
    texts = quality_warnings(ECG(disturbed, float(declared)))
    assert f"{name} ({MEANINGS[name.partition(':')[0]]})" in texts


def test_no_example_has_a_fault_and_the_paced_one_keeps_its_spikes():
    texts = {name: quality_warnings(read_example(name)) for name in examples()}
    assert not any(" may be " in text for found in texts.values() for text in found)
    paced = [name for name, found in texts.items() if any(text.startswith("pacing spikes") for text in found)]
    assert paced == ["normally functioning artificial pacemaker"]


@pytest.mark.parametrize(("disturbance", "strength"), [("baseline drift", 2.0), ("muscle noise", 0.2)])
def test_no_fault_is_named_in_a_disturbed_ecg(signal, disturbance, strength):
    texts = [quality_warnings(ECG(disturb(signal, 500, disturbance, strength, seed), 500.0)) for seed in range(10)]
    assert all(texts) and not any(" may be " in text for found in texts for text in found)


def test_a_rate_that_the_beats_contradict(signal):
    assert likely_fault(hundredths(signal, 1000)) == "sampling rate may be wrong: twice the true one"


def test_too_few_beats_or_a_flat_chest_lead_say_nothing(signal):
    slow = hundredths(-signal, 500)
    assert likely_fault(slow) == "leads may be inverted: all"
    assert likely_fault(slow[:, :200]) == "" and likely_fault(np.zeros_like(slow)) == ""
    slow[7] = 0
    assert features(slow) is None and likely_fault(slow) == ""


def test_model_features_and_simulated_faults_have_the_same_names(signal):
    names, limits, weights = _model()
    assert names == fault_names() and limits.shape == (len(names),)
    assert weights.shape == (len(feature_names()) + 1, len(names))
    assert features(hundredths(signal, 500)).shape == (len(feature_names()),)


def test_beats_stand_where_scipy_finds_the_peaks():
    from scipy.signal import find_peaks

    rng = np.random.default_rng(0)
    for x in (rng.normal(size=2000), np.cumsum(rng.normal(size=2000)), np.zeros(100), np.ones(3)):
        height = np.quantile(x, 0.6)
        np.testing.assert_array_equal(_peaks(x, height, 30), find_peaks(x, height=height, distance=30)[0])


def test_hundredths_are_means_and_independent_of_the_rate():
    ramp = np.arange(12 * 1000, dtype=np.float32).reshape(12, 1000)
    np.testing.assert_allclose(hundredths(ramp, 500), ramp.reshape(12, 200, 5).mean(axis=-1))
    np.testing.assert_array_equal(hundredths(ramp, 100), ramp)
    assert hundredths(ramp, 257.3).shape == (12, 388)
