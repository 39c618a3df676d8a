"""Warnings of signal quality: on disturbed ECGs, and against what cardiologists noted of real ones."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cardiov.data.demo.dataset import example
from cardiov.ecg.filters import resample
from cardiov.ecg.leads import ECG, read_ecg
from cardiov.ecg.quality import WORDS, quality_warnings
from cardiov.experiments.stress import disturb

SAMPLE = Path(os.environ.get("CARDIOV_SHARED", Path(__file__).parents[3] / "shared")) / "ptbxl-sample"
LEFT = ("records500-00000", "records500-05000", "records500-15000", "records500-21000")


def names(ecg):
    """Names of the warnings, with the leads."""
    return [text.partition(" (")[0] for text in quality_warnings(ecg)]


def changed(change, fs=500):
    """A clean simulated ECG of which `change` has altered the signal."""
    ecg = example("NORM SR", seed=1)
    signal = resample(ecg.signal, 500, fs).copy()
    change(signal)
    return ECG(signal.astype(np.float32), float(fs))


def exchange(first, second):
    def change(signal):
        signal[[first, second]] = signal[[second, first]]

    return change


@pytest.mark.parametrize("fs", [100, 250, 257, 500, 1000])
@pytest.mark.parametrize("case", ["NORM SR", "AFIB", "CLBBB SR", "IMI ABQRS SR"])
def test_a_clean_ecg_has_no_warning_at_any_rate(case, fs):
    ecg = example(case, seed=1)
    assert names(ECG(resample(ecg.signal, 500, fs), float(fs))) == []


@pytest.mark.parametrize("fs", [100, 500])
@pytest.mark.parametrize(
    ("disturbance", "strength", "expected"),
    [("muscle noise", 0.1, "noise"), ("baseline drift", 2.0, "drift"), ("lead swap", "LA/RA", "arm electrodes may be exchanged")],
)  # fmt: skip
def test_disturbances_are_named(disturbance, strength, expected, fs):
    ecg = example("NORM SR", seed=1)
    disturbed = resample(disturb(ecg.signal, 500, disturbance, strength), 500, fs)
    assert expected in [name.partition(":")[0] for name in names(ECG(disturbed, float(fs)))]


def test_noise_is_laid_to_the_lead_that_has_it():
    noise = np.random.default_rng(0).normal(0, 0.05, 5000)
    assert names(changed(lambda signal: np.add(signal[8], noise, out=signal[8], casting="unsafe"))) == ["noise: V3"]


def test_a_lead_lost_for_a_while_is_told_from_one_that_is_flat_throughout():
    def lose(signal):
        signal[6, 1000:1800] = 0

    assert names(changed(lose)) == ["flat stretch: V1"]

    def shortly(signal):
        signal[6, 1000:1200] = 0

    assert names(changed(shortly)) == []

    def off(signal):
        signal[6] = 0

    assert names(changed(off)) == []  # reading says "flat lead"


def test_clipping():
    def clip(signal):
        np.clip(signal[9], -0.2, 0.2, out=signal[9])

    assert names(changed(clip)) == ["clipped: V4"]


@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 2), (1, 2), (0, 6), (3, 4), (3, 9)])
def test_exchanged_names_contradict(first, second):
    assert "limb leads contradict each other" in names(changed(exchange(first, second)))


def test_every_warning_is_explained_and_those_of_reading_come_first():
    ecg = ECG(example("NORM SR").signal, 500.0, warnings=("flat lead: V1", "something new"))
    assert quality_warnings(ecg) == (f"flat lead: V1 ({WORDS['flat lead']})", "something new")


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Some records of folds 9 and 10 with the names of their warnings, beside what cardiologists noted."""
    folder = tmp_path_factory.mktemp("real")
    for part in LEFT:
        with tarfile.open(SAMPLE / f"{part}.tar.xz") as archive:
            archive.extractall(folder, filter="data")
    table = pd.read_csv(SAMPLE / "ptbxl_database.csv")
    here = np.array([(folder / f"{name}.hea").is_file() for name in table["filename_hr"]])
    table = table[here & (table["strat_fold"] > 8)]
    ecgs = [read_ecg(folder / name) for name in table["filename_hr"]]
    return table.assign(ecg=ecgs, names=[{name.partition(":")[0] for name in names(ecg)} for ecg in ecgs])


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the real sample of PTB-XL is not here (CARDIOV_SHARED)")
@pytest.mark.parametrize(("warning", "column"), [("drift", "baseline_drift"), ("noise", "static_noise")])
def test_real_records_that_cardiologists_called_disturbed_are_warned_of_more_often(real, warning, column):
    assert len(real) > 100
    warned, noted = real["names"].map(lambda found: warning in found), real[column].notna()
    assert warned[noted].mean() > 2 * warned[~noted].mean() and warned.mean() < 0.15


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the real sample of PTB-XL is not here (CARDIOV_SHARED)")
def test_exchanged_arm_electrodes_are_found_in_most_real_records_and_seldom_where_they_are_not(real):
    warning = "arm electrodes may be exchanged"
    swapped = [disturb(ecg.signal, ecg.fs, "lead swap", "LA/RA") for ecg in real["ecg"]]
    assert np.mean([warning in names(ECG(signal, 500.0)) for signal in swapped]) > 0.85
    assert real["names"].map(lambda found: warning in found).mean() < 0.04
