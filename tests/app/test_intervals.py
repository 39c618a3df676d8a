"""Automatic intervals against the marks of LUDB's cardiologists; tests/benchmarks/test_interval_marks.py takes many more records."""

import json
import sys

import numpy as np
import pytest
from ludb_files import marked_intervals, unpack_ludb

pytest.importorskip("neurokit2", reason='pip install "cardiov[app]"')

from cardiov.app.intervals import measure
from cardiov.ecg.examples import read_example
from cardiov.ecg.filters import resample
from cardiov.ecg.leads import LEADS, read_ecg
from cardiov.store.files import ROOT

NAMES = ["heart rate", "PR", "QRS", "QT", "QTc"]


def values(signal, fs=500):
    return {one.name: one.value for one in measure(signal, fs)}


@pytest.fixture(scope="module")
def ludb(tmp_path_factory):
    parts = ["hea", "dat", *map(str.lower, LEADS)]
    return unpack_ludb(tmp_path_factory.mktemp("ludb"), tuple(f"/{record}.{part}" for record in (2, 4, 8, 24) for part in parts))


@pytest.mark.parametrize(("record", "marked"), [(2, (195, 82, 401)), (4, (162, 94, 404))])
def test_intervals_are_near_the_cardiologists_marks(ludb, record, marked):
    ecg = read_ecg(ludb / str(record))
    assert tuple(marked_intervals(ludb / str(record)).values()) == marked
    measured = values(ecg.signal, ecg.fs)
    assert [measured[name] for name in ("PR", "QRS", "QT")] == [pytest.approx(ms, abs=20) for ms in marked]
    assert measured["QTc"] == pytest.approx(measured["QT"] / (60 / measured["heart rate"]) ** (1 / 3), abs=3)


def test_what_the_delineator_cannot_mark_is_not_measurable(ludb):
    fibrillation, wide = (read_ecg(ludb / str(record)) for record in (8, 24))  # a QRS complex of 161 ms
    assert values(fibrillation.signal)["PR"] is None and values(fibrillation.signal)["heart rate"] == 72
    assert {one.name: one.text for one in measure(wide.signal, 500) if one.why} == dict.fromkeys(("PR", "QRS"), "not measurable")


def test_atrial_fibrillation_has_no_pr_interval():
    for name in ("atrial fibrillation", "anteroseptal myocardial infarction, atrial fibrillation"):
        assert values(read_example(name).signal)["PR"] is None


def test_intervals_of_an_example():
    ecg = read_example("normal ECG")
    assert [one.text for one in measure(ecg.signal, ecg.fs)] == ["80 /min", "127 ms", "88 ms", "387 ms", "426 ms"]
    slower = values(resample(ecg.signal, 500, 250), 250)
    assert [slower[name] for name in NAMES] == [pytest.approx(ms, abs=8) for ms in (80, 127, 88, 387, 426)]
    assert values(ecg.signal, 1000)["heart rate"] == pytest.approx(160, abs=1)


@pytest.mark.parametrize("signal", [
    np.zeros((12, 5000)), np.random.default_rng(0).normal(0, 1, (12, 5000)), read_example("normal ECG").signal[:, :1200],
], ids=["flat", "noise", "three beats"])  # fmt: skip
def test_without_beats_nothing_is_measured(signal):
    assert all(one.text == "not measurable" and one.why for one in measure(signal, 500))
    assert [one.name for one in measure(signal, 500)] == NAMES


def test_without_neurokit_the_reason_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "neurokit2", None)
    assert {one.why for one in measure(np.zeros((12, 5000)), 500)} == {'neurokit2 is not installed: pip install "cardiov[app]"'}


def test_the_page_of_the_docs_gives_the_measured_differences():
    measured = json.loads((ROOT / "results/benchmarks/intervals.json").read_text())
    pr, qrs, qt = (measured[name]["median_absolute_ms"] for name in ("PR", "QRS", "QT"))
    assert f"PR {pr:.0f} ms, QRS {qrs:.0f} ms and QT {qt:.0f} ms" in (ROOT / "docs/scoring.md").read_text()
