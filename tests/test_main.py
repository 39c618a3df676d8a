"""The command line: quick help, one sentence for what goes wrong, and the exit code."""

import errno
import subprocess
import sys

import pandas as pd
import pytest

from cardiov.__main__ import main
from cardiov.data import cache
from cardiov.errors import ParameterError
from cardiov.paper import notebooks
from cardiov.store import results
from cardiov.store.files import ROOT
from cardiov.store.parameters import read_parameters

COMMANDS = ("demo", "download", "verify", "prepare", "train", "stress", "explain", "external", "review", "notebook", "report",
            "compare", "score", "launch", "app")  # fmt: skip


def test_help_lists_the_commands_without_waiting_for_torch():
    code = "import sys, runpy; sys.argv = ['cardiov', '--help']\ntry: runpy.run_module('cardiov', run_name='__main__')\n"
    code += "finally: assert not {'torch', 'pandas', 'scipy', 'papermill'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(f"\n    {command} " in done.stdout for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["download", "ptbxl", "--version", "1.0.2"], "the version is '1.0.2': give 1.0.3 or 1.0.1"),
        (["download", "ptbxl", "--from", "ftp://some/where"], "the address 'ftp://some/where' is neither"),
        (["verify", "no/copy", "memory.json"], "no/copy/SHA256SUMS.txt cannot be read"),
        (["prepare", "no/folder", "cache"], "no/folder"),
        (["train", "--data", "d", "--cache", "no/cache", "--run-dir", "r"], "no/cache"),
        (["notebook", "no.ipynb", "out.ipynb"], "no.ipynb is not a readable notebook"),
        (["notebook", "no.ipynb", "out.ipynb", "-f", "no.yaml"], "no.yaml cannot be read as YAML"),
        (["external", "no/ludb", "no.safetensors", "out.csv"], "no.safetensors: no readable safetensors weights"),
        (["report", "nothing"], "results/nothing has no tables"),
    ],
)
def test_what_goes_wrong_is_one_sentence_without_a_traceback(root, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(root)
    assert main(arguments) == 1
    shown = capsys.readouterr().err.splitlines()
    assert sentence in shown[-1] and shown[-1].endswith(".")
    assert not any("Traceback" in line for line in shown)
    assert not (root / "out.ipynb").exists() and not (root / "cache").exists()


def test_unknown_training_parameters_are_named_with_the_known_ones(tmp_path, capsys):
    path = tmp_path / "training.yaml"
    path.write_text("rate: 100\nepoch: 3\n")
    assert main(["train", "-f", str(path), "--data", "d", "--cache", "c", "--run-dir", "r"]) == 1
    assert "training.yaml sets epoch: correct it to one of" in capsys.readouterr().err


def test_a_full_or_read_only_device_is_a_sentence_and_other_errors_stay_errors(monkeypatch, capsys):
    def fail(number):
        def prepare(*_, **__):
            raise OSError(number, "for some reason")

        monkeypatch.setattr(cache, "prepare", prepare)
        return main(["prepare", "data", "cache"])

    assert fail(errno.ENOSPC) == 1
    assert "no space left" in capsys.readouterr().err
    assert fail(errno.EROFS) == 1
    assert capsys.readouterr().err == "[Errno 30] for some reason: give permission for that, or another place, and run the command again.\n"
    with pytest.raises(OSError):
        fail(errno.EIO)


def test_parameters_come_from_the_file_and_text_and_seed_from_the_line(monkeypatch, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("seed: 1\nmodel:\n  widths: [16, 16]\n")
    seen = []
    monkeypatch.setattr(notebooks, "run_notebook", lambda source, target, parameters: seen.append(parameters))
    for seed in ([], ["--seed", "0"]):
        assert main(["notebook", "s", "t", "-f", str(path), "-p", "dataset", "00001", *seed]) == 0
    model = {"widths": [16, 16]}
    assert seen == [{"seed": seed, "model": model, "dataset": "00001"} for seed in (1, 0)]


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1\n", ""])
def test_a_file_without_parameters_is_refused(tmp_path, text):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError, match="p.yaml"):
        read_parameters(path)


def test_compare_says_when_nothing_is_committed(root, capsys):
    results.save_table(pd.DataFrame({"a": [1]}), "some", "table1")
    assert main(["compare", "some"]) == 0
    assert "results/some is not committed" in capsys.readouterr().out
