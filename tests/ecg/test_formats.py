"""Every file format, from disk and from memory, against other writers and readers; WFDB in detail."""

import os
import re
import sys
import tarfile
import textwrap
from pathlib import Path

import numpy as np
import pytest
import wfdb
from ecg_files import WRITERS, in_memory, read_both_ways, simulated_signal, write_cinc, write_record

from cardiov.ecg import formats, recording
from cardiov.ecg.leads import LEADS, read_ecg
from cardiov.ecg.recording import refuse_large
from cardiov.errors import SignalError

SAMPLE = Path(os.environ.get("CARDIOV_SHARED", Path(__file__).parents[3] / "shared")) / "ptbxl-sample"
EIGHT = [0, 1, *range(6, 12)]  # I, II and V1 to V6
BEAT = {"ecg.dcm": ("not read: group 1 (ORIGINAL, 1.0 s)",)}  # `write_dicom` puts a median beat before the rhythm
every_format = pytest.mark.parametrize("name", WRITERS)


@every_format
@pytest.mark.parametrize("fs", [100, 250, 257, 500, 1000])
def test_rates(tmp_path, name, fs):
    signal = simulated_signal(fs=fs, seconds=5)
    WRITERS[name](tmp_path / name, signal, fs)
    ecg = read_both_ways(tmp_path / name)
    assert ecg.fs == pytest.approx(fs, rel=2e-5) and ecg.warnings == BEAT.get(name, ())  # SCP-ECG keeps the interval in whole µs
    np.testing.assert_allclose(ecg.signal, signal / 1000, atol=1e-6)


@every_format
def test_leads_in_any_order(tmp_path, name):
    signal, order = simulated_signal(), np.random.default_rng(3).permutation(12)
    WRITERS[name](tmp_path / name, signal[order], leads=[LEADS[i] for i in order])
    np.testing.assert_allclose(read_both_ways(tmp_path / name).signal, signal / 1000, atol=1e-6)


@every_format
def test_eight_leads_give_the_other_four(tmp_path, name):
    signal = simulated_signal()
    one, two = signal[:2] / 1000
    WRITERS[name](tmp_path / name, signal[EIGHT], leads=[LEADS[i] for i in EIGHT])
    ecg = read_both_ways(tmp_path / name)
    assert ecg.warnings == BEAT.get(name, ()) + ("derived lead: III, aVR, aVL, aVF",)
    np.testing.assert_allclose(ecg.signal[EIGHT], signal[EIGHT] / 1000, atol=1e-6)
    np.testing.assert_allclose(ecg.signal[2:6], [two - one, -(one + two) / 2, one - two / 2, two - one / 2], atol=1e-6)


@every_format
def test_fewer_leads_are_an_error(tmp_path, name):
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
@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the real sample of PTB-XL is not here (CARDIOV_SHARED)")
def test_real_records_come_through_unchanged(tmp_path, name):
    with tarfile.open(SAMPLE / "records500-21000.tar.xz") as archive:
        members = [member for _, member in zip(range(6), archive) if member.isfile()]
        archive.extractall(tmp_path / "real", members, filter="data")
    (tmp_path / "written").mkdir()
    for header in list((tmp_path / "real").rglob("*.hea"))[:2]:
        record = wfdb.rdrecord(str(header.with_suffix("")))
        microvolts = np.rint(record.p_signal.T * 1000).astype(int)
        WRITERS[name](tmp_path / "written" / name, microvolts, leads=LEADS)
        np.testing.assert_allclose(read_both_ways(tmp_path / "written" / name).signal, record.p_signal.T, atol=1e-6)


@pytest.mark.parametrize(("name", "content", "message"), [
    ("photo.jpg", b"\xff\xd8\xff" + bytes(5000), "photo.jpg is no ECG file of a known format: give WFDB"),
    ("empty", b"", "empty is no ECG file of a known format"), ("r.dat", bytes(5000), "is no ECG file"),
    ("muse.xml", b"<RestingECG/>", "cannot be read as GE MUSE XML"), ("ecg.npz", b"I,II\n", "cannot be read as .npz"),
    ("ecg.edf", b"I,II\n", "cannot be read as EDF"), ("ecg.dcm", b"I,II\n", "cannot be read as a DICOM waveform"),
    ("ecg.scp", b"I,II\n", "cannot be read as SCP-ECG"), ("ecg.csv", b"", "has 0 columns"),
    ("ecg.csv", b"# fs: 500\n", "has 0 columns"), ("ecg.csv", bytes(5000), "has 1 columns"),
])  # fmt: skip
def test_a_file_without_ecg_is_an_error(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SignalError, match=message):
        read_ecg({name: content})
    if name not in ("empty", "r.dat"):  # a path without known suffix is one of WFDB
        with pytest.raises(SignalError, match=message):
            read_ecg(tmp_path / name)


def test_absent_and_too_large_files_are_named(tmp_path, monkeypatch):
    for name in ("absent", "absent.csv"):
        with pytest.raises(SignalError, match=rf"{name}(.hea)? cannot be read \(No such file"):
            read_ecg(tmp_path / name)
    monkeypatch.setattr(recording, "MAX_BYTES", 2**20)
    monkeypatch.setattr(refuse_large, "__defaults__", (2**20, recording.CUT))
    with open(tmp_path / "large.csv", "wb") as file:
        file.truncate(2**30)
    with pytest.raises(SignalError, match="large.csv has 1,024 MB, above the 1 MB allowed"):
        read_ecg(tmp_path / "large.csv")
    with pytest.raises(SignalError, match="upload has 2 MB, above"):
        read_ecg({"upload": bytes(2**21)})


