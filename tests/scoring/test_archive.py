"""Many files scored: order, bad files, several processes, interruptions, and what is written."""

import csv
import errno
import gzip
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ecg_files import simulated_signal, write_csv, write_record

from cardiov.__main__ import main
from cardiov.errors import ParameterError, SignalError, StorageError
from cardiov.scoring import archive, outputs, record
from cardiov.scoring.archive import find_files, score_files
from cardiov.scoring.outputs import write_scores
from cardiov.scoring.record import NOT_A_DEVICE, score
from cardiov.store.files import locked


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
    seen, read = [], archive.read_unless_long
    monkeypatch.setattr(archive, "read_unless_long", lambda file, **settings: (seen.append(file), read(file, **settings))[1])
    return seen


def rows(table):
    """The rows of a CSV file, or of lines of JSON."""
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    return [*map(json.loads, lines)] if lines[0].startswith("{") else [*csv.DictReader(lines)]


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
    assert [file for file, *_ in outcomes] == files and {form for _, _, form, _ in outcomes} == {"WFDB"}
    for k, (file, outcome, _, seconds) in enumerate(outcomes):
        assert seconds > 0
        if k == 2:
            assert isinstance(outcome, SignalError) and "r2" in str(outcome)
        else:
            np.testing.assert_allclose(outcome.probabilities, score(file).probabilities, atol=1e-6)


def test_a_record_is_opened_once(files):
    """On the disks of a network, every opening takes time."""
    opened, watching = [], [True]  # an audit hook cannot be removed
    sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if watching and event == "open" else None)
    list(score_files(files[:1]))
    watching.clear()
    assert sorted(name for name in opened if "ecgs" in name) == [files[0].replace(".hea", ".dat"), files[0]]


def test_what_is_read_is_scored_before_it_fills_the_memory(files, monkeypatch):
    sizes, score_all = [], archive.score_all
    monkeypatch.setattr(archive, "MAX_SAMPLES", 100_000)  # samples; a record has 60,000
    monkeypatch.setattr(archive, "score_all", lambda ecgs, model: (sizes.append(len(ecgs)), score_all(ecgs, model))[1])
    assert len(list(score_files(files))) == 5 and sizes == [2, 2]


def test_a_killed_process_is_told(files, monkeypatch):
    monkeypatch.setattr(archive, "read_unless_long", lambda *_, **__: os._exit(9))
    with pytest.raises(SignalError, match="was killed"):
        list(score_files(files, processes=2))


