"""The vocabulary of lead names, and which of several signals is taken."""

import numpy as np
import pytest
from ecg_files import simulated_signal

from cardiov.ecg.leads import LEADS, as_ecg, ecg_from_leads
from cardiov.ecg.names import lead_of, name_of
from cardiov.ecg.recording import Recording
from cardiov.errors import SignalError

SIGNAL = simulated_signal() / 1000


def ecg_of(names, samples=SIGNAL, fs=500.0):
    return as_ecg(Recording(list(names), list(samples), ["mV"] * len(names), fs, "r"))


def with_more(name, samples=SIGNAL[0], fs=None):
    """Twelve leads and one more signal."""
    return ecg_of([name, *LEADS], [samples, *SIGNAL], [fs] + [500.0] * 12 if fs else 500.0)


@pytest.mark.parametrize(("lead", "names"), [
    ("I", ["DI", "d1", "Ⅰ", "I-Ref", "I+", "Ableitung I", "Abl. I", "Dérivation I", "ECG I-REF", "I (mV)", "Lead-I", "MDC_ECG_ELEC_POTL_I"]),
    ("II", ["DII", "Ⅱ", "II (rhythm)", "II rhythm", "ECG Lead II", "ECG-II", "ECG - II", "Lead II (Einthoven)", " ii ", "'II'"]),
    ("III", ["DIII", "D3", "Ⅲ", "EKG III", "Derivación III"]),
    ("aVR", ["AVR", "avr", "aV R", "aV_R", "MDC_ECG_LEAD_AVR", "aVR (Goldberger)", "aVR (inv)", "-aVR", "ECG -aVR", "aVR inverted"]),
    ("V3", ["C3", "c 3", "V₃", "V 3", "V_3", "V3 [µV]", "V3 (µV)", "MDC_ECG_LEAD_V3", "lead_v3", "ECG V3", "V3 (Wilson)"]),
])  # fmt: skip
def test_names_of_leads(lead, names):
    assert {name: lead_of(name) for name in names} == dict.fromkeys(names, lead)


@pytest.mark.parametrize("name", [
    "", None, "V7", "V3R", "V4 (V4R)", "V4 (right)", "I-II", "V1-V2", "I/II", "ST V5", "ST-I", "V1 ST", "V1 (median)", "II trend",
    "Lead 1", "1", "ECG", "Lead", "D", "vx", "aVR aVL", "V1 V2", "HR", "C7", "I (Nehb)", "V2 (posterior)", "V1 (average beat)", "VR",
])  # fmt: skip
def test_names_of_other_signals(name):
    assert lead_of(name) is None


@pytest.mark.parametrize("name", ["-aVR", "aVR (inv)", "aVR inverted", "ECG -AVR", "aVR (neg)", "aVR [INVERTED]"])
def test_an_inverted_lead_is_turned_back(name):
    assert name_of(name).inverted and not name_of("ECG-aVR").inverted
    ecg = ecg_of([name if lead == "aVR" else lead for lead in LEADS], SIGNAL * np.where(np.array(LEADS) == "aVR", -1, 1)[:, None])
    np.testing.assert_allclose(ecg.signal, SIGNAL, atol=1e-6)
    assert ecg.warnings == ("inverted in the file: aVR",)


@pytest.mark.parametrize(("name", "warning"), [
    ("II (rhythm)", "not read: 'II (rhythm)'"), ("V1 (median)", "not read: 'V1 (median)'"), ("-aVR", "not read: '-aVR'"),
    ("V1 (filtered)", "not read: 'V1 (filtered)'"),
])  # fmt: skip
def test_the_plainest_name_is_taken_and_the_other_is_said(name, warning):
    ecg = with_more(name, SIGNAL[5])
    np.testing.assert_allclose(ecg.signal, SIGNAL, atol=1e-6)
    assert ecg.warnings == (warning,)


def test_electrodes_of_an_eeg_are_no_leads_beside_leads():
    assert with_more("C3").warnings == () and with_more("D1").warnings == ()
    names = [name.replace("V", "C") if name.startswith("V") else f"D{len(name)}" if name in LEADS[:3] else name for name in LEADS]
    assert names == ["D1", "D2", "D3", "aVR", "aVL", "aVF", "C1", "C2", "C3", "C4", "C5", "C6"]
    np.testing.assert_allclose(ecg_of(names).signal, SIGNAL, atol=1e-6)


def test_a_remark_that_may_matter_is_said():
    ecg = ecg_of(["I (filtered)", *LEADS[1:]])
    assert ecg.warnings == ("name with a remark: 'I (filtered)'",)


def test_twins_are_taken_if_they_are_equal():
    assert with_more("Lead I").warnings == ("not read: 'I'",)
    with pytest.raises(SignalError, match=r"r has lead I more than once \('Lead I', 'I'\): remove or rename"):
        with_more("Lead I", SIGNAL[1])


@pytest.mark.parametrize("fs", [1.0, 50.0, 250.0])
def test_slower_signals_named_like_leads_are_not_taken(fs):
    ecg = with_more("V1", SIGNAL[0, :100], fs)
    np.testing.assert_allclose(ecg.signal, SIGNAL, atol=1e-6)
    assert ecg.fs == 500 and ecg.warnings == (f"not read: 'V1' at {fs:g} Hz",)


def test_of_two_whole_series_the_faster_is_taken():
    ecg = ecg_of([*LEADS, *LEADS], [*SIGNAL[:, ::5], *SIGNAL], [100.0] * 12 + [500.0] * 12)
    np.testing.assert_allclose(ecg.signal, SIGNAL, atol=1e-6)
    assert ecg.warnings[0].startswith("not read: 'I' at 100 Hz, 'II' at 100 Hz")


def test_a_limb_lead_of_another_rate_is_derived():
    rates = [500.0] * 12
    rates[2] = 250.0
    ecg = ecg_of(LEADS, [*SIGNAL[:2], SIGNAL[2, ::2], *SIGNAL[3:]], rates)
    assert ecg.warnings == ("not read: 'III' at 250 Hz", "derived lead: III")
    np.testing.assert_allclose(ecg.signal[2], SIGNAL[1] - SIGNAL[0], atol=1e-6)


def test_all_names_of_a_mapping_are_understood():
    names = ["DI", "DII", "DIII", "-aVR", "aVL", "aVF", *(f"C{k}" for k in range(1, 7))]
    ecg = ecg_from_leads(dict(zip(names, SIGNAL, strict=True)) | {"note": ["text"]}, 500)
    np.testing.assert_allclose(ecg.signal[3], -SIGNAL[3], atol=1e-6)
