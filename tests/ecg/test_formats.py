"""Every format that ECGs come in, against other writers and readers, files on disk and in memory alike."""

import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import wfdb
from ecg_files import (
    simulated_signal,
    write_aecg,
    write_cinc,
    write_csv,
    write_dicom,
    write_edf,
    write_npz,
    write_record,
    write_scp,
)  # fmt: skip
from wfdb.io.convert.edf import read_edf

import cardiov
from cardiov.ecg import formats, recording
from cardiov.ecg.leads import LEADS, ecg_from_leads, read_ecg
from cardiov.ecg.recording import refuse_large
from cardiov.errors import SignalError

SHARED = Path(os.environ.get("CARDIOV_SHARED", Path(__file__).parents[3] / "shared"))
SAMPLE = SHARED / "ptbxl-sample"
EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
WRITERS = {
    "ecg.csv": write_csv, "ecg.npz": write_npz, "ecg.edf": write_edf, "ecg.dcm": write_dicom, "ecg.scp": write_scp,
    "ecg.xml": write_aecg,
    "r": lambda path, *ecg, **leads: write_record(path.parent, "r", *ecg, **leads),
    "A0001": lambda path, *ecg, **leads: write_cinc(path.parent, *ecg, **leads),
}  # fmt: skip
every_format = pytest.mark.parametrize("name", WRITERS)


def in_memory(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def both(path):
    """The ECG of a path, which is alone in its folder, and the same as an upload."""
    one, two = read_ecg(path), read_ecg(in_memory(path.parent))
    np.testing.assert_array_equal(one.signal, two.signal)
    assert (one.fs, one.meta, one.warnings) == (two.fs, two.meta, two.warnings)
    return one


# All formats


@every_format
@pytest.mark.parametrize("fs", [100, 250, 257, 500, 1000])
def test_rates(tmp_path, name, fs):
    signal = simulated_signal(fs=fs, seconds=5)
    WRITERS[name](tmp_path / name, signal, fs)
    ecg = both(tmp_path / name)
    assert ecg.fs == pytest.approx(fs, rel=2e-5) and ecg.warnings == ()  # SCP-ECG keeps the interval in whole µs
    np.testing.assert_allclose(ecg.signal, signal / 1000, atol=1e-6)


@every_format
def test_leads_in_any_order(tmp_path, name):
    signal, order = simulated_signal(), np.random.default_rng(3).permutation(12)
    WRITERS[name](tmp_path / name, signal[order], leads=[LEADS[i] for i in order])
    np.testing.assert_allclose(both(tmp_path / name).signal, signal / 1000, atol=1e-6)


@every_format
def test_eight_leads_give_the_four_others(tmp_path, name):
    signal = simulated_signal()
    one, two = signal[:2] / 1000
    WRITERS[name](tmp_path / name, signal[[0, 1, *range(6, 12)]], leads=EIGHT)
    ecg = both(tmp_path / name)
    assert ecg.warnings == ("derived lead: III, aVR, aVL, aVF",)
    np.testing.assert_allclose(ecg.signal[[0, 1, *range(6, 12)]], signal[[0, 1, *range(6, 12)]] / 1000, atol=1e-6)
    np.testing.assert_allclose(ecg.signal[2:6], [two - one, -(one + two) / 2, one - two / 2, two - one / 2], atol=1e-6)


@every_format
def test_fewer_leads_are_refused_by_name(tmp_path, name):
    keep = [0, 2, 3, 4, 5, *range(6, 11)]
    WRITERS[name](tmp_path / name, simulated_signal()[keep], leads=[LEADS[i] for i in keep])
    with pytest.raises(SignalError, match="lacks lead II, V6: "):
        read_ecg(tmp_path / name)


@every_format
def test_rate_and_unit_may_be_given_but_not_contradict(tmp_path, name):
    WRITERS[name](tmp_path / name, simulated_signal())
    unit = "mV" if name in ("r", "A0001") else "uV"
    assert read_ecg(tmp_path / name, fs=500, unit=unit).fs == 500
    with pytest.raises(SignalError, match="is sampled at 500 Hz, not at the 250 Hz asked for"):
        read_ecg(tmp_path / name, fs=250)
    with pytest.raises(SignalError, match="in other units than the V asked for"):
        read_ecg(tmp_path / name, unit="V")
    with pytest.raises(SignalError, match="is 'bpm': give uV, mV or V"):
        read_ecg(tmp_path / name, unit="bpm")


@every_format
def test_a_truncated_file_is_one_sentence(tmp_path, name):
    WRITERS[name](tmp_path / name, simulated_signal())
    longest = max(tmp_path.iterdir(), key=lambda path: path.stat().st_size)
    longest.write_bytes(longest.read_bytes()[:-5000])
    if name == "ecg.csv":  # text has no end of its own
        longest.write_bytes(longest.read_bytes()[:-3].rstrip() + b",")
    for source in (tmp_path / name, in_memory(tmp_path)):
        with pytest.raises(SignalError, match=r"truncated|invalid samples") as error:
            read_ecg(source)
        assert str(error.value).count("\n") == 0 and "/proc/" not in str(error.value)


@every_format
def test_real_records_come_through_unchanged(tmp_path, name):
    if not SAMPLE.is_dir():
        pytest.skip("the real sample of PTB-XL is not here (CARDIOV_SHARED)")
    with tarfile.open(SAMPLE / "records500-21000.tar.xz") as archive:
        members = [member for _, member in zip(range(6), archive) if member.isfile()]
        archive.extractall(tmp_path / "real", members, filter="data")
    (tmp_path / "written").mkdir()
    for header in list((tmp_path / "real").rglob("*.hea"))[:2]:
        record = wfdb.rdrecord(str(header.with_suffix("")))
        microvolts = np.rint(record.p_signal.T * 1000).astype(int)
        WRITERS[name](tmp_path / "written" / name, microvolts, leads=LEADS)
        np.testing.assert_allclose(both(tmp_path / "written" / name).signal, record.p_signal.T, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "alias"),
    [("ecg.csv", "Lead {}"), ("ecg.csv", "ecg_{}"), ("ecg.csv", "EKG {}"), ("ecg.csv", "MDC_ECG_LEAD_{}"),
     ("ecg.npz", "Lead {} (Einthoven)"), ("ecg.npz", "ECG Lead {}")],
)  # fmt: skip
def test_names_with_something_around_them(tmp_path, name, alias):
    signal = simulated_signal()
    write = {"ecg.csv": write_csv, "ecg.npz": write_npz}[name]
    write(tmp_path / name, signal, leads=[alias.format(lead) for lead in LEADS])
    np.testing.assert_allclose(both(tmp_path / name).signal, signal / 1000, atol=1e-6)


