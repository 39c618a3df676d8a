"""Twelve leads from WFDB records and from arrays: names, units, headers and checks, against wfdb and real records."""

import os
import tarfile
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import wfdb
from ecg_files import simulated_signal, write_record

import cardiov
from cardiov.ecg.leads import LEADS, ecg_from_leads, read_ecg
from cardiov.ecg.recording import meta_of
from cardiov.errors import SignalError

LUDB = Path(os.environ.get("CARDIOV_SHARED", Path(__file__).parents[3] / "shared")) / "ludb/ludb-1.0.1.tar.xz"


def edit_header(base, old, new):
    header = Path(f"{base}.hea")
    text = header.read_text(encoding="utf-8")
    assert old in text
    header.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize("alias", [
    str.upper, str.lower, "Lead {}".format, "MDC_ECG_LEAD_{}".format, "ecg_{}".format, "EKG {}".format, "ECG Lead {}".format,
    "Lead {} (Einthoven)".format,
])  # fmt: skip
def test_leads_are_identified_by_name_in_any_order(tmp_path, alias):
    digital, order = simulated_signal(), np.random.default_rng(1).permutation(12)
    signal = np.vstack([digital[:1] * 0, digital[order]])  # the first is no lead
    ecg = read_ecg(write_record(tmp_path, signal=signal, leads=["vx", *(alias(LEADS[i]) for i in order)]))
    assert ecg.signal.dtype == np.float32 and ecg.signal.shape == (12, 5000) and ecg.fs == 500.0
    assert ecg.warnings == ()
    np.testing.assert_allclose(ecg.signal, digital / 1000, atol=1e-6)


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
        (leads | {"v6": "text"}, "mine has leads or a rate that are not numbers"),
        (leads | {"v6": leads["v6"] + np.inf}, r"mine has invalid samples \(NaN\) in lead V6"),
    ):
        with pytest.raises(SignalError, match=message):
            ecg_from_leads(wrong, 500, record="mine")


@pytest.mark.parametrize("suffix", ["", ".hea", ".dat"])
def test_a_path_may_have_either_suffix(tmp_path, suffix):
    assert read_ecg(f"{write_record(tmp_path)}{suffix}").meta["record"] == "r"


@pytest.mark.parametrize(("unit", "per_unit", "encoding"), [
    ("uV", 1.0, "ascii"), ("µV", 1.0, "utf-8"), ("µV", 1.0, "latin-1"), ("μV", 1.0, "utf-8"), ("mV", 1e3, "ascii"),
    ("V", 1e6, "ascii"),
])  # fmt: skip
def test_units_come_from_the_header(tmp_path, unit, per_unit, encoding):
    base = write_record(tmp_path, gain=per_unit, units="mV")
    header = Path(f"{base}.hea")
    header.write_bytes(header.read_text().replace("/mV", f"/{unit}").encode(encoding))
    np.testing.assert_allclose(read_ecg(base).signal, simulated_signal() / 1000, rtol=1e-6, atol=1e-9)


def test_each_lead_has_its_own_gain_and_baseline(tmp_path):
    gain, baseline = np.linspace(700, 2300, 12), np.arange(-6, 6)
    signal = read_ecg(write_record(tmp_path, gain=gain, baseline=baseline)).signal
    np.testing.assert_allclose(signal, (simulated_signal() - baseline[:, None]) / gain[:, None], atol=1e-6)


def test_meta_keeps_age_sex_and_comments(tmp_path):
    comments = ["<age>: 51", "<sex>: F", "Rhythm: sinus"]
    meta = read_ecg(write_record(tmp_path, comments=comments)).meta
    assert meta == {"record": "r", "age": 51.0, "sex": "female", "comments": comments, "recorded": None, "patient": None}
    assert read_ecg(write_record(tmp_path, comments=["Sex: Male, stage 3"])).meta["sex"] == "male"
    assert read_ecg(write_record(tmp_path)).meta == meta_of("r") and not any(list(meta_of("").values()))


def test_meta_gives_start_and_patient():
    meta = meta_of("r", recorded=datetime(2020, 5, 16, 12, 33, 23), patient=" 77 ")
    assert (meta["recorded"], meta["patient"]) == ("2020-05-16T12:33:23", "77")
    assert meta_of("r", recorded="2020-05-16", patient="")["patient"] is None


def test_flat_and_implausible_leads_are_named(tmp_path):
    digital = simulated_signal()
    digital[LEADS.index("V2")] = 7
    digital[LEADS.index("aVL"), 2500] = 25_000
    warnings = read_ecg(write_record(tmp_path, signal=digital)).warnings
    assert warnings == ("flat lead: V2", "implausible amplitude: aVL")


def test_invalid_samples_are_counted_by_lead(tmp_path):
    digital = simulated_signal()
    digital[LEADS.index("V3"), 100:105] = -32768  # WFDB's invalid sample in format 16
    with pytest.raises(SignalError, match=r"r has invalid samples \(NaN\) in lead V3 \(5\)"):
        read_ecg(write_record(tmp_path, signal=digital))


