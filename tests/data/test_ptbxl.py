"""Metadata, labels and the signal cache, on small simulated data sets and on the real sample."""

import lzma
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb
from ecg_files import write_data_set, write_record

from cardiov.data import ptbxl
from cardiov.data.ptbxl import read_metadata, read_published, splits
from cardiov.ecg.leads import LEADS, read_ecg
from cardiov.errors import DataSetError, ParameterError, StatementError
from cardiov.store.files import ROOT

SHARED = Path(os.environ.get("CARDIOV_SHARED", Path(__file__).parents[3] / "shared"))
SAMPLE = SHARED / "ptbxl-sample"
needs_sample = pytest.mark.skipif(not SAMPLE.is_dir(), reason="the real sample of PTB-XL is not here (CARDIOV_SHARED)")


def edit(table, data):
    table.to_csv(data / "ptbxl_database.csv", index=False)


def test_metadata_of_a_small_data_set(data):
    records = read_metadata(data)
    assert records.index.tolist() == [1, 2, 3, 4] and records.index.name == "ecg_id"
    assert records["patient_id"].tolist() == [100, 100, 101, 101]
    assert records["sex"].tolist() == ["male", "female", "male", "female"]
    assert records["fold"].tolist() == records["strat_fold"].tolist() == [3, 8, 9, 10]
    assert records["split"].tolist() == ["train", "train", "validation", "test"]
    assert list(records["scp_codes"].iloc[2].items()) == [("NDT", 0.0), ("LVH", 50.0), ("AFIB", 0.0)]
    assert records["critical_value"].tolist() == [0, 3, 2, 2]
    assert records["critical_value_highest_risk"].tolist() == [0, 3, 2, 2]
    assert records["tie"].tolist() == [False, True, False, False]
    assert records.loc[1, "static_noise"] == ", I-V1,"


def test_superclasses_are_of_all_statements_whatever_their_likelihood(data):
    assert read_metadata(data)["superclasses"].tolist() == ["NORM", "CD;MI", "HYP;STTC", ""]


def test_ages_of_version_1_0_3_and_1_0_1(data):
    records = read_metadata(data)  # the file has 56, 300, none and 95
    np.testing.assert_array_equal(records["age"], [56, 90, np.nan, 95])
    assert records["age_90_or_over"].tolist() == [False, True, False, True]


def test_published_counts():
    assert (ptbxl.VERSIONS["1.0.1"].records, ptbxl.VERSIONS["1.0.1"].patients) == (21837, 18885)
    assert (ptbxl.VERSIONS["1.0.3"].records, ptbxl.VERSIONS["1.0.3"].patients) == (21799, 18869)
    assert all(version.licence == "CC BY 4.0" and "Wagner" in version.citation for version in ptbxl.VERSIONS.values())


@pytest.fixture(scope="module", params=["1.0.1", "1.0.3"])
def published(request):
    return request.param, read_published(request.param)


KNOWN = {  # counted by other code
    "1.0.1": {"records": 21837, "patients": 18885, "superclasses": [9528, 5486, 5250, 4907, 2655], "splits": [17441, 2193, 2203],
              "labels": [9148, 5322, 3241, 4126], "ties": 3420, "men": 11379, "highest": 95, "without age": 89},
    "1.0.3": {"records": 21799, "patients": 18869, "superclasses": [9514, 5469, 5235, 4898, 2649], "splits": [17418, 2183, 2198],
              "labels": [9139, 5312, 3236, 4112], "ties": 3411, "men": 11354, "highest": 90, "without age": 0},
}  # fmt: skip


