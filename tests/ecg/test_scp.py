"""SCP-ECG in detail."""

import numpy as np
import pytest
from ecg_files import read_both_ways, simulated_signal, write_scp

from cardiov.ecg import clinical
from cardiov.ecg.leads import read_ecg
from cardiov.errors import SignalError


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
    with pytest.raises(SignalError, match="its checksum is wrong.: it is truncated or corrupt"):
        read_ecg({"ecg.scp": data})
    with pytest.raises(SignalError, match="0 as its checksum, as writers do that compute none: have it ignored"):
        read_ecg({"ecg.scp": b"\0\0" + data[2:]})


def test_a_wrong_checksum_of_scp_is_ignored_on_request(tmp_path):
    write_scp(tmp_path / "ecg.scp", simulated_signal())
    data = b"\0\0" + (tmp_path / "ecg.scp").read_bytes()[2:]
    ecg = read_ecg({"ecg.scp": data}, ignore_checksum=True)
    np.testing.assert_allclose(ecg.signal, simulated_signal() / 1000, atol=1e-6)
    assert ecg.warnings == ("checksum ignored: SCP-ECG CRC mismatch in: record",)


@pytest.mark.parametrize(("together", "kinds"), [(3, ["not simultaneous"]), (8, []), (None, [])])
def test_leads_that_were_not_recorded_at_a_time_are_warned_of(tmp_path, together, kinds):
    write_scp(tmp_path / "ecg.scp", simulated_signal(), together=together)
    assert [text.partition(":")[0] for text in read_ecg(tmp_path / "ecg.scp").warnings] == kinds


def test_what_is_not_supported_in_scp_is_not_called_corrupt(tmp_path):
    write_scp(tmp_path / "ecg.scp", simulated_signal(), bimodal=True)
    with pytest.raises(SignalError, match="cannot be read as SCP-ECG .*bimodal compression .*is not supported") as error:
        read_ecg(tmp_path / "ecg.scp")
    assert "corrupt" not in str(error.value)
