"""Copies of PTB-XL that are on disk: read once, never written, and what is wrong with them is said."""

import hashlib
import os

import pytest

from cardiov.data import checksums
from cardiov.errors import DataSetError
from tests.ecg_files import published_files


@pytest.fixture
def copy(tmp_path):
    published_files(tmp_path / "copy")
    return tmp_path / "copy"


def bytes_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_copy_is_read_once_and_never_written(tmp_path, copy, monkeypatch):
    before, memory = bytes_of(copy), tmp_path / "build/verified.json"
    assert checksums.verify(copy, memory) == 4
    read = []
    digest = checksums.digest_of
    monkeypatch.setattr(checksums, "digest_of", lambda path: read.append(path) or digest(path))
    assert checksums.verify(copy, memory) == 4 and read == []
    os.utime(copy / "scp_statements.csv")
    assert checksums.verify(copy, memory) == 4 and len(read) == 12
    assert bytes_of(copy) == before
    for k, damaged in enumerate(("{}", "[]", "", "{", '{"state": 1}'), start=2):
        memory.write_text(damaged)
        assert checksums.verify(copy, memory) == 4 and len(read) == 12 * k


def test_what_is_wrong_with_a_copy_is_counted_and_named(tmp_path, copy):
    (copy / "records500/00000/00001_hr.dat").write_bytes(b"?")
    (copy / "records500/00000/00004_hr.hea").unlink()
    (copy / "LICENSE.txt").unlink()  # which many leave out
    with pytest.raises(DataSetError, match="lacks 1 of the 11 files .* 1 are unreadable or not as SHA256SUMS.txt says, the first"):
        checksums.verify(copy, tmp_path / "memory.json")
    assert not (tmp_path / "memory.json").exists()
    (copy / "SHA256SUMS.txt").unlink()
    with pytest.raises(DataSetError, match="SHA256SUMS.txt cannot be read"):
        checksums.verify(copy, tmp_path / "memory.json")


def test_the_list_is_read_as_other_tools_write_it_too(tmp_path, copy):
    lines = [line.split(" ") for line in (copy / "SHA256SUMS.txt").read_text().splitlines()]
    (copy / "SHA256SUMS.txt").write_text("\n".join(f"{digest.upper()} *./{name}" for digest, name in lines) + "\n\n")
    assert checksums.verify(copy, tmp_path / "memory.json") == 4
    listed = checksums.read_list(copy)
    assert listed["RECORDS"] == hashlib.sha256((copy / "RECORDS").read_bytes()).hexdigest()
    assert set(listed) == {"LICENSE.txt", "RECORDS", "ptbxl_database.csv", "scp_statements.csv"} | {
        f"records500/00000/0000{k}_hr.{suffix}" for k in (1, 2, 3, 4) for suffix in ("dat", "hea")
    }