def test_metadata_of_the_whole_of_ptbxl(published):
    version, records = published
    expected, stated = KNOWN[version], records["superclasses"].str.split(";").explode().value_counts()
    assert (len(records), records["patient_id"].nunique()) == (expected["records"], expected["patients"])
    assert stated[["NORM", "MI", "STTC", "CD", "HYP"]].tolist() == expected["superclasses"]
    assert records["split"].value_counts()[["train", "validation", "test"]].tolist() == expected["splits"]
    assert records["critical_value"].value_counts().sort_index().tolist() == expected["labels"]
    assert (records["tie"].sum(), (records["sex"] == "male").sum()) == (expected["ties"], expected["men"])
    age = records["age"]
    assert (age.min(), age.max(), age.isna().sum()) == (2, expected["highest"], expected["without age"])
    assert (records.groupby("patient_id")["split"].nunique() == 1).all()


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of version 1.0.1's file that a test may damage."""
    monkeypatch.setattr(ptbxl, "PUBLISHED", tmp_path)
    return Path(shutil.copy(ROOT / "data/ptbxl-metadata/ptbxl_database-1.0.1.csv.xz", tmp_path))


def test_a_published_table_that_is_missing_or_damaged_is_named(copy):
    content = copy.read_bytes()
    for damaged in (content[:-1000], content[:1000] + bytes(1000) + content[2000:], b"", lzma.compress(b"")):
        copy.write_bytes(damaged)
        with pytest.raises(DataSetError, match=r"ptbxl_database-1.0.1.csv.xz (cannot be read|is not PTB-XL's table)"):
            read_published("1.0.1")
    copy.unlink()
    with pytest.raises(DataSetError, match=r"1.0.1.csv.xz cannot be read .*: restore it from the repository\.$"):
        read_published("1.0.1")


def test_a_published_table_in_which_one_age_was_changed_is_refused(copy):
    text = lzma.decompress(copy.read_bytes())
    copy.write_bytes(lzma.compress(text.replace(b"1,15709.0,56.0", b"1,15709.0,57.0", 1), preset=0))
    with pytest.raises(DataSetError, match=r"is not PTB-XL's table of version 1.0.1: restore it"):
        read_published("1.0.1")
    copy.write_bytes(lzma.compress(text, preset=0))  # compressed otherwise, but the same
    assert read_published("1.0.1").loc[1, "age"] == 56


def test_an_unknown_version_is_refused():
    with pytest.raises(ParameterError, match="'1.0.2': give 1.0.3 or 1.0.1"):
        read_published("1.0.2")


@needs_sample
def test_the_published_table_holds_the_records_of_the_sample():
    sample = read_metadata(SAMPLE)
    pd.testing.assert_frame_equal(read_published("1.0.3").loc[sample.index], sample)


@needs_sample
def test_metadata_of_the_real_sample():
    records = read_metadata(SAMPLE)
    assert records["split"].value_counts().to_dict() == {"train": 3405, "validation": 482, "test": 367}
    assert records["critical_value"].value_counts().sort_index().tolist() == [2009, 1022, 577, 646]
    assert records["tie"].sum() == 625
    assert records["age"].max() == 90 and records["age_90_or_over"].sum() == 62 and records["age"].isna().sum() == 0
    folds = records.groupby("patient_id")["split"].nunique()
    assert (folds == 1).all()


def test_missing_folder_and_missing_table(tmp_path):
    with pytest.raises(DataSetError, match="there is no data folder .*nowhere"):
        read_metadata(tmp_path / "nowhere")
    with pytest.raises(DataSetError, match=r"ptbxl_database.csv cannot be read"):
        read_metadata(tmp_path)


@pytest.mark.parametrize("column", ptbxl.COLUMNS)
def test_missing_column_is_named(tmp_path, column):
    edit(write_data_set(tmp_path, records=1).drop(columns=column), tmp_path)
    with pytest.raises(DataSetError, match=f"ptbxl_database.csv lacks the column {column}:"):
        read_metadata(tmp_path)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("ecg_id", 1, "an ecg_id twice"),
        ("ecg_id", "two", "gives row 2 the ecg_id 'two'"),
        ("patient_id", None, "gives record 2 the patient_id 'nan'"),
        ("age", "old", "gives record 2 the age 'old'"),
        ("sex", 2, "gives record 2 the sex"),
        ("strat_fold", 11, "gives record 2 the strat_fold"),
        ("scp_codes", "{'NORM': ", "record 2 the scp_codes"),
        ("scp_codes", "['NORM']", "record 2 the scp_codes"),
        ("scp_codes", "__import__('os').getcwd()", "record 2 the scp_codes"),
        ("scp_codes", None, "record 2 the scp_codes"),
    ],
)
def test_strange_values_are_named(tmp_path, column, value, message):
    table = write_data_set(tmp_path).astype({column: object})
    table.loc[1, column] = value
    edit(table, tmp_path)
    with pytest.raises(DataSetError, match=message):
        read_metadata(tmp_path)