def test_the_forms_tell_the_same(files, tmp_path, capsys):
    scores = [score(file) for file in (files[0], files[1])]
    assert write_scores(files[:2], "json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"file": file, **json.loads(json.dumps(one.as_dict()))} for file, one in zip(files, scores, strict=False)]
    assert write_scores(files[:2], "csv", tmp_path / "out.csv") == 0
    for file, row, one in zip(files, rows(tmp_path / "out.csv"), scores, strict=False):
        assert row["file"] == file and int(row["critical_value"]) == one.critical_value
        assert [float(row[f"p{k}"]) for k in range(4)] == pytest.approx(one.probabilities, abs=1e-6)
        assert (int(row["set_low"]), int(row["set_high"])) == one.prediction_set
        assert (row["seconds"], row["fs"], row["windows"]) == ("10", "500", f"0={one.critical_value}")
        assert row["warnings"] == "; ".join(one.warnings) and row["model"] == "cardiov-1"
        assert (row["weights"], row["software"], row["scored"]) == (one.weights, version("cardiov"), "2026-01-02T03:04:05+00:00")


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
    output, command = tmp_path / "out", ["score", "--csv", "--output", str(tmp_path / "out"), *files]
    with monkeypatch.context() as patched:
        opened = lambda path, *mode, **more: Full(output, 700) if path == str(output) else open(path, *mode, **more)  # noqa: E731
        patched.setattr(outputs, "open", opened, raising=False)
        assert main(command) == 1
    assert f"no space left to write {output}: free some space" in capsys.readouterr().err.splitlines()[-1]
    assert output.stat().st_size == 700  # within a line
    assert main(command) == 1 and "1 of 5" in capsys.readouterr().err  # the bad file
    write_scores(files, "csv", tmp_path / "whole")
    assert output.read_text() == (tmp_path / "whole").read_text()


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
    listing.write_bytes(b"\xef\xbb\xbfb.hea\r\n\n  s3://bucket/a.hea \na.hea\nk\xe9\x85.hea")
    assert find_files(["a.hea"], listing) == ["a.hea", "b.hea", "s3://bucket/a.hea", os.fsdecode(b"k\xe9\x85.hea")]
    for content in (b"\n", b"a\0b", "a.hea\n".encode("utf-16")):
        listing.write_bytes(content)
        with pytest.raises(ParameterError, match="binary or UTF-16" if b"\0" in content else "names no file"):
            find_files(["a.hea"], listing)


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


@pytest.mark.parametrize("old, new, sentence", [
    ("cardiov-1", "another", r"holds results of another \(weights \w{12}\)"),
    ('"weights": "', '"weights": "0123456789abcdef', r"holds results of cardiov-1 \(weights 0123456789ab\)"),
    ('"weights": ', '"digest": ', "holds results of another version, which have other columns"),
])  # fmt: skip
def test_results_of_other_weights_or_versions_are_not_added_to(files, tmp_path, old, new, sentence):
    write_scores(files[:1], "json", tmp_path / "out")
    changed = (tmp_path / "out").read_text().replace(old, new)
    (tmp_path / "out").write_text(changed)
    with pytest.raises(ParameterError, match=sentence):
        write_scores(files, "json", tmp_path / "out")
    assert (tmp_path / "out").read_text() == changed


def test_a_table_of_an_earlier_version_is_left_as_it_is(files, tmp_path):
    earlier = "file,critical_value,p0,p1,p2,p3,set_low,set_high,seconds,fs,windows,warnings,model\n"
    earlier += "x.hea,0,1,0,0,0,0,0,10,500,0=0,,cardiov-1\n"
    (tmp_path / "out").write_text(earlier)
    with pytest.raises(ParameterError, match="results of another version, which have other columns: give another --output"):
        write_scores(files, "csv", tmp_path / "out")
    assert (tmp_path / "out").read_text() == earlier


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


# Names, places and ends


ODD = {b"a\xe9.csv": "a\\xe9.csv", b"b\n.csv": "b\\x0a.csv", "c\u00e9.csv".encode(): "c\u00e9.csv"}  # name on disk -> in results


@pytest.mark.parametrize("form", ["json", "csv"])
def test_names_that_utf8_cannot_hold_are_escaped_and_resumed(tmp_path, monkeypatch, capsys, form):
    ecg, folder = tmp_path / "ecg.csv", tmp_path / "ecgs"
    write_csv(ecg, simulated_signal(5))
    folder.mkdir()
    for name in ODD:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(ecg.read_bytes())
    Path(os.fsdecode(os.fsencode(folder) + b"/d\xff.csv")).write_bytes(b"no ECG")
    output, status = tmp_path / "out", tmp_path / "status.csv"
    for _ in range(2):
        seen = reads(monkeypatch)
        assert write_scores(find_files([folder]), form, output, status=status) == 1
        assert "d\\xff.csv" in capsys.readouterr().err
    assert len(seen) == 1  # the bad file
    assert [row["file"] for row in rows(output)] == [f"{folder}/{name}" for name in ODD.values()]
    assert not any("\udce9" in str(row) for row in rows(output))
    assert [row["file"] for row in rows(status)] == [f"{folder}/{name}" for name in (*ODD.values(), "d\\xff.csv")]
    twin = f"{folder}/a\\xe9.csv"
    with pytest.raises(ParameterError, match="two files have the name"):
        write_scores([*find_files([folder]), twin], form, output)


def test_a_report_of_such_a_name_is_written(tmp_path):
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xe9.csv"))
    write_csv(file, simulated_signal(5))
    assert main(["score", str(file), "--report", str(tmp_path / "report.html")]) == 0
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count("e9.csv")


def test_what_was_written_into_the_folder_is_not_scored(files, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "ecgs"
    command = ["score", "--csv", "--output", str(folder / "scores.csv"), "--status", str(folder / "status.csv"), str(folder)]
    for _ in range(2):
        assert main(command) == 1 and "1 of 5" in capsys.readouterr().err
    (folder / "scores.csv").rename(folder / "earlier.CSV")
    (folder / "status.csv").rename(folder / "earlier-status.csv")
    for name in ("scores.csv.lock", ".status.csv.1.tmp", "scores.csv"):  # of a killed run, the last before its first line
        (folder / name).touch()
    assert main(command) == 1 and "1 of 5" in capsys.readouterr().err
    assert len(pd.read_csv(folder / "scores.csv")) == 4
    monkeypatch.setattr(archive, "SUFFIXES", {*archive.SUFFIXES, ".json"})
    for name in ("json.csv", "scores.json"):
        write_scores(files[:1], "json", folder / name)
    assert find_files([str(folder)]) == files


def test_a_folder_that_cannot_be_listed_is_named(files, tmp_path, monkeypatch, capsys):
    closed, scandir = tmp_path / "ecgs/closed", os.scandir
    closed.mkdir()

    def refusing(path):
        if path == str(closed):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert find_files([str(tmp_path / "ecgs")]) == [*files, str(closed)]
    assert main(["score", "--json", str(tmp_path / "ecgs")]) == 1
    assert "2 of 6 files" in (said := capsys.readouterr().err) and f"{closed} cannot be read" in said


def test_the_status_has_a_row_for_every_file_also_when_a_run_goes_on(files, tmp_path, capsys):
    output, status = tmp_path / "out", tmp_path / "status.csv"
    write_csv(tmp_path / "t.csv", simulated_signal(5))
    (tmp_path / "n.txt").write_text("no ECG")
    files = [*files, str(tmp_path / "t.csv"), str(tmp_path / "x.unknown")]
    write_scores(files[:2], "json", output)  # without a status
    assert write_scores(files, "json", output, status=status) == 2
    first = rows(status)
    assert [(row["file"], row["format"], row["outcome"]) for row in first] == [
        (files[0], "", "scored"), (files[1], "", "scored"), (files[2], "WFDB", "failed"), (files[3], "WFDB", "scored"),
        (files[4], "WFDB", "scored"), (files[5], "CSV", "scored"), (files[6], "", "failed"),
    ]  # fmt: skip
    assert first[0]["reason"] == "by an earlier run without --status" and "r2 is truncated" in first[2]["reason"]
    assert float(first[3]["seconds"]) > 0 and first[3]["reason"] == ""
    assert capsys.readouterr().err.splitlines()[-4:] == [
        "unknown format: 0 scored, 1 failed", "CSV: 1 scored, 0 failed", "WFDB: 2 scored, 1 failed",
        "scored by an earlier run: 2",
    ]  # fmt: skip
    with status.open("a") as stream:
        stream.write(f"{files[2]},WFDB,fai")  # killed in the middle of a line
    write_scores(files, "json", output, status=status)
    again = rows(status)
    assert sorted(row["file"] for row in again) == sorted(files)
    assert [row for row in again if row["outcome"] == "scored"] == [row for row in first if row["outcome"] == "scored"]


def test_another_file_is_no_status(files, tmp_path):
    (tmp_path / "status.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ParameterError, match="something else than a status"):
        write_scores(files, "json", tmp_path / "out", status=tmp_path / "status.csv")
    assert (tmp_path / "status.csv").read_text() == "a,b\n1,2\n"


@pytest.mark.parametrize("place", ["out", "link", "status.csv"])
def test_a_second_scorer_of_the_same_output_or_status_is_refused(files, tmp_path, place):
    write_scores(files[:1], "csv", tmp_path / "out", status=tmp_path / "status.csv")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    before = (tmp_path / "out").read_text()
    with locked(tmp_path / place, wait=False), pytest.raises(StorageError, match="another process writes .*: wait until it has ended"):
        write_scores(files, "csv", tmp_path / "out", status=tmp_path / "status.csv")
    assert (tmp_path / "out").read_text() == before
    assert write_scores(files[:1], "csv", tmp_path / "out") == 0
    assert not list(tmp_path.glob("*.lock"))


@pytest.fixture
def waiting(tmp_path):
    """A function that starts a command which scores a folder, and returns when a process is held by a named pipe in it."""
    jobs = []

    def start(processes):
        write_csv(tmp_path / "ecg.csv", simulated_signal(5))
        (tmp_path / "ecgs").mkdir()
        for k in range(2 * archive.CHUNK):
            (tmp_path / f"ecgs/{k:03}.csv").symlink_to(tmp_path / "ecg.csv")
        os.mkfifo(tmp_path / "ecgs/030.x.csv")
        command = ["score", "--csv", "--output", tmp_path / "out", "--processes", processes, tmp_path / "ecgs"]
        heeded = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # shells let what runs in their background ignore it
        jobs.append(subprocess.Popen([sys.executable, "-m", "cardiov", *map(str, command)], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heeded))  # fmt: skip
        jobs.append(open(tmp_path / "ecgs/030.x.csv", "wb", buffering=0))  # waits until it is read
        return jobs[0]

    yield start
    jobs[1].close()
    with suppress(ProcessLookupError):
        os.killpg(jobs[0].pid, signal.SIGKILL)


PATIENCE = 600  # s; only so that a hang ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(waiting, number):
    job = waiting(2)
    job.send_signal(number)
    job.communicate(timeout=PATIENCE)  # until the last process that has these streams has ended
    assert job.returncode == -number


@pytest.mark.parametrize("processes, send", [(1, os.kill), (2, os.kill), (2, os.killpg)])
def test_an_interruption_is_one_sentence_and_ends_all(waiting, processes, send):
    job = waiting(processes)
    send(job.pid, signal.SIGINT)
    said, error = job.communicate(timeout=PATIENCE)
    assert (job.returncode, said) == (130, "") and error.splitlines()[-1] == "interrupted before the end: run the command again."
    assert "Traceback" not in error


def test_readings_options_reach_every_file(tmp_path, capsys):
    signal = simulated_signal()
    signal[7, 100] = -32768
    header = Path(f"{write_record(tmp_path / 'ecgs', 'gap', signal)}.hea")
    lines = [line.split() for line in header.read_text().splitlines()]
    zeros = [lines[0], *([*line[:6], "0", *line[7:]] for line in lines[1:])]
    header.write_text("\n".join(map(" ".join, zeros)) + "\n")
    command = ["score", "--json", str(tmp_path / "ecgs")]
    assert main(command) == 1 and "gives 0 as every checksum" in capsys.readouterr().err
    assert main([*command, "--ignore-checksum"]) == 1 and "have short gaps bridged (--bridge-gaps MS)" in capsys.readouterr().err
    assert main([*command, "--ignore-checksum", "--bridge-gaps", "2"]) == 0
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert [text.partition(":")[0] for text in warnings[:2]] == ["checksum ignored", "bridged gap"]
    assert main([*command, "--bridge-gaps", "0"]) == 1 and "gaps of 0 ms cannot be bridged" in capsys.readouterr().err


def test_packed_tables_are_found_and_the_standard_input_is_scored(tmp_path):
    write_csv(tmp_path / "ecg.csv", simulated_signal())
    packed = tmp_path / "folder/ecg.csv.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress((tmp_path / "ecg.csv").read_bytes()))
    (score_of_packed,) = (outcome.result for outcome in score_files(find_files([packed.parent])))
    command = [sys.executable, "-m", "cardiov", "score", "--json", "-"]
    for name in ("ecg.csv", "folder/ecg.csv.gz"):
        with open(tmp_path / name, "rb") as stream:
            done = subprocess.run(command, stdin=stream, capture_output=True, text=True, check=True)
        said = json.loads(done.stdout)
        assert said["file"] == "-" and said["probabilities"] == score_of_packed.as_dict()["probabilities"]
