"""EDF and BDF in detail, against files of edfio with fields changed by hand."""

import edfio
import numpy as np
import pytest
from ecg_files import read_both_ways, simulated_signal, write_bdf, write_edf
from wfdb.io.convert.edf import read_edf

from cardiov.ecg.leads import LEADS, read_ecg
from cardiov.errors import SignalError

SIGNAL = simulated_signal(seconds=5)
PLACES = {"label": (0, 16), "unit": (96, 8), "physical_min": (104, 8), "physical_max": (112, 8), "digital_min": (120, 8),
          "digital_max": (128, 8)}  # fmt: skip


def signals(rows=SIGNAL, fs=500, names=LEADS):
    return [edfio.EdfSignal(row.astype(float), fs, label=name, physical_dimension="uV", physical_range=(-3276.8, 3276.7))
            for name, row in zip(names, rows, strict=True)]  # fmt: skip


def channel(name, fs=1, unit="%", seconds=5):
    return edfio.EdfSignal(np.arange(seconds * fs) % 90.0, fs, label=name, physical_dimension=unit, physical_range=(0, 100))


def written(tmp_path, parts):
    edfio.Edf(parts).write(tmp_path / "ecg.edf")
    return tmp_path / "ecg.edf"


def change(path, field, text, channels=range(12)):
    """Write a field of the header of some channels."""
    data = bytearray(path.read_bytes())
    (offset, width), count = PLACES[field], int(data[252:256])
    for i in channels:
        start = 256 + offset * count + width * i
        data[start : start + width] = (text if isinstance(text, bytes) else text.encode()).ljust(width)
    path.write_bytes(data)
    return path


def assert_read(path, signal=SIGNAL, **settled):
    ecg = read_ecg(path, **settled)
    np.testing.assert_allclose(ecg.signal, signal / 1000, atol=1e-6)
    return ecg


def test_edf_is_read_as_wfdb_reads_it(tmp_path):
    write_edf(tmp_path / "ecg.edf", simulated_signal())
    record = read_edf(str(tmp_path / "ecg.edf"))
    assert record.sig_name == [f"ECG {lead}" for lead in LEADS]
    np.testing.assert_allclose(read_ecg(tmp_path / "ecg.edf").signal, record.p_signal.T / 1000, atol=1e-3)


def test_bdf_has_steps_below_those_of_edf(tmp_path):
    signal = SIGNAL + 0.1 * (np.arange(2500) % 7)
    write_bdf(tmp_path / "ecg.bdf", signal)
    np.testing.assert_allclose(read_both_ways(tmp_path / "ecg.bdf").signal, signal / 1000, atol=6e-5)
    (tmp_path / "ecg.edf").write_bytes((tmp_path / "ecg.bdf").read_bytes())  # recognised by its content
    assert read_ecg(tmp_path / "ecg.edf").signal.shape == (12, 2500)


@pytest.mark.parametrize(("low", "high"), [("-3276,8", "3276,7"), ("-3.276,8", "3.276,7"), ("-3,276.8", "3,276.7")])
def test_decimal_commas_and_points_of_thousands(tmp_path, low, high):
    path = change(written(tmp_path, signals()), "physical_min", low)
    assert assert_read(change(path, "physical_max", high)).warnings == ()


def test_a_comma_in_the_duration_of_a_data_record(tmp_path):
    data = bytearray(written(tmp_path, signals()).read_bytes())
    records, seconds = int(data[236:244]), float(data[244:252])
    assert records * seconds == 5
    data[244:252] = f"{seconds:.1f}".replace(".", ",").ljust(8).encode()
    assert read_ecg({"ecg.edf": data}).fs == 500


@pytest.mark.parametrize("text", ["abc", "1.2.3", "1,2,3,4", "nan", ""])
def test_an_unreadable_calibration_of_a_lead_is_an_error(tmp_path, text):
    with pytest.raises(SignalError, match="cannot be read as EDF|invalid samples") as error:
        read_ecg(change(written(tmp_path, signals()), "physical_min", text, [0]))
    assert "truncated" not in str(error.value)


@pytest.mark.parametrize(("field", "text"), [("digital_min", "32767"), ("physical_min", "3276.7"), ("digital_max", "-32769")])
def test_a_lead_without_calibration_is_an_error_and_another_channel_is_not(tmp_path, field, text):
    path = written(tmp_path, [*signals(), channel("-", 500)])
    digits = {"physical_min": "100"}.get(field, text)
    assert assert_read(change(path, field, digits, [12])).warnings == ()
    with pytest.raises(SignalError, match="the header gives no calibration for V3"):
        read_ecg(change(path, field, text, [8]))


