"""CSV and NumPy files in detail."""

import numpy as np
import pytest
from ecg_files import read_both_ways, simulated_signal, write_csv, write_npz

from cardiov.ecg.leads import LEADS, read_ecg
from cardiov.errors import SignalError

UNEQUAL = "times that do not rise by equal steps"
INVALID = r"invalid samples \(NaN\) in lead V6 \(1\)"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(("before", "names"), [
    ("# fs: 500\n# unit: uV\n", "{}"), ("#FS = 500 Hz\n\n# Unit: µV\n", "{}"), ("# fs: 500\n", "{} (uV)"),
    ("# fs: 500.0\n", "{} [µV]"), ("# fs: 500\n# unit: mV\n", "{}(uV)"),
])  # fmt: skip
def test_comments_and_names_give_rate_and_unit(tmp_path, separator, before, names):
    signal = simulated_signal()
    write_csv(tmp_path / "ecg.txt", signal, separator=separator, before=before, names=names)
    ecg = read_both_ways(tmp_path / "ecg.txt")
    assert ecg.fs == 500
    np.testing.assert_allclose(ecg.signal, signal / 1000, atol=1e-6)


@pytest.mark.parametrize("unit", ["uV", "mV"])
def test_a_table_without_rate_and_unit_needs_them(tmp_path, unit):
    signal = simulated_signal()
    write_csv(tmp_path / "ecg.csv", signal if unit == "uV" else signal / 1000, before="")
    with pytest.raises(SignalError, match="gives no sampling rate: give it, in Hz"):
        read_ecg(tmp_path / "ecg.csv", unit=unit)
    with pytest.raises(SignalError, match=r"gives no unit for signal 'I': give the unit \(uV, mV or V\)"):
        read_ecg(tmp_path / "ecg.csv", fs=500)
    np.testing.assert_allclose(read_ecg(tmp_path / "ecg.csv", fs=500, unit=unit).signal, signal / 1000, atol=1e-6)


@pytest.mark.parametrize(("header", "scale", "digits"), [
    ("time", 1, 6), ("Time (s)", 1, 3), ("seconds", 1, 4), ("t", 1, 3), ("ms", 1000, 0), ("time [ms]", 1000, 2),
    ("time_ms", 1000, 0),
])  # fmt: skip
@pytest.mark.parametrize("fs", [257, 500])
def test_a_column_of_times_gives_the_rate(tmp_path, header, scale, digits, fs):
    signal = simulated_signal(fs=fs)
    times = np.round(np.arange(signal.shape[1]) / fs * scale, digits)
    write_csv(tmp_path / "ecg.csv", np.vstack([signal, times]), leads=[*LEADS, header], before="# unit: uV\n")
    ecg = read_both_ways(tmp_path / "ecg.csv")
    assert ecg.fs == fs
    np.testing.assert_allclose(ecg.signal, signal / 1000, atol=1e-6)


@pytest.mark.parametrize(("change", "message"), [
    (lambda t: np.where(np.arange(len(t)) < 2500, t, t + 0.002), UNEQUAL),  # a gap
    (lambda t: np.round(t, 2), UNEQUAL), (lambda t: t[::-1], UNEQUAL), (lambda t: t * np.nan, UNEQUAL),
    (lambda t: t * 2, "gives 500 Hz, but its time column 250 Hz"),
])  # fmt: skip
def test_irregular_or_contradictory_times_are_an_error(tmp_path, change, message):
    table = np.vstack([change(np.arange(5000) / 500), simulated_signal()])
    write_csv(tmp_path / "ecg.csv", table, leads=["time", *LEADS])
    with pytest.raises(SignalError, match=message):
        read_ecg(tmp_path / "ecg.csv")


def test_decimal_commas(tmp_path):
    signal = simulated_signal()
    write_csv(tmp_path / "ecg.csv", signal / 1000, separator=";", before="# fs: 500\n# unit: mV\n# Age: 51, Sex: F\n")
    text = (tmp_path / "ecg.csv").read_text().replace(".", ",")
    (tmp_path / "ecg.csv").write_text(text, encoding="utf-8-sig")
    ecg = read_both_ways(tmp_path / "ecg.csv")
    np.testing.assert_allclose(ecg.signal, signal / 1000, atol=1e-6)
    assert (ecg.meta["age"], ecg.meta["sex"], ecg.meta["record"]) == (51.0, "female", "ecg")


@pytest.mark.parametrize(("old", "new", "message"), [
    (",0\n", ",\n", INVALID), (",0\n", ",inf\n", INVALID), (",0\n", ",n/a\n", INVALID), (",0\n", ",oops\n", INVALID),
    (",0\n", "\n", INVALID), (",0\n", ",0,1\n", "cannot be read as CSV"), ("V6\n", "V5\n", "lacks lead V6"),
    ("V6\n", "I\n", "lacks lead V6"), ("V6\n", "V6 (counts)\n", "gives signal 'V6' in 'counts'"),
    ("V6\n", "V6," + ",".join(map(str, range(300))) + "\n", "has 312 columns"),
])  # fmt: skip
def test_damaged_tables(tmp_path, old, new, message):
    signal = simulated_signal()
    signal[-1, 77] = 0
    write_csv(tmp_path / "ecg.csv", signal)
    text = (tmp_path / "ecg.csv").read_text()
    (tmp_path / "ecg.csv").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SignalError, match=message):
        read_ecg(tmp_path / "ecg.csv")


def test_other_columns_are_ignored(tmp_path):
    signal = simulated_signal()
    write_csv(tmp_path / "ecg.csv", np.vstack([signal, np.full(5000, "x")]), leads=[*LEADS, "note"])
    np.testing.assert_allclose(read_both_ways(tmp_path / "ecg.csv").signal, signal / 1000, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.float32, np.float64])
def test_arrays_of_any_numbers(tmp_path, dtype):
    write_npz(tmp_path / "ecg.npz", simulated_signal().astype(dtype))
    np.testing.assert_allclose(read_both_ways(tmp_path / "ecg.npz").signal, simulated_signal() / 1000, atol=1e-6)


def test_an_array_without_lead_names_is_an_error(tmp_path):
    np.save(tmp_path / "ecg.npy", simulated_signal())
    with pytest.raises(SignalError, match=r"without lead names and rate: save it with np.savez\("):
        read_ecg(tmp_path / "ecg.npy")


@pytest.mark.parametrize(("arrays", "message"), [
    ({"signal": simulated_signal().T}, "do not fit together"),
    ({"signal": simulated_signal().astype(complex)}, "do not fit together"),
    ({"signal": simulated_signal().astype(object)}, "allow_pickle=False"),
    ({"leads": np.array(LEADS[:11])}, "do not fit together"), ({"fs": np.array([500, 500])}, "do not fit together"),
    ({"fs": np.nan}, "is sampled at nan Hz"),
    ({"fs": 1e6}, "is sampled at 1e[+]06 Hz: give a record of 100 to 100,000 Hz"),
    ({"unit": "furlong"}, "gives signal 'I' in 'furlong'"),
    ({"signal": np.where(np.arange(5000) == 9, np.nan, simulated_signal())}, r"NaN\) in lead I \(1\), II \(1\)"),
])  # fmt: skip
def test_unsuitable_arrays_are_an_error(tmp_path, arrays, message):
    write_npz(tmp_path / "ecg.npz", **{"signal": simulated_signal()} | arrays)
    with pytest.raises(SignalError, match=message):
        read_ecg(tmp_path / "ecg.npz")
