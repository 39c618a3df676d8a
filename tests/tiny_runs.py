"""Small data and configurations whose training takes seconds, for the tests of training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cardiov.data.cache import Cache
from cardiov.training.config import TrainingConfig
from cardiov.training.run import fit

TINY = {"stem_width": 16, "widths": [16, 16], "depths": [1, 1], "dropout": 0.2}
BEYOND = {  # the paper: everything that is off by default
    "statements_epochs": 2, "crop": 0.4, "augment": {"amplitude": 0.1, "electrode_noise": 0.01}, "average": 0.9, "settle": 32,
    "windows": 3, "schedule": "one-cycle", "finetune_rate": 0.0005, "statements_weight": 0.5,
}  # fmt: skip
DOUBLE = {"precision": "64-true"}
CONFIG = TrainingConfig(pretrain_epochs=1, finetune_epochs=2, batch_size=16, micro_batch=16, model=TINY)
# Tolerances of logits between numbers of processes, fixed before the runs. The same gradients are added in the same order;
# what differs is the rounding of batch norm's averages.
IN_DOUBLE, IN_SINGLE = 1e-5, 1e-4
SPLIT = replace(CONFIG, micro_batch=6)  # pieces of 6, 5 and 5 records
TOGETHER = {  # name: configuration, tolerance
    "plain": (replace(SPLIT, **DOUBLE, model=TINY | {"dropout": 0.0}), IN_DOUBLE),
    "dropout": (replace(SPLIT, **DOUBLE), IN_DOUBLE),
    "beyond": (replace(SPLIT, **DOUBLE, **BEYOND), IN_DOUBLE),
    "single": (SPLIT, IN_SINGLE),
}


def make_data(folder, n=96, samples=64):
    """Records whose amplitude tells their critical value, in a cache, with the metadata that training reads."""
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    values = np.arange(n) % 4
    waves = np.sin(np.arange(samples) / 3 + rng.uniform(0, 6, (n, 12, 1))) * (1 + values)[:, None, None]
    np.save(folder / "signals.npy", (waves * 300 + rng.normal(0, 50, waves.shape)).astype("<i2"))
    return open_data(folder, n, samples)


def open_data(folder, n=96, samples=64):
    values = np.arange(n) % 4
    cache = Cache(Path(folder), 100, np.arange(n) + 1, (n, 12, samples), "made-up", {})
    split = np.where(np.arange(n) < n - 32, "train", np.where(np.arange(n) < n - 16, "validation", "test"))
    columns = {"patient_id": np.arange(n) // 2, "split": split, "critical_value": values}
    columns["critical_value_highest_risk"] = np.minimum(values + 1, 3)
    columns["scp_codes"] = [{("NORM", "SBRAD", "LVH", "AMI")[value]: 100.0} for value in values]
    return cache, pd.DataFrame(columns, index=pd.Index(cache.ecg_ids, name="ecg_id"))


def run(config, data, folder):
    fit(config, *data, folder / "weights", folder / "run")
    return pd.read_csv(folder / "run" / "predictions.csv")
