"""Peak memory of training must not grow with the number of records."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow
TESTS = str(Path(__file__).parents[1])
SAMPLES = 5000
SCRIPT = """
import re, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {tests!r})
import numpy as np, pandas as pd
from tiny_runs import CONFIG
from cardiov.data.cache import Cache
from cardiov.training.run import fit
folder, n = Path({folder!r}), {records}
rows = np.arange(n)
split = np.where(rows % 8 < 7, "train", "validation")
metadata = pd.DataFrame({{"ecg_id": rows, "patient_id": rows, "split": split, "critical_value": rows % 4}})
cache = Cache(folder, 500, rows, (n, 12, {samples}), "made-up", {{}})
config = replace(CONFIG, pretrain_epochs=0, finetune_epochs=1)
fit(config, cache, metadata.set_index("ecg_id"), folder / "weights", folder / "run")
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
"""


def peak_mb(records, folder):
    folder.mkdir()
    signals = np.random.default_rng(0).integers(-500, 500, (records, 12, SAMPLES), dtype=np.int16)
    np.save(folder / "signals.npy", signals)
    script = SCRIPT.format(tests=TESTS, folder=str(folder), records=records, samples=SAMPLES)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def test_training_memory_does_not_grow(tmp_path, record_ratio):
    small, large = (peak_mb(records, tmp_path / str(records)) for records in (512, 2048))
    signals_mb = (2048 - 512) * 12 * SAMPLES * 2 / 2**20  # 176 MB more on disk
    record_ratio("training_memory", peak_mb_512=small, peak_mb_2048=large, more_on_disk_mb=signals_mb)
    assert large - small < 0.2 * signals_mb
