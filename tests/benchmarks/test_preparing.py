"""Preparing signals: how much faster than a plain loop, and with how much memory.

On a part of the real sample where it is at hand, else on simulated records.
"""

import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.signal
import wfdb
from ecg_files import write_data_set

from cardiov.data.cache import prepare
from cardiov.ecg.filters import BAND, ORDER

pytestmark = pytest.mark.slow

SHARED = Path(os.environ.get("CARDIOV_SHARED", Path(__file__).parents[3] / "shared"))
SAMPLE = SHARED / "ptbxl-sample"
ROUNDS = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A part of the real sample (about 200 records), or simulated records; the folder and what it is."""
    folder = tmp_path_factory.mktemp("data")
    if not SAMPLE.is_dir():
        write_data_set(folder, records=200)
        return folder, "simulated"
    for part in ("05000", "15000"):
        with tarfile.open(SAMPLE / f"records500-{part}.tar.xz") as archive:
            archive.extractall(folder, filter="data")
    table = pd.read_csv(SAMPLE / "ptbxl_database.csv")
    there = [(folder / f"{name}.hea").is_file() for name in table["filename_hr"]]
    table[there].to_csv(folder / "ptbxl_database.csv", index=False)
    return folder, "PTB-XL"


def plain_loop(bases, sos):
    """What anyone would write: read by wfdb, filter by scipy, keep the result."""
    return [scipy.signal.sosfiltfilt(sos, wfdb.rdsamp(str(base))[0], axis=0).T for base in bases]


def test_preparing_is_faster_than_a_loop(data, tmp_path, record_ratio):
    folder, source = data
    bases = [folder / name for name in pd.read_csv(folder / "ptbxl_database.csv")["filename_hr"]]
    sos = scipy.signal.butter(ORDER, BAND, "bandpass", fs=500, output="sos")
    plain_loop(bases[:2], sos), prepare(folder, tmp_path / "warm", workers=2)
    loop, fast = [], []
    for k in range(ROUNDS):  # alternating, so that a busy machine slows both
        start = time.perf_counter()
        expected = plain_loop(bases, sos)
        loop.append(time.perf_counter() - start)
        start = time.perf_counter()
        cache = prepare(folder, tmp_path / f"cache{k}", workers=2)
        fast.append(time.perf_counter() - start)
    middle = slice(1000, -1000)  # at the edges the continuation of the signal differs, see `bandpass`
    np.testing.assert_allclose(cache.read([0])[0][:, middle], expected[0][:, middle], atol=0.05)
    ratio = np.median(loop) / np.median(fast)
    record_ratio(
        "preparing", ratio=round(ratio, 2), records=len(bases), source=source, workers=2,
        loop_ms_per_record=round(1e3 * np.median(loop) / len(bases), 2),
        prepare_ms_per_record=round(1e3 * np.median(fast) / len(bases), 2),
    )  # fmt: skip
    assert ratio >= 5


PREPARE_AND_READ = """
import json, re, sys
import numpy as np
from cardiov.data.cache import prepare
def peak():  # not getrusage's, in which Linux counts the process that started this one
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
before = peak()
cache = prepare(sys.argv[1], sys.argv[2], workers=2)
prepared = peak()
for start in range(0, len(cache.ecg_ids), 16):
    cache.read(np.arange(start, min(start + 16, len(cache.ecg_ids))))
print(json.dumps([len(cache.ecg_ids), before, prepared, peak()]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads the peak memory as Linux tells it")
def test_peak_memory_does_not_grow_with_the_records(data, tmp_path, record_ratio):
    folder, source = data
    table = pd.read_csv(folder / "ptbxl_database.csv")
    peaks = {}
    for size in (300, 1200):
        link = tmp_path / f"data{size}"  # the same records again and again under other ids
        link.mkdir()
        (link / "records500").symlink_to(folder / "records500")
        repeated = table.iloc[np.arange(size) % len(table)].assign(ecg_id=np.arange(size) + 1)
        repeated.to_csv(link / "ptbxl_database.csv", index=False)
        command = [sys.executable, "-c", PREPARE_AND_READ, str(link), str(tmp_path / f"cache{size}")]
        records, before, prepared, read = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        assert records == size
        peaks[size] = {"before": round(before), "preparing": round(prepared), "reading": round(read)}
    growth = peaks[1200]["reading"] - peaks[300]["reading"]
    more = round(900 * 12 * 5000 * 2 / 2**20)
    record_ratio("preparing_memory", peak_mb=peaks, growth_mb=growth, signals_grow_mb=more, source=source)
    assert growth < more / 10
