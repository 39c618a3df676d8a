"""DICOM waveforms in detail, against pydicom's own example and files with fields changed by hand."""

import copy
import re

import numpy as np
import pydicom
import pytest
from ecg_files import read_both_ways, simulated_signal, write_dicom

from cardiov.ecg.leads import LEADS, read_ecg
from cardiov.errors import SignalError

SIGNAL = simulated_signal(seconds=5)
OTHER = simulated_signal(seconds=5, seed=9)
UNREAD = "not read: group 1 (ORIGINAL, 1.0 s)"  # of `write_dicom`, which puts a median beat before the rhythm


def changed(tmp_path, change=lambda groups: None, signal=SIGNAL, **how):
    """A file whose groups a function has changed in place."""
    write_dicom(tmp_path / "ecg.dcm", signal, **how)
    dataset = pydicom.dcmread(tmp_path / "ecg.dcm")
    change(dataset.WaveformSequence)
    dataset.save_as(tmp_path / "ecg.dcm", enforce_file_format=True)
    return tmp_path / "ecg.dcm"


def each_channel(change):
    """A change of every channel of the rhythm, given its lead."""
    return lambda groups: [change(channel, lead) for channel, lead in zip(groups[1].ChannelDefinitionSequence, LEADS, strict=True)]


def put(group, signal, **fields):
    """Replace a group's samples (channels, n)."""
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = signal.shape
    group.WaveformData = signal.T.astype("<i2").tobytes()
    for keyword, value in fields.items():
        setattr(group, keyword, value)


def assert_read(path, signal=SIGNAL, warnings=(UNREAD,)):
    ecg = read_both_ways(path)
    np.testing.assert_allclose(ecg.signal, signal / 1000, atol=1e-6)
    assert ecg.warnings == warnings
    return ecg


def refused(path, match):
    with pytest.raises(SignalError, match=match) as error:
        read_ecg(path)
    assert "truncated" not in str(error.value)


def test_dicom_of_another_maker():
    from pydicom.data import get_testdata_file

    ecg = read_ecg(get_testdata_file("waveform_ecg.dcm"))  # lead codes of SCP-ECG, steps of 1.25 µV
    assert ecg.fs == 1000 and ecg.signal.shape == (12, 10_000) and ecg.meta["sex"] == "female" and ecg.meta["age"] == 42
    assert ecg.meta["recorded"] == "2013-01-25T10:59:19" and ecg.meta["patient"] == "642341"
    assert ecg.warnings[0] == "not read: group 2 (MEDIAN BEAT, 1.2 s)"
    one, two = ecg.signal[:2]
    np.testing.assert_allclose(ecg.signal * 800, np.rint(ecg.signal * 800), atol=1e-3)
    np.testing.assert_allclose(ecg.signal[2:6], [two - one, -(one + two) / 2, one - two / 2, two - one / 2], atol=0.003)


@pytest.mark.parametrize(("bits", "kind", "divisor"), [(12, "SS", 2), (14, "SS", 1), (12, "US", 2), (16, "US", 1)])
@pytest.mark.parametrize("extended", [True, False])
def test_bits_that_are_stored_below_those_allocated(tmp_path, bits, kind, divisor, extended):
    """Signed samples, with and without their sign in the upper bits; unsigned ones with a baseline."""
    signal, zero = SIGNAL // divisor, 2 ** (bits - 1) if kind == "US" else 0
    stored = (signal + zero if extended or kind == "US" else signal & (2**bits - 1)).astype("<i4").astype("<u2")

    def change(groups):
        groups[1].WaveformSampleInterpretation, groups[1].WaveformData = kind, stored.T.tobytes()
        each_channel(lambda channel, _: setattr(channel, "WaveformBitsStored", bits))(groups)
        each_channel(lambda channel, _: setattr(channel, "ChannelBaseline", -zero))(groups)

    assert_read(changed(tmp_path, change), signal)


