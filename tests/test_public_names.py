"""What others build on: the public names, and how little has to be loaded for them."""

import subprocess
import sys

import pytest
from ecg_files import write_record

import cardiov

NAMES = {"critical_value", "ordinal_targets", "ordinal_loss", "class_probabilities", "CardioVConfig", "CardioV", "ECG",
         "read_ecg", "ecg_from_leads", "score", "Score"}  # fmt: skip
HEAVY = {"sklearn", "pandas", "matplotlib", "lightning_fabric", "wfdb", "ray", "pyarrow.fs", "pyarrow.parquet"}  # not for scoring
CODE = "import sys, runpy\n{}\nprint(sorted(sys.modules.keys() & {}))"


def test_the_public_names_are_there():
    assert NAMES == set(cardiov.__all__) and all(getattr(cardiov, name) for name in NAMES)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        cardiov.nothing  # noqa: B018


@pytest.mark.parametrize("code", [
    "import cardiov",
    "sys.argv = ['cardiov', 'score', {!r}]\ntry: runpy.run_module('cardiov', run_name='__main__')\nexcept SystemExit as end: assert not end.code",
])  # fmt: skip
def test_scoring_an_ecg_loads_nothing_of_the_study(tmp_path, code):
    code = CODE.format(code.format(f"{write_record(tmp_path)}.hea"), HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]" and ("r.hea" in done.stdout) == ("score" in code)
