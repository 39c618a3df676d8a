"""Automatic intervals against the marks of LUDB's cardiologists, on the records of even number; the odd ones chose the limits."""

import numpy as np
import pytest
from ludb_files import marked_intervals, unpack_ludb

from cardiov.app.intervals import measure
from cardiov.data.ludb import read_diagnoses
from cardiov.ecg.leads import LEADS, read_ecg

pytestmark = pytest.mark.slow

NAMES = "PR", "QRS", "QT"
SINUS = "Sinus rhythm", "Sinus bradycardia", "Sinus tachycardia", "Sinus arrhythmia"


def differences(measured, marked):
    """Median and 90 % quantile of the absolute differences in ms, the median difference, and how many were measured."""
    known = [(one, other) for one, other in zip(measured, marked, strict=True) if np.isfinite(other)]
    errors = np.array([one - other for one, other in known if one is not None])
    return {"median_absolute_ms": float(np.median(abs(errors))), "median_ms": float(np.median(errors)),
            "quantile_90_ms": float(np.quantile(abs(errors), 0.9)), "measured": len(errors), "marked": len(known)}  # fmt: skip


def test_intervals_of_sinus_rhythm(tmp_path, record_ratio):
    folder = unpack_ludb(tmp_path, ("ludb.csv", ".hea", ".dat", *(f".{lead.lower()}" for lead in LEADS)))
    diagnoses = read_diagnoses(folder)["diagnoses"]
    even = [record for record in diagnoses.index if record % 2 == 0]
    marked = {record: marked_intervals(folder / str(record)) for record in even}
    ecgs = {record: read_ecg(folder / str(record)) for record in even}
    measured = {record: {one.name: one.value for one in measure(ecg.signal, ecg.fs)} for record, ecg in ecgs.items()}
    sinus = [record for record in even if diagnoses[record].startswith(SINUS)]
    table = {name: differences([measured[k][name] for k in sinus], [marked[k][name] for k in sinus]) for name in NAMES}
    without_p = [record for record in even if np.isnan(marked[record]["PR"])]
    wide = [measured[record]["QRS"] for record in even if marked[record]["QRS"] >= 120]
    record_ratio(
        "intervals", source="LUDB 1.0.1, even records in sinus rhythm", records=len(sinus), **table,
        without_p_waves={"records": len(without_p), "pr_measured": sum(measured[k]["PR"] is not None for k in without_p)},
        qrs_of_120_ms_or_more={"records": len(wide), "shown_as_narrower": sum(value is not None for value in wide)},
    )  # fmt: skip
    assert all(table[name]["median_absolute_ms"] <= 20 for name in NAMES)
