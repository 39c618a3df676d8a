"""CSV and NumPy files in detail."""

import gzip
import os
import threading

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
    (lambda t: t * 2, "gives 500 Hz in a comment, but 250 Hz in its time column"),
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


def write_text(path, signal, separator=",", decimal=".", head="# fs: 500\n# unit: mV\n", names=LEADS, end="\n", after=""):
    """Write (leads, n) in mV as text of another dialect."""
    rows = [separator.join(f"{value:g}".replace(".", decimal) for value in row) + after for row in signal.T]
    text = head + separator.join(names) + "\n" + "\n".join(rows) + end
    path.write_text(text, encoding="utf-8")
    return text


SIGNAL = simulated_signal() / 1000


def assert_read(path, signal=SIGNAL, warnings=()):
    ecg = read_both_ways(path)
    assert (ecg.fs, ecg.warnings) == (500, warnings)
    np.testing.assert_allclose(ecg.signal, signal, rtol=1e-5, atol=1e-6)


def test_decimal_commas_from_any_row_on(tmp_path):
    signal = SIGNAL.copy()
    signal[:, :300] = 0
    write_text(tmp_path / "ecg.csv", signal, ";", ",")
    assert_read(tmp_path / "ecg.csv", signal)


@pytest.mark.parametrize(("separator", "mark", "quote"), [(";", ".", ""), ("\t", ",", ""), (",", ",", '"'), ("\t", ".", "")])
def test_marks_between_thousands(tmp_path, separator, mark, quote):
    signal = simulated_signal() * 3
    numbers = [[quote + f"{value:,}".replace(",", mark) + quote for value in row] for row in signal.T]
    rows = map(separator.join, numbers)
    (tmp_path / "ecg.csv").write_text("# fs: 500\n# unit: uV\n" + separator.join(LEADS) + "\n" + "\n".join(rows) + "\n")
    assert_read(tmp_path / "ecg.csv", signal / 1000, (f"thousands marks: 1{mark}234 is read as 1234",))


def test_marks_between_thousands_beside_decimal_times(tmp_path):
    signal, times = simulated_signal() * 3, np.arange(5000) / 500
    numbers = [[f"{value:,}".replace(",", ".") for value in row] for row in signal.T]
    rows = [";".join([f"{t:.3f}".replace(".", ","), *row]) for t, row in zip(times, numbers, strict=True)]
    (tmp_path / "ecg.csv").write_text("# unit: uV\n" + ";".join(["time", *LEADS]) + "\n" + "\n".join(rows) + "\n")
    assert_read(tmp_path / "ecg.csv", signal / 1000, ("thousands marks: 1.234 is read as 1234",))
    rows = [row.replace(",", ".", 1) for row in rows]  # times with a decimal point
    (tmp_path / "ecg.csv").write_text("# unit: uV\n" + ";".join(["time", *LEADS]) + "\n" + "\n".join(rows) + "\n")
    assert_read(tmp_path / "ecg.csv", signal / 1000, ("thousands marks: 1.234 is read as 1234",))


def test_decimal_commas_and_points_between_thousands(tmp_path):
    signal = simulated_signal() * 2.5
    rows = [";".join(f"{value:,.1f}".translate({44: 46, 46: 44}) for value in row) for row in signal.T]
    (tmp_path / "ecg.csv").write_text("# fs: 500\n# unit: uV\n" + ";".join(LEADS) + "\n" + "\n".join(rows) + "\n")
    assert_read(tmp_path / "ecg.csv", signal / 1000, ("thousands marks: 1.234 is read as 1234",))


def test_points_and_commas_in_one_table_are_an_error(tmp_path):
    text = write_text(tmp_path / "ecg.csv", SIGNAL, ";")
    (tmp_path / "ecg.csv").write_text(text.replace("0.", "0,", 3))
    with pytest.raises(SignalError, match="its numbers use points and commas in contradictory ways"):
        read_ecg(tmp_path / "ecg.csv")


