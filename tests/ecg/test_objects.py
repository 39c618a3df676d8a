"""ECGs from Python's own objects, gaps, and one sentence for what is neither a file nor an ECG."""

import io
import sys

import numpy as np
import pandas as pd
import pytest
from ecg_files import in_memory, simulated_signal, write_csv, write_record

from cardiov import ECG, ecg_from_leads, read_ecg, score
from cardiov.ecg import formats
from cardiov.ecg.leads import LEADS, check_ecg
from cardiov.errors import ParameterError, SignalError

SIGNAL = simulated_signal() / 1000
FLAT, LARGE = LEADS.index("V2"), LEADS.index("aVL")


def with_lead(place, values):
    signal = SIGNAL.copy()
    signal[place] = values
    return signal


@pytest.mark.parametrize(("signal", "warning"), [
    (with_lead(FLAT, 0), "flat lead: V2"), (with_lead(LARGE, SIGNAL[LARGE] * 50), "implausible amplitude: aVL"),
])  # fmt: skip
def test_an_ecg_object_is_warned_of_as_a_file(signal, warning):
    mapping = dict(zip(LEADS, signal, strict=True))
    for ecg in (ECG(signal, 500), ECG(signal.astype(np.float32), 500.0), ecg_from_leads(mapping, 500)):
        assert [text for text in score(ecg).warnings if text.startswith(warning)] and check_ecg(ecg).warnings == (warning,)
        assert check_ecg(check_ecg(ecg)).warnings == (warning,)  # not twice


@pytest.mark.parametrize("ecg", [
    ECG(SIGNAL.T, 500), ECG(SIGNAL[:8], 500), ECG(SIGNAL * np.nan, 500), ECG(SIGNAL.astype(str), 500), ECG(SIGNAL, 50),
    ECG(SIGNAL * 1000, 500), ECG(SIGNAL[:, :2000], 500), ECG(SIGNAL * 0, 500), ECG(SIGNAL, np.nan),
    ECG(np.ma.masked_greater(SIGNAL, 1), 500),
])  # fmt: skip
def test_an_unsuitable_ecg_object_is_one_sentence(ecg):
    with pytest.raises(SignalError):
        score(ecg)


@pytest.mark.parametrize("source", [
    SIGNAL, SIGNAL.tolist(), pd.DataFrame(SIGNAL.T, columns=LEADS), dict(zip(LEADS, SIGNAL, strict=True)), b"bytes", None, 12,
])  # fmt: skip
def test_what_is_no_file_is_told_how(source):
    for function in (score, read_ecg):
        with pytest.raises(SignalError, match=rf"^a {type(source).__name__} is no ECG file: make an ECG of it by cardiov.ecg_from_leads\("):
            function(source)


def test_a_data_frame_has_a_column_per_lead():
    order = [7, 3, 1, 0, 2, 11, 4, 5, 6, 8, 9, 10]
    frame = pd.DataFrame(SIGNAL[order].T, columns=[f"ECG {LEADS[i]}" for i in order]).assign(note="text", time=0.0)
    np.testing.assert_allclose(ecg_from_leads(frame, 500).signal, SIGNAL, atol=1e-6)
    np.testing.assert_allclose(ecg_from_leads(frame.set_index("time").drop(columns="note") * 1000, 500, "uV").signal, SIGNAL, atol=1e-6)
    with pytest.raises(SignalError, match="the ECG lacks lead V6"):
        ecg_from_leads(frame.drop(columns="ECG V6"), 500)
    frame.iloc[7, 0] = np.nan
    with pytest.raises(SignalError, match=r"invalid samples \(NaN\) in lead V2 \(1\)"):
        ecg_from_leads(frame, 500)


def test_an_array_has_a_row_per_name():
    np.testing.assert_allclose(ecg_from_leads(SIGNAL, 500, names=LEADS).signal, SIGNAL, atol=1e-6)
    np.testing.assert_allclose(ecg_from_leads(SIGNAL[::-1].tolist(), 500, names=LEADS[::-1]).signal, SIGNAL, atol=1e-6)
    for array, names, message in (
        (SIGNAL, None, r"an array of shape \(12, 5000\) with no names: give an array \(leads, n\) and one name per lead"),
        (SIGNAL.T, LEADS, r"an array of shape \(5000, 12\) with 12 names"), (SIGNAL[0], ["I"], r"an array of shape \(5000,\)"),
    ):
        with pytest.raises(SignalError, match=message):
            ecg_from_leads(array, 500, names=names)


