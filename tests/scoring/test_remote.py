"""ECGs in an object store, for which pyarrow's ``file://`` stands: listed and read as from a disk."""

import sys

import pytest
from ecg_files import simulated_signal, write_record

from cardiov.__main__ import main
from cardiov.ecg.leads import read_ecg
from cardiov.errors import ParameterError, SignalError
from cardiov.scoring import remote
from cardiov.scoring.archive import find_files, score_files
from cardiov.scoring.record import score


@pytest.fixture
def folder(tmp_path):
    """A plain record, one in a form that only wfdb reads, in a folder with odd characters, and a damaged one."""
    pytest.importorskip("pyarrow", reason='pip install "cardiov[cluster]"')
    write_record(tmp_path / "ecgs", "r0", simulated_signal(seed=0))
    write_record(tmp_path / "ecgs/a b#1", "r1", simulated_signal(seed=1), fmt="212")
    write_record(tmp_path / "ecgs/deeper", "r2", simulated_signal(seed=2))
    (tmp_path / "ecgs/deeper/r2.dat").write_bytes(b"short")
    (tmp_path / "ecgs/ptbxl_database.csv").touch()
    return tmp_path / "ecgs"


@pytest.mark.parametrize("end", ["", "/"])
def test_a_folder_is_listed_and_read_as_on_a_disk(folder, end):
    addresses = find_files([f"file://{folder}{end}"])
    assert addresses == [f"file://{folder}/{name}.hea" for name in ("a%20b%231/r1", "deeper/r2", "r0")]
    for address, name in zip(addresses, ("a b#1/r1", "deeper/r2", "r0"), strict=True):
        assert find_files([address]) == [address]
        if "r2" not in name:
            assert (remote.read_address(address).signal == read_ecg(folder / name).signal).all()


def test_several_processes_score_addresses(folder):
    addresses = find_files([f"file://{folder}"])
    outcomes = {file: result for file, result, *_ in score_files(addresses, processes=2)}
    assert [*outcomes] == addresses and isinstance(outcomes[addresses[1]], SignalError)
    assert outcomes[addresses[2]].probabilities == pytest.approx(score(folder / "r0").probabilities, abs=1e-6)


def test_what_cannot_be_read_is_named_by_its_address(folder):
    with pytest.raises(SignalError, match=f"^file://{folder}/deeper/r2.hea: r2 is truncated"):
        remote.read_address(f"file://{folder}/deeper/r2.hea")
    with pytest.raises(SignalError, match="absent.hea cannot be fetched"):
        remote.read_address(f"file://{folder}/absent.hea")
    (folder / "empty").mkdir()
    with pytest.raises(SignalError, match="empty holds no file that ends in"):
        find_files([f"file://{folder}/empty"])
    with pytest.raises(ParameterError, match="what://bucket/ecgs is no known kind of address"):
        find_files(["what://bucket/ecgs"])


def test_a_header_names_only_files_beside_it(tmp_path):
    header = tmp_path / "r.hea"
    header.write_text("# x\nr 4 500 10\nr.dat 16\nr.dat 16\n../secret 16\n/etc/secret 16\nr.hea 16\n~ 16\n.. 16\n")
    assert remote._signal_files(header) == {"r.dat"}


def test_a_missing_pyarrow_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["score", "s3://bucket/ecgs"]) == 1
    assert capsys.readouterr().err == 's3://bucket/ecgs needs pyarrow, which is not installed: pip install "cardiov[cluster]".\n'
    assert main(["score", "--parquet", "--output", str(tmp_path / "out"), "x.hea"]) == 1
    assert capsys.readouterr().err == 'Parquet needs pyarrow, which is not installed: pip install "cardiov[cluster]".\n'
