"""Tables of predictions that several tests share."""

import numpy as np
import pandas as pd

# worked by hand below: errors 0 1 0 2 0 3, one record of patient 3 with thresholds out of order
SIX = pd.DataFrame({
    "ecg_id": [1, 2, 3, 4, 5, 6],
    "patient_id": [1, 1, 2, 3, 4, 4],
    "split": "test",
    "critical_value": [0, 0, 1, 2, 3, 3],
    "output_1": [-2.0, 1.0, 1.0, -1.0, 3.0, -2.0],
    "output_2": [-3.0, -1.0, -1.0, 0.0, 2.0, -3.0],
    "output_3": [-4.0, -2.0, -2.0, -3.0, 1.0, -4.0],
    "p0": [0.9, 0.3, 0.3, 0.7, 0.0, 0.9],
    "p1": [0.1, 0.4, 0.4, -0.2, 0.1, 0.1],
    "p2": [0.0, 0.2, 0.2, 0.4, 0.2, 0.0],
    "p3": [0.0, 0.1, 0.1, 0.1, 0.7, 0.0],
    "predicted": [0, 1, 1, 0, 3, 0],
})  # fmt: skip


def simulated(seed, n=400, patients=300, noise=1.0):
    """Predictions of an ordinal run on simulated records; labels and patients are the same for every seed."""
    common = np.random.default_rng(0)
    label = common.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    patient = common.integers(patients, size=n)
    latent = label[:, None] + noise * np.random.default_rng(seed).normal(size=(n, 1))  # (n, 1)
    logits = latent - [0.5, 1.5, 2.5] + 0.3 * np.random.default_rng(seed + 1).normal(size=(n, 3))
    thresholds = np.c_[np.ones(n), 1 / (1 + np.exp(-logits)), np.zeros(n)]
    scores = -np.diff(thresholds)  # (n, 4)
    table = pd.DataFrame({"ecg_id": np.arange(n), "patient_id": patient, "critical_value": label})
    table[["output_1", "output_2", "output_3"]] = logits
    table[["p0", "p1", "p2", "p3"]] = scores
    return table.assign(predicted=scores.argmax(axis=1))


def mae(table):
    return pd.Series({"mae": (table["predicted"] - table["critical_value"]).abs().mean()})


def people(seed=1, n=400, **changes):
    """Simulated predictions of men and women of 40 to 89; some patients turn 65 between their records."""
    table = simulated(seed, n=n)
    rng = np.random.default_rng(7)
    woman, age = rng.random(300) < 0.5, rng.integers(40, 89, 300)
    patient = table["patient_id"].to_numpy()
    later = age[patient] + np.arange(n) % 2
    sex = np.where(woman[patient], "female", "male")
    return table.assign(**{"sex": sex, "age": later.astype(float), "age_90_or_over": False} | changes)
