"""The command line: quick help, one sentence for what goes wrong, and the exit code."""

import errno
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points, version

import pytest

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
          "develop": ("notebook", "sample", "examples", "review", "alone")}  # fmt: skip


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
    assert main(arguments) == 1
    shown = capsys.readouterr().err.splitlines()
    assert sentence in shown[-1] and shown[-1].endswith(".")
    assert not any("Traceback" in line for line in shown)
    assert not (root / "out.ipynb").exists() and not (root / "cache").exists()


def test_a_full_or_read_only_device_is_a_sentence_and_other_errors_stay_errors(monkeypatch, capsys):
    def fail(number):
        def cache_at(*_):
            raise OSError(number, "for some reason")

        monkeypatch.setattr(cache, "cache_at", cache_at)
        return main(["prepare", "data", "some", PARAMS])

    assert fail(errno.ENOSPC) == 1
    assert "no space left" in capsys.readouterr().err
    assert fail(errno.EROFS) == 1
    assert capsys.readouterr().err == "[Errno 30] for some reason: give permission for that, or another place, and run the command again.\n"
    with pytest.raises(OSError):
        fail(errno.EIO)


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
