"""Reading, filtering and resampling, against wfdb, scipy's own filter, known sines and real records."""

import os
import tarfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import wfdb
from ecg_files import simulated_signal, write_record

from cardiov.errors import SignalError
from cardiov.signals import BAND, LEADS, ORDER, bandpass, prepare_signal, read_ecg, resample

SHARED = Path(os.environ.get("CARDIOV_SHARED", Path(__file__).parents[2] / "shared"))
LUDB = SHARED / "ludb" / "ludb-1.0.1.tar.xz"


def edit_header(base, old, new):
    header = Path(f"{base}.hea")
    text = header.read_text(encoding="utf-8")
    assert old in text
    header.write_text(text.replace(old, new), encoding="utf-8")


# Reading


@pytest.mark.parametrize("alias", [str.upper, str.lower, "Lead {}".format, "MDC_ECG_LEAD_{}".format, "ecg_{}".format])
def test_leads_are_found_by_name_whatever_their_order(tmp_path, alias):
    order = np.random.default_rng(1).permutation(12)
    digital = simulated_signal()
    names = [alias(LEADS[i]) for i in order]
    ecg = read_ecg(write_record(tmp_path, signal=digital[order], leads=names))
    assert ecg.signal.dtype == np.float32 and ecg.signal.shape == (12, 5000) and ecg.fs == 500.0
    assert ecg.warnings == ()
    np.testing.assert_allclose(ecg.signal, digital / 1000, atol=1e-6)


def test_further_signals_are_ignored(tmp_path):
    digital = simulated_signal()
    base = write_record(tmp_path, signal=np.vstack([digital[:1] * 0, digital]), leads=("vx", *LEADS))
    np.testing.assert_allclose(read_ecg(base).signal, digital / 1000, atol=1e-6)


@pytest.mark.parametrize("suffix", ["", ".hea", ".dat"])
def test_path_may_have_either_suffix(tmp_path, suffix):
    assert read_ecg(f"{write_record(tmp_path)}{suffix}").meta["record"] == "r"


@pytest.mark.parametrize(
    ("unit", "per_unit", "encoding"),
    [("uV", 1.0, "ascii"), ("µV", 1.0, "utf-8"), ("µV", 1.0, "latin-1"), ("μV", 1.0, "utf-8"), ("mV", 1e3, "ascii"),
     ("V", 1e6, "ascii")],
)  # fmt: skip
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
    meta = read_ecg(write_record(tmp_path, comments=["<age>: 51", "<sex>: F", "Rhythm: sinus"])).meta
    assert meta == {"record": "r", "age": 51.0, "sex": "female", "comments": ["<age>: 51", "<sex>: F", "Rhythm: sinus"]}
    assert read_ecg(write_record(tmp_path, comments=["Sex: Male, stage 3"])).meta["sex"] == "male"
    assert read_ecg(write_record(tmp_path)).meta == {"record": "r", "age": None, "sex": None, "comments": []}


# What is wrong with a signal


def changed(lead, samples):
    digital = simulated_signal()
    digital[LEADS.index(lead)] = samples
    return digital


def test_flat_and_implausible_leads_are_named(tmp_path):
    digital = changed("V2", 7)
    digital[LEADS.index("aVL"), 2500] = 25_000
    warnings = read_ecg(write_record(tmp_path, signal=digital)).warnings
    assert warnings == ("flat lead: V2", "implausible amplitude: aVL")


def test_invalid_samples_are_counted_by_lead(tmp_path):
    digital = simulated_signal()
    digital[LEADS.index("V3"), 100:105] = -32768  # WFDB's invalid sample in format 16
    with pytest.raises(SignalError, match=r"r has invalid samples \(NaN\) in lead V3 \(5\)"):
        read_ecg(write_record(tmp_path, signal=digital))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "X", "Y"), "lacks lead V5, V6"),
        (("I", "-II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"), "lacks lead II"),
        ((*LEADS, "lead v1"), "has lead V1 more than once"),
    ],
)
def test_missing_and_duplicated_leads_are_named(tmp_path, names, message):
    digital = np.vstack([simulated_signal(), simulated_signal()])[: len(names)]
    with pytest.raises(SignalError, match=message):
        read_ecg(write_record(tmp_path, signal=digital, leads=names))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"signal": simulated_signal(seconds=4)}, "is 4.00 s long"),
        ({"signal": simulated_signal(fs=80), "fs": 80}, "is sampled at 80 Hz"),
        ({"signal": simulated_signal() * 0}, "amplitude of 0 mV"),
        ({"gain": 1.0}, r"median lead amplitude of [\d.e+]+ mV"),  # µV declared as mV
        ({"units": "bpm"}, "gives signal 'I' in 'bpm'"),
    ],
)
def test_unusable_signals_are_refused(tmp_path, record, message):
    with pytest.raises(SignalError, match=message):
        read_ecg(write_record(tmp_path, **record))


