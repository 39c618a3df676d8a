"""The command line: quick help, one sentence for what goes wrong, and the exit code."""

import errno
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points, version

import pytest
from ecg_files import simulated_signal, write_csv

from cardiov.__main__ import main
from cardiov.data import cache
from cardiov.errors import ParameterError
from cardiov.paper import captions, notebooks
from cardiov.store.files import ROOT
from cardiov.store.parameters import read_parameters

PARAMS = str(ROOT / "notebooks/params/demo")
GROUPS = {"use": ("score", "export", "app"),
          "reproduce": ("demo", "download", "prepare", "train", "search", "baselines", "stress", "heat", "ship", "external", "exact",
                        "replayed", "retrained", "report", "ending", "publish"),
          "develop": ("notebook", "sample", "examples", "warnings", "review", "alone")}  # fmt: skip


def test_help_lists_the_commands_in_three_groups_without_waiting_for_torch():
    code = "import sys, runpy; sys.argv = ['cardiov', '--help']\ntry: runpy.run_module('cardiov', run_name='__main__')\n"
    code += "finally: assert not {'torch', 'pandas', 'scipy', 'papermill'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed = re.findall(r"^(\w+):$((?:\n  \S.*)+)", done.stdout, re.MULTILINE)
    commands = {group: tuple(line.split()[0] for line in lines.split("\n")[1:]) for group, lines in listed}
    assert {group: commands[group] for group in GROUPS} == GROUPS
    assert "examples:\n  cardiov score my-ecg.edf " in done.stdout