def test_samples_beyond_the_stored_bits_are_an_error(tmp_path):
    bits = each_channel(lambda channel, lead: setattr(channel, "WaveformBitsStored", 8 if lead == "V2" else 16))
    refused(changed(tmp_path, bits), "samples of V2 exceed the 8 bits that it declares")


@pytest.mark.parametrize("kind", ["MB", "AB"])
def test_companded_samples_are_an_error(tmp_path, kind):
    def change(groups):
        groups[1].WaveformBitsAllocated, groups[1].WaveformSampleInterpretation = 8, kind
        groups[1].add_new("WaveformData", "OB", (SIGNAL.T & 255).astype("u1").tobytes())

    refused(changed(tmp_path, change), f"stored as {kind} of 8 bits, not as linear integers")


def test_32_bits(tmp_path):
    def change(groups):
        groups[1].WaveformBitsAllocated, groups[1].WaveformSampleInterpretation = 32, "SL"
        groups[1].WaveformData = (SIGNAL * 1000).T.astype("<i4").tobytes()
        each_channel(lambda channel, _: setattr(channel, "ChannelSensitivity", 0.001))(groups)

    assert_read(changed(tmp_path, change))


@pytest.mark.parametrize(("label", "originality"), [("MEDIAN BEAT", "DERIVED"), ("Averaged complex", "ORIGINAL"), ("", "DERIVED")])
@pytest.mark.parametrize("samples", [2500, 9000])
def test_the_original_rhythm_is_taken_however_long_a_median_or_derived_group_is(tmp_path, label, originality, samples):
    def change(groups):
        put(groups[0], np.pad(OTHER[:, :500], ((0, 0), (0, samples - 500))), MultiplexGroupLabel=label, WaveformOriginality=originality)

    title = f"{label or originality}, {samples / 500:.1f} s"
    assert_read(changed(tmp_path, change), warnings=(f"not read: group 1 ({title})",))


def test_a_derived_rhythm_is_read_with_a_warning_and_a_median_beat_never(tmp_path):
    def change(groups):
        del groups[0]
        groups[0].WaveformOriginality, groups[0].MultiplexGroupLabel = "DERIVED", label

    label = "RHYTHM"
    assert_read(changed(tmp_path, change), warnings=("derived signal: RHYTHM, 5.0 s",))
    label = "MEDIAN BEAT"
    refused(changed(tmp_path, change), "it holds median beats, but no rhythm")


def test_of_two_recordings_the_first_is_read_and_the_second_is_said(tmp_path):
    assert_read(changed(tmp_path, lambda groups: put(groups[0], OTHER, MultiplexGroupTimeOffset=20_000)),
                OTHER, ("not read: group 2 (ORIGINAL, 5.0 s)",))  # fmt: skip


def three_groups(offsets):
    def change(groups):
        channels = list(groups[1].ChannelDefinitionSequence)
        groups.append(copy.deepcopy(groups[1]))
        for k, (group, offset) in enumerate(zip(groups, offsets, strict=True)):
            group.ChannelDefinitionSequence = channels[4 * k : 4 * k + 4]
            put(group, SIGNAL[4 * k : 4 * k + 4], MultiplexGroupTimeOffset=offset)

    return change


def test_simultaneous_groups_are_joined_and_successive_ones_are_not(tmp_path):
    assert_read(changed(tmp_path, three_groups([0, 0, 0])), warnings=())
    assert_read(changed(tmp_path, three_groups([None, None, None])), warnings=("joined groups: 1, 2, 3",))
    refused(changed(tmp_path, three_groups([0, 5000, 10_000])), "lacks lead")


@pytest.mark.parametrize(("code", "meaning", "label"), [
    ("MDC_ECG_LEAD_{}", "Einthoven {}", ""), ("?", "Lead {}", ""), ("?", "?", "{}"), ("", "", "Lead {}"), (None, "{}", None),
])  # fmt: skip
def test_names_by_code_meaning_or_label(tmp_path, code, meaning, label):
    def rename(channel, lead):
        source = channel.ChannelSourceSequence[0]
        source.CodeValue, source.CodeMeaning = (text and text.format(lead) for text in (code, meaning))
        channel.ChannelLabel = label and label.format(lead)

    assert_read(changed(tmp_path, each_channel(rename)))