# What is wrong with a file


def test_absent_record(tmp_path):
    with pytest.raises(SignalError, match=r"absent.hea cannot be read \(No such file"):
        read_ecg(tmp_path / "absent")


def test_absent_signal_file(tmp_path):
    base = write_record(tmp_path)
    Path(f"{base}.dat").unlink()
    with pytest.raises(SignalError, match="r cannot be read as a WFDB record"):
        read_ecg(base)


@pytest.mark.parametrize("size", [0, 1, 24 * 1000, 24 * 4999 + 5])
def test_truncated_signal_file(tmp_path, size):
    base = write_record(tmp_path)
    os.truncate(f"{base}.dat", size)
    with pytest.raises(SignalError, match="truncated"):
        read_ecg(base)


@pytest.mark.parametrize("size", [0, 3, 60, 300])
def test_truncated_header(tmp_path, size):
    base = write_record(tmp_path)
    os.truncate(f"{base}.hea", size)
    with pytest.raises(SignalError):
        read_ecg(base)


def test_one_changed_sample_is_found_by_the_checksum(tmp_path):
    base = write_record(tmp_path)
    data = bytearray(Path(f"{base}.dat").read_bytes())
    data[24 * 2000 + 2 * LEADS.index("V4")] ^= 1
    Path(f"{base}.dat").write_bytes(data)
    with pytest.raises(SignalError, match="is corrupt: the samples of lead V4 do not match"):
        read_ecg(base)


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 50, b"# a comment\n", b"r 9999999 500 5000\n", b"r/3 12 500"])
def test_garbage_header(tmp_path, content):
    Path(tmp_path / "r.hea").write_bytes(content)
    with pytest.raises(SignalError):
        read_ecg(tmp_path / "r")


@pytest.mark.parametrize("target", ["../r.dat", "/etc/hostname", "sub/r.dat", "..", "a\\r.dat"])
def test_a_header_may_not_point_elsewhere(tmp_path, target):
    write_record(tmp_path)
    base = write_record(tmp_path / "inside")
    edit_header(base, "r.dat", target)
    with pytest.raises(SignalError, match="points to "):
        read_ecg(base)


@pytest.mark.parametrize("line", ["r.dat 16 0/mV 16 0 0 0 0 V6", "r.dat 16"])
def test_a_gain_is_not_guessed(tmp_path, line):
    base = write_record(tmp_path)
    last = Path(f"{base}.hea").read_text().splitlines()[-1]
    edit_header(base, last, line)
    with pytest.raises(SignalError, match="gives no gain for a signal of 'r.dat'"):
        read_ecg(base)


def test_a_header_without_checksums_is_a_warning(tmp_path):
    base = write_record(tmp_path)
    lines = Path(f"{base}.hea").read_text().splitlines()
    for line, lead in zip(lines[1:], LEADS, strict=True):  # the library leaves off what is at its default
        edit_header(base, line, f"r.dat 16 1000(0)/mV  {lead}")
    assert read_ecg(base).warnings == ("no checksum in the header",)


def test_a_rate_is_not_guessed(tmp_path):
    base = write_record(tmp_path)
    edit_header(base, "r 12 500 5000", "r 12")
    with pytest.raises(SignalError, match="gives no sampling rate"):
        read_ecg(base)


# Filtering


def butterworth(fs):
    return scipy.signal.butter(ORDER, BAND, "bandpass", fs=fs, output="sos")


def test_bandpass_is_sosfiltfilt_of_the_oddly_continued_signal():
    x = simulated_signal() / 1000 + 3
    before, after = 2 * x[:, :1] - x[:, ::-1], 2 * x[:, -1:] - x[:, ::-1]
    expected = scipy.signal.sosfiltfilt(butterworth(500), np.hstack([before, x, after]), padlen=4999)[:, 5000:10000]
    np.testing.assert_allclose(bandpass(x, 500), expected, atol=1e-4)  # mV: 0.1 µV, at the edges too