# What is no ECG


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("photo.jpg", b"\xff\xd8\xff" + bytes(5000), "photo.jpg is no ECG file of a known format: give WFDB"),
        ("empty", b"", "empty is no ECG file of a known format"),
        ("muse.xml", b"<RestingECG/>", "cannot be read as HL7 aECG"),
        ("ecg.npz", b"I,II\n", "cannot be read as .npz"),
        ("ecg.edf", b"I,II\n", "cannot be read as EDF"),
        ("ecg.dcm", b"I,II\n", "cannot be read as a DICOM waveform"),
        ("ecg.scp", b"I,II\n", "cannot be read as SCP-ECG"),
        ("ecg.csv", b"", "has 0 columns"),
        ("ecg.csv", b"# fs: 500\n", "has 0 columns"),
        ("ecg.csv", bytes(5000), "has 1 columns"),
        ("r.dat", bytes(5000), "is no ECG file"),
    ],
)
def test_no_ecg(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SignalError, match=message):
        read_ecg({name: content})
    if name not in ("empty", "r.dat"):
        with pytest.raises(SignalError, match=message):
            read_ecg(tmp_path / name)


def test_absent_and_too_large_files_are_named(tmp_path, monkeypatch):
    with pytest.raises(SignalError, match=r"absent.csv cannot be read \(No such file"):
        read_ecg(tmp_path / "absent.csv")
    monkeypatch.setattr(recording, "MAX_BYTES", 2**20)
    monkeypatch.setattr(refuse_large, "__defaults__", (2**20,))
    with open(tmp_path / "large.csv", "wb") as file:
        file.truncate(2**30)
    with pytest.raises(SignalError, match="large.csv has 1,024 MB, above the 1 MB allowed"):
        read_ecg(tmp_path / "large.csv")
    with pytest.raises(SignalError, match="upload has 2 MB, above"):
        read_ecg({"upload": bytes(2**21)})


