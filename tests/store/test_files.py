"""Files are whole or not there; what stands in the way is said."""

import errno
import os
from types import SimpleNamespace

import matplotlib
import pytest

from cardiov.errors import StorageError
from cardiov.store import files
from cardiov.store.files import check_writable, replacing

matplotlib.use("Agg")


def test_a_failure_leaves_the_old_file_and_nothing_else(root):
    path = root / "old.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        1 / 0
    assert path.read_text() == "old"
    assert sorted(root.iterdir()) == [path, root / "results"]


def test_a_full_device_is_one_sentence(root):
    with pytest.raises(StorageError, match="no space left to write results/x.csv: free"):
        with replacing(root / "results/x.csv"):
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_folder_is_tried_before_the_work(root, monkeypatch):
    check_writable(root / "results/new/run")
    assert list((root / "results/new").rglob("*")) == [root / "results/new/run"]
    monkeypatch.setattr(files.tempfile, "TemporaryFile", raising(errno.ENOSPC))
    with pytest.raises(StorageError, match="no space left"):
        check_writable(root / "results/new/run")


def raising(code):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    return fail


def test_a_full_device_is_known_behind_other_errors(root, monkeypatch):
    """safetensors says so in words; torch says only that a file could not be written."""
    with pytest.raises(StorageError, match="no space left"), replacing(root / "w"):
        raise ValueError("Error while serializing: I/O error: No space left on device (os error 28)")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(StorageError, match="no space left"), replacing(root / "w"):
        raise RuntimeError("PytorchStreamWriter failed writing file")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**10))
    with pytest.raises(RuntimeError), replacing(root / "w"):
        raise RuntimeError("PytorchStreamWriter failed writing file")
