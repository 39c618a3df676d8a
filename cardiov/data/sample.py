"""The sample of PTB-XL that comes with the repository: its records at 100 Hz in one form, a WFDB record for each fold.

PTB-XL's own 100 Hz signals run 1.25 ms early and fade above 40 Hz. Its 500 Hz signals repeat one value for the first 12 ms
and the last 104 ms, where those at 100 Hz go on. Here all run early by as much, and repeat a value at both ends;
`cardiov.ecg.filters.prepare_signal` removes what lies above 40 Hz. (All of it was measured on 668 records at both rates.)
"""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.signal

from cardiov.data.ptbxl import TABLE, read_table
from cardiov.data.records import SAMPLES, STORED
from cardiov.ecg.filters import prepare_signal
from cardiov.ecg.leads import LEADS, read_ecg
from cardiov.errors import DataSetError
from cardiov.store.files import replacing, write_text
from cardiov.store.results import write_table

EARLY = 0.625  # samples at 500 Hz, 1.25 ms
TAPS = 301  # of the low-pass of 50 Hz before every fifth sample is taken
HELD_FROM = 990  # first of the last samples that repeat a value, at 100 Hz
COMMENT = "PTB-XL 1.0.3 (Wagner et al. 2020, CC BY 4.0), changed: see README.md"


def as_published_at_100(signal) -> np.ndarray:
    """A 500 Hz signal (12, 5000) of PTB-XL at 100 Hz, as early as PTB-XL's own at that rate: (12, 1000)."""
    times = np.arange(TAPS) - TAPS // 2 + EARLY
    window = np.sinc(times / 5) * np.kaiser(TAPS, 8.0)
    return scipy.signal.resample_poly(signal, 1, 5, axis=-1, padtype="line", window=window / window.sum())


def with_held_ends(signal) -> np.ndarray:
    """A 100 Hz signal (12, 1000) of PTB-XL whose ends repeat a value, as those of its 500 Hz signals do."""
    held = signal.copy()
    held[:, 0] = held[:, 1]
    held[:, HELD_FROM:] = held[:, HELD_FROM - 1 : HELD_FROM]
    return held


def read_in_one_form(folder, row) -> np.ndarray:
    """Eight leads of a record, in µV at 100 Hz, from PTB-XL's own file at that rate if it is there: int16 (8, 1000)."""
    at_100, at_500 = (Path(folder, row[name]) for name in ("filename_lr", "filename_hr"))
    own = at_100.with_suffix(".hea").exists()
    signal = with_held_ends(read_ecg(at_100).signal) if own else as_published_at_100(read_ecg(at_500).signal)
    if signal.shape != (len(LEADS), SAMPLES):
        raise DataSetError(f"record {row.name} of {folder} has not 10 s at 100 or 500 Hz: leave it out of {TABLE}.")
    return np.rint(signal[[LEADS.index(lead) for lead in STORED]] * 1000).astype(np.int16)


def write_sample(source, target) -> list[Path]:
    """Write the sample from a folder in PTB-XL's layout with signals at 100 Hz, 500 Hz or both; its files.

    Each fold's record has eight leads in FLAC (WFDB's format 516), ECG after ECG in the order of ``ptbxl_database.csv``.
    """
    target, table = Path(target), read_table(source)
    target.mkdir(parents=True, exist_ok=True)
    for fold, rows in table.groupby("strat_fold"):
        signal = np.concatenate([read_in_one_form(source, row) for _, row in rows.iterrows()], axis=1)  # (8, n)
        _write_fold(target, f"fold{fold:02d}", signal)
    write_table(compare_forms(source), target / "one_form.csv", "%.2f")
    for name in (TABLE, "scp_statements.csv"):
        with replacing(target / name) as temporary:
            temporary.write_bytes(Path(source, name).read_bytes())
    files = sorted(path for path in target.iterdir() if path.suffix in (".hea", ".dat", ".csv"))
    digests = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    return [*files, write_text(target / "SHA256SUMS.txt", "".join(digests))]


def _write_fold(target, name, signal):
    import wfdb

    leads = len(STORED)
    wfdb.wrsamp(
        name, fs=100, units=["mV"] * leads, sig_name=list(STORED), d_signal=signal.T.astype(int), fmt=["516"] * leads,
        adc_gain=[1000.0] * leads, baseline=[0] * leads, comments=[COMMENT], write_dir=str(target),
    )  # fmt: skip


def compare_forms(source) -> pd.DataFrame:
    """Root mean square difference, in µV after preparation, of the records that are there at 100 and at 500 Hz.

    ``as_published`` is between the two published signals, ``in_one_form`` between the two as this sample has them.
    """
    rows = {}
    for ecg_id, row in read_table(source).iterrows():
        at_100, at_500 = (Path(source, row[name]) for name in ("filename_lr", "filename_hr"))
        if at_100.with_suffix(".hea").exists() and at_500.with_suffix(".hea").exists():
            low, high = read_ecg(at_100).signal, read_ecg(at_500).signal
            rows[ecg_id] = _difference(low, 100, high, 500), _difference(with_held_ends(low), 100, as_published_at_100(high), 100)
    return pd.DataFrame(rows, index=["as_published", "in_one_form"]).T.rename_axis("ecg_id")


def _difference(first, first_rate, second, second_rate):
    prepared = prepare_signal(first, first_rate, 100) - prepare_signal(second, second_rate, 100)
    return float(1000 * np.sqrt(np.square(prepared).mean()))