def test_an_upload_is_one_ecg(tmp_path):
    for files in ({}, {"a.csv": b"", "b.csv": b""}, {"a.hea": b"", "b.hea": b""}):
        with pytest.raises(SignalError, match="one ECG at a time"):
            read_ecg(files)


@pytest.mark.parametrize("package", ["edfio", "pydicom", "ecgdatakit"])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package):
    name = {"edfio": "ecg.edf", "pydicom": "ecg.dcm", "ecgdatakit": "ecg.scp"}[package]
    WRITERS[name](tmp_path / name, simulated_signal())
    for module in [module for module in sys.modules if module.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SignalError, match=rf'not installed \({package}.*pip install "cardiov\[formats\]"'):
        read_ecg(tmp_path / name)


# WFDB


def test_the_mat_form_of_the_challenges(tmp_path):
    signal = simulated_signal()
    base = write_cinc(tmp_path, signal)
    for suffix in ("", ".hea", ".mat"):
        ecg = read_ecg(f"{base}{suffix}")
        np.testing.assert_array_equal(ecg.signal, wfdb.rdrecord(str(base)).p_signal.T.astype(np.float32))
    assert ecg.meta["age"] == 74 and ecg.meta["sex"] == "male" and ecg.meta["record"] == "A0001"


@pytest.mark.parametrize(
    "record",
    [{"units": "uV", "gain": 1.0}, {"fs": 500.5}, {"gain": np.linspace(700, 2300, 12), "baseline": np.arange(-6, 6)},
     {"gain": 1e-3, "units": "V", "signal": simulated_signal() // 100}],
)  # fmt: skip
def test_records_read_without_wfdb_are_as_wfdb_reads_them(tmp_path, record, monkeypatch):
    base = write_record(tmp_path, **record)
    monkeypatch.setattr(formats, "_read_by_wfdb", None)
    recording, reference = formats.read(base), wfdb.rdrecord(str(base))
    assert (recording.names, recording.units) == (reference.sig_name, reference.units)
    assert recording.fs == reference.fs
    np.testing.assert_array_equal(recording.samples, reference.p_signal.T)


@pytest.mark.parametrize("fmt", ["80", "212", "24", "32"])
def test_other_wfdb_formats_are_read_from_disk_only(tmp_path, fmt):
    signal = simulated_signal() // 20
    base = write_record(tmp_path, signal=signal, gain=50.0, fmt=fmt)
    np.testing.assert_allclose(read_ecg(base).signal, signal / 50, atol=1e-6)
    with pytest.raises(SignalError, match="another form than format 16, which only the command line reads"):
        read_ecg(in_memory(tmp_path))


def test_an_upload_lacks_its_signal_file(tmp_path):
    write_record(tmp_path)
    with pytest.raises(SignalError, match="signal file that r.hea names is missing or truncated, so give both"):
        read_ecg({"r.hea": (tmp_path / "r.hea").read_bytes()})


def test_an_uploaded_header_may_not_point_elsewhere(tmp_path):
    write_record(tmp_path)
    header = (tmp_path / "r.hea").read_text().replace("r.dat", "../r.dat").encode()
    with pytest.raises(SignalError, match="points to '../r.dat'"):
        read_ecg({"r.hea": header, "../r.dat": (tmp_path / "r.dat").read_bytes()})


@pytest.mark.parametrize("line", ["r 12 500 999999999", "r 12 500 5000"])
def test_a_header_that_promises_too_much_is_refused_before_anything_is_allocated(tmp_path, line):
    base = write_record(tmp_path, fmt="24")
    header = Path(f"{base}.hea")
    text = header.read_text().replace("r 12 500 5000", line)
    header.write_text(text.replace(" 24 ", " 24:999999999 ") if line.endswith(" 5000") else text)
    with pytest.raises(SignalError, match=r"is truncated: its header declares [\d,]+ samples"):
        read_ecg(base)


# CSV


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("before", "names"),
    [("# fs: 500\n# unit: uV\n", "{}"), ("#FS = 500 Hz\n\n# Unit: µV\n", "{}"), ("# fs: 500\n", "{} (uV)"),
     ("# fs: 500.0\n", "{} [µV]"), ("# fs: 500\n# unit: mV\n", "{}(uV)")],
)  # fmt: skip
def test_text_that_says_what_it_holds(tmp_path, separator, before, names):
    signal = simulated_signal()
    write_csv(tmp_path / "ecg.txt", signal, separator=separator, before=before, names=names)
    ecg = both(tmp_path / "ecg.txt")
    assert ecg.fs == 500
    np.testing.assert_allclose(ecg.signal, signal / 1000, atol=1e-6)


@pytest.mark.parametrize("unit", ["uV", "mV"])
def test_text_that_says_nothing_asks(tmp_path, unit):
    signal = simulated_signal()
    write_csv(tmp_path / "ecg.csv", signal if unit == "uV" else signal / 1000, before="")
    with pytest.raises(SignalError, match="gives no sampling rate: give it, in Hz"):
        read_ecg(tmp_path / "ecg.csv", unit=unit)
    with pytest.raises(SignalError, match=r"does not say in which unit its signals are: give the unit \(uV, mV or V\)"):
        read_ecg(tmp_path / "ecg.csv", fs=500)
    np.testing.assert_allclose(read_ecg(tmp_path / "ecg.csv", fs=500, unit=unit).signal, signal / 1000, atol=1e-6)


@pytest.mark.parametrize(
    ("header", "scale", "digits"),
    [("time", 1, 6), ("Time (s)", 1, 3), ("seconds", 1, 4), ("t", 1, 3), ("ms", 1000, 0), ("time [ms]", 1000, 2),
     ("time_ms", 1000, 0)],
)  # fmt: skip
@pytest.mark.parametrize("fs", [257, 500])
def test_a_column_of_times_gives_the_rate(tmp_path, header, scale, digits, fs):
    signal = simulated_signal(fs=fs)
    times = np.round(np.arange(signal.shape[1]) / fs * scale, digits)
    write_csv(tmp_path / "ecg.csv", np.vstack([signal, times]), leads=[*LEADS, header], before="# unit: uV\n")
    ecg = both(tmp_path / "ecg.csv")
    assert ecg.fs == fs
    np.testing.assert_allclose(ecg.signal, signal / 1000, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: np.where(np.arange(len(t)) < 2500, t, t + 0.002), "times that do not rise by equal steps"),  # a gap
        (lambda t: np.round(t, 2), "times that do not rise by equal steps"),
        (lambda t: t[::-1], "times that do not rise by equal steps"),
        (lambda t: t * np.nan, "times that do not rise by equal steps"),
        (lambda t: t * 2, "says 500 Hz, but its time column 250 Hz"),
    ],
)
def test_times_that_make_no_rate(tmp_path, change, message):
    signal = simulated_signal()
    table = np.vstack([change(np.arange(5000) / 500), signal])
    write_csv(tmp_path / "ecg.csv", table, leads=["time", *LEADS])
    with pytest.raises(SignalError, match=message):
        read_ecg(tmp_path / "ecg.csv")