def test_an_upload_may_be_a_view_and_is_one_ecg(tmp_path):
    write_record(tmp_path)
    views = {name: memoryview(data) for name, data in in_memory(tmp_path).items()}
    np.testing.assert_array_equal(read_ecg(views).signal, read_ecg(tmp_path / "r").signal)
    for files in ({}, {"a.csv": b"", "b.csv": b""}, {"a.hea": b"", "b.hea": b""}):
        with pytest.raises(SignalError, match=f"{len(files)} files are not one ECG: give one file, or"):
            read_ecg(files)


@pytest.mark.parametrize(("package", "name"), [("edfio", "ecg.edf"), ("pydicom", "ecg.dcm"), ("ecgdatakit", "ecg.scp")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package, name):
    WRITERS[name](tmp_path / name, simulated_signal())
    for module in [module for module in sys.modules if module.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SignalError, match=rf'not installed \({package}.*pip install "cardiov\[formats\]"'):
        read_ecg(tmp_path / name)


def test_the_mat_form_of_the_challenges(tmp_path):
    base = write_cinc(tmp_path, simulated_signal())
    for suffix in ("", ".hea", ".mat"):
        ecg = read_ecg(f"{base}{suffix}")
        np.testing.assert_array_equal(ecg.signal, wfdb.rdrecord(str(base)).p_signal.T.astype(np.float32))
    assert ecg.meta["age"] == 74 and ecg.meta["sex"] == "male" and ecg.meta["record"] == "A0001"


@pytest.mark.parametrize("record", [
    {"units": "uV", "gain": 1.0}, {"fs": 500.5}, {"gain": np.linspace(700, 2300, 12), "baseline": np.arange(-6, 6)},
    {"gain": 1e-3, "units": "V", "signal": simulated_signal() // 100},
])  # fmt: skip
def test_records_are_as_wfdb_reads_them(tmp_path, record):
    base = write_record(tmp_path, **record)
    plain, reference = formats.read(base), wfdb.rdrecord(str(base))
    assert (plain.names, plain.units, plain.fs) == (reference.sig_name, reference.units, reference.fs)
    np.testing.assert_array_equal(plain.samples, reference.p_signal.T)


def test_an_upload_needs_the_signal_file_beside_its_header(tmp_path):
    write_record(tmp_path)
    files = in_memory(tmp_path)
    with pytest.raises(SignalError, match="r lacks the signal file 'r.dat' that r.hea names: give both files"):
        read_ecg({"r.hea": files["r.hea"]})
    with pytest.raises(SignalError, match="points to '../r.dat'"):
        read_ecg({"r.hea": files["r.hea"].replace(b"r.dat", b"../r.dat"), "../r.dat": files["r.dat"]})


@pytest.mark.parametrize("line", ["r 12 500 999999999", "r 12 500 5000"])
def test_a_header_that_declares_too_much_is_refused_before_anything_is_allocated(tmp_path, line):
    base = write_record(tmp_path, fmt="24")
    header = Path(f"{base}.hea")
    text = header.read_text().replace("r 12 500 5000", line)
    header.write_text(text.replace("r.dat 24 ", "r.dat 24:999999999 ") if line.endswith(" 5000") else text)
    with pytest.raises(SignalError, match=r"is truncated: its header declares [\d,]+ samples|skews that exceed the record"):
        read_ecg(base)


PAGE = (Path(__file__).parents[2] / "docs/formats.md").read_text(encoding="utf-8")


def test_the_page_lists_every_format_with_its_suffixes():
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in PAGE.splitlines() if line.startswith("| ")]
    listed = {name: set(re.findall(r"`\.(\w+)`", suffixes)) for name, suffixes in rows if name not in ("Format", "---")}
    xml = {name: {"xml"} for name in listed if name.endswith(("XML", "aECG"))}  # these are recognised by their first element
    assert listed == {"WFDB": {"hea", "dat", "mat"}} | {form.name: set(form.suffixes) for form in formats.FORMATS} | xml
    refused = PAGE[PAGE.index("## What is refused") : PAGE.index("## Add a format")]
    assert all((form.name in refused) == form.read.__name__.startswith("refuse_") for form in formats.FORMATS)


def test_a_format_is_added_as_the_page_says(tmp_path, monkeypatch):
    reader, row = (textwrap.dedent(block) for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    namespace = {"np": np, **vars(recording), **vars(formats)}
    exec(reader, namespace)  # noqa: S102
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, *eval(f"({row})", namespace)))  # noqa: S307
    signal = simulated_signal(seconds=5, fs=250)
    data = f"TOY 250 1250 {' '.join(LEADS)}\n".encode() + signal.T.astype("<i2").tobytes()
    (tmp_path / "ecg.x").write_bytes(data)
    ecg = read_both_ways(tmp_path / "ecg.x")
    np.testing.assert_allclose(ecg.signal, signal / 1000, atol=1e-6)
    assert ecg.fs == 250
    for bad, damaged in ((data[:-1], True), (b"TOY x y", False)):
        with pytest.raises(SignalError, match="cannot be read as Toy") as error:
            read_ecg({"ecg.x": bad})
        assert ("truncated" in str(error.value)) == damaged
