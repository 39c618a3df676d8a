"""Long records: read by parts as by one, scored with all windows, in bounded memory, drawn over time."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ecg_files import simulated_signal, write_edf, write_record

from cardiov.__main__ import main
from cardiov.ecg import holter
from cardiov.ecg.holter import read_parts, read_unless_long
from cardiov.ecg.leads import ECG, read_ecg
from cardiov.errors import SignalError
from cardiov.scoring import record
from cardiov.scoring.archive import score_files
from cardiov.scoring.holter import score_long
from cardiov.scoring.outputs import _listed
from cardiov.scoring.record import Window, score_all

SECONDS = 200
SIGNAL = simulated_signal(SECONDS, 100) // 2


@pytest.fixture(autouse=True)
def short_is_long(monkeypatch):
    monkeypatch.setattr(holter, "LONG", 100_000)


def written(tmp_path, form, signal=SIGNAL):
    if form == "edf":
        write_edf(tmp_path / "r.edf", signal, 100)
        return tmp_path / "r.edf"
    return write_record(tmp_path, signal=signal, fs=100, fmt=form)


@pytest.mark.parametrize("form", ["16", "24", "212", "edf"])
def test_parts_are_the_record(tmp_path, form):
    path = written(tmp_path, form)
    parts = list(read_parts(path))
    assert read_unless_long(path) is None
    assert [start for start, _ in parts] == [0, 60, 120] and parts[-1][1].signal.shape == (12, 8000)
    np.testing.assert_array_equal(np.concatenate([part.signal for _, part in parts], axis=1), read_ecg(path).signal)
    assert all((part.fs, part.meta["record"], part.warnings) == (100, "r", ()) for _, part in parts)


@pytest.mark.parametrize("form", ["16", "edf"])
def test_every_window_is_scored_as_in_a_record_of_its_own(tmp_path, form):
    path = written(tmp_path, form)
    score, whole = score_long(path), read_ecg(path)
    pieces = score_all([ECG(whole.signal[:, start : start + 1000], 100) for start in range(0, 20_000, 1000)])
    assert [window.start for window in score.windows] == [*range(0, 200, 10)] and score.seconds == 200
    np.testing.assert_allclose([window.probabilities for window in score.windows], [piece.probabilities for piece in pieces], atol=1e-5)
    assert score.critical_value == max(piece.critical_value for piece in pieces) == score.windows[score.window].critical_value
    (outcome,) = score_files([str(path)])
    assert outcome.result.windows == score.windows and outcome.format == ("EDF" if form == "edf" else "WFDB")


def test_a_part_that_cannot_be_read_is_left_out_and_said(tmp_path):
    signal = SIGNAL.copy()
    signal[7, 7000:7500] = -32768
    signal[8, :6000] = 5
    score = score_long(written(tmp_path, "16", signal))
    assert [window.start for window in score.windows] == [*range(0, 60, 10), *range(120, 200, 10)]
    said = [text for text in score.warnings if text.startswith(("flat lead", "1 parts"))]
    assert said[0].startswith("flat lead: in 1 of 2 parts of 60 s (") and "1 parts of 60 s were not scored, the first at 60 s: " in said[1]


def test_what_is_wrong_with_the_whole_is_an_error(tmp_path):
    path = written(tmp_path, "16")
    header = Path(f"{path}.hea")
    text = header.read_text()
    header.write_text(text.replace("V6", "x"))
    with pytest.raises(SignalError, match="lacks lead V6"):
        score_long(path)
    header.write_text(text.replace("r 12 100 20000", "r 12 100 20001"))
    with pytest.raises(SignalError, match="is truncated: its header declares 20,001 frames, of which its files hold 20,000"):
        score_long(path)
    header.write_text(text)
    data = bytearray(Path(f"{path}.dat").read_bytes())
    data[24 * 15_000] ^= 1
    Path(f"{path}.dat").write_bytes(data)
    with pytest.raises(SignalError, match="is corrupt: the samples of lead I do not match"):
        score_long(path)
    assert score_long(path, ignore_checksum=True).warnings[0].startswith("checksum ignored: I")


@pytest.mark.parametrize("form", ["16", "edf"])
def test_a_record_above_the_limit_names_what_reads_it(tmp_path, form, capsys):
    path = written(tmp_path, form)
    os.truncate(path if form == "edf" else f"{path}.dat", 200 * 2**20)  # zeros behind it take no place on the disk
    said = "has 200 MB, above the 128 MB allowed: score it by `cardiov score` without --report, or by "
    for function in (record.score, read_ecg):
        with pytest.raises(SignalError, match=said + "cardiov.scoring.holter.score_long, which read it part by part.$"):
            function(path)
    if form == "16":  # its header ends before the zeros
        assert len(score_long(path).windows) == 20
        assert main(["score", str(path)]) == 0 and "the gravest of 20 windows" in capsys.readouterr().out


def test_a_large_file_that_cannot_be_read_by_parts_is_to_be_cut(tmp_path):
    (tmp_path / "large.csv").write_text("# fs: 500\n")
    os.truncate(tmp_path / "large.csv", 200 * 2**20)
    with pytest.raises(SignalError, match="above the 128 MB allowed: cut out a part.$"):
        record.score(tmp_path / "large.csv")


MEASURED = """
import resource, sys
from cardiov.scoring import record
from cardiov.scoring.archive import score_files
(outcome,) = score_files([sys.argv[1]])
print(len(outcome.result.windows), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["16", "212"])
def test_a_day_takes_less_than_a_gibibyte(tmp_path, form):
    """24 h of 12 leads at 250 Hz: 494 MiB in format 16."""
    minute = simulated_signal(60, 250) // 2
    base = write_record(tmp_path, signal=minute, fs=250, fmt=form)
    data = Path(f"{base}.dat").read_bytes()
    with open(f"{base}.dat", "ab") as file:
        for _ in range(24 * 60 - 1):
            file.write(data)
    header = Path(f"{base}.hea").read_text().splitlines()
    lines = [line.split() for line in header[1:] if not line.startswith("#")]
    for line, total in zip(lines, minute.sum(axis=1) * 24 * 60, strict=True):
        line[6] = str((total + 32768) % 65536 - 32768)
    Path(f"{base}.hea").write_text("\n".join(["r 12 250 21600000", *map(" ".join, lines)]) + "\n")
    done = subprocess.run([sys.executable, "-c", MEASURED, str(base)], capture_output=True, text=True, check=True)
    windows, mebibytes = map(int, done.stdout.split())
    assert windows == 8640 and mebibytes < 1024


def test_the_command_draws_a_timeline_of_one_record(tmp_path, capsys):
    path, picture = written(tmp_path, "16"), tmp_path / "day.png"
    assert main(["score", str(path), "--timeline", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG") and "the gravest of 20 windows" in capsys.readouterr().out
    for arguments, sentence in (
        ([str(path), str(tmp_path / "other.csv"), "--timeline", "day.png"], "a timeline is of one record, not of 2"),
        ([str(path), "--timeline", "day.txt"], "is a picture: give it a name that ends in .png, .svg or .pdf"),
    ):
        assert main(["score", *arguments]) == 1 and sentence in capsys.readouterr().err


def test_the_table_counts_many_windows():
    windows = tuple(Window(10.0 * k, 10.0, int(k > 50), (0.25,) * 4) for k in range(2000))
    assert _listed(windows) == "51 have 0, 1,949 have 1" and _listed(windows[50:52]) == "500 s: 0, 510 s: 1"