@pytest.mark.parametrize(("separator", "encoding", "end"), [
    (",", "utf-8-sig", "\r"), (";", "utf-16", "\r\n"), ("\t", "utf-16-le", "\n"), ("|", "utf-16-be", "\r"), (" ", "utf-8", "\r\n"),
    ("   ", "utf-16", "\n"),
])  # fmt: skip
def test_separators_encodings_and_line_ends(tmp_path, separator, encoding, end):
    text = write_text(tmp_path / "ecg.csv", SIGNAL[:, :2500], separator)
    (tmp_path / "ecg.csv").write_bytes(text.replace("\n", end).encode(encoding))
    assert_read(tmp_path / "ecg.csv", SIGNAL[:, :2500])


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16", "cp1252"])
def test_the_micro_sign_in_any_encoding(tmp_path, encoding):
    text = write_text(tmp_path / "ecg.csv", simulated_signal(), head="# fs: 500\n# unit: µV\n")
    (tmp_path / "ecg.csv").write_bytes(text.encode(encoding))
    assert_read(tmp_path / "ecg.csv")


@pytest.mark.parametrize("change", [
    lambda text: text.replace("-", "\N{MINUS SIGN}"), lambda text: text.replace("\n", ",\n"),
    lambda text: text.replace("V6\n", "V6\n# a comment\n% another\n\n", 1), lambda text: text.replace("#", "%"),
    lambda text: text.replace("V6\n", "V6\n" + ",".join(["mV"] * 12) + "\n", 1).replace("# unit: mV\n", ""),
    lambda text: text.replace("V6\n", "V6\n" + ",".join(['"(mV)"'] * 12) + "\n", 1).replace("# unit: mV\n", ""),
    lambda text: text.replace(",".join(LEADS), ",".join(f"'{lead}'" for lead in LEADS)),
    lambda text: text.replace(",".join(LEADS), ",".join(f'"{lead}"' for lead in LEADS)),
    lambda text: text.replace(",".join(LEADS), ", ".join(LEADS)), lambda text: "Name,Miller\nReport,12 leads\n" + text,
    lambda text: "sep=,\n" + text, lambda text: text.replace("# fs: 500", "Sampling rate: 500 Hz"),
    lambda text: text.replace("# fs: 500", "sampling_rate,0.5 kHz"), lambda text: text.replace("# fs: 500", "Sample Rate (Hz): 500,0"),
    lambda text: text.replace("# fs: 500", "# Sampling frequency in Hz = 500"),
    lambda text: text.replace(",".join(LEADS), "# " + ",".join(LEADS)),  # as numpy.savetxt
    lambda text: "# leads: " + ", ".join(LEADS) + "\n" + text,
    lambda text: text.replace(",".join(LEADS), ",".join(f"{lead}_mV" for lead in LEADS)),
    lambda text: text.replace(",".join(LEADS), ",".join(f"Lead {lead} (Einthoven)" for lead in LEADS)),
])  # fmt: skip
def test_dialects(tmp_path, change):
    text = write_text(tmp_path / "ecg.csv", SIGNAL)
    assert change(text) != text
    (tmp_path / "ecg.csv").write_text(change(text), encoding="utf-8")
    assert_read(tmp_path / "ecg.csv")


def test_a_table_of_rdsamp(tmp_path):
    """PhysioNet's program writes quoted names, a row of units, and times as minutes and seconds."""
    head = ",".join(["'Elapsed time'", *(f"'{lead}'" for lead in LEADS)]) + "\n" + ",".join(["'hh:mm:ss.mmm'", *["'mV'"] * 12]) + "\n"
    rows = [f"'{k // 500 // 60}:{k / 500 % 60:06.3f}'," + ",".join(f"{value:.3f}" for value in row) for k, row in enumerate(SIGNAL.T)]
    (tmp_path / "ecg.csv").write_text(head + "\n".join(rows) + "\n")
    assert_read(tmp_path / "ecg.csv")


@pytest.mark.parametrize("unit", ["counts", "ADU", "0.1 uV", "uV/10", "a.u."])
def test_a_unit_that_cannot_be_read_is_settled_by_the_callers(tmp_path, unit):
    write_text(tmp_path / "ecg.csv", SIGNAL, head="# fs: 500\n", names=[f"{lead} ({unit})" for lead in LEADS])
    with pytest.raises(SignalError, match=f"gives signal 'I' in '{unit}': correct the header"):
        read_ecg(tmp_path / "ecg.csv")
    ecg = read_ecg(tmp_path / "ecg.csv", unit="mV")
    assert ecg.warnings == (f"unit as given: mV, the file says '{unit}'",)
    np.testing.assert_allclose(ecg.signal, SIGNAL, atol=1e-6)


