"""Files are whole or not there; what stands in the way is said."""

import errno
import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import matplotlib
import pytest

from cardiov.errors import DataSetError, StorageError
from cardiov.store import files
from cardiov.store.files import check_room, check_writable, locked, read_note, replacing, storing, write_note

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


def test_a_file_where_a_folder_should_be_is_one_sentence(root):
    (root / "results/file").touch()
    with pytest.raises(StorageError, match="file/x.csv cannot be written, for results/file is a file: give another folder"):
        with replacing(root / "results/file/x.csv"):
            pass


def test_an_error_of_this_package_stays_as_it_is_on_a_full_device(root, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(DataSetError, match="a sentence"), storing(root / "x"):
        raise DataSetError("a sentence.")


def test_needed_room_is_shown_and_too_little_is_refused(root, monkeypatch, capsys):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: SimpleNamespace(free=2_000_000_000))
    check_room(root / "results", 1_500_000_000, "the archive")
    check_room(root / "results", 1_200_000, "the archive")
    assert capsys.readouterr().err.splitlines() == [
        "the archive needs about 1.50 GB in results, where 2.00 GB are free.",
        "the archive needs about 1.2 MB in results, where 2.00 GB are free.",
    ]
    with pytest.raises(StorageError, match="needs about 2.50 GB in results, where 2.00 GB are free: free some space"):
        check_room(root / "results", 2_500_000_000, "the archive")


def test_a_damaged_note_is_empty(root):
    write_note(root / "new/note.json", {"a": 1})
    assert read_note(root / "new/note.json") == {"a": 1} and read_note(root / "none.json") == {}
    for damaged in (b"", b"{", b"[]", b"1", b"\xff"):
        (root / "new/note.json").write_bytes(damaged)
        assert read_note(root / "new/note.json") == {}


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


HOLD = """
import sys
from pathlib import Path
from cardiov.store.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_waited_for_and_ends_with_a_killed_holder(tmp_path):
    path, entered = tmp_path / "new" / "table", threading.Event()

    def enter():
        with locked(path):
            entered.set()

    holder = subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    (waiting := threading.Thread(target=enter)).start()
    assert not entered.wait(0.5)
    holder.send_signal(signal.SIGKILL)
    assert entered.wait(300)
    holder.communicate(), waiting.join()
    assert holder.returncode == -signal.SIGKILL
    assert not path.exists()  # the lock is beside it


def test_a_lock_of_another_path_or_of_a_failure_is_free(tmp_path):
    with locked(tmp_path / "one"), locked(tmp_path / "two"):
        pass
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "one"):
        1 / 0
    with locked(tmp_path / "one"):
        pass