@pytest.mark.parametrize(
    ("codes", "message"), [("{}", "record 2: scp_codes is empty"), ("{'XYZ': 1}", "record 2: .*'XYZ'")]
)
def test_strange_statements_are_named(tmp_path, codes, message):
    table = write_data_set(tmp_path)
    table.loc[1, "scp_codes"] = codes
    edit(table, tmp_path)
    with pytest.raises(StatementError, match=message):
        read_metadata(tmp_path)


@pytest.mark.parametrize("content", ["", "\n", "ecg_id,patient_id\n", "\x00\x01\xff", 'ecg_id,"patient_id\n1,2\n'])
def test_damaged_table(tmp_path, content):
    (tmp_path / "ptbxl_database.csv").write_text(content, encoding="latin-1")
    with pytest.raises(DataSetError, match=r"ptbxl_database.csv"):
        read_metadata(tmp_path)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"gain": np.linspace(700, 2300, 12), "baseline": np.arange(-6, 6)},
        {"leads": ("V6", "V5", "V4", "V3", "V2", "V1", "AVF", "AVL", "AVR", "III", "II", "I")},
        {"comments": ["<age>: 5"]},
    ],
)
def test_records_are_read_as_wfdb_reads_them(tmp_path, record):
    base = write_record(tmp_path, **record)
    ecg, reference = read_ecg(base), wfdb.rdrecord(str(base))
    order = [[name.upper() for name in reference.sig_name].index(lead.upper()) for lead in LEADS]
    np.testing.assert_array_equal(ecg.signal, reference.p_signal.T[order].astype(np.float32))
    assert (ecg.fs, ecg.meta["comments"], ecg.warnings) == (reference.fs, reference.comments, ())


@needs_sample
def test_real_records(tmp_path):
    """Lead II is I + III, aVR is -(I + II) / 2: the leads are in their places."""
    with tarfile.open(SAMPLE / "records500-21000.tar.xz") as archive:
        members = [member for _, member in zip(range(12), archive) if member.isfile()]
        archive.extractall(tmp_path, members, filter="data")
    bases = [path.with_suffix("") for path in tmp_path.rglob("*.hea") if path.with_suffix(".dat").exists()]
    assert len(bases) >= 4
    for base in bases:
        ecg = read_ecg(base)
        np.testing.assert_array_equal(ecg.signal, wfdb.rdrecord(str(base)).p_signal.T.astype(np.float32))
        one, two, three, right, left, foot = ecg.signal[:6]
        np.testing.assert_allclose(two, one + three, atol=0.011)
        np.testing.assert_allclose(right, -(one + two) / 2, atol=0.011)
        np.testing.assert_allclose(left, one - two / 2, atol=0.011)
        np.testing.assert_allclose(foot, two - one / 2, atol=0.011)


def test_each_fold_is_tested_once_and_chosen_on_once_and_fold_10_is_the_data_sets_own_test():
    table = np.array([splits(np.arange(1, 11), fold) for fold in range(1, 11)])  # (fold tested, fold)
    assert (table == "test").tolist() == np.eye(10, dtype=bool).tolist()
    assert (table == "validation").tolist() == np.roll(np.eye(10, dtype=bool), -1, axis=1).tolist()
    assert splits(np.arange(1, 11)).tolist() == ["train"] * 8 + ["validation", "test"]


def test_folds_without_a_part_neither_train_nor_choose():
    assert splits(np.arange(1, 11), 1, [9, 10]).tolist() == ["test"] + ["train"] * 6 + ["validation", "unused", "unused"]
    assert splits(np.arange(1, 11), 4, [3]).tolist() == ["train", "validation", "unused", "test"] + ["train"] * 6
