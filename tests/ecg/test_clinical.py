"""SCP-ECG, HL7 aECG, EDF and DICOM in detail, against files of other writers."""

from pathlib import Path

import numpy as np
import pytest
from ecg_files import read_both_ways, simulated_signal, write_dicom, write_edf, write_scp
from wfdb.io.convert.edf import read_edf

from cardiov.ecg import clinical
from cardiov.ecg.leads import LEADS, read_ecg
from cardiov.errors import SignalError


def test_aecg_written_by_biosig():
    ecg = read_ecg(Path(__file__).parents[1] / "fixtures/simulated-aecg.xml")
    np.testing.assert_allclose(ecg.signal, simulated_signal(seconds=5, fs=257, seed=7) / 1000, atol=1e-6)
    assert ecg.fs == pytest.approx(257, rel=1e-5)


def test_scp_with_huffman_code(tmp_path):
    write_scp(tmp_path / "ecg.scp", simulated_signal(), huffman=True)
    np.testing.assert_allclose(read_both_ways(tmp_path / "ecg.scp").signal, simulated_signal() / 1000, atol=1e-6)


@pytest.mark.parametrize(("how", "steps"), [
    ({}, 0), ({"beats": 30}, 30 * (12 * 4 + 12 * 600 // 256)), ({"huffman": True}, 12 * 600 + 8 * 21_946),
    ({"huffman": True, "beats": 30}, 12 * 600 + 8 * (21_946 + 930) + 30 * (12 * 4 + 12 * 600 // 256)),
])  # fmt: skip
def test_scp_is_decoded_up_to_a_number_of_steps(tmp_path, monkeypatch, how, steps):
    """The steps are those of twelve coded leads of 600 samples, in so many bytes, and of beats that are added to them."""
    signal = simulated_signal(fs=100, seconds=6)
    write_scp(tmp_path / "ecg.scp", signal, 100, **how)
    monkeypatch.setattr(clinical, "MAX_SCP_STEPS", steps)
    np.testing.assert_allclose(read_ecg(tmp_path / "ecg.scp").signal, signal / 1000, atol=1e-6)
    monkeypatch.setattr(clinical, "MAX_SCP_STEPS", steps - 1)
    with pytest.raises(SignalError, match="ecg.scp has too many samples or beats to decode: cut out a part"):
        read_ecg(tmp_path / "ecg.scp")


def test_the_checksum_of_scp_detects_one_changed_bit(tmp_path):
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
def test_edf_gives_the_sex_if_it_is_recorded(tmp_path, patient, sex):
    write_edf(tmp_path / "ecg.edf", simulated_signal())
    data = (tmp_path / "ecg.edf").read_bytes()
    assert read_ecg({"ecg.edf": data[:8] + patient.ljust(80).encode() + data[88:]}).meta["sex"] == sex


def test_discontinuous_edf_is_an_error(tmp_path):
    write_edf(tmp_path / "ecg.edf", simulated_signal())
    data = bytearray((tmp_path / "ecg.edf").read_bytes())
    data[192:197] = b"EDF+D"
    with pytest.raises(SignalError, match="may have gaps"):
        read_ecg({"ecg.edf": bytes(data)})


def test_dicom_of_another_maker():
    from pydicom.data import get_testdata_file

    ecg = read_ecg(get_testdata_file("waveform_ecg.dcm"))  # lead codes of SCP-ECG, steps of 1.25 µV
    assert ecg.fs == 1000 and ecg.signal.shape == (12, 10_000) and ecg.meta["sex"] == "female" and ecg.meta["age"] == 42
    one, two = ecg.signal[:2]
    np.testing.assert_allclose(ecg.signal * 800, np.rint(ecg.signal * 800), atol=1e-3)
    np.testing.assert_allclose(ecg.signal[2:6], [two - one, -(one + two) / 2, one - two / 2, two - one / 2], atol=0.003)


def test_dicom_padding_is_invalid(tmp_path):
    signal = simulated_signal()
    signal[6, 5] = -30_000
    write_dicom(tmp_path / "ecg.dcm", signal, WaveformPaddingValue=np.int16(-30_000).tobytes())
    with pytest.raises(SignalError, match=r"invalid samples \(NaN\) in lead V1 \(1\)"):
        read_ecg(tmp_path / "ecg.dcm")


def test_deflated_dicom_is_an_error(tmp_path):
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    write_dicom(tmp_path / "ecg.dcm", simulated_signal(), syntax=DeflatedExplicitVRLittleEndian)
    with pytest.raises(SignalError, match="is deflated DICOM: export it uncompressed"):
        read_ecg(tmp_path / "ecg.dcm")