def test_the_console_command_and_the_module_are_the_same(capsys):
    command = next(one for one in entry_points(group="console_scripts") if one.name == "cardiov")
    assert command.load() is main
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"cardiov {version('cardiov')}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["download", "ptbxl", "--version", "1.0.2"], "the version is '1.0.2': give 1.0.3 or 1.0.1"),
        (["download", "ptbxl", "--from", "ftp://some/where"], "the address 'ftp://some/where' is neither"),
        (["prepare", "no/copy", "some", "no/params", "--verify", "1.0.3"], "no/copy/SHA256SUMS.txt cannot be read"),
        (["prepare", "no/folder", "some", "no/params"], "no/params/runs.yaml cannot be read"),
        (["prepare", "no/folder", "some", PARAMS], "no/folder"),
        (["train", "no/folder", "some", PARAMS], "no/folder"),
        (["search", "no/folder", "some", PARAMS], "no/folder"),
        (["baselines", "no/folder", "some", PARAMS], "no/folder"),
        (["stress", "no/folder", "some", PARAMS], "build/some/shipped.safetensors: no readable safetensors weights"),
        (["heat", "no/folder", "some", PARAMS], "results/some/runs has no run ordinal-<seed>: train ordinal-0 first"),
        (["ship", "no/folder", "some", PARAMS], "results/some/runs has no run ordinal-<seed>: train ordinal-0 first"),
        (["examples", "no/folder"], "there is no data folder no/folder"),
        (["notebook", "no.ipynb", "out.ipynb"], "no.ipynb is not a readable notebook"),
        (["notebook", "no.ipynb", "out.ipynb", "-f", "no.yaml"], "no.yaml cannot be read as YAML"),
        (["notebook", "empty.ipynb", "out.ipynb", "-f", "utf16.yaml"], "utf16.yaml cannot be read as YAML"),
        (["notebook", "empty.ipynb", "out.ipynb", "-f", "numbers.yaml"], "numbers.yaml sets 1: correct it to one of"),
        (["notebook", "empty.ipynb", "out.ipynb"], "empty.ipynb is not a readable notebook"),
        (["notebook", "no-kernel.ipynb", "out.ipynb"], "no-kernel.ipynb cannot be executed (No kernel name found"),
        (["notebook", "empty.ipynb", "results"], "results is a folder: give the name of the executed notebook"),
        (["alone", "build", "settings", "ludb"], "the build folder has the data set as its second part"),
        (["external", "no/folder", "some", PARAMS, "--ludb", "no/ludb"], "shipped.safetensors: no readable safetensors weights"),
        (["exact", "no/folder", "nothing", PARAMS], "build/nothing/results is missing: run the notebooks first"),
        (["replayed", "no/folder", "nothing", PARAMS], "nothing: no readable safetensors weights"),
        (["retrained", "no/folder", "nothing", PARAMS], "no/folder"),
        (["report", "nothing"], "build/nothing/results has no tables"),
        (["ending", "nothing", "replayed"], "build/nothing/outcomes/replayed.json is missing: run `python -m cardiov replayed` first"),
        (["publish", "nothing"], "build/nothing/report.html is missing: run the notebooks and `python -m cardiov report` first"),
    ],
)
def test_what_goes_wrong_is_one_sentence_without_a_traceback(root, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(root)
    (root / "utf16.yaml").write_text("seed: 1\n", encoding="utf-16")
    (root / "numbers.yaml").write_text("1: 2\n")
    (root / "empty.ipynb").write_text("{}")
    (root / "no-kernel.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    assert main(arguments) == 1
    shown = capsys.readouterr().err.splitlines()
    assert sentence in shown[-1] and shown[-1].endswith(".")
    assert not any("Traceback" in line for line in shown)
    assert not (root / "out.ipynb").exists() and not (root / "cache").exists()


@pytest.mark.parametrize(("arguments", "sentence"), [
    ("--rate nan", "no ECG is sampled at nan Hz: give a rate of 100 to 100,000 Hz"),
    ("--rate -500", "no ECG is sampled at -500 Hz"), ("--unit kg", "the unit 'kg' is unknown: give uV, mV or V"),
    ("--processes 0", "0 processes cannot score"), ("--processes -1", "-1 processes cannot score"),
    ("--model absent", "absent: no readable"), ("--model folder", "folder: no readable"), ("--model e.csv", "e.csv: no readable"),
    ("--model EMPTY", "the name of the weights is empty"), ("--model LONG", "File name too long"),
    ("--csv --output absent/o.csv", "absent/o.csv cannot be written, for there is no folder absent: make it first"),
    ("--csv --output folder", "folder is no file"), ("--csv --output e.csv/o.csv", "there is no folder e.csv"),
    ("--csv --output e.csv", "e.csv holds something else than results as csv"), ("--csv --output LONG", "File name too long"),
    ("--csv --output circle", "circle cannot be written"), ("--csv --output EMPTY", ". is no file"),
    ("--csv --output /dev/null", "/dev/null is no file"), ("--output o.csv", "a table is for reading"),
    ("--csv --output o.csv --status o.csv", "two results have the same place"),
    ("--parquet --output o.parquet --status o.csv", "two results have the same place"),
    ("--parquet", "Parquet is not for the screen"), ("--status folder", "folder is no file"),
    ("--status absent/s.csv", "there is no folder absent"), ("--status e.csv", "e.csv holds something else than a status"),
    ("--report absent/r.html", "there is no folder absent"), ("--report e.csv", "the report 'e.csv' is a page"),
    ("--report EMPTY", "the report '' is a page"), ("--report folder.html", "folder.html is no file"),
    ("--listing absent", "absent cannot be read as a list of files"), ("--listing folder", "folder cannot be read as a list of files"),
    ("--listing empty.txt", "empty.txt names no file"), ("--listing binary", "binary or UTF-16"),
    ("--listing EMPTY", "cannot be read as a list of files"), ("EMPTY", "the name of a file is empty"),
    ("folder", "folder holds no file that ends in"), ("--cluster EMPTY", "Ray"),
])  # fmt: skip
def test_a_wrong_argument_of_score_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "e.csv", simulated_signal(5))
    content = (tmp_path / "e.csv").read_bytes()
    for name in ("folder", "folder.html"):
        (tmp_path / name).mkdir()
    (tmp_path / "empty.txt").touch()
    (tmp_path / "binary").write_bytes(b"a\0b")
    (tmp_path / "circle").symlink_to("circle")
    before = sorted(tmp_path.rglob("*"))
    words = [{"EMPTY": "", "LONG": "x" * 300}.get(word, word) for word in arguments.split()]
    assert main(["score", "e.csv", *words]) == 1
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1 and said.endswith(".\n")
    assert sorted(tmp_path.rglob("*")) == before and (tmp_path / "e.csv").read_bytes() == content


@pytest.mark.parametrize("arguments", [
    "score --rate fast x.csv", "score --processes many x.csv", "score --nothing x.csv", "score --csv --json x.csv", "app --port none",
    "demo folder --seed -1", "review import sheet.csv key.csv", "nothing", "",
])  # fmt: skip
def test_arguments_that_cannot_be_parsed_are_one_sentence(capsys, arguments):
    with pytest.raises(SystemExit, match="2"):
        main(arguments.split())
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.endswith("--help shows what to give.\n")


@pytest.mark.parametrize("port", ["0", "-1", "65536"])
def test_a_port_that_does_not_exist_is_one_sentence(capsys, port):
    pytest.importorskip("voila", reason='pip install "cardiov[app]"')
    assert main(["app", "--port", port]) == 1
    assert capsys.readouterr().err == f"there is no port {port}: give one from 1 to 65535.\n"


def test_names_are_written_to_a_terminal_that_lacks_their_characters(tmp_path):
    write_csv(tmp_path / "é.csv", simulated_signal(5))
    command = [sys.executable, "-m", "cardiov", "score", "--csv", tmp_path / "é.csv"]
    done = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True)
    assert done.returncode == 0 and f"{tmp_path}/\\xe9.csv,".encode() in done.stdout.encode()