def test_decimal_commas(tmp_path):
    signal = simulated_signal()
    write_csv(tmp_path / "ecg.csv", signal / 1000, separator=";", before="# fs: 500\n# unit: mV\n# Age: 51, Sex: F\n")
    text = (tmp_path / "ecg.csv").read_text().replace(".", ",")
    (tmp_path / "ecg.csv").write_text(text, encoding="utf-8-sig")
    ecg = both(tmp_path / "ecg.csv")
    np.testing.assert_allclose(ecg.signal, signal / 1000, atol=1e-6)
    assert (ecg.meta["age"], ecg.meta["sex"], ecg.meta["record"]) == (51.0, "female", "ecg")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",0\n", ",\n", r"invalid samples \(NaN\) in lead V6 \(1\)"),
        (",0\n", ",inf\n", r"invalid samples \(NaN\) in lead V6 \(1\)"),
        (",0\n", ",n/a\n", r"invalid samples \(NaN\) in lead V6 \(1\)"),
        (",0\n", ",oops\n", r"invalid samples \(NaN\) in lead V6 \(1\)"),
        (",0\n", "\n", r"invalid samples \(NaN\) in lead V6 \(1\)"),
        (",0\n", ",0,1\n", "cannot be read as CSV"),
        ("V6\n", "V5\n", "lacks lead V6"),
        ("V6\n", "I\n", "lacks lead V6"),
        ("V6\n", "V6 (counts)\n", "gives signal 'V6' in 'counts'"),
        ("V6\n", "V6," + ",".join(map(str, range(300))) + "\n", "has 312 columns"),
    ],
)
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
    np.testing.assert_allclose(both(tmp_path / "ecg.csv").signal, signal / 1000, atol=1e-6)