def digital(lead, *gaps):
    signal = simulated_signal()
    for start, stop in gaps:
        signal[LEADS.index(lead), start:stop] = -32768  # WFDB's invalid sample
    return signal


def test_gaps_are_bridged_on_request(tmp_path):
    base = write_record(tmp_path, signal=digital("V2", (0, 2), (100, 101), (2000, 2010)))
    with pytest.raises(SignalError, match=r"\(NaN\) in lead V2 \(13\): cut them out, have short gaps bridged \(--bridge-gaps MS\)"):
        read_ecg(base)
    with pytest.raises(SignalError, match=r"invalid samples \(NaN\) in lead V2 \(10\)"):
        read_ecg(base, bridge_gaps=19)
    ecg = read_ecg(base, bridge_gaps=20)  # ms, that is 10 samples
    assert ecg.warnings == ("bridged gap: V2 (13 samples)",)
    bridged = ecg.signal[LEADS.index("V2")]
    line = np.interp(np.arange(2000, 2010), [1999, 2010], SIGNAL[LEADS.index("V2"), [1999, 2010]])
    np.testing.assert_allclose(bridged[2000:2010], line, atol=1e-6)
    np.testing.assert_allclose(bridged[:2], SIGNAL[LEADS.index("V2"), 2], atol=1e-6)
    rest = np.ones(SIGNAL.shape, bool)
    rest[LEADS.index("V2"), [0, 1, 100, *range(2000, 2010)]] = False
    np.testing.assert_allclose(ecg.signal[rest], SIGNAL[rest], atol=1e-6)


@pytest.mark.parametrize("gaps", [0, -1, np.nan, np.inf, "many"])
def test_gaps_have_a_length(tmp_path, gaps):
    with pytest.raises(ParameterError, match="cannot be bridged: give a number of milliseconds above 0"):
        read_ecg(write_record(tmp_path), bridge_gaps=gaps)


@pytest.mark.parametrize("gap", [(0, 5000), (100, 101)])
@pytest.mark.parametrize(("lead", "first", "second"), [("III", -1, 1), ("aVR", -0.5, -0.5), ("aVL", 1, -0.5), ("aVF", -0.5, 1)])
def test_an_invalid_limb_lead_is_derived(tmp_path, lead, first, second, gap):
    ecg = read_ecg(write_record(tmp_path, signal=digital(lead, gap)))
    assert ecg.warnings == (f"derived lead: {lead}",)
    np.testing.assert_allclose(ecg.signal[LEADS.index(lead)], first * SIGNAL[0] + second * SIGNAL[1], atol=1e-6)


def test_a_limb_lead_is_not_derived_from_an_invalid_one(tmp_path):
    signal = digital("I", (7, 8))
    signal[LEADS.index("aVF"), 9] = -32768
    with pytest.raises(SignalError, match=r"in lead I \(1\), aVF \(1\)"):
        read_ecg(write_record(tmp_path, signal=signal))


def test_the_standard_input_is_read(tmp_path, monkeypatch):
    write_csv(tmp_path / "ecg.csv", simulated_signal())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "ecg.csv").read_bytes())))
    formats._standard_input.cache_clear()
    for _ in range(2):  # the report reads again
        ecg = read_ecg("-")
        np.testing.assert_array_equal(ecg.signal, read_ecg(in_memory(tmp_path)).signal)
    formats._standard_input.cache_clear()


def test_masked_samples_are_invalid_and_complex_ones_no_ecg():
    leads = dict(zip(LEADS, SIGNAL, strict=True))
    masked = np.ma.masked_array(leads["V1"], np.arange(5000) == 9)
    with pytest.raises(SignalError, match=r"invalid samples \(NaN\) in lead V1 \(1\)"):
        ecg_from_leads(leads | {"V1": masked}, 500)
    with pytest.raises(SignalError, match="not numbers \\(complex numbers\\)"):
        ecg_from_leads(leads | {"V1": leads["V1"] + 1j}, 500)
    with pytest.raises(SignalError, match="gives no unit for signal 'I'"):
        ecg_from_leads(leads, 500, unit=None)