def test_bandpass_agrees_with_sosfiltfilt_within_microvolts():
    x = simulated_signal() / 1000
    difference = np.abs(bandpass(x, 500) - scipy.signal.sosfiltfilt(butterworth(500), x, padlen=4999))  # mV
    assert difference[:, 1000:-1000].max() < 1e-4
    assert difference[:, 25:-25].max() < 5e-3  # the edges are continued differently, by half a sample


@pytest.mark.parametrize(
    ("frequency", "gain", "tolerance"),
    [(0.1, 0, 1e-3), (0.5, 0.5, 0.01), (5, 1, 0.01), (20, 1, 0.01), (50, 0.5, 0.01), (150, 0, 0.01)],
)
def test_bandpass_has_its_gain_and_no_phase(frequency, gain, tolerance):
    t = np.arange(30_000) / 500
    sine = np.sin(2 * np.pi * frequency * t)
    middle = slice(10_000, 20_000)  # whole periods of all of these
    filtered = bandpass(sine, 500)[middle]
    in_phase = 2 * np.mean(filtered * sine[middle])
    quadrature = 2 * np.mean(filtered * np.cos(2 * np.pi * frequency * t)[middle])
    assert in_phase == pytest.approx(gain, abs=tolerance) and quadrature == pytest.approx(0, abs=1e-3)


def test_bandpass_removes_an_offset_and_a_slope_to_the_edge():
    assert np.abs(bandpass(300 + np.arange(5000) / 1000, 500)).max() < 1e-3


@pytest.mark.parametrize("fs", [80, 100])
def test_bandpass_at_low_rates_is_a_high_pass(fs):
    x = simulated_signal(fs=fs, seconds=20) / 1000
    sos = scipy.signal.butter(ORDER, BAND[0], "highpass", fs=fs, output="sos")
    expected = scipy.signal.sosfiltfilt(sos, x, padlen=x.shape[1] - 1)
    np.testing.assert_allclose(bandpass(x, fs)[:, 4 * fs : -4 * fs], expected[:, 4 * fs : -4 * fs], atol=1e-3)


@pytest.mark.parametrize(("fs", "rate", "n"), [(500, 100, 1000), (360, 500, 5000), (257, 500, 5000), (1000, 500, 5000)])
def test_resample_keeps_a_sine(fs, rate, n):
    wave = lambda rate: np.sin(2 * np.pi * 5 * np.arange(10 * rate) / rate)  # noqa: E731
    resampled = resample(wave(fs).astype(np.float32), fs, rate)
    assert resampled.dtype == np.float32 and resampled.shape == (n,)
    np.testing.assert_allclose(resampled[rate:-rate], wave(rate)[rate:-rate], atol=2e-3)


def test_prepare_signal_filters_then_resamples():
    x = simulated_signal() / 1000
    assert prepare_signal(x, 500, 500).shape == (12, 5000)
    np.testing.assert_array_equal(prepare_signal(x, 500, 500), bandpass(x, 500))
    np.testing.assert_array_equal(prepare_signal(x, 500, 100), resample(bandpass(x, 500), 500, 100))


# Real records


@pytest.mark.skipif(not LUDB.is_file(), reason="LUDB is not here (CARDIOV_SHARED)")
def test_ludb_reads_right(tmp_path):
    with tarfile.open(LUDB) as archive:  # lower-case leads, each with its own gain and baseline
        members = [next(m for m in archive if m.name.endswith(f"/{name}")) for name in ("1.dat", "1.hea")]
        archive.extractall(tmp_path, members, filter="data")
    ecg = read_ecg(tmp_path / "ludb" / "1")
    reference = wfdb.rdrecord(str(tmp_path / "ludb" / "1"))
    assert reference.sig_name == [lead.lower() for lead in LEADS]
    np.testing.assert_allclose(ecg.signal, reference.p_signal.T, atol=1e-6)
    assert (ecg.meta["age"], ecg.meta["sex"], ecg.fs, ecg.warnings) == (51.0, "female", 500.0, ())
    assert "Left ventricular hypertrophy." in ecg.meta["comments"]


@pytest.mark.parametrize("fs", [250, 257, 500, 1000])
def test_resampling_is_scipys(fs):
    signal = (simulated_signal(fs=fs) / 1000).astype(np.float32)
    ratio = Fraction(100, fs)
    expected = scipy.signal.resample_poly(signal, ratio.numerator, ratio.denominator, axis=-1, padtype="line")
    np.testing.assert_array_equal(resample(signal, fs, 100), expected)
    assert resample(signal, fs, 100).dtype == np.float32
