"""WFDB records: formats of signal files, frames, skew, headers of other writers, and checksums, against wfdb."""

from pathlib import Path

import numpy as np
import pytest
import wfdb
from ecg_files import in_memory, read_both_ways, simulated_signal, write_record

from cardiov.ecg import wfdb_files
from cardiov.ecg.leads import LEADS, read_ecg
from cardiov.ecg.wfdb_files import FORMATS, read_header
from cardiov.errors import SignalError

SIGNAL = simulated_signal()


def edited(base, line=None, words=None):
    """Rewrite a header's record line, and replace words in its signals' lines; the record."""
    header = Path(f"{base}.hea")
    record, *signals = header.read_text().splitlines()
    for old, new in (words or {}).items():
        assert any(old in text for text in signals)
        signals = [text.replace(old, new, 1) for text in signals]
    header.write_text("\n".join([line or record, *signals]) + "\n")
    return base


def checksums(base, values):
    """Replace the checksums in a header."""
    header = Path(f"{base}.hea")
    record, *signals = [line.split() for line in header.read_text().splitlines()]
    lines = [record, *([*line[:6], str(value), *line[7:]] for line, value in zip(signals, values, strict=True))]
    header.write_text("\n".join(map(" ".join, lines)) + "\n")
    return base


def packed_310(samples):
    one, two, three = (samples.reshape(-1, 3) & 1023).T
    return np.stack([one << 1 | (three & 31) << 11, two << 1 | three >> 5 << 11], axis=1).astype("<u2")


def packed_311(samples):
    one, two, three = (samples.reshape(-1, 3) & 1023).T
    return (one | two << 10 | three << 20).astype("<u4")


PACKED = {  # formats that wfdb reads only
    "61": lambda samples: samples.astype(">i2"), "160": lambda samples: (samples + 2**15).astype("<u2"),
    "310": packed_310, "311": packed_311,
}  # fmt: skip