# NumPy


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.float32, np.float64])
def test_arrays_of_any_numbers(tmp_path, dtype):
    write_npz(tmp_path / "ecg.npz", simulated_signal().astype(dtype))
    np.testing.assert_allclose(both(tmp_path / "ecg.npz").signal, simulated_signal() / 1000, atol=1e-6)


def test_an_array_alone_says_too_little(tmp_path):
    np.save(tmp_path / "ecg.npy", simulated_signal())
    with pytest.raises(SignalError, match=r"without lead names and rate: save it by np.savez\("):
        read_ecg(tmp_path / "ecg.npy")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"signal": simulated_signal().T}, "do not fit together"),
        ({"signal": simulated_signal().astype(complex)}, "do not fit together"),
        ({"signal": simulated_signal().astype(object)}, "allow_pickle=False"),
        ({"leads": np.array(LEADS[:11])}, "do not fit together"),
        ({"fs": np.array([500, 500])}, "do not fit together"),
        ({"fs": np.nan}, "is sampled at nan Hz"),
        ({"fs": 1e6}, "is sampled at 1e[+]06 Hz: give a record of 100 to 100,000 Hz"),
        ({"unit": "furlong"}, "gives signal 'I' in 'furlong'"),
        ({"signal": np.where(np.arange(5000) == 9, np.nan, simulated_signal())}, r"NaN\) in lead I \(1\), II \(1\)"),
    ],
)
def test_arrays_that_are_no_ecg(tmp_path, arrays, message):
    write_npz(tmp_path / "ecg.npz", **{"signal": simulated_signal()} | arrays)
    with pytest.raises(SignalError, match=message):
        read_ecg(tmp_path / "ecg.npz")


def test_arrays_in_python():
    signal = simulated_signal() / 1000
    leads = dict(zip(map(str.lower, LEADS), signal, strict=True))
    ecg = cardiov.ecg_from_leads(leads, 500, record="mine")
    np.testing.assert_array_equal(ecg.signal, signal.astype(np.float32))
    assert ecg.meta["record"] == "mine" and ecg.fs == 500 and ecg.warnings == ()
    microvolts = ecg_from_leads({lead: samples * 1000 for lead, samples in leads.items()}, 500, "uV")
    np.testing.assert_allclose(microvolts.signal, signal, atol=1e-6)
    for wrong, message in (
        ({"I": leads["i"]}, "mine lacks lead II, V1"),
        (leads | {"v6": leads["v6"][1:]}, "mine has leads of different lengths"),
        (leads | {"v6": "text"}, "mine has leads or a rate that are no numbers"),
        (leads | {"v6": leads["v6"] + np.inf}, r"mine has invalid samples \(NaN\) in lead V6"),
    ):
        with pytest.raises(SignalError, match=message):
            ecg_from_leads(wrong, 500, record="mine")


# Clinical formats


def test_aecg_written_by_biosig():
    ecg = read_ecg(Path(__file__).parents[1] / "fixtures/simulated-aecg.xml")
    np.testing.assert_allclose(ecg.signal, simulated_signal(seconds=5, fs=257, seed=7) / 1000, atol=1e-6)
    assert ecg.fs == pytest.approx(257, rel=1e-5)


def test_scp_with_huffman_code(tmp_path):
    write_scp(tmp_path / "ecg.scp", simulated_signal(), huffman=True)
    np.testing.assert_allclose(both(tmp_path / "ecg.scp").signal, simulated_signal() / 1000, atol=1e-6)