def test_names_that_contradict_each_other_are_an_error(tmp_path):
    contradict = each_channel(lambda channel, lead: setattr(channel, "ChannelLabel", "V1" if lead == "V2" else lead))
    refused(changed(tmp_path, contradict), "it names a channel by 'V2' and '2:4' and '.' and 'V1', which are different leads")
    number = each_channel(lambda channel, lead: setattr(channel, "ChannelLabel", f"C{LEADS.index(lead) + 1}"))
    assert_read(changed(tmp_path, number))


def test_a_code_with_blanks_and_a_label_without_a_source(tmp_path):
    def rename(channel, lead):
        channel.ChannelSourceSequence[0].CodeValue = f" {channel.ChannelSourceSequence[0].CodeValue}"
        if lead == "V4":
            channel.ChannelLabel = "V4"
            del channel.ChannelSourceSequence

    assert_read(changed(tmp_path, each_channel(rename)))


@pytest.mark.parametrize("keyword", ["ChannelBaseline", "ChannelSensitivityCorrectionFactor", "WaveformBitsStored", "ChannelTimeSkew",
                                     "ChannelSampleSkew", "ChannelLabel"])  # fmt: skip
def test_an_empty_field_is_absent(tmp_path, keyword):
    assert_read(changed(tmp_path, each_channel(lambda channel, _: setattr(channel, keyword, None))))


def test_empty_fields_of_the_study_are_absent(tmp_path):
    path = changed(tmp_path)
    dataset = pydicom.dcmread(path)
    dataset.PatientAge, dataset.PatientBirthDate = None, "19590601"
    dataset.save_as(path)
    assert read_ecg(path).meta["age"] == 61
    for keyword in ("PatientBirthDate", "PatientSex", "PatientID", "AcquisitionDateTime"):
        setattr(dataset, keyword, None)
    dataset.save_as(path)
    meta = read_ecg(path).meta
    assert [meta[key] for key in ("age", "sex", "patient", "recorded")] == [None] * 4


def test_a_lead_without_sensitivity_is_an_error(tmp_path):
    empty = each_channel(lambda channel, lead: setattr(channel, "ChannelSensitivity", None if lead == "I" else 1))
    refused(changed(tmp_path, empty), "it gives no sensitivity for I")


@pytest.mark.parametrize(("code", "meaning"), [("UV", ""), (" uV", "?"), ("?", "microvolt"), ("266419", "Microvolt")])
def test_units_by_code_or_meaning(tmp_path, code, meaning):
    def rename(channel, _):
        unit = channel.ChannelSensitivityUnitsSequence[0]
        unit.CodeValue, unit.CodeMeaning = code, meaning

    assert_read(changed(tmp_path, each_channel(rename)))


def test_an_absent_unit_is_settled_by_the_user(tmp_path):
    path = changed(tmp_path, each_channel(lambda channel, _: channel.pop("ChannelSensitivityUnitsSequence")))
    refused(path, "gives no unit")
    np.testing.assert_allclose(read_ecg(path, unit="uV").signal, SIGNAL / 1000, atol=1e-6)


def test_a_channel_that_is_no_lead_never_refuses(tmp_path):
    def change(groups):
        source = groups[1].ChannelDefinitionSequence[12].ChannelSourceSequence[0]
        source.CodeValue = source.CodeMeaning = "Pressure"
        del groups[1].ChannelDefinitionSequence[12].ChannelSensitivity
        groups[0].WaveformSampleInterpretation = "XX"
        for channel in groups[0].ChannelDefinitionSequence:
            channel.ChannelSourceSequence[0].CodeValue = "Flow"

    assert_read(changed(tmp_path, change, np.vstack([SIGNAL, SIGNAL[:1]]), leads=[*LEADS, "I"]), warnings=())


