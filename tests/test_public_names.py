"""What others build on: the public names, and how little has to be loaded for them."""

import subprocess
import sys

import pytest
from ecg_files import write_record

import cardiov

NAMES = {"critical_value", "ordinal_targets", "ordinal_loss", "class_probabilities", "CardioVConfig", "CardioV", "ECG",
         "read_ecg", "ecg_from_leads", "score", "Score"}  # fmt: skip
HEAVY = {"torch", "onnx", "scipy.signal", "scipy.stats", "sklearn", "pandas", "matplotlib", "lightning_fabric", "wfdb", "ray",
         "pyarrow.fs", "pyarrow.parquet"}  # fmt: skip
CODE = "import sys, runpy\n{}\nprint(sorted(sys.modules.keys() & {}))"

WITHOUT_TORCH = """
import sys

class Nowhere:
    def find_spec(name, *_):
        if name == "torch":
            raise ModuleNotFoundError("no torch", name=name)

sys.meta_path.insert(0, Nowhere)
import cardiov
from cardiov.__main__ import main
"""


def test_the_public_names_are_there():
    assert NAMES == set(cardiov.__all__) and all(getattr(cardiov, name) for name in NAMES)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        cardiov.nothing  # noqa: B018


@pytest.mark.parametrize("code", [
    "import cardiov",
    "sys.argv = ['cardiov', 'score', {!r}]\ntry: runpy.run_module('cardiov', run_name='__main__')\nexcept SystemExit as end: assert not end.code",
])  # fmt: skip
def test_scoring_an_ecg_loads_neither_torch_nor_the_study(tmp_path, code):
    code = CODE.format(code.format(f"{write_record(tmp_path)}.hea"), HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]" and ("r.hea" in done.stdout) == ("score" in code)


@pytest.mark.parametrize(("code", "sentence"), [
    ("cardiov.CardioV", 'cardiov.CardioV needs torch, which is not installed: pip install "cardiov[heat]".'),
    ("cardiov.score({!r}, 'x.safetensors')",
     'a network in safetensors needs torch, which is not installed: pip install "cardiov[heat]".'),
    ("main(['export', 'x.onnx'])", 'this command needs torch, which is not installed: pip install "cardiov[paper]".'),
    ("main(['train', 'data', 'name', 'params'])", 'this command needs torch, which is not installed: pip install "cardiov[paper]".'),
])  # fmt: skip
def test_without_torch_a_sentence_names_the_extra(tmp_path, code, sentence):
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH + code.format(f"{write_record(tmp_path)}.hea")],
                          capture_output=True, text=True)  # fmt: skip
    assert done.stderr.splitlines()[-1].endswith(sentence)
