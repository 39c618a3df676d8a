"""Pages that a reader switches through: what they draw, and the score in their titles."""

import numpy as np
import pytest

from cardiov.ecg.examples import read_example
from cardiov.experiments.browsers import AS_RECORDED, SWITCHES, case_page, disturbed_page
from cardiov.experiments.stress import CONDITIONS, disturb
from cardiov.scoring.record import score


@pytest.fixture(scope="module")
def ecg():
    return read_example("normal ECG")


def title(figure):
    return max((text.get_text() for text in figure.axes[0].texts), key=len)


def strip(figure):
    """The ten seconds of lead II at the bottom of a page, in mV above its first sample."""
    trace = max(figure.axes[0].lines, key=lambda line: len(line.get_xdata())).get_ydata()
    return (trace - trace[0]) / 10


def test_a_case_is_drawn_by_its_title(ecg):
    titles = ["Record 1, labelled 3, predicted 0: an infarction", "Record 2, labelled 0, predicted 3: a normal ECG"]
    other = read_example("atrial fibrillation")
    figure = case_page(titles[1], dict(zip(titles, (other, ecg), strict=True)), "some source")
    assert title(figure) == titles[1] and [text.get_text() for text in figure.texts] == ["some source"]
    np.testing.assert_allclose(strip(figure), ecg.signal[1] - ecg.signal[1, 0], atol=1e-5)


def test_an_ecg_as_recorded_has_its_own_score(ecg):
    first, second = title(disturbed_page(AS_RECORDED, ecg, 7, "")).splitlines()
    scored = score(ecg)
    assert first.startswith(f"as recorded: called {scored.critical_value} (")
    assert first.endswith(", ".join(f"{100 * p:.0f} %" for p in scored.probabilities))
    assert second == "no warning about the signal" and not scored.warnings


def test_a_swap_is_drawn_and_scored_on_the_disturbed_signal(ecg):
    figure = disturbed_page("lead swap RA/LL", ecg, 7, "some source")
    swapped = disturb(ecg.signal, ecg.fs, "lead swap", "RA/LL")
    np.testing.assert_allclose(strip(figure), swapped[1] - swapped[1, 0], atol=1e-5)
    first, second = title(figure).splitlines()
    assert first.startswith("lead swap RA/LL: called ") and "electrodes may be exchanged: RA and LL" in second and "(" not in second


def test_noise_is_that_of_the_stress_test(ecg):
    expected = disturb(ecg.signal, ecg.fs, "muscle noise", 0.4, [0, 7, 1])[1]
    np.testing.assert_allclose(strip(disturbed_page("muscle noise 0.4 mV RMS", ecg, 7, "")), expected - expected[0], atol=1e-5)


def test_every_condition_of_the_stress_test_can_be_switched_to():
    assert list(SWITCHES.values()) == CONDITIONS and len(SWITCHES) == len(CONDITIONS)