@pytest.mark.parametrize(("names", "message"), [
    ((*LEADS[:10], "X", "Y"), "lacks lead V5, V6"), (("I", "II (median)", *LEADS[2:]), "lacks lead II"),
    ((*LEADS, "lead v1"), "has lead V1 more than once"),
])  # fmt: skip
def test_missing_and_repeated_leads_are_named(tmp_path, names, message):
    digital = np.vstack([simulated_signal(), simulated_signal()])[: len(names)]
    with pytest.raises(SignalError, match=message):
        read_ecg(write_record(tmp_path, signal=digital, leads=names))


@pytest.mark.parametrize(("record", "message"), [
    ({"signal": simulated_signal(seconds=4)}, "is 4.00 s long"), ({"signal": simulated_signal() * 0}, "amplitude of 0 mV"),
    ({"signal": simulated_signal(fs=80), "fs": 80}, "is sampled at 80 Hz"), ({"units": "bpm"}, "gives signal 'I' in 'bpm'"),
    ({"gain": 1.0}, r"median lead amplitude of [\d.e+]+ mV"),  # µV declared as mV
])  # fmt: skip
def test_unusable_signals_are_an_error(tmp_path, record, message):
    with pytest.raises(SignalError, match=message):
        read_ecg(write_record(tmp_path, **record))


def test_an_absent_signal_file_is_an_error(tmp_path):
    base = write_record(tmp_path)
    Path(f"{base}.dat").unlink()
    with pytest.raises(SignalError, match="r lacks the signal file 'r.dat'"):
        read_ecg(base)


@pytest.mark.parametrize("size", [0, 1, 24 * 1000, 24 * 4999 + 5])
def test_a_truncated_signal_file_is_an_error(tmp_path, size):
    base = write_record(tmp_path)
    os.truncate(f"{base}.dat", size)
    with pytest.raises(SignalError, match="truncated"):
        read_ecg(base)


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 50, b"# a comment\n", b"r 9999999 500 5000\n", b"r/3 12 500", 3, 60, 300])
def test_a_truncated_or_wrong_header_is_an_error(tmp_path, content):
    header = Path(f"{write_record(tmp_path)}.hea")
    header.write_bytes(header.read_bytes()[:content] if isinstance(content, int) else content)
    with pytest.raises(SignalError):
        read_ecg(tmp_path / "r")


def test_the_checksum_detects_one_changed_sample(tmp_path):
    base = write_record(tmp_path)
    data = bytearray(Path(f"{base}.dat").read_bytes())
    data[24 * 2000 + 2 * LEADS.index("V4")] ^= 1
    Path(f"{base}.dat").write_bytes(data)
    with pytest.raises(SignalError, match="is corrupt: the samples of lead V4 do not match"):
        read_ecg(base)


@pytest.mark.parametrize("target", ["../r.dat", "/etc/hostname", "sub/r.dat", "..", "a\\r.dat"])
def test_a_header_may_not_point_elsewhere(tmp_path, target):
    write_record(tmp_path)
    base = write_record(tmp_path / "inside")
    edit_header(base, "r.dat", target)
    with pytest.raises(SignalError, match="points to "):
        read_ecg(base)


@pytest.mark.parametrize(("line", "new", "message"), [
    (-1, "r.dat 16 0/mV 16 0 0 0 0 V6", "gives no gain for signal 'V6' of 'r.dat'"),
    (-1, "r.dat 16", "lacks lead V6"), (0, "r 12", "gives no sampling rate"),
    (0, "r 11 500 5000", "lists 12 signals, but declares another number"),
])  # fmt: skip
def test_what_a_header_lacks_is_not_guessed(tmp_path, line, new, message):
    base = write_record(tmp_path)
    edit_header(base, Path(f"{base}.hea").read_text().splitlines()[line], new)
    with pytest.raises(SignalError, match=message):
        read_ecg(base)


def test_a_header_without_checksums_is_a_warning(tmp_path):
    base = write_record(tmp_path)
    lines = Path(f"{base}.hea").read_text().splitlines()
    for line, lead in zip(lines[1:], LEADS, strict=True):  # fields at their defaults may be left out
        edit_header(base, line, f"r.dat 16 1000(0)/mV  {lead}")
    assert read_ecg(base).warnings == ("no checksum in the header",)


@pytest.mark.skipif(not LUDB.is_file(), reason="LUDB is not here (CARDIOV_SHARED)")
def test_a_record_of_ludb(tmp_path):
    with tarfile.open(LUDB) as archive:  # lower-case leads, each with its own gain and baseline
        members = [next(m for m in archive if m.name.endswith(f"/{name}")) for name in ("1.dat", "1.hea")]
        archive.extractall(tmp_path, members, filter="data")
    ecg = read_ecg(tmp_path / "ludb" / "1")
    reference = wfdb.rdrecord(str(tmp_path / "ludb" / "1"))
    assert reference.sig_name == [lead.lower() for lead in LEADS]
    np.testing.assert_allclose(ecg.signal, reference.p_signal.T, atol=1e-6)
    assert (ecg.meta["age"], ecg.meta["sex"], ecg.fs, ecg.warnings) == (51.0, "female", 500.0, ())
    assert "Left ventricular hypertrophy." in ecg.meta["comments"]
