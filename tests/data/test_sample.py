"""The sample of PTB-XL in the repository: whole, original where it says so, and of one form."""

import hashlib
import os
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb
from ecg_files import simulated_signal, write_record

from cardiov.data.cache import prepare
from cardiov.data.ptbxl import read_metadata
from cardiov.data.records import STORED, Files, Folds, open_records
from cardiov.data.sample import as_published_at_100, compare_forms, with_held_ends, write_sample
from cardiov.ecg.leads import LEADS, read_ecg
from cardiov.errors import DataSetError
from cardiov.store.files import ROOT

FOLDER = ROOT / "data" / "ptbxl-sample"
SHARED = Path(os.environ.get("CARDIOV_SHARED", Path(__file__).parents[3] / "shared")) / "ptbxl-sample"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the published signals are not here (CARDIOV_SHARED)")


def test_every_file_is_as_listed():
    listed = dict(line.split()[::-1] for line in (FOLDER / "SHA256SUMS.txt").read_text().splitlines())
    assert len(listed) == 23 and all(hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == listed[name] for name in listed)


def test_it_is_small_enough_for_a_repository():
    sizes = [path.stat().st_size for path in FOLDER.iterdir()]
    assert sum(sizes) < 40e6 and max(sizes) < 8e6


def test_it_has_all_records_of_all_folds(tmp_path):
    splits = read_metadata(FOLDER)["split"].value_counts()
    assert splits.to_dict() == {"train": 3405, "validation": 482, "test": 367}
    cache = prepare(FOLDER, tmp_path / "cache", rate=100)
    assert cache.shape == (4254, 12, 1000) and np.abs(cache.stored(np.arange(4254))).max(axis=(1, 2)).min() > 100  # µV


def test_wfdb_reads_one_ecg_alone():
    table = pd.read_csv(FOLDER / "ptbxl_database.csv")
    fold = table[table["strat_fold"] == 10].reset_index(drop=True)
    record = wfdb.rdrecord(str(FOLDER / "fold10"), sampfrom=7000, sampto=8000)
    ecg = open_records(FOLDER).read(fold.loc[7, "ecg_id"])
    assert record.sig_name == list(STORED) == ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"] and record.fs == ecg.fs == 100
    np.testing.assert_allclose(ecg.signal[[LEADS.index(lead) for lead in STORED]], record.p_signal.T, atol=1e-6)


def test_the_other_leads_follow_from_einthoven_and_goldberger():
    i, ii, iii, avr, avl, avf = open_records(FOLDER).read(10).signal[:6].astype(float)
    for lead, expected in ((iii, ii - i), (avr, -(i + ii) / 2), (avl, i - ii / 2), (avf, ii - i / 2)):
        np.testing.assert_allclose(lead, expected, atol=1e-6)


@needs_shared
def test_official_signals_are_kept_and_both_kinds_have_one_form(tmp_path):
    with tarfile.open(SHARED / "records100.tar.xz") as at_100, tarfile.open(SHARED / "records500-00000.tar.xz") as at_500:
        for archive in (at_100, at_500):
            archive.extractall(tmp_path, filter="data")
    table = pd.read_csv(SHARED / "ptbxl_database.csv").set_index("ecg_id")
    here = [(tmp_path / f"{name}.hea").exists() for name in table["filename_lr"]]
    table[here].iloc[::10].to_csv(tmp_path / "ptbxl_database.csv")
    for ecg_id, name in table.loc[here, "filename_lr"].iloc[::40].items():
        kept, official = (signal[:, 1:990] for signal in (open_records(FOLDER).read(ecg_id).signal, read_ecg(tmp_path / name).signal))
        np.testing.assert_allclose(kept, official, atol=3.1e-3)  # of the computed leads, see the README
        chest = slice(6, 12)
        np.testing.assert_allclose(kept[chest], official[chest], atol=1e-6)
    forms = compare_forms(tmp_path)
    assert len(forms) > 30 and forms["in_one_form"].median() < 5 < forms["as_published"].median()


def test_what_was_published_of_the_forms():
    forms = pd.read_csv(FOLDER / "one_form.csv")
    assert len(forms) == 668 and forms["in_one_form"].median() < 5  # µV


def test_a_resampled_signal_runs_early():
    beat = lambda time: np.exp(-(((time - 5) / 0.03) ** 2))  # noqa: E731
    resampled = as_published_at_100(np.tile(beat(np.arange(5000) / 500), (12, 1)))
    np.testing.assert_allclose(resampled[0], beat(np.arange(1000) / 100 + 0.00125), atol=1e-4)


def test_held_ends():
    held = with_held_ends(np.tile(np.arange(1000.0), (12, 1)))
    assert held[0, :3].tolist() == [1, 1, 2] and (held[:, 990:] == 989).all() and held[0, 500] == 500


@pytest.fixture
def source(tmp_path):
    """A folder in PTB-XL's layout with signals at 500 Hz."""
    folder = tmp_path / "source"
    rows = pd.read_csv(FOLDER / "ptbxl_database.csv").drop_duplicates("strat_fold").sort_values("ecg_id")
    (folder / "records").mkdir(parents=True)
    for k in range(len(rows)):
        write_record(folder / "records", name=f"r{k}", signal=simulated_signal(seed=k))
    rows.assign(filename_hr=[f"records/r{k}" for k in range(len(rows))]).to_csv(folder / "ptbxl_database.csv", index=False)
    (folder / "scp_statements.csv").write_text("statements")
    return folder


def test_written_and_read_again(source, tmp_path):
    files = write_sample(source, tmp_path / "sample")
    assert {path.name for path in files} >= {"fold01.dat", "fold10.hea", "ptbxl_database.csv", "SHA256SUMS.txt"}
    given, kept = open_records(source), open_records(tmp_path / "sample")
    assert isinstance(given, Files) and isinstance(kept, Folds) and list(given.paths) == list(kept.paths)
    for ecg_id in given.paths:
        expected = as_published_at_100(given.read(ecg_id).signal)[6:]
        np.testing.assert_allclose(kept.read(ecg_id).signal[6:], expected, atol=0.51e-3)


def test_a_fold_that_is_not_as_the_table_says(source, tmp_path):
    write_sample(source, tmp_path / "sample")
    table = pd.read_csv(tmp_path / "sample/ptbxl_database.csv")
    table.assign(strat_fold=1).to_csv(tmp_path / "sample/ptbxl_database.csv", index=False)
    with pytest.raises(DataSetError, match="fold01.hea has not the 10 ECGs that ptbxl_database.csv lists: restore"):
        prepare(tmp_path / "sample", tmp_path / "cache", rate=100)


def test_a_fold_that_is_damaged(source, tmp_path):
    write_sample(source, tmp_path / "sample")
    (tmp_path / "sample/fold01.dat").write_bytes(b"fLaC nonsense")
    ecg_id = next(iter(Folds(tmp_path / "sample", {1: 1}).paths))
    with pytest.raises(DataSetError, match="fold01 cannot be read .*: restore the data set's own files"):
        Folds(tmp_path / "sample", {1: 1}).read(ecg_id)
