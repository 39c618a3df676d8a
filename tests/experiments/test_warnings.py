"""The table of what warnings catch: again from the signals, its aims, and where it is shown."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cardiov.ecg.leads import ECG
from cardiov.ecg.missed import missed
from cardiov.experiments import warnings as experiment
from cardiov.experiments.faults import fault_names, with_fault
from cardiov.experiments.warnings import FAULTS, SIMULATED, places, read_warnings, tabulate, with_table
from cardiov.store.files import ROOT

SAMPLE = ROOT / "data/ptbxl-sample"
FLIPS = 0.004  # share of ECGs, 3 of 849, that another processor's rounding may move across a limit
AIMED_AT = [
    "electrodes may be exchanged: V1 to V6 in reverse order", "leads may be inverted: I, II, III, aVR, aVL, aVF",
    "leads may be inverted: all", "electrodes may be exchanged: RA and LA", "sampling rate may be wrong: twice the true one",
]  # fmt: skip


@pytest.fixture(scope="module")
def stored():
    return read_warnings().set_index(["where", "disturbance"])


def test_the_table_is_what_the_warnings_do_on_folds_9_and_10(stored, monkeypatch):
    kept = {case: SIMULATED[case] for case in SIMULATED if case[0] in AIMED_AT[:3]}
    monkeypatch.setattr(experiment, "SIMULATED", kept)
    place = replace(*places(SAMPLE), scored=False)
    made = tabulate(place, *experiment.measure(place)).set_index(["where", "disturbance"])
    columns = ["caught", "caught_low", "caught_high", "false", "false_low", "false_high", "named"]
    assert len(made) == 3 + 4 + 1
    pd.testing.assert_frame_equal(made[columns], stored.loc[made.index, columns], atol=FLIPS, rtol=0)
    assert (made["caught_of"].iloc[:3] == 849).all()


@pytest.mark.parametrize("where", ["folds 9 and 10", "folds 9 and 10, 500 Hz", "LUDB"])
def test_aims(stored, where):
    rows = stored.loc[where].set_index("warning").loc[AIMED_AT]
    assert (rows["caught_low"] > 0.8).all() and (rows["false"] < 0.02).all()


def test_limits_hold_on_records_that_they_were_not_chosen_on(stored):
    everything = stored.xs("", level="disturbance")
    assert everything.loc["folds 9 and 10", "false"] < 0.03 and (everything["false_low"] < 0.04).all()


def test_shares_are_possible(stored):
    shares = stored[experiment.MEASURES]
    assert ((shares >= 0) & (shares <= 1) | shares.isna()).all(axis=None)
    assert (stored["silent"].fillna(0) <= stored["changed"].fillna(0)).all()
    assert {name for name, _ in SIMULATED} <= {*stored["warning"]}


def test_each_simulated_case_leaves_the_ecg_itself_alone(rng=np.random.default_rng(0)):
    ecg = ECG(rng.normal(size=(12, 1000)).astype(np.float32), 100.0)
    before = ecg.signal.copy()
    for case in SIMULATED.values():
        disturbed = case(ecg, rng)
        assert disturbed.signal.dtype == np.float32
        assert disturbed.fs != ecg.fs or not np.array_equal(disturbed.signal, before)
    np.testing.assert_array_equal(ecg.signal, before)


def test_a_wrong_rate_changes_the_rate_or_the_samples():
    signal = np.zeros((12, 1000), np.float32)
    assert with_fault(signal, 100, "sampling rate may be wrong: twice the true one")[1] == 200
    slow, fs = with_fault(signal, 100, "sampling rate may be wrong: half the true one")
    assert slow.shape == (12, 2000) and fs == 100
    assert {name.partition(":")[0] for name in fault_names()} == FAULTS


def test_what_is_missed_is_said_for_each_disturbance(stored):
    table = stored.loc["folds 9 and 10"]
    share = round(100 * (1 - table.loc["drift that cardiologists noted", "caught"]))
    assert f"drift that cardiologists noted: {share} in 100 missed" in missed()
    assert len(missed()) == len(table) - 1  # without the row of all false alarms


def test_the_docs_show_the_table():
    page = (ROOT / "docs/warnings.md").read_text(encoding="utf-8")
    assert with_table(page, read_warnings()) == page