@pytest.mark.parametrize("keyword", ["ChannelTimeSkew", "ChannelSampleSkew", "ChannelOffset"])
def test_skewed_channels_are_aligned(tmp_path, keyword):
    """Channel k of the rhythm begins 2 k samples late."""
    shifted = np.stack([SIGNAL[k, 2 * k : 2450 + 2 * k] for k in range(12)])

    def skew(channel, lead):
        late = 2 * LEADS.index(lead)
        setattr(channel, keyword, late if keyword == "ChannelSampleSkew" else late / 500)

    def change(groups):
        put(groups[1], shifted)
        groups[1].NumberOfWaveformSamples = 2450
        each_channel(skew)(groups)

    with pytest.raises(SignalError, match="is 4.86 s long"):  # 2,428 samples that all have
        read_ecg(changed(tmp_path, change))
    longer = simulated_signal(seconds=6)
    shifted = np.stack([longer[k, 2 * k : 2950 + 2 * k] for k in range(12)])
    assert_read(changed(tmp_path, lambda groups: (put(groups[1], shifted), each_channel(skew)(groups))), longer[:, 22:2950])


def test_padding_of_all_channels_is_cut_and_of_one_is_invalid(tmp_path):
    padded = np.pad(SIGNAL, ((0, 0), (0, 250)), constant_values=-30_000)
    path = changed(tmp_path, signal=padded, WaveformPaddingValue=np.int16(-30_000).tobytes())
    assert_read(path, warnings=(UNREAD, "not read: 0.50 s of padding"))
    gap = SIGNAL.copy()
    gap[0, 5] = -30_000
    path = changed(tmp_path, signal=gap, WaveformPaddingValue=np.int16(-30_000).tobytes())
    with pytest.raises(SignalError, match=r"invalid samples \(NaN\) in lead I \(1\)"):
        read_ecg(path)


@pytest.mark.parametrize("row", [np.zeros(2500, int), np.full(2500, 7)])
def test_an_empty_twin_is_not_read(tmp_path, row):
    assert_read(changed(tmp_path, signal=np.vstack([row, row, SIGNAL]), leads=["aVR", "aVL", *LEADS]),
                warnings=("not read: 'aVR', 'aVL'", UNREAD)[::-1])  # fmt: skip
    refused(changed(tmp_path, signal=np.vstack([OTHER[3], SIGNAL]), leads=["aVR", *LEADS]), "has lead aVR more than once")


def test_what_holds_no_waveform_is_said(tmp_path):
    path = changed(tmp_path)
    dataset = pydicom.dcmread(path)
    del dataset.WaveformSequence
    dataset.save_as(path)
    refused(path, "it holds no waveform, but perhaps a picture or a PDF of one")


@pytest.mark.parametrize(("age", "years"), [("061Y", 61), ("018M", 1.5), ("010D", 10 / 365.25), ("61", None)])
def test_ages(tmp_path, age, years):
    path = changed(tmp_path)
    data = path.read_bytes()
    at = data.index(b"061Y")
    assert read_ecg({"ecg.dcm": data[:at] + age.ljust(4).encode() + data[at + 4 :]}).meta["age"] == (years and pytest.approx(years))


def test_deflated_dicom_is_an_error(tmp_path):
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    write_dicom(tmp_path / "ecg.dcm", simulated_signal(), syntax=DeflatedExplicitVRLittleEndian)
    with pytest.raises(SignalError, match="is deflated DICOM: export it uncompressed"):
        read_ecg(tmp_path / "ecg.dcm")


def test_titles_are_one_sentence(tmp_path):
    label = lambda groups: setattr(groups[0], "MultiplexGroupLabel", "RHYTHM 2")  # noqa: E731
    assert re.fullmatch(r"not read: group 1 \(RHYTHM 2, 1\.0 s\)", read_ecg(changed(tmp_path, label)).warnings[0])
