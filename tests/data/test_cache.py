"""The cache of prepared signals: whole, current, alone in its folder, small in memory."""

import errno
import json
import os
import shutil
import threading

import numpy as np
import pytest
from ecg_files import simulated_signal, write_data_set, write_record

from cardiov.data import cache
from cardiov.data.cache import CACHE_FORMAT, _build, _prepare_record, cache_at, open_cache, prepare
from cardiov.ecg.filters import prepare_signal
from cardiov.ecg.leads import read_ecg
from cardiov.errors import DataSetError, ParameterError, SignalError, StorageError

FIRST = "records500/00000/00001_hr"


def test_cache_holds_the_prepared_signals(data, tmp_path):
    cache = prepare(data, tmp_path / "cache", rate=500, workers=2)
    assert cache.shape == (4, 12, 5000) and cache.rate == 500 and cache.ecg_ids.tolist() == [1, 2, 3, 4]
    assert cache.warnings == {} and open_cache(tmp_path / "cache").digest == cache.digest
    read = cache.read([2, 0, 2])
    assert read.dtype == np.float32 and read.shape == (3, 12, 5000)
    for row, ecg_id in enumerate((3, 1, 3)):
        ecg = read_ecg(data / f"records500/00000/{ecg_id:05d}_hr")
        np.testing.assert_allclose(read[row], prepare_signal(ecg.signal, 500, 500), atol=0.5001e-3)  # mV, half a step
    assert np.load(tmp_path / "cache" / "signals.npy", mmap_mode="r").dtype == np.int16


def test_cache_at_another_rate(data, tmp_path):
    cache = prepare(data, tmp_path / "cache", rate=100)
    assert cache.shape == (4, 12, 1000)
    expected = prepare_signal(read_ecg(data / FIRST).signal, 500, 100)
    np.testing.assert_allclose(cache.read([0])[0], expected, atol=0.5001e-3)


def test_number_of_workers_makes_no_difference(tmp_path):
    write_data_set(tmp_path / "data", records=20, signal=simulated_signal(seconds=5))
    caches = [prepare(tmp_path / "data", tmp_path / f"cache{workers}", workers=workers) for workers in (1, 4)]
    one, four = [(cache.folder / "signals.npy").read_bytes() for cache in caches]
    assert one == four and caches[0].digest == caches[1].digest


def test_records_of_other_formats(tmp_path):
    write_data_set(tmp_path / "data", records=2, fmt="24")
    base = tmp_path / "data" / FIRST
    ecg = read_ecg(base)
    expected = prepare_signal(ecg.signal, ecg.fs, 500)
    np.testing.assert_allclose(prepare(tmp_path / "data", tmp_path / "cache").read([0])[0], expected, atol=0.5001e-3)


def test_warnings_are_kept_and_logged(data, tmp_path, caplog):
    digital = simulated_signal()
    digital[6] = 0
    digital[7] = 25_000 * np.sin(np.arange(5000))  # at 2 LSB per µV below, so ±50 mV, more than int16 of 1 µV holds
    write_record(data / "records500/00000", "00003_hr", digital, gain=500.0)
    cache = prepare(data, tmp_path / "cache")
    flat, large, clipped = cache.warnings[3]
    assert (flat, large) == ("flat lead: V1", "implausible amplitude: V2")
    assert clipped.startswith("clipped samples: ") and int(clipped.split()[-1]) > 0
    assert "1 of 4 records have warnings" in caplog.text


@pytest.fixture
def builds(monkeypatch):
    made = []
    build = _build
    monkeypatch.setattr(cache, "_build", lambda *arguments: made.append(1) or build(*arguments))
    return made


def test_cache_is_reused_while_nothing_changes(data, tmp_path, builds):
    first = prepare(data, tmp_path / "cache")
    assert prepare(data, tmp_path / "cache").digest == first.digest and len(builds) == 1


def test_cache_is_rebuilt_when_something_changes(data, tmp_path, builds):
    digests = [prepare(data, tmp_path / "cache").digest]
    write_record(data / "records500/00000", "00002_hr", simulated_signal(seed=99))
    digests.append(prepare(data, tmp_path / "cache").digest)
    digests.append(prepare(data, tmp_path / "cache", rate=250).digest)
    write_data_set(data, records=3)
    digests.append(prepare(data, tmp_path / "cache", rate=250).digest)
    assert len(builds) == 4 and len(set(digests)) == 4
    assert open_cache(tmp_path / "cache").shape == (3, 12, 2500)


def test_digest_is_of_the_content_alone(data, tmp_path, builds):
    shutil.copytree(data, tmp_path / "elsewhere", copy_function=shutil.copy)  # with other times
    caches = [prepare(folder, tmp_path / f"cache-{folder.name}") for folder in (data, tmp_path / "elsewhere")]
    assert caches[0].digest == caches[1].digest and len(builds) == 2


