"""Many files scored: order, bad files, several processes, interruptions, and what is written."""

import csv
import errno
import io
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from ecg_files import simulated_signal, write_record

from cardiov.__main__ import main
from cardiov.ecg.leads import read_ecg
from cardiov.errors import ParameterError, SignalError
from cardiov.scoring import archive, record
from cardiov.scoring.archive import find_files, score_files, write_scores
from cardiov.scoring.record import NOT_A_DEVICE, score


@pytest.fixture(autouse=True)
def one_time(monkeypatch):
    """All is scored at the same time, so that what was scored twice can be compared whole."""
    monkeypatch.setattr(record, "_now", lambda: "2026-01-02T03:04:05+00:00")


@pytest.fixture
def files(tmp_path):
    """Five records, the third of which is damaged."""
    bases = [write_record(tmp_path / "ecgs", f"r{k}", simulated_signal(seed=k)) for k in range(5)]
    (tmp_path / "ecgs/r2.dat").write_bytes(b"short")
    return [f"{base}.hea" for base in bases]


def reads(monkeypatch):
    """The files that are read from now on."""
    seen, read = [], read_ecg
    monkeypatch.setattr(archive, "read_ecg", lambda file, **settings: (seen.append(file), read(file, **settings))[1])
    return seen


def test_a_folder_stands_for_its_ecgs_and_nothing_is_scored_twice(files, tmp_path):
    (tmp_path / "ecgs/deeper").mkdir()
    for name in ("deeper/x.EDF", "notes.txt", "ptbxl_database.csv"):
        (tmp_path / "ecgs" / name).touch()
    found = find_files([files[3], tmp_path / "ecgs", files[0], "absent"])
    assert found == [files[3], str(tmp_path / "ecgs/deeper/x.EDF"), *files[:3], files[4], "absent"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SignalError, match="holds no file that ends in"):
        find_files([tmp_path / "empty"])


@pytest.mark.parametrize("processes", [None, 2])
def test_outcomes_come_in_order_and_a_bad_file_stops_nothing(files, processes, monkeypatch):
    monkeypatch.setattr(archive, "CHUNK", 2)
    outcomes = list(score_files(files, processes=processes))
    assert [file for file, _ in outcomes] == files
    for k, (file, outcome) in enumerate(outcomes):
        if k == 2:
            assert isinstance(outcome, SignalError) and "r2" in str(outcome)
        else:
            np.testing.assert_allclose(outcome.probabilities, score(file).probabilities, atol=1e-6)


def test_what_is_read_is_scored_before_it_fills_the_memory(files, monkeypatch):
    sizes, score_all = [], archive.score_all
    monkeypatch.setattr(archive, "MAX_SAMPLES", 100_000)  # samples; a record has 60,000
    monkeypatch.setattr(archive, "score_all", lambda ecgs, model: (sizes.append(len(ecgs)), score_all(ecgs, model))[1])
    assert len(list(score_files(files))) == 5 and sizes == [2, 2]


def test_a_killed_process_is_told(files, monkeypatch):
    monkeypatch.setattr(archive, "read_ecg", lambda *_, **__: os._exit(9))
    with pytest.raises(SignalError, match="was killed"):
        list(score_files(files, processes=2))


