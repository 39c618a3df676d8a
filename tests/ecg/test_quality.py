"""Warnings of signal quality, on disturbed ECGs and against the notes of cardiologists on real ones."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cardiov.ecg.examples import read_example
from cardiov.ecg.filters import resample
from cardiov.ecg.leads import ECG, read_ecg
from cardiov.ecg.quality import MEANINGS, quality_warnings
from cardiov.experiments.stress import disturb

SAMPLE = Path(os.environ.get("CARDIOV_SHARED", Path(__file__).parents[3] / "shared")) / "ptbxl-sample"
ARCHIVES = ("records500-00000", "records500-05000", "records500-15000", "records500-21000")
EXCHANGED = "electrodes may be exchanged"
needs_sample = pytest.mark.skipif(not SAMPLE.is_dir(), reason="the real sample of PTB-XL is not here (CARDIOV_SHARED)")


def warnings(ecg):
    """Names and leads of the warnings, without their meanings."""
    return [text.partition(" (")[0] for text in quality_warnings(ecg)]


def warned(ecg):
    """Names of the warnings."""
    return {name.partition(":")[0] for name in warnings(ecg)}


@pytest.fixture
def signal():
    """A clean signal, which raises no warning."""
    return read_example("normal ECG").signal.copy()


@pytest.mark.parametrize("fs", [100, 250, 257, 500, 1000])
@pytest.mark.parametrize("name", [
    "normal ECG", "complete right bundle branch block", "incomplete right bundle branch block",
    "inferolateral myocardial infarction", "anteroseptal myocardial infarction, atrial fibrillation",
])  # fmt: skip
def test_a_clean_ecg_has_no_warning_at_any_rate(name, fs):
    assert warnings(ECG(resample(read_example(name).signal, 500, fs), float(fs))) == []


def test_an_ecg_whose_baseline_cardiologists_called_drifting_has_a_warning():
    assert warnings(read_example("inferior myocardial infarction")) == ["drift: I, II, aVR, aVL, aVF, V1"]


@pytest.mark.parametrize("fs", [100, 500])
@pytest.mark.parametrize(("disturbance", "strength", "expected"), [
    ("muscle noise", 0.1, "noise"), ("baseline drift", 2.0, "drift"), ("lead swap", "LA/RA", EXCHANGED),
])  # fmt: skip
def test_disturbances_are_named(signal, disturbance, strength, expected, fs):
    disturbed = resample(disturb(signal, 500, disturbance, strength), 500, fs)
    assert expected in warned(ECG(disturbed, float(fs)))


def test_a_warning_of_noise_names_the_lead(signal):
    signal[8] += np.random.default_rng(0).normal(0, 0.2, 5000)
    assert warnings(ECG(signal, 500.0)) == ["noise: V3"]


@pytest.mark.parametrize(("stop", "expected"), [(1800, ["flat stretch: V1"]), (1200, [])])
def test_a_lead_that_is_lost_for_more_than_a_second_is_named(signal, stop, expected):
    signal[6, 1000:stop] = 0
    assert warnings(ECG(signal, 500.0)) == expected


def test_a_lead_that_is_flat_throughout_is_left_to_reading(signal):
    signal[6] = 0
    assert warnings(ECG(signal, 500.0)) == []


@pytest.mark.parametrize("fs", [250, 500, 1000])
def test_spikes_too_sharp_for_a_heart_are_named_with_their_leads(signal, fs):
    spiked = resample(signal, 500, fs)
    spiked[8:10, fs :: fs] += 20  # of one sample each
    assert "pacing spikes: V3, V4" in warnings(ECG(spiked, float(fs)))


def test_clipping(signal):
    signal[9] = signal[9].clip(-0.2, 0.2)
    assert warnings(ECG(signal, 500.0)) == ["clipped: V4"]


@pytest.mark.parametrize("pair", [[0, 1], [0, 2], [1, 2], [0, 6], [3, 4], [3, 9]])
def test_exchanged_lead_names_contradict_each_other(signal, pair):
    signal[pair] = signal[pair[::-1]]
    assert "limb leads contradict each other" in warnings(ECG(signal, 500.0))


def test_every_warning_is_explained_and_those_of_reading_come_first(signal):
    ecg = ECG(signal, 500.0, warnings=("flat lead: V1", "something new"))
    assert quality_warnings(ecg) == (f"flat lead: V1 ({MEANINGS['flat lead']})", "something new")


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Records of folds 9 and 10 with their warnings and the notes of cardiologists."""
    folder = tmp_path_factory.mktemp("real")
    for part in ARCHIVES:
        with tarfile.open(SAMPLE / f"{part}.tar.xz") as archive:
            archive.extractall(folder, filter="data")
    table = pd.read_csv(SAMPLE / "ptbxl_database.csv")
    unpacked = np.array([(folder / f"{name}.hea").is_file() for name in table["filename_hr"]])
    table = table[unpacked & (table["strat_fold"] > 8)]
    ecgs = [read_ecg(folder / name) for name in table["filename_hr"]]
    return table.assign(ecg=ecgs, warned=[warned(ecg) for ecg in ecgs])


@needs_sample
@pytest.mark.parametrize(("warning", "column"), [("drift", "baseline_drift"), ("noise", "static_noise")])
def test_warnings_are_more_frequent_in_real_records_that_cardiologists_called_disturbed(real, warning, column):
    assert len(real) > 100
    has, noted = real["warned"].map(lambda names: warning in names), real[column].notna()
    assert has[noted].mean() > 2 * has[~noted].mean() and has.mean() < 0.15
