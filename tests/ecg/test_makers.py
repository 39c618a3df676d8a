"""Formats of makers in detail, by files of the tests' own writers: scale, rate, patient, and what a damaged or odd file gives."""

import re
import struct

import numpy as np
import pytest
from ecg_files import (
    ISHNE_CODES,
    WRITERS,
    read_both_ways,
    simulated_signal,
    write_ishne,
    write_kardia,
    write_mfer,
    write_mortara,
    write_muse,
    write_sierra,
)

from cardiov.ecg import clinical, formats
from cardiov.ecg.leads import LEADS, read_ecg
from cardiov.errors import SignalError

SIGNAL = simulated_signal(seconds=5)
CLINICAL = [name for name in WRITERS if "." in name and name not in ("ecg.csv", "ecg.npz")]


def text_of(tmp_path, write, **how):
    write(tmp_path / "ecg", SIGNAL, **how)
    encoding = {write_sierra: "utf-16", write_muse: "latin-1"}.get(write, "utf-8")
    return (tmp_path / "ecg").read_text(encoding=encoding).replace('encoding="UTF-16"', 'encoding="UTF-8"')


def read(text, **settled):
    return read_ecg({"ecg.xml": text.encode()}, **settled)


def assert_read(source, factor=1.0, warnings=()):
    ecg = read(source) if isinstance(source, str) else read_both_ways(source)
    np.testing.assert_allclose(ecg.signal, SIGNAL * factor / 1000, rtol=1e-6, atol=1e-6)
    assert ecg.warnings == warnings


def refused(source, match, damaged=False):
    with pytest.raises(SignalError, match=match) as error:
        read(source) if isinstance(source, str) else read_ecg(source)
    assert ("truncated" in str(error.value)) == damaged


@pytest.mark.parametrize("name", CLINICAL)
def test_who_and_when(tmp_path, name):
    WRITERS[name](tmp_path / name, SIGNAL)
    meta = read_ecg(tmp_path / name).meta
    assert meta == {"record": name.partition(".")[0], "age": 61, "sex": "female", "comments": [], "patient": "P7",
                    "recorded": "2021-03-25T14:05:09"}  # fmt: skip