@pytest.mark.parametrize("others", [13, 20])
@pytest.mark.parametrize("fs", [1, 100, 1000])
def test_other_channels_do_not_choose_the_rate(tmp_path, others, fs):
    others = [channel(f"Imp {i}", fs, "kOhm") for i in range(others)]
    for parts in (others + signals(), signals() + others):
        ecg = assert_read(written(tmp_path, parts))
        assert (ecg.fs, ecg.warnings) == (500, ())


@pytest.mark.parametrize("before", [True, False])
def test_slow_twins_are_said_and_not_read(tmp_path, before):
    slow = signals(300 * np.sin(np.arange(500) / 9 + np.arange(12)[:, None]), 100)
    ecg = assert_read(written(tmp_path, slow + signals() if before else signals() + slow))
    assert ecg.fs == 500 and len(ecg.warnings) == 1
    assert ecg.warnings[0].startswith("not read: 'I' at 100 Hz, 'II' at 100 Hz") and "'V6' at 100 Hz" in ecg.warnings[0]


def test_leads_of_several_rates_are_an_error(tmp_path):
    parts = signals()[:6] + signals(SIGNAL[6:, ::2], 250, LEADS[6:])
    with pytest.raises(SignalError, match="samples its leads at different rates .*V6 at 250 Hz"):
        read_ecg(written(tmp_path, parts))


@pytest.mark.parametrize("unit", ["µV".encode(), "µV".encode("latin-1"), "\u03bcV".encode(), b"UV", b"uV"])
def test_the_micro_sign_in_any_encoding(tmp_path, unit):
    assert_read(change(written(tmp_path, signals()), "unit", unit))


@pytest.mark.parametrize("unit", [".V", "?V", "", "adu"])
def test_an_unreadable_unit_is_settled_by_the_user(tmp_path, unit):
    path = change(written(tmp_path, signals()), "unit", unit)
    with pytest.raises(SignalError, match="give the unit"):
        read_ecg(path)
    ecg = assert_read(path, unit="uV")
    assert [text for text in ecg.warnings if not text.startswith("unit as given")] == []


def test_nanovolts(tmp_path):
    path = written(tmp_path, signals())
    for field, text in (("unit", "nV"), ("physical_min", "-3276800"), ("physical_max", "3276700")):
        change(path, field, text)
    assert_read(path)


@pytest.mark.parametrize(("patient", "sex", "code"), [
    ("X F X X", "female", None), ("77 M X X", "male", "77"), ("12 Miller", None, "12 Miller"), ("", None, None), ("X", None, None),
])  # fmt: skip
def test_who(tmp_path, patient, sex, code):
    data = written(tmp_path, signals()).read_bytes()
    meta = read_ecg({"ecg.edf": data[:8] + patient.ljust(80).encode() + data[88:]}).meta
    assert (meta["sex"], meta["patient"]) == (sex, code)


@pytest.mark.parametrize(("start", "recorded"), [
    (b"25.03.2114.05.09", "2021-03-25T14:05:09"), (b"01.01.8500.00.00", None), (b"99.99.9999.99.99", None), (b"  .  .    .  .  ", None),
])  # fmt: skip
def test_when(tmp_path, start, recorded):
    data = written(tmp_path, signals()).read_bytes()
    assert read_ecg({"ecg.edf": data[:88] + b" " * 80 + start + data[184:]}).meta["recorded"] == recorded


@pytest.mark.parametrize("kind", ["EDF", "BDF"])
def test_what_may_have_gaps_is_an_error(tmp_path, kind):
    {"EDF": write_edf, "BDF": write_bdf}[kind](tmp_path / "ecg", SIGNAL)
    data = bytearray((tmp_path / "ecg").read_bytes())
    data[192:197] = f"{kind}+D".encode()
    with pytest.raises(SignalError, match=f"cannot be read as {kind} .it is {kind}.D, whose signals may have gaps") as error:
        read_ecg({"ecg": bytes(data)})
    assert "truncated" not in str(error.value)


def test_an_unfinished_recording_is_read_with_a_warning(tmp_path):
    data = bytearray(written(tmp_path, signals()).read_bytes())
    data[236:244] = b"-1      "
    assert read_ecg({"ecg.edf": bytes(data)}).warnings == ("unfinished recording",)