def test_an_interrupted_conversion_leaves_nothing(data, tmp_path, monkeypatch):
    prepare_record = _prepare_record

    def interrupted(records, ecg_id, rate):
        if ecg_id == 3:
            raise KeyboardInterrupt
        return prepare_record(records, ecg_id, rate)

    monkeypatch.setattr(cache, "_prepare_record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(data, tmp_path / "cache")
    assert {path.name for path in tmp_path.iterdir()} == {"data", "cache.lock"}
    monkeypatch.undo()
    assert prepare(data, tmp_path / "cache").shape == (4, 12, 5000)


def test_the_files_of_a_killed_conversion_are_never_used(data, tmp_path):
    expected = prepare(data, tmp_path / "cache").read([0, 1, 2, 3])
    os.rename(tmp_path / "cache", tmp_path / "cache.tmp")
    (tmp_path / "cache.tmp" / "cache.json").unlink()
    os.truncate(tmp_path / "cache.tmp" / "signals.npy", 1000)
    with pytest.raises(DataSetError, match="is no signal cache"):
        open_cache(tmp_path / "cache")
    np.testing.assert_array_equal(prepare(data, tmp_path / "cache").read([0, 1, 2, 3]), expected)
    assert not (tmp_path / "cache.tmp").exists()


@pytest.mark.parametrize("damage", ["truncate", "json", "absent"])
def test_damaged_cache_is_noticed_and_rebuilt(data, tmp_path, damage):
    folder = prepare(data, tmp_path / "cache").folder
    if damage == "truncate":
        os.truncate(folder / "signals.npy", 1000)
    elif damage == "json":
        (folder / "cache.json").write_text('{"rate": ')
    else:
        (folder / "signals.npy").unlink()
    with pytest.raises(DataSetError, match="python -m cardiov prepare"):
        open_cache(folder)
    assert prepare(data, tmp_path / "cache").read([3]).shape == (1, 12, 5000)


def test_two_at_once_convert_once(data, tmp_path, builds):
    threads = [threading.Thread(target=prepare, args=(data, tmp_path / "cache")) for _ in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(builds) == 1 and open_cache(tmp_path / "cache").shape == (4, 12, 5000)


def test_data_folder_is_only_read(data, tmp_path):
    state = lambda: {path: path.stat().st_mtime_ns for path in sorted(data.rglob("*"))}  # noqa: E731
    before = state()
    prepare(data, tmp_path / "cache")
    assert state() == before


def test_a_folder_with_other_files_is_never_replaced(data, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    for target in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt"):
        with pytest.raises(ParameterError, match="holds something other than a signal cache"):
            prepare(data, target)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("rate", [0, -500, 50, float("nan")])
def test_rate_must_fit_the_band(data, tmp_path, rate):
    with pytest.raises(ParameterError, match="give at least 100 Hz"):
        prepare(data, tmp_path / "cache", rate=rate)


def refused(error, message, data, tmp_path):
    with pytest.raises(error, match=message):
        prepare(data, tmp_path / "cache")
    assert not (tmp_path / "cache").exists() and not (tmp_path / "cache.tmp").exists()


def test_absent_records_are_named_and_counted(data, tmp_path):
    (data / f"{FIRST}.dat").unlink()
    (data / "records500/00000/00003_hr.hea").unlink()
    refused(DataSetError, "2 of the 4 records listed .* the first being .*00001_hr, .*00003_hr: unpack", data, tmp_path)


def test_corrupt_record(data, tmp_path):
    content = bytearray((data / "records500/00000/00002_hr.dat").read_bytes())
    content[1000] ^= 0x10
    (data / "records500/00000/00002_hr.dat").write_bytes(content)
    refused(SignalError, "00002_hr is corrupt", data, tmp_path)


@pytest.mark.parametrize(("name", "size"), [("00001_hr.dat", 60_000), ("00004_hr.dat", 0), ("00002_hr.hea", 200)])
def test_truncated_record(data, tmp_path, name, size):
    os.truncate(data / "records500/00000" / name, size)
    refused(SignalError, name.split(".")[0], data, tmp_path)


def test_records_of_another_length_are_named(data, tmp_path):
    write_record(data / "records500/00000", "00004_hr", simulated_signal(seconds=12))
    refused(DataSetError, "record 4 has 12.00 s where the first record has 10.00 s", data, tmp_path)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "records500/../../outside"])
def test_metadata_may_not_point_out_of_the_folder(data, tmp_path, name):
    table = write_data_set(data)
    table.loc[1, "filename_hr"] = name
    table.to_csv(data / "ptbxl_database.csv", index=False)
    refused(DataSetError, "outside the data folder", data, tmp_path)


def test_too_little_space_is_noticed_before_the_work(data, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=300_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(cache, "_convert", None)
    refused(StorageError, "the signal cache needs about 0.5 MB in .*, where 0.3 MB are free: free some space", data, tmp_path)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_disk_that_fills_up(data, tmp_path, monkeypatch, code):
    def full(*arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    refused(StorageError, "no space left to write .*: free some space", data, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(json, "dumps", full)
    refused(StorageError, "no space left to write .*: free some space", data, tmp_path)


def test_cache_that_cannot_be_written(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cache cannot be written, for .*file is a file: give another folder"):
        prepare(data, tmp_path / "file" / "cache")


def test_prepared_signals_are_those_of_this_cache_format():
    """Literal values: where they change, caches on disk are stale, so raise `CACHE_FORMAT` with them."""
    signal = (simulated_signal(seed=3) / 1000).astype(np.float32)
    at_500, at_100 = (1000 * prepare_signal(signal, 500.0, rate) for rate in (500, 100))  # µV
    assert CACHE_FORMAT == 2
    assert np.allclose(at_500[5, [0, 1666, 4999]], [22.04, 319.24, 24.45], atol=0.5)
    assert np.allclose(at_100[11, [0, 333, 999]], [67.26, 218.26, 219.74], atol=0.5)


def test_each_rate_has_its_own_cache(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(cache, "prepare", lambda data, folder, rate: made.append((data, folder, rate)))
    for rate in (100, 500):
        cache_at("folder", tmp_path, rate)
    assert made == [("folder", tmp_path / "cache-100", 100), ("folder", tmp_path / "cache-500", 500)]
