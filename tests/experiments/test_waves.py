"""Waves and windows, annotated and detected, and the heat within them."""

import numpy as np
import pandas as pd
import pytest
import wfdb
from ludb_files import unpack_ludb

from cardiov.data.records import open_records
from cardiov.ecg.leads import read_ecg
from cardiov.errors import DataSetError
from cardiov.experiments.waves import _best_share, _detected_windows, beat_marks, heat_share, read_waves, share_rows, wave_windows
from cardiov.scoring.cells import over_time, stride_of
from cardiov.store.files import ROOT

WAVES = pd.DataFrame(
    [("p", 0.5, 0.6), ("N", 0.7, 0.8), ("t", 1.0, 1.2), ("V", 1.4, 1.6), ("t", 1.7, 2.0), ("p", 2.4, 2.5),
     ("N", 2.6, 2.7)],
    columns=["symbol", "onset", "end"],
)  # fmt: skip


@pytest.fixture(scope="module")
def ludb(tmp_path_factory):
    return unpack_ludb(tmp_path_factory.mktemp("ludb"), ("/1.dat", "/1.hea", "/1.ii"))


def test_windows_worked_by_hand():
    windows = {kind: ends.tolist() for kind, ends in wave_windows(WAVES).items()}
    assert windows == {
        "P": [[0.5, 0.6], [2.4, 2.5]],
        "QRS": [[0.7, 0.8], [1.4, 1.6], [2.6, 2.7]],
        "T": [[1.0, 1.2], [1.7, 2.0]],
        "P to T": [[0.5, 1.2], [1.4, 2.0]],  # the last beat's T wave is not marked
        "ectopic beat": [[1.4, 2.0]],
    }
    assert "ectopic beat" not in wave_windows(WAVES.iloc[:3])


def test_waves_are_read_from_wfdb_also_where_they_overlap(tmp_path):
    sample = [0, 250, 255, 300, 310, 320, 400, 500, 550]
    symbol = ["+", "(", "(", "N", "t", ")", ")", "N", ")"]  # the last QRS complex has no onset
    number = [0, 1, 2, 1, 2, 1, 2, 1, 1]
    wfdb.wrann("r", "atr", np.array(sample), symbol, num=np.array(number), fs=500, write_dir=str(tmp_path))
    waves = read_waves(tmp_path / "r", "atr")
    assert waves.to_numpy().tolist() == [["N", 0.5, 0.64], ["t", 0.51, 0.8]]
    with pytest.raises(DataSetError, match="r.ii cannot be read"):
        read_waves(tmp_path / "r", "ii")


def test_ludb_marks_are_read_right(ludb):
    waves = read_waves(ludb / "1", "ii")
    assert waves.iloc[:3].to_numpy().tolist() == [["N", 1.288, 1.364], ["t", 1.552, 1.756], ["p", 2.5, 2.604]]
    notes = wfdb.rdann(str(ludb / "1"), "ii")
    assert waves["symbol"].value_counts().to_dict() == {s: notes.symbol.count(s) for s in "Ntp"}
    windows = wave_windows(waves)
    assert len(windows["P to T"]) == len(windows["T"]) and "ectopic beat" not in windows


def test_beats_are_detected_where_ludb_marks_them(ludb):
    waves = read_waves(ludb / "1", "ii")
    ecg = read_ecg(ludb / "1")
    marks = beat_marks(ludb / "1", ecg.signal, ecg.fs)
    assert set(marks["source"]) == {"detected"} and set(marks["mark"]) == {"QRS"}
    middle = marks[["onset", "end"]].mean(axis=1).to_numpy()
    for beat in waves[waves["symbol"] == "N"].itertuples():
        assert np.any((middle > beat.onset - 0.05) & (middle < beat.end + 0.05))


def test_beats_of_another_shape_are_ectopic():
    peaks, time = np.array([0.05, 0.9, 1.8, 2.4, 3.6, 4.5]), np.arange(2500) / 500
    signal = sum(np.exp(-0.5 * ((time - peak) / 0.01) ** 2) for peak in peaks) * np.linspace(-1, 1, 12)[:, None]
    signal[:, 1100:1300] = np.exp(-0.5 * ((time[1100:1300] - 2.4) / 0.05) ** 2)  # wide, and alike in all leads
    windows = _detected_windows(peaks, signal, 500)
    assert windows["ectopic beat"].tolist() == [pytest.approx([2.3, 2.8])]
    assert windows["QRS"].tolist() == [pytest.approx([peak - 0.05, peak + 0.05]) for peak in peaks]
    assert {kind: len(ends) for kind, ends in _detected_windows(peaks[:0], signal, 500).items()} == {
        "QRS": 0, "ectopic beat": 0}  # fmt: skip


def masks(n=1000):
    inside = np.zeros(n, bool)
    inside[100:150] = inside[600:650] = True
    span = np.zeros(n, bool)
    span[50:850] = True
    return inside, span


def test_flat_heat_has_the_share_of_time_and_heat_inside_has_all():
    inside, span = masks()
    shares = heat_share(np.stack([np.ones(1000), 7 * inside, np.zeros(1000)]), inside, span)
    np.testing.assert_array_equal(shares, [100 / 800, 1, np.nan])


def test_no_map_of_a_stage_exceeds_what_its_cells_allow():
    inside, span = masks()
    generator = np.random.default_rng(0)
    for stage in range(7):
        cells = -(-1000 // stride_of(stage))
        maps = generator.exponential(size=(50, cells)) ** 4
        shares = heat_share(over_time(maps, 1000, stage), inside, span)
        assert 100 / 800 <= shares.max() <= _best_share(inside, span, stage) <= 1
    assert _best_share(inside, span, 0) == pytest.approx(1)
    assert _best_share(inside, span, 6) < 0.25


def test_share_rows_look_between_the_first_and_the_last_wave():
    heat = np.zeros((7, 300))
    heat[:, :40] = 1  # before the first wave, which starts at 0.5 s
    heat[:, 150:152] = 1  # in the ectopic QRS complex
    rows = pd.DataFrame(share_rows({"trained": heat}, WAVES, 100)).set_index(["stage", "window"])
    assert rows.loc["s1", "trained"].to_dict() == {"P": 0, "QRS": 1, "T": 0, "P to T": 1, "ectopic beat": 1}
    assert rows.loc[("s3", "ectopic beat"), "coverage"] == pytest.approx(60 / 220)
    assert len(rows) == 35


@pytest.mark.parametrize(("ecg_id", "ectopic", "beats"), [(8772, 0, 14), (3246, 1, 17)])
def test_beats_of_a_record_at_100_hz(ecg_id, ectopic, beats):
    """One has atrial fibrillation, whose beats come irregularly and look alike; the other one premature ventricular complex."""
    records = open_records(ROOT / "data/ptbxl-sample")
    ecg = records.read(ecg_id)
    marks = beat_marks(records.paths[ecg_id], ecg.signal, ecg.fs).groupby("mark")["onset"]
    assert marks.size().get("ectopic beat", 0) == ectopic
    onsets = marks.get_group("QRS")
    assert len(onsets) == beats and onsets.iloc[0] < 0.3  # counted by eye; the first lies at the very edge of one
    assert onsets.diff().min() > 0.24  # s, the refractory period: no beat twice