@pytest.mark.parametrize("head", ["# fs: fast\n# unit: mV\n", "# fs unknown, age 51\n# unit: mV\n", "# fs:\n# unit: mV\n", "# fs: 5e2\n# unit: mV\n",
                                  "# sampling rate: 2 ms\n# unit: mV\n"])
def test_a_rate_that_cannot_be_read_is_settled_by_the_callers(tmp_path, head):
    write_text(tmp_path / "ecg.csv", SIGNAL, head=head)
    with pytest.raises(SignalError, match="gives no sampling rate"):
        read_ecg(tmp_path / "ecg.csv")
    assert read_ecg(tmp_path / "ecg.csv", fs=500).fs == 500


def test_a_file_that_is_cut(tmp_path):
    text = write_text(tmp_path / "ecg.csv", SIGNAL)
    last = text.rstrip("\n").rpartition("\n")[2]
    (tmp_path / "ecg.csv").write_text(text[:-3])  # within the last number
    assert_read(tmp_path / "ecg.csv", SIGNAL[:, :-1], ("no line end after the last row: it was left out, and more may be missing",))
    for cut in (last.index(",") + 2, last.rindex(",") + 1, 3):
        (tmp_path / "ecg.csv").write_text(text[: len(text) - len(last) - 1 + cut])
        with pytest.raises(SignalError, match=r"ecg.csv is truncated: its last row has \d+ of 12 values, so fetch"):
            read_ecg(tmp_path / "ecg.csv")


@pytest.mark.parametrize("name", ["ecg.csv.gz", "ecg.tsv.gz", "ecg.gz"])
def test_gzip(tmp_path, name):
    text = write_text(tmp_path / "ecg.csv", SIGNAL)
    (tmp_path / "ecg.csv").unlink()
    (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    assert_read(tmp_path / name)
    assert read_ecg(tmp_path / name).meta["record"] == "ecg"
    (tmp_path / name).write_bytes(gzip.compress(text.encode())[:-500])
    with pytest.raises(SignalError, match=r"cannot be read as a gzip file \(.*\): it is truncated or corrupt"):
        read_ecg(tmp_path / name)


def test_a_table_without_suffix_is_recognised(tmp_path):
    write_text(tmp_path / "table", SIGNAL)
    assert_read(tmp_path / "table")


def test_a_pipe_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    text = write_text(tmp_path / "ecg.csv", SIGNAL)
    thread = threading.Thread(target=(tmp_path / "pipe").write_text, args=[text])
    thread.start()
    np.testing.assert_allclose(read_ecg(tmp_path / "pipe").signal, SIGNAL, atol=1e-6)
    thread.join()


@pytest.mark.parametrize(("head", "unit"), [
    ("Hospital unit: Cardiology\n# unit: mV\n", "mV"), ('# unit: "mV"\n', "mV"), ("# units = mV, calibrated\n", "mV"),
    ("# unit: mV\n# unit: uV\n", None), ("# unit: 0.001 mV\n", None), ("# unit: mV/10\n", None), ("# unit: Cardiology\n", None),
])  # fmt: skip
def test_the_unit_above_a_table(tmp_path, head, unit):
    write_text(tmp_path / "ecg.csv", SIGNAL, head="# fs: 500\n" + head)
    if unit:
        assert_read(tmp_path / "ecg.csv")
    else:
        with pytest.raises(SignalError, match="gives signal 'I' in '"):
            read_ecg(tmp_path / "ecg.csv")


def test_marks_between_thousands_that_all_first_rows_have(tmp_path):
    signal = simulated_signal() * 3
    signal[:, :250] = 1234 + signal[:, :250] % 700
    rows = [";".join(f"{value:,}".replace(",", ".") for value in row) for row in signal.T]
    (tmp_path / "ecg.csv").write_text("# fs: 500\n# unit: uV\n" + ";".join(LEADS) + "\n" + "\n".join(rows) + "\n")
    assert_read(tmp_path / "ecg.csv", signal / 1000, ("thousands marks: 1.234 is read as 1234",))


def test_names_of_arrays_may_be_bytes(tmp_path):
    write_npz(tmp_path / "ecg.npz", simulated_signal(), leads=np.array(LEADS, dtype="S"))
    assert_read(tmp_path / "ecg.npz")