def test_an_interruption_is_one_sentence(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "cache_at", interrupted)
    assert main(["prepare", "data", "some", PARAMS]) == 130
    assert capsys.readouterr().err == "interrupted before the end: run the command again.\n"


def test_a_full_or_read_only_device_is_a_sentence_and_other_errors_stay_errors(monkeypatch, capsys):
    def fail(number, *path):
        def cache_at(*_):
            raise OSError(number, "for some reason", *path)

        monkeypatch.setattr(cache, "cache_at", cache_at)
        return main(["prepare", "data", "some", PARAMS])

    assert fail(errno.ENOSPC) == 1
    assert "no space left" in capsys.readouterr().err
    assert fail(errno.EROFS) == 1
    assert capsys.readouterr().err == "[Errno 30] for some reason: give permission for that, or another place, and run the command again.\n"
    with pytest.raises(OSError):
        fail(errno.EIO)
    assert fail(errno.ENAMETOOLONG, "data") == 1
    assert capsys.readouterr().err == "data: for some reason: check this path, and run the command again.\n"


@pytest.mark.parametrize(("rank", "shown"), [("0", "a choice\na warning\n"), ("1", "a warning\n")])
def test_the_log_is_shown_on_stderr_by_the_first_process(rank, shown):
    code = "import logging; from cardiov.__main__ import _show_log; _show_log(); log = logging.getLogger('cardiov.training')\n"
    code += "log.info('a choice'); log.warning('a warning'); logging.getLogger('other').info('chatter')"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"RANK": rank}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", shown)


def test_parameters_of_a_notebook_are_the_files_the_data_set_and_text(monkeypatch, tmp_path, capsys):
    path = tmp_path / "analysis.yaml"
    path.write_text("seed: 1\nresamples: 10\n")
    seen = []
    monkeypatch.setattr(notebooks, "run_notebook", lambda *arguments: seen.append(arguments))
    monkeypatch.setattr(captions, "made_by", lambda source, dataset: [f"a table of {source}, {dataset}"])
    assert main(["notebook", "s", "t", "-f", str(path), "--dataset", "some", "--data", "", "-p", "run", "00001"]) == 0
    assert main(["notebook", "s", "t"]) == 0
    assert capsys.readouterr().out == "t\na table of s, some\nt\n"
    shared = {"seed": 1, "resamples": 10, "dataset": "some", "data": ""}
    assert seen == [("s", "t", {"run": "00001"}, shared), ("s", "t", {}, {})]


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1\n", ""])
def test_a_file_without_parameters_is_refused(tmp_path, text):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError, match="p.yaml"):
        read_parameters(path, {"a"})