def test_the_forms_tell_the_same(files, tmp_path, capsys):
    scores = [score(file) for file in (files[0], files[1])]
    assert write_scores(files[:2], "json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"file": file, **json.loads(json.dumps(one.as_dict()))} for file, one in zip(files, scores, strict=False)]
    assert write_scores(files[:2], "csv", tmp_path / "out.csv") == 0
    with open(tmp_path / "out.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    for file, row, one in zip(files, rows, scores, strict=False):
        assert row["file"] == file and int(row["critical_value"]) == one.critical_value
        assert [float(row[f"p{k}"]) for k in range(4)] == pytest.approx(one.probabilities, abs=1e-6)
        assert (int(row["set_low"]), int(row["set_high"])) == one.prediction_set
        assert (row["seconds"], row["fs"], row["windows"]) == ("10", "500", f"0={one.critical_value}")
        assert row["warnings"] == "; ".join(one.warnings) and row["model"] == "cardiov-1"


def test_the_table_lists_windows_and_warnings(tmp_path, capsys):
    signal = simulated_signal(25)
    signal[6] = 0
    write_scores([f"{write_record(tmp_path, signal=signal)}.hea"])
    shown = capsys.readouterr().out
    assert shown.startswith(NOT_A_DEVICE) and "the gravest of 3 windows" in shown and "7.5 s:" in shown
    assert "! flat lead: V1 (its electrode was off" in shown


@pytest.mark.parametrize("form", ["json", "csv"])
def test_an_interrupted_run_goes_on_where_it_stopped(files, tmp_path, monkeypatch, capsys, form):
    good = [files[k] for k in (0, 1, 3, 4)]
    write_scores(good, form, tmp_path / "whole")
    whole = (tmp_path / "whole").read_text()
    lines, output = whole.splitlines(keepends=True), tmp_path / "out"
    first = 2 + (form == "csv")
    output.write_text("".join(lines[:first]) + lines[first][:20])  # killed in the middle of a line
    seen = reads(monkeypatch)
    assert write_scores(files, form, output) == 1
    assert seen == [files[2], *good[2:]] and output.read_text() == whole
    assert "r2" in capsys.readouterr().err
    seen.clear()
    assert write_scores(files, form, output) == 1 and seen == [files[2]]  # a bad file is tried again


def test_a_full_device_is_one_sentence_and_what_is_missing_is_scored_later(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(archive, "open", lambda *_, **__: Full(tmp_path / "out", 700), raising=False)
    command = ["score", "--csv", "--output", str(tmp_path / "out"), *files]
    assert main(command) == 1
    assert f"no space left to write {tmp_path / 'out'}: free some space" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "out").stat().st_size == 700  # within a line
    monkeypatch.undo()
    assert main(command) == 1 and "1 of 5" in capsys.readouterr().err  # the bad file
    write_scores(files, "csv", tmp_path / "whole")
    assert (tmp_path / "out").read_text() == (tmp_path / "whole").read_text()


class Full(io.TextIOWrapper):
    """A file on a device with so many bytes left."""

    def __init__(self, path, size):
        super().__init__(path.open("ab"), write_through=True)
        self.size = size

    def write(self, text):
        super().write(text[: self.size])
        self.size -= len(text)
        if self.size < 0:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_parquet_holds_the_same_as_csv_and_goes_on_where_it_stopped(files, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason='pip install "cardiov[cluster]"')
    output = tmp_path / "out.parquet"

    def interrupted(*arguments):
        yield from list(score_files(*arguments))[:4]  # one of which is damaged
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scores(files, "parquet", output, scorer=interrupted)
    assert not output.exists()
    seen = reads(monkeypatch)
    assert write_scores(files, "parquet", output) == 1 and seen == [files[2], files[4]]
    write_scores(files, "csv", tmp_path / "whole.csv")
    pd.testing.assert_frame_equal(pd.read_parquet(output), pd.read_csv(tmp_path / "whole.csv", keep_default_na=False),
                                  check_dtype=False)  # fmt: skip


def test_a_listing_names_further_files(files, tmp_path):
    listing = tmp_path / "listing.txt"
    listing.write_text("b.hea\n\n  s3://bucket/a.hea \na.hea\n", encoding="utf-8")
    assert find_files(["a.hea"], listing) == ["a.hea", "b.hea", "s3://bucket/a.hea"]


@pytest.mark.parametrize("arguments, sentence", [
    ([], "there is no file to score"), (["--parquet", "x.hea"], "Parquet is not for the screen"),
    (["--listing", "absent.txt"], "absent.txt cannot be read as a list of files"),
])  # fmt: skip
def test_wrong_arguments_are_one_sentence(arguments, sentence, capsys):
    assert main(["score", *arguments]) == 1
    message = capsys.readouterr().err
    assert sentence in message and message.count("\n") == 1


@pytest.mark.parametrize("content", ["", "file,crit", '{"file'])
def test_a_run_that_was_stopped_before_its_first_line_starts_again(files, tmp_path, content):
    form = "json" if content.startswith("{") else "csv"
    (tmp_path / "out").write_text(content)
    write_scores(files[:1], form, tmp_path / "out")
    write_scores(files[:1], form, tmp_path / "new")
    assert (tmp_path / "out").read_text() == (tmp_path / "new").read_text()


@pytest.mark.parametrize("form", ["json", "csv"])
@pytest.mark.parametrize("content", ["my notes", "my notes\n", "a,b\n1,2\n", '{"a": 1}\n', "\x00\n"])
def test_another_file_is_left_alone(files, tmp_path, form, content):
    (tmp_path / "out").write_text(content)
    with pytest.raises(ParameterError, match="something else than results"):
        write_scores(files, form, tmp_path / "out")
    assert (tmp_path / "out").read_text() == content


def test_results_of_other_weights_are_not_added_to(files, tmp_path):
    write_scores(files[:1], "json", tmp_path / "out")
    changed = (tmp_path / "out").read_text().replace("cardiov-1", "another")
    (tmp_path / "out").write_text(changed)
    with pytest.raises(ParameterError, match="holds results of another"):
        write_scores(files, "json", tmp_path / "out")
    assert (tmp_path / "out").read_text() == changed


def test_the_command_scores_all_it_can_and_says_what_it_could_not(files, capsys):
    assert main(["score", "--json", *files]) == 1
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 4
    assert "1 of 5 files could not be scored" in printed.err and "r2" in printed.err
    assert main(["score", files[0]]) == 0


def test_a_table_is_not_written_to_a_file(files, tmp_path, capsys):
    assert main(["score", "--output", str(tmp_path / "out"), *files]) == 1
    assert "--json, --csv or --parquet" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_reader_of_the_output_that_has_had_enough_is_no_error(files):
    command = [sys.executable, "-m", "cardiov", "score", "--json", *files[:2]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait() == 1
