"""WFDB records of several segments: as wfdb reads them, in a folder and in memory, and what is wrong with some."""

from pathlib import Path

import numpy as np
import pytest
import wfdb
from ecg_files import in_memory, read_both_ways, simulated_signal, write_record

from cardiov.ecg.leads import read_ecg
from cardiov.errors import SignalError
from cardiov.scoring.archive import score_files
from cardiov.scoring.record import score

SIGNAL = simulated_signal(20)


def write_segments(folder, lines=("first 4000", "second 6000"), **second):
    """A record whose segments wfdb has written, with different gains; its path."""
    write_record(folder, "first", SIGNAL[:, :4000])
    write_record(folder, "second", SIGNAL[:, 4000:], **{"gain": 2000.0} | second)
    (Path(folder) / "whole.hea").write_text("\n".join([f"whole/{len(lines)} 12 500 10000", *lines, "# age: 70"]) + "\n")
    return Path(folder) / "whole"


def test_segments_are_joined_as_by_wfdb(tmp_path):
    base = write_segments(tmp_path)
    ecg, reference = read_both_ways(base), wfdb.rdrecord(str(base))
    np.testing.assert_array_equal(ecg.signal, reference.p_signal.T.astype(np.float32))
    np.testing.assert_allclose(ecg.signal, np.hstack([SIGNAL[:, :4000] / 1000, SIGNAL[:, 4000:] / 2000]), atol=1e-6)
    assert (ecg.fs, ecg.meta["record"], ecg.warnings) == (500, "whole", ())


def test_they_are_scored_in_archives_as_alone(tmp_path):
    base = write_segments(tmp_path)
    (outcome,) = score_files([f"{base}.hea"])
    assert outcome.format == "WFDB" and outcome.result.seconds == 20 and outcome.result.windows == score(base).windows


def test_a_layout_without_frames_is_left_out(tmp_path):
    base = write_segments(tmp_path, ("layout 0", "first 4000", "second 6000"))
    assert read_both_ways(base).signal.shape == (12, 10_000)


@pytest.mark.parametrize(("lines", "second", "sentence"), [
    (("first 4000", "~ 100", "second 6000"), {}, "has a gap between its segments: give one of its segments"),
    (("first 4000", "third 6000"), {}, "lacks the segment 'third' that .*whole.hea names: give the files of all segments"),
    (("first 4000", "../second 6000"), {}, r"has a segment that is not WFDB's \('../second 6000'\)"),
    (("first 4000", "second many"), {}, r"has a segment that is not WFDB's \('second many'\)"),
    (("first 4000", "second 6001"), {}, "it says that segment second has 6,001 frames, second.hea says 6,000"),
    (("first 4000", "second 6000"), {"units": "uV"}, "has segments with different signals, units or rates"),
    (("first 4000", "whole 6000"), {}, "lists segments where one is expected"),
    (("first 4000",) * 1001, {}, "lists 1,001 segments: give a record of 1 to 1,000"), ((), {}, "lists 0 segments"),
    (("first 4000",) * 1000, {}, "whole has 92 MB"),
])  # fmt: skip
def test_what_is_wrong_is_one_sentence(tmp_path, lines, second, sentence, monkeypatch):
    monkeypatch.setattr("cardiov.ecg.recording.refuse_large.__defaults__", (50 * 2**20, "cut out a part"))
    base = write_segments(tmp_path, lines, **second)
    for source in (base, in_memory(tmp_path)):
        with pytest.raises(SignalError, match=sentence):
            read_ecg(source)


def test_a_damaged_segment_is_named(tmp_path):
    base = write_segments(tmp_path)
    data = bytearray((tmp_path / "second.dat").read_bytes())
    data[0] ^= 1
    (tmp_path / "second.dat").write_bytes(data)
    with pytest.raises(SignalError, match="second is corrupt: the samples of lead I do not match"):
        read_ecg(base)
    assert read_ecg(base, ignore_checksum=True).warnings == ("checksum ignored: I",)
