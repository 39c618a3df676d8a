"""The twelve ECGs that come with the package."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import wfdb

from cardiov.__main__ import main
from cardiov.ecg.examples import FOLDER, examples, read_example
from cardiov.ecg.leads import LEADS
from cardiov.errors import ParameterError

PUBLISHED = Path(os.environ.get("CARDIOV_SHARED", Path(__file__).parents[3] / "shared")) / "ptbxl-sample" / "SHA256SUMS.txt"
NORMAL = {  # as PTB-XL 1.0.3 has it
    "00303_hr.hea": "a45a0636658124a29aae985f371a478b460bd1eaaa0bd4bad06ed12f57d7e78c",
    "00303_hr.dat": "8c2dee482c485d53cc638ec47c49d50ad50c4b641dd39166e651dc46dccc8011",
}


def digests(text):
    """{name without folders: digest}."""
    return {name.rpartition("/")[2]: digest for digest, name in map(str.split, text.splitlines())}


def test_the_files_have_their_digests_byte_for_byte():
    files = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in (".hea", ".dat")}
    listed = digests((FOLDER / "SHA256SUMS.txt").read_text())
    assert {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} == listed
    assert listed.items() >= NORMAL.items()
    assert len(files) == 24 and {name[:8] for name in files} == {example.path.name for example in examples().values()}


@pytest.mark.skipif(not PUBLISHED.exists(), reason="PTB-XL's list of digests is not here (CARDIOV_SHARED)")
def test_the_digests_are_those_that_ptb_xl_publishes():
    assert digests(PUBLISHED.read_text()).items() >= digests((FOLDER / "SHA256SUMS.txt").read_text()).items()


def test_every_example_is_read_as_another_reader_reads_it():
    for name, example in examples().items():
        ecg, record = read_example(name), wfdb.rdrecord(str(example.path))
        assert ecg.fs == record.fs == 500 and ecg.meta["record"] == f"{example.ecg_id:05d}_hr" and ecg.warnings == ()
        assert tuple(lead.upper() for lead in LEADS) == tuple(record.sig_name)
        np.testing.assert_allclose(ecg.signal, record.p_signal.T, atol=1e-6)


def test_examples_are_named_in_words_and_give_their_source():
    atrial_fibrillation = examples()["atrial fibrillation"]
    assert atrial_fibrillation.attribution == "PTB-XL (Wagner et al. 2020, CC BY 4.0), record 19974"
    assert (atrial_fibrillation.critical_value, atrial_fibrillation.statements) == (2, "CLBBB:100;PVC:100;AFIB:0")
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "doi:10.13026/kfzx-aw45" in readme and "CC BY 4.0" in readme and "Scientific Data 7:154" in readme
    for name, example in examples().items():
        assert f"| {example.ecg_id} | {name} | {example.critical_value} | {example.statements} |" in readme


def test_the_folder_is_scored_by_one_command(capsys):
    assert main(["score", str(FOLDER), "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 13 and all(".hea," in line for line in lines[1:])


def test_an_unknown_name_is_an_error_with_the_names():
    with pytest.raises(ParameterError, match=r"no example 'flutter': choose one of normal ECG, .*, atrial fibrillation, "):
        read_example("flutter")