@pytest.mark.parametrize(("write", "scale", "factor"), [
    (write_muse, "4.88", 4.88), (write_muse, "4,88", 4.88), (write_sierra, "5", 5), (write_sierra, "2.44140625", 2.44140625),
    (write_mortara, "200", 5), (write_mortara, "409.6", 1000 / 409.6), (write_ishne, 2500, 2.5), (write_ishne, 153, 0.153),
    (write_mfer, (-7, 25), 2.5), (write_mfer, (-9, 610), 0.61), (write_mfer, (-3, 1), 1000),
])  # fmt: skip
def test_scales(tmp_path, write, scale, factor):
    divisor = 100 if factor == 1000 else 1
    write(tmp_path / "ecg", SIGNAL // divisor, scale=scale)
    np.testing.assert_allclose(read_ecg({"ecg": (tmp_path / "ecg").read_bytes()}).signal, SIGNAL // divisor * factor / 1000, rtol=1e-6)


@pytest.mark.parametrize(("write", "pattern"), [
    (write_muse, "<LeadAmplitudeUnitsPerBit>1</LeadAmplitudeUnitsPerBit>"), (write_sierra, 'resolution="1"'),
    (write_mortara, 'UNITS_PER_MV="1000"'),
])  # fmt: skip
@pytest.mark.parametrize("number", ["", "abc", "1.2.3"])
def test_a_lead_without_a_readable_scale_is_an_error(tmp_path, write, pattern, number):
    text = text_of(tmp_path, write)
    refused(text.replace(pattern, re.sub(r"(?<=[>\"])1\d*", number, pattern), 1), "gives no scale for lead I")


def test_ishne_without_a_scale_is_an_error(tmp_path):
    write_ishne(tmp_path / "ecg", SIGNAL, scale=0)
    refused(tmp_path / "ecg", "cannot be read as ISHNE .it gives no scale for lead I.")


def test_muse_in_an_unknown_unit_is_settled_by_the_user(tmp_path):
    text = text_of(tmp_path, write_muse).replace("MICROVOLTS", "ADU")
    refused(text, "gives signal 'I' in 'ADU'")
    np.testing.assert_allclose(read(text, unit="uV").signal, SIGNAL / 1000, atol=1e-6)


def test_muse_takes_the_rhythm_and_says_what_it_leaves(tmp_path):
    text = text_of(tmp_path, write_muse)
    rhythm = text[text.index("<Waveform>") : text.index("</Waveform>") + 11]
    median = rhythm.replace("Rhythm", "Median").replace("<LeadTimeOffset>0", "<LeadTimeOffset>9")
    assert_read(text.replace("<Waveform>", median + "<Waveform>", 1), warnings=("not read: median beats",))
    second = re.sub(r"<WaveFormData>....", "<WaveFormData>AAAA", re.sub(r"<LeadDataCRC32>\d+", "<LeadDataCRC32>", rhythm))
    said = ("not read: Additional rhythm waveform ignored",)
    assert_read(text.replace("</RestingECG>", second + "</RestingECG>"), warnings=said)
    refused(text.replace("Rhythm", "Median"), "cannot be read as GE MUSE XML .No rhythm waveform")


def test_muse_says_what_the_device_says_of_the_leads(tmp_path):
    text = text_of(tmp_path, write_muse)
    off = text.replace("<LeadOff>FALSE", "<LeadOff>TRUE", 1)
    assert_read(off, warnings=("lead off: I",))
    refused(text.replace("<LeadTimeOffset>0", "<LeadTimeOffset>40", 1), "its leads begin at different times")
    base = text.replace("<LeadOff>", "<FirstSampleBaseline>7</FirstSampleBaseline><LeadOff>", 1)
    assert [warning[:57] for warning in read(base).warnings] == ["note of the reader: GE MUSE: FirstSampleBaseline is non-z"]


def test_a_changed_sample_is_noticed_where_the_format_has_a_checksum(tmp_path):
    text = text_of(tmp_path, write_muse)
    at = text.index("<WaveFormData>") + 40
    refused(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :], "CRC32 mismatch in lead I", damaged=True)
    data = bytearray(write_ishne(tmp_path / "ecg.ecg", SIGNAL) or (tmp_path / "ecg.ecg").read_bytes())
    data[206] ^= 1  # the scale of lead I; the checksum is of the header
    with pytest.raises(SignalError, match="ISHNE checksum mismatch"):
        read_ecg({"ecg.ecg": data})
    ecg = read_ecg({"ecg.ecg": data}, ignore_checksum=True)
    assert [text.partition(":")[0] for text in ecg.warnings] == ["checksum ignored"]


def test_xli(tmp_path):
    write_sierra(tmp_path / "ecg.xml", SIGNAL, xli=True)
    assert_read(tmp_path / "ecg.xml")
    text = text_of(tmp_path, write_sierra, xli=True)
    refused(text.replace("I II III aVR", "II I III aVR"), "its compressed leads are not in the order I, II, III")


def test_xli_is_unpacked_up_to_a_number_of_bytes(tmp_path, monkeypatch):
    write_sierra(tmp_path / "ecg.xml", SIGNAL, xli=True)
    monkeypatch.setattr(clinical, "MAX_XLI_BYTES", SIGNAL.size * 2)
    assert_read(tmp_path / "ecg.xml")
    monkeypatch.setattr(clinical, "MAX_XLI_BYTES", SIGNAL.size * 2 - 1)
    refused(tmp_path / "ecg.xml", "cannot be read as Philips Sierra XML .it has too many samples to unpack")


def test_a_sierra_whose_samples_and_duration_disagree_is_an_error(tmp_path):
    """The library would cut the leads at wrong places."""
    text = text_of(tmp_path, write_sierra)
    refused(text.replace('durationperchannel="5000"', 'durationperchannel="4990"'), "it holds more samples than its leads and its duration")
    refused(text.replace('durationperchannel="5000"', 'durationperchannel="5010"'), "bytes, 60120 expected", damaged=True)


@pytest.mark.parametrize(("old", "new", "match"), [
    ("SierraECG", "OtherECG", "Files of type OtherECG 1.04 are unsupported"), ("<documentversion>1.04", "<documentversion>2", "unsupported"),
    ('dataencoding="Base64"', 'dataencoding="Hex"', "encoding unsupported: Hex"),
])  # fmt: skip
def test_an_unknown_kind_of_sierra_is_said(tmp_path, old, new, match):
    refused(text_of(tmp_path, write_sierra).replace(old, new), f"cannot be read as Philips Sierra XML .*{match}")


def test_mortara_of_other_bits_is_said(tmp_path):
    refused(text_of(tmp_path, write_mortara).replace('BITS="16"', 'BITS="12"', 1), "only 16-bit signed Base64 data is supported")


def test_mortara_leads_of_several_rates_are_an_error(tmp_path):
    text = text_of(tmp_path, write_mortara)
    refused(text.replace('SAMPLE_FREQ="500" NAME="V6"', 'SAMPLE_FREQ="250" NAME="V6"'), "samples its leads at different rates")


def test_ishne_fault_samples_are_invalid_and_unknown_leads_are_none(tmp_path):
    faulty = SIGNAL.copy()
    faulty[0, 7] = -32768
    write_ishne(tmp_path / "ecg.ecg", faulty)
    refused(tmp_path / "ecg.ecg", r"invalid samples \(NaN\) in lead I \(1\)")
    write_ishne(tmp_path / "ecg.ecg", SIGNAL, codes=ISHNE_CODES | {"I": 0, "II": 1})  # the library calls them Lead 1 and Lead 2
    refused(tmp_path / "ecg.ecg", "lacks lead I, II")


@pytest.mark.parametrize(("frames", "damaged"), [(100, False), (-100, False)])
def test_ishne_with_another_length_than_declared_is_warned_of(tmp_path, frames, damaged):
    longer = simulated_signal(seconds=6)
    write_ishne(tmp_path / "ecg.ecg", longer)
    data = (tmp_path / "ecg.ecg").read_bytes()
    data = data + data[-24 * frames :] if frames > 0 else data[: 24 * frames]
    assert read_ecg({"ecg.ecg": data}).warnings == (f"length: the header declares 3,000 samples, the file has {3000 + frames:,} per lead",)


def test_mfer_without_a_rate_is_settled_by_the_user(tmp_path):
    write_mfer(tmp_path / "ecg.mwf", SIGNAL, more=b"\x0b\0")  # an empty interval resets it
    refused(tmp_path / "ecg.mwf", "gives no sampling rate")
    assert read_ecg(tmp_path / "ecg.mwf", fs=500).fs == 500


@pytest.mark.parametrize(("more", "match"), [
    (b"\x43\x02\x10\0", "its channels are skewed"), (b"\x0e\x02\x01\0", r"compressed content \(MWF_CMP code 1\) is not supported"),
    (b"\x0c\x03\x01\0\x01", "it gives lead I in|in 'mmHg'"), (b"\x0c\0", "gives no scale for lead I"),
    (b"\x08\x02\x09\0", "lacks lead I"), (b"\x3f\x03\x04\x08\x02\x09\0", "several kinds of waveforms"),
])  # fmt: skip
def test_what_mfer_may_hold_otherwise_is_said(tmp_path, more, match):
    write_mfer(tmp_path / "ecg.mwf", SIGNAL, more=more)
    refused(tmp_path / "ecg.mwf", match)


def test_mfer_null_values_are_invalid(tmp_path):
    gap = SIGNAL.copy()
    gap[1, 3] = -32768
    write_mfer(tmp_path / "ecg.mwf", gap, more=b"\x12\x02\0\x80")
    refused(tmp_path / "ecg.mwf", r"invalid samples \(NaN\) in lead II \(1\)")


def test_mfer_frames_that_leave_a_gap_are_an_error(tmp_path):
    write_mfer(tmp_path / "ecg.mwf", SIGNAL)
    data = (tmp_path / "ecg.mwf").read_bytes()
    wave = data[data.index(b"\x1e\x84") : -2]
    whole = data[:-2] + wave + b"\x80\0"
    np.testing.assert_allclose(read_ecg({"ecg.mwf": whole}).signal, np.hstack([SIGNAL, SIGNAL]) / 1000, atol=1e-6)
    with pytest.raises(SignalError, match="without a gap"):
        read_ecg({"ecg.mwf": data[:-2] + b"\x07\x04" + struct.pack("<I", 9000) + wave + b"\x80\0"})


def test_big_endian_mfer(tmp_path):
    write_mfer(tmp_path / "ecg.mwf", SIGNAL, more=b"\x01\x01\0")
    data = (tmp_path / "ecg.mwf").read_bytes()
    start = data.index(b"\x1e\x84") + 6
    swapped = np.frombuffer(data[start:-2], "<i2").astype(">i2").tobytes()
    np.testing.assert_allclose(read_ecg({"ecg.mwf": data[:start] + swapped + data[-2:]}).signal, SIGNAL / 1000, atol=1e-6)


def test_kardia_has_the_limb_leads_only(tmp_path):
    write_kardia(tmp_path / "ecg.json", SIGNAL[:6])
    recording = formats.read(tmp_path / "ecg.json")
    assert recording.names == list(LEADS[:6]) and set(recording.fs) == {300} and set(recording.units) == {"uV"}
    np.testing.assert_array_equal(recording.samples, SIGNAL[:6])
    assert recording.meta["patient"] == "P7" and recording.meta["recorded"] == "2021-03-25T14:05:09+00:00"
    refused(tmp_path / "ecg.json", "lacks lead V1, V2, V3, V4, V5, V6")


@pytest.mark.parametrize(("name", "content", "match"), [
    ("ecg.json", b'{"data12L": {}}', "cannot be read as AliveCor Kardia JSON .*Kardia 12L recordings are not supported"),
    ("ecg.json", b"[]", "expected a Kardia recording object"), ("ecg.xle", bytes(9), "is an XLE file, which gives neither rate nor scale"),
    ("patient.hea", b"EDAN\0\0" * 612, "is binary, so no WFDB header, but perhaps that of an Edan Holter"), ("ecg.arc", bytes(9), "is an Edan Holter file, which gives no scale"), ("ecg.xml", b"<svg/>", "is XML, but neither HL7 aECG nor"),
    ("ecg.xml", b"<?xml?><!-- <ECG> --><x><AnnotatedECG/></x>", "is XML, but neither"), ("ecg.xml", b"", "is XML, but neither"),
    ("ecg.xml", b"<RestingECG/>", "cannot be read as GE MUSE XML"), ("a.xml", b"<ECG><CHANNEL/></ECG>", "cannot be read as Mortara ELI XML"),
    ("ecg.xml", b"<restingecgdata/>", "cannot be read as Philips Sierra XML"), ("ecg.ecg", b"ISHNE1.0", "cannot be read as ISHNE"),
    ("ecg.mwf", b"\x40\x04MFR ", "cannot be read as MFER .*no waveform"),
])  # fmt: skip
def test_what_is_refused_is_named(name, content, match):
    with pytest.raises(SignalError, match=match):
        read_ecg({name: content})


@pytest.mark.parametrize(("name", "form"), [("muse.xml", " (GE MUSE XML)"), ("ecg.dcm", " (DICOM)"), ("ecg.edf", ""), ("ecg.scp", "")])
def test_messages_name_the_format_unless_the_suffix_does(tmp_path, name, form):
    WRITERS[name](tmp_path / name, SIGNAL[:11], leads=LEADS[:11])
    refused(tmp_path / name, re.escape(f"{name}{form} lacks lead V6: "))


@pytest.mark.parametrize("write", [write_muse, write_mortara])
def test_twins_of_a_lead_are_not_silently_dropped(tmp_path, write):
    """The library renames the second II to II_2."""
    write(tmp_path / "ecg.xml", np.vstack([SIGNAL, 2 * SIGNAL[1]]), leads=[*LEADS, "II"])
    refused(tmp_path / "ecg.xml", "has lead II more than once")
