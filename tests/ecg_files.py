"""Simulated records and data sets in PTB-XL's layout, for the tests."""

from pathlib import Path

import numpy as np
import pandas as pd
import wfdb

from cardiov.signals import LEADS

STATEMENTS = [
    "{'NORM': 100.0, 'SR': 0.0}",
    "{'IMI': 100.0, 'LAFB': 100.0}",
    "{'NDT': 0.0, 'LVH': 50.0, 'AFIB': 0.0}",
    "{'PVC': 100.0}",
]


def simulated_signal(seconds=10, fs=500, seed=0):
    """Waves of 1 Hz to 40 Hz, drift and noise, (12, n) in µV as integers: no ECG, but in an ECG's range."""
    generator = np.random.default_rng(seed)
    t = np.arange(int(seconds * fs)) / fs
    waves = [generator.normal(0, 200, (12, 1)) * np.sin(2 * np.pi * f * t + f) for f in (0.1, 1, 3, 9, 21, 40)]
    return (sum(waves) + generator.normal(0, 20, (12, len(t)))).round().astype(np.int64)


def write_record(
    folder, name="r", signal=None, fs=500, leads=LEADS, gain=1000.0, baseline=0, units="mV", comments=(), fmt="16"
):
    """Write a WFDB record from (leads, n) integers; the path without suffix."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    signal = simulated_signal() if signal is None else signal
    count = len(leads)
    wfdb.wrsamp(
        name, fs, [units] * count, list(leads), d_signal=np.ascontiguousarray(signal.T), fmt=[fmt] * count,
        adc_gain=np.broadcast_to(gain, count).tolist(), baseline=np.broadcast_to(baseline, count).tolist(),
        comments=list(comments), write_dir=str(folder),
    )  # fmt: skip
    return Path(folder) / name


def write_data_set(folder, records=4, **record):
    """Write a data set of so many records; its table."""
    rows = []
    for k in range(records):
        name = f"{k + 1:05d}_hr"
        write_record(Path(folder) / "records500/00000", name, **{"signal": simulated_signal(seed=k)} | record)
        rows.append({
            "ecg_id": k + 1, "patient_id": float(100 + k // 2), "age": [56.0, 300.0, None, 95.0][k % 4], "sex": k % 2,
            "scp_codes": STATEMENTS[k % 4], "baseline_drift": None, "static_noise": ", I-V1,", "burst_noise": None,
            "electrodes_problems": None, "strat_fold": [3, 8, 9, 10][k % 4],
            "filename_lr": f"records100/00000/{k + 1:05d}_lr", "filename_hr": f"records500/00000/{name}",
        })  # fmt: skip
    table = pd.DataFrame(rows)
    table.to_csv(Path(folder) / "ptbxl_database.csv", index=False)
    return table