@pytest.mark.parametrize("fmt", ["80", "160", "61", "212", "310", "311", "16", "24", "32"])
@pytest.mark.parametrize("samples", [3000, 3001])
def test_every_format_is_as_wfdb_reads_it(tmp_path, fmt, samples):
    signal = np.clip(SIGNAL[:, :samples] // 10, -127, 127)
    signal[0, 7] = FORMATS[fmt].invalid + 1
    base = write_record(tmp_path, signal=signal, gain=50.0, fmt="16" if fmt in PACKED else fmt)
    if fmt in PACKED:
        PACKED[fmt](signal.T.ravel()).tofile(tmp_path / "r.dat")
        edited(base, None, {" 16 ": f" {fmt} "})
    reference = wfdb.rdrecord(str(base))
    assert reference.fmt == [fmt] * 12
    ecg = read_both_ways(base)
    np.testing.assert_array_equal(ecg.signal, reference.p_signal.T.astype(np.float32))
    np.testing.assert_allclose(ecg.signal[1:], signal[1:] / 50, atol=1e-6)
    assert ecg.warnings == (("implausible amplitude: I",) if FORMATS[fmt].invalid < -1500 else ())


@pytest.mark.parametrize(("fmt", "most"), [("508", 127), ("516", 30_000), ("524", 2_000_000)])
def test_flac_is_as_wfdb_reads_it(tmp_path, fmt, most):
    signal = SIGNAL * most // 4000
    for name, part in (("a", slice(0, 6)), ("b", slice(6, 12))):  # FLAC has 8 channels at most
        write_record(tmp_path, name, signal[part], leads=LEADS[part], gain=most / 4, fmt=fmt)
    lines = [Path(tmp_path, f"{name}.hea").read_text().splitlines()[1:] for name in "ab"]
    Path(tmp_path, "r.hea").write_text("\n".join(["r 12 500 5000", *lines[0], *lines[1]]) + "\n")
    for name in "ab":
        Path(tmp_path, f"{name}.hea").unlink()
    np.testing.assert_array_equal(read_both_ways(tmp_path / "r").signal, wfdb.rdrecord(str(tmp_path / "r")).p_signal.T.astype(np.float32))


def test_first_differences(tmp_path):
    signal = np.cumsum(np.clip(np.diff(SIGNAL // 10, prepend=0), -128, 127), axis=1)
    base = write_record(tmp_path, signal=signal, gain=100.0)
    np.diff(signal, prepend=signal[:, :1]).T.astype("i1").tofile(tmp_path / "r.dat")
    lines = Path(f"{base}.hea").read_text().splitlines()  # the header gives each signal's initial value
    Path(f"{base}.hea").write_text("\n".join(line.replace("r.dat 16", "r.dat 8") for line in lines) + "\n")
    np.testing.assert_allclose(read_both_ways(base).signal, signal / 100, atol=1e-6)


@pytest.mark.parametrize("per_frame", [2, 4, 5])
def test_several_samples_per_frame(tmp_path, per_frame):
    base = write_record(tmp_path)
    SIGNAL.reshape(12, -1, per_frame).transpose(1, 0, 2).astype("<i2").tofile(tmp_path / "r.dat")
    edited(base, f"r 12 {500 / per_frame:g} {5000 // per_frame}", {" 16 ": f" 16x{per_frame} "})
    ecg = read_both_ways(base)
    assert ecg.fs == 500 and ecg.warnings == ()
    np.testing.assert_allclose(ecg.signal, SIGNAL / 1000, atol=1e-6)


def write_beside(tmp_path, others, name="r"):
    """Twelve leads with 2 samples per frame of 250 Hz, and other signals {name: (per_frame, samples)} in the same file."""
    parts = [(lead, 2, samples) for lead, samples in zip(LEADS, SIGNAL, strict=True)]
    parts = [(name, *other) for name, other in others.items()] + parts
    frames = np.concatenate([samples.reshape(-1, per_frame) for _, per_frame, samples in parts], axis=1)
    frames.astype("<i2").tofile(tmp_path / f"{name}.dat")
    sums = [(samples.sum() + 32768) % 65536 - 32768 for *_, samples in parts]
    lines = [f"{name}.dat 16x{n} 1000/mV 16 0 0 {total} 0 {label}" for (label, n, _), total in zip(parts, sums, strict=True)]
    (tmp_path / f"{name}.hea").write_text("\n".join([f"{name} {len(parts)} 250 2500", *lines]) + "\n")
    return tmp_path / name


def test_other_signals_have_their_own_rates(tmp_path):
    slow = np.arange(2500)
    base = write_beside(tmp_path, {"resp": (1, slow), "II": (1, slow), "V1 (median)": (1, slow), "pleth": (1, slow)})
    ecg = read_both_ways(base)
    assert ecg.fs == 500 and ecg.warnings == ("not read: 'II' at 250 Hz, 'V1 (median)' at 250 Hz",)
    np.testing.assert_allclose(ecg.signal, SIGNAL / 1000, atol=1e-6)


def test_leads_of_different_rates_are_an_error(tmp_path):
    base = edited(write_beside(tmp_path, {"V2": (1, np.arange(2500))}), None, {"0 V2": "0 x"})
    header = Path(f"{base}.hea")
    header.write_text(header.read_text().replace("0 x", "0 V2", 1))  # the slow one alone
    with pytest.raises(SignalError, match=r"leads at different rates \(V2 at 250 Hz and I, II, III, aVR, aVL, aVF, V1, V3"):
        read_ecg(base)


@pytest.mark.parametrize("line", ["bad.dat 999 what ever", "other.dat 16 0/bpm 16 0 0 0 0 pulse", "../x.dat 16 1/x 0 0 0 0 0 x"])
def test_a_signal_that_is_no_lead_refuses_nothing(tmp_path, line):
    base = write_record(tmp_path)
    lines = Path(f"{base}.hea").read_text().splitlines()
    Path(f"{base}.hea").write_text("\n".join(["r 13 500 5000", *lines[1:], line]) + "\n")
    np.testing.assert_allclose(read_ecg(base).signal, SIGNAL / 1000, atol=1e-6)


@pytest.mark.parametrize("skew", [1, 3, 40])
def test_a_skewed_signal_is_shifted(tmp_path, skew):
    base = write_record(tmp_path)
    header = Path(f"{base}.hea")
    lines = header.read_text().splitlines()
    header.write_text("\n".join([*lines[:-1], lines[-1].replace(" 16 ", f" 16:{skew} ", 1)]) + "\n")
    ecg = read_both_ways(base)
    np.testing.assert_allclose(ecg.signal[:11], SIGNAL[:11, :-skew] / 1000, atol=1e-6)
    np.testing.assert_allclose(ecg.signal[11], SIGNAL[11, skew:] / 1000, atol=1e-6)
    np.testing.assert_array_equal(ecg.signal, wfdb.rdrecord(str(base)).p_signal[:-skew].T.astype(np.float32))


@pytest.mark.parametrize(("rest", "recorded"), [
    ("", None), (" 12:00:00 1/2/1999", "1999-02-01T12:00:00"), (" 16-May-2020 12:33:23", "2020-05-16T12:33:23"),
    (" 12:00:00.250 01/02/1999", "1999-02-01T12:00:00"), (" 2006", None), (" 12:00:00.000 1/1/199", None), (" 25:61:00", None),
    (" 12:00:00", None), (" 12:00:00 31/12/2006", "2006-12-31T12:00:00"), (" 0:0:0 00/00/0000", None),
])  # fmt: skip
@pytest.mark.parametrize("fmt", ["16", "24"])
def test_dates_are_read_or_left_out(tmp_path, rest, recorded, fmt):
    ecg = read_both_ways(edited(write_record(tmp_path, fmt=fmt), f"r 12 500 5000{rest}"))
    assert ecg.meta["recorded"] == recorded
    np.testing.assert_allclose(ecg.signal, SIGNAL / 1000, atol=1e-6)


@pytest.mark.parametrize("line", ["r 12 500 0", "r 12 500", "r 12 500/1000(7) 0", "r 12 500 0 12:00:00"])
def test_a_length_of_zero_is_no_length(tmp_path, line):
    ecg = read_both_ways(edited(write_record(tmp_path), line))
    assert ecg.fs == 500 and ecg.warnings == ()
    np.testing.assert_allclose(ecg.signal, SIGNAL / 1000, atol=1e-6)


@pytest.mark.parametrize("line", ["r 12", "r 12 0 5000", "r 12 fast 5000", "r 12 -500 5000"])
def test_a_rate_may_be_given_where_the_header_gives_none(tmp_path, line):
    base = edited(write_record(tmp_path), line)
    with pytest.raises(SignalError, match="gives no sampling rate: give it"):
        read_ecg(base)
    assert read_ecg(base, fs=500).fs == 500


def test_a_unit_may_be_given_where_the_header_gives_an_unknown_one(tmp_path):
    base = edited(write_record(tmp_path), None, {"/mV": "/counts"})
    with pytest.raises(SignalError, match="gives signal 'I' in 'counts': correct the header to uV, mV or V, or give the unit"):
        read_ecg(base)
    ecg = read_ecg(base, unit="mV")
    assert ecg.warnings == ("unit as given: mV, the file says 'counts'",)
    np.testing.assert_allclose(ecg.signal, SIGNAL / 1000, atol=1e-6)


def test_two_signal_files_also_in_memory(tmp_path):
    """As PTB has them."""
    base = write_record(tmp_path)
    header = Path(f"{base}.hea")
    record, *signals = header.read_text().splitlines()
    header.write_text("\n".join([record, *(line.replace("r.dat", "r.xyz") for line in signals[:3]), *signals[3:]]) + "\n")
    SIGNAL[:3].T.astype("<i2").tofile(tmp_path / "r.xyz")
    SIGNAL[3:].T.astype("<i2").tofile(tmp_path / "r.dat")
    np.testing.assert_allclose(read_both_ways(base).signal, SIGNAL / 1000, atol=1e-6)


@pytest.mark.parametrize("names", [("R.HEA", "R.DAT"), ("r.HEA", "r.dat"), ("r.hea", "R.DAT"), ("r.hea", "r.Dat")])
def test_suffixes_in_capitals(tmp_path, names):
    write_record(tmp_path)
    for old, new in zip(("r.hea", "r.dat"), names, strict=True):
        (tmp_path / old).rename(tmp_path / new)
    for source in (tmp_path / names[0], tmp_path / names[1], in_memory(tmp_path)):
        np.testing.assert_allclose(read_ecg(source).signal, SIGNAL / 1000, atol=1e-6)


def test_checksums_of_writers_that_compute_none(tmp_path):
    base = checksums(write_record(tmp_path), [0] * 12)
    with pytest.raises(SignalError, match="gives 0 as every checksum, as writers do that compute none: have the checksums ignored"):
        read_ecg(base)
    ecg = read_ecg(base, ignore_checksum=True)
    assert ecg.warnings == (f"checksum ignored: {', '.join(LEADS)}",)
    np.testing.assert_allclose(ecg.signal, SIGNAL / 1000, atol=1e-6)


def test_wrong_checksums_are_ignored_on_request_only(tmp_path):
    right = [int(line.split()[6]) for line in Path(f"{write_record(tmp_path)}.hea").read_text().splitlines()[1:]]
    base = checksums(tmp_path / "r", [*right[:4], right[4] + 1, *right[5:]])
    with pytest.raises(SignalError, match="is corrupt: the samples of lead aVL do not match the header's checksum"):
        read_ecg(base)
    assert read_ecg(base, ignore_checksum=True).warnings == ("checksum ignored: aVL",)
    assert read_ecg(checksums(base, right), ignore_checksum=True).warnings == ()


@pytest.mark.parametrize("record", [
    {}, {"baseline": 37}, {"baseline": [*range(12)], "gain": [200.0 + k for k in range(12)]}, {"gain": 1.0, "units": "uV"},
    {"fmt": "24"}, {"leads": LEADS[::-1]}, {"leads": ["-I", *LEADS[1:]]},
])  # fmt: skip
def test_leads_are_read_at_once_as_one_by_one(tmp_path, monkeypatch, record):
    signal = SIGNAL.copy()
    signal[record.get("leads", LEADS).index("III"), 7] = FORMATS[record.get("fmt", "16")].invalid  # it is derived
    base = write_record(tmp_path, signal=signal, **record)
    at_once = read_ecg(base)
    monkeypatch.setattr(wfdb_files, "_is_matrix", lambda *_: False)
    one_by_one = read_ecg(base)
    np.testing.assert_array_equal(at_once.signal, one_by_one.signal)
    assert (at_once.meta, at_once.warnings) == (one_by_one.meta, one_by_one.warnings)
    data = bytearray(Path(f"{base}.dat").read_bytes())
    data[720] ^= 1  # in the first lead
    Path(f"{base}.dat").write_bytes(data)
    for matrix in (True, False):
        monkeypatch.setattr(wfdb_files, "_is_matrix", lambda *_, matrix=matrix: matrix)
        with pytest.raises(SignalError, match=rf"is corrupt: the samples of lead {record.get('leads', LEADS)[0]} do not match"):
            read_ecg(base)


def test_the_patient_is_read_from_comments(tmp_path):
    assert read_ecg(write_record(tmp_path, comments=["Patient ID: P-077"])).meta["patient"] == "P-077"
    assert read_ecg(write_record(tmp_path, comments=["patient with infarction"])).meta["patient"] is None


def test_a_header_is_parsed():
    header = read_header(b"r 1 250/500(3) 7\nr.dat 212x2:3+24 200(-5)/uV 12 1024 995 -22131 0 MLII x\n# a: 1\n", "r")
    (signal,) = header.signals
    assert (header.name, header.fs, header.frames, header.comments) == ("r", 250.0, 7, ["a: 1"])
    assert (signal.file, signal.fmt, signal.per_frame, signal.skew, signal.offset) == ("r.dat", "212", 2, 3, 24)
    assert (signal.gain, signal.baseline, signal.unit, signal.initial, signal.checksum) == (200.0, -5, "uV", 995, -22131)
    assert signal.name == "MLII x"
    (short,) = read_header(b"r 1\nr.dat 16 0.5 11 1024\n", "r").signals
    assert (short.gain, short.baseline, short.unit, short.checksum, short.name) == (0.5, 1024, "mV", None, "")


def test_equal_lines_of_a_header_are_different_signals(tmp_path):
    base = write_record(tmp_path, signal=SIGNAL[[0, *range(12)]], leads=["x", *LEADS])
    header = Path(f"{base}.hea")
    header.write_text("\n".join(["r 13 500 5000", *(f"r.dat 16 1000/mV {lead}" for lead in ("I", *LEADS))]) + "\n")
    np.testing.assert_allclose(read_ecg(base).signal, SIGNAL / 1000, atol=1e-6)
    data = np.fromfile(f"{base}.dat", "<i2").reshape(-1, 13)
    data[100, 0] += 1
    data.tofile(f"{base}.dat")
    with pytest.raises(SignalError, match="has lead I more than once"):
        read_ecg(base)
