"""Faults of recording, simulated: exchanged electrodes, inverted leads, a wrong rate. And the model that detects them.

An exchange of electrodes recombines the leads exactly (`cardiov.ecg.electrodes.with_electrodes_of`): of two limb electrodes it
maps I, II, III, aVR, aVL and aVF linearly on each other and leaves Wilson's terminal, and so V1 to V6, as they are. Where an
arm's electrode stands on the right leg, the terminal changes and moves V1 to V6.
"""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from tqdm.auto import tqdm

from cardiov.data.ptbxl import read_metadata
from cardiov.data.records import open_records
from cardiov.ecg.beats import hundredths
from cardiov.ecg.electrodes import ELECTRODES, with_electrodes_of
from cardiov.ecg.faults import TABLE, feature_names, features
from cardiov.ecg.filters import resample
from cardiov.store.results import write_table

CHOSEN_ON = range(1, 9)  # folds of the fit and of the limits
FALSE_ALARMS = 0.002  # of each fault, in cross-validation on these folds
PENALTY = 0.02  # scikit-learn's C, of standardised features
CHEST = ELECTRODES[3:]
EXCHANGES = {  # warning: where the electrodes RA, LA, LL and V1 to V6 stand
    "RA and LA": ("LA", "RA", "LL", *CHEST),
    "RA and LL": ("LL", "LA", "RA", *CHEST),
    "LA and LL": ("RA", "LL", "LA", *CHEST),
    "RA at LA, LA at LL, LL at RA": ("LA", "LL", "RA", *CHEST),
    "RA at LL, LL at LA, LA at RA": ("LL", "RA", "LA", *CHEST),
    "RA and RL": ("RL", "LA", "LL", *CHEST),
    "LA and RL": ("RA", "RL", "LL", *CHEST),
    "arms and legs": ("RL", "LL", "LA", *CHEST),
    "V1 to V6 in reverse order": ("RA", "LA", "LL", *CHEST[::-1]),
}
PLACES = ("V1/V2", "V2/V3", "V3/V4", "V4/V5", "V5/V6", "V1/V3", "V4/V6")


def _both(pair):
    """Where the electrodes stand after two of the chest have been exchanged."""
    first, second = pair.split("/")
    return tuple({first: second, second: first}.get(name, name) for name in ELECTRODES)


EXCHANGES |= {pair.replace("/", " and "): _both(pair) for pair in PLACES}
INVERTED = {"I, II, III, aVR, aVL, aVF": 6, "all": 12}  # number of inverted leads, which come first
RATES = {"twice": 2.0, "half": 0.5}  # declared, relative to the true one


def fault_names() -> list[str]:
    """The warnings of all simulated faults."""
    exchanged = [f"electrodes may be exchanged: {name}" for name in EXCHANGES]
    inverted = [f"leads may be inverted: {name}" for name in INVERTED]
    return [*exchanged, *inverted, *(f"sampling rate may be wrong: {name} the true one" for name in RATES)]


def with_fault(signal, fs, name) -> tuple[np.ndarray, float]:
    """A signal (12, n) in mV and its declared rate in Hz, had it been recorded with a fault of `fault_names`."""
    kind, _, detail = name.partition(": ")
    if kind == "electrodes may be exchanged":
        return with_electrodes_of(signal, EXCHANGES[detail]), fs
    if kind == "leads may be inverted":
        return signal * np.where(np.arange(len(signal)) < INVERTED[detail], -1, 1)[:, None].astype(np.float32), fs
    if detail.startswith("twice"):
        return signal, 2 * fs
    return resample(signal, fs, 2 * fs), fs  # and not half of fs, which may lie below the lowest that is read


def measure(folder, folds=CHOSEN_ON) -> tuple[np.ndarray, np.ndarray]:
    """Features of the ECGs of some folds, as they are and with each fault, (1 + faults, ECGs, features), and folds (ECGs,).

    ECGs without features, such as those with a lost lead, are left out.
    """
    metadata, records = read_metadata(folder), open_records(folder)
    chosen = metadata.index[metadata["fold"].isin(folds)]
    rows = {ecg_id: _of_all_faults(records.read(ecg_id)) for ecg_id in tqdm(chosen, unit=" records", desc="simulating faults")}
    kept = {ecg_id: row for ecg_id, row in rows.items() if row is not None}
    return np.stack(list(kept.values()), axis=1), metadata.loc[list(kept), "fold"].to_numpy()


def _of_all_faults(ecg):
    cases = [(ecg.signal, ecg.fs), *(with_fault(ecg.signal, ecg.fs, name) for name in fault_names())]
    rows = [features(hundredths(signal, fs)) for signal, fs in cases]
    return None if any(row is None for row in rows) else np.stack(rows)


def fit(measured) -> np.ndarray:
    """Weights (features + 1, faults) of the log odds of each fault against none, from `measure`; the last is the intercept."""
    flat = measured.reshape(-1, measured.shape[-1])
    mean, spread = flat.mean(axis=0), flat.std(axis=0)
    labels = np.repeat(np.arange(len(measured)), measured.shape[1])
    model = LogisticRegression(C=PENALTY, max_iter=500, tol=1e-3).fit((flat - mean) / spread, labels)
    weights = (model.coef_ - model.coef_[0])[1:] / spread
    intercepts = (model.intercept_ - model.intercept_[0])[1:] - weights @ mean
    return np.vstack([weights.T, intercepts])


def log_odds(measured, weights) -> np.ndarray:
    """Log odds of each fault: (..., features) -> (..., faults)."""
    return measured @ weights[:-1] + weights[-1]


def choose_limits(measured, folds) -> np.ndarray:
    """Limits (faults,) that `FALSE_ALARMS` of the ECGs as they are exceed, each judged by a fit without its fold."""
    scores = [log_odds(measured[0, folds == fold], fit(measured[:, folds != fold])) for fold in np.unique(folds)]
    return np.quantile(np.concatenate(scores), 1 - FALSE_ALARMS, axis=0)


def write_faults(folder):
    """Fit the model on folds 1 to 8 of a data set, choose its limits, and write both to the package's ``faults.csv``."""
    measured, folds = measure(folder)
    rows = np.vstack([choose_limits(measured, folds), fit(measured)])
    index = pd.Index(["limit", *feature_names(), "intercept"], name="feature")
    return write_table(pd.DataFrame(rows, index, fault_names()), TABLE, "%.4g")