def test_one_changed_bit_of_scp_is_found_by_the_checksum(tmp_path):
    write_scp(tmp_path / "ecg.scp", simulated_signal())
    data = bytearray((tmp_path / "ecg.scp").read_bytes())
    data[20_000] ^= 1
    with pytest.raises(SignalError, match="its checksum is wrong"):
        read_ecg({"ecg.scp": data})


def test_edf_is_read_as_wfdb_reads_it(tmp_path):
    write_edf(tmp_path / "ecg.edf", simulated_signal())
    record = read_edf(str(tmp_path / "ecg.edf"))
    assert record.sig_name == [f"ECG {lead}" for lead in LEADS]
    np.testing.assert_allclose(read_ecg(tmp_path / "ecg.edf").signal, record.p_signal.T / 1000, atol=1e-3)


def test_edf_with_signals_of_another_rate(tmp_path):
    import edfio

    write_edf(tmp_path / "ecg.edf", simulated_signal())
    edf = edfio.read_edf(tmp_path / "ecg.edf")
    edf.append_signals(edfio.EdfSignal(np.ones(10), 1, label="SpO2", physical_dimension="%", physical_range=(0, 100)))
    edf.write(tmp_path / "more.edf")
    np.testing.assert_allclose(read_ecg(tmp_path / "more.edf").signal, simulated_signal() / 1000, atol=1e-6)


@pytest.mark.parametrize(("patient", "sex"), [("X F X X", "female"), ("X M X X", "male"), ("12 Miller", None)])
def test_edf_gives_the_sex_where_it_is_one(tmp_path, patient, sex):
    write_edf(tmp_path / "ecg.edf", simulated_signal())
    data = (tmp_path / "ecg.edf").read_bytes()
    assert read_ecg({"ecg.edf": data[:8] + patient.ljust(80).encode() + data[88:]}).meta["sex"] == sex


def test_an_upload_may_be_a_view(tmp_path):
    write_record(tmp_path)
    views = {name: memoryview(data) for name, data in in_memory(tmp_path).items()}
    np.testing.assert_array_equal(read_ecg(views).signal, read_ecg(tmp_path / "r").signal)


def test_edf_in_pieces_is_refused(tmp_path):
    write_edf(tmp_path / "ecg.edf", simulated_signal())
    data = bytearray((tmp_path / "ecg.edf").read_bytes())
    data[192:197] = b"EDF+D"
    with pytest.raises(SignalError, match="may have gaps"):
        read_ecg({"ecg.edf": bytes(data)})


def test_dicom_of_another_maker():
    from pydicom.data import get_testdata_file

    ecg = read_ecg(get_testdata_file("waveform_ecg.dcm"))  # leads by SCP-ECG's codes, 1.25 µV a step
    assert ecg.fs == 1000 and ecg.signal.shape == (12, 10_000) and ecg.meta["sex"] == "female" and ecg.meta["age"] == 42
    one, two, three, right, left, foot = ecg.signal[:6]
    np.testing.assert_allclose(ecg.signal * 800, np.rint(ecg.signal * 800), atol=1e-3)
    np.testing.assert_allclose(three, two - one, atol=0.003)
    np.testing.assert_allclose(right, -(one + two) / 2, atol=0.003)
    np.testing.assert_allclose(left, one - two / 2, atol=0.003)
    np.testing.assert_allclose(foot, two - one / 2, atol=0.003)


def test_dicom_padding_is_invalid(tmp_path):
    signal = simulated_signal()
    signal[3, 5] = -30_000
    write_dicom(tmp_path / "ecg.dcm", signal, WaveformPaddingValue=np.int16(-30_000).tobytes())
    with pytest.raises(SignalError, match=r"invalid samples \(NaN\) in lead aVR \(1\)"):
        read_ecg(tmp_path / "ecg.dcm")


def test_dicom_that_may_unpack_to_any_size(tmp_path):
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    write_dicom(tmp_path / "ecg.dcm", simulated_signal(), syntax=DeflatedExplicitVRLittleEndian)
    with pytest.raises(SignalError, match="is deflated DICOM: export it uncompressed"):
        read_ecg(tmp_path / "ecg.dcm")
