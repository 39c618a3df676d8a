"""LUDB's diagnoses as critical values, by hand and against its own headers."""

import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from ludb_files import NORMAL, RECORDS, unpack_ludb, write_table

from cardiov.data import ludb
from cardiov.ecg.leads import read_ecg
from cardiov.errors import DataSetError, StatementError
from cardiov.mapping import statements

WALLS = ["anterior wall", "septal", "apical", "lateral wall", "inferior wall"]
DIAGNOSES = {  # all of LUDB 1.0.1, as it spells them
    "Rhythms": ["Sinus rhythm", "Sinus bradycardia", "Sinus tachycardia", "Sinus arrhythmia", "Irregular sinus rhythm",
                "Atrial fibrillation", "Atrial flutter, typical", "Wandering atrial pacemaker", "Aberrant conduction"],
    "Electric axis of the heart": [
        f"Electric axis of the heart: {axis}"
        for axis in ("normal", "left axis deviation", "right axis deviation", "vertical", "horizontal")
    ],
    "Conduction abnormalities": [
        "Incomplete right bundle branch block", "Complete right bundle branch block",
        "Incomplete left bundle branch block", "Complete left bundle branch block", "Left anterior hemiblock",
        "Non-specific intravintricular conduction delay", "I degree av block", "Iii degree av-block",
        "Sinoatrial blockade, undefined",
    ],
    "Extrasystolies": [
        *(f"Atrial extrasystole: {place}"
          for place in ("undefined", "sa-nodal extrasystole", "left atrial", "low atrial")),
        *(f"Atrial extrasystole, type: {kind}"
          for kind in ("single pac", "bigemini", "quadrigemini", "allorhythmic pattern")),
        *(f"Ventricular extrasystole, type: {kind}" for kind in ("single pvc", "intercalary pvc", "couplet")),
        "Ventricular extrasystole, morphology: polymorphic",
        *(f"Ventricular extrasystole, localisation: {place}"
          for place in ("rvot, anterior wall", "rvot, antero-septal part", "lvot, lvs", "ivs, middle part",
                        "lv, undefined")),
    ],
    "Hypertrophies": ["Left ventricular hypertrophy", "Left ventricular overload", "Right ventricular hypertrophy",
                      "Left atrial hypertrophy", "Left atrial overload", "Right atrial hypertrophy",
                      "Right atrial overload"],
    "Cardiac pacing": ["Pacemaker presence, undefined", "Unipolar atrial pacing", "Unipolar ventricular pacing",
                       "Bipolar ventricular pacing", "Biventricular pacing", "P-synchrony"],
    "Ischemia": [
        *(f"Stemi: {wall}" for wall in WALLS),
        *(f"{kind}: {wall}" for wall in [*WALLS, "posterior wall"]
          for kind in ("Scar formation", "Ischemia", "Undefined ischemia/scar/supp.nstemi")),
    ],
    "Non-specific repolarization abnormalities": [
        f"Non-specific repolarization abnormalities: {wall}" for wall in [*WALLS, "posterior wall"]
    ],
    "Other states": ["Early repolarization syndrome"],
}  # fmt: skip


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """LUDB's table and headers."""
    return unpack_ludb(tmp_path_factory.mktemp("ludb"), (".hea", "/ludb.csv"))


def test_every_diagnosis_has_a_row_in_its_field():
    table = ludb.diagnosis_statements()
    assert table.index.is_unique and len(table) == 83
    assert table.groupby("field").groups.keys() == DIAGNOSES.keys() == set(ludb.FIELDS)
    for field, diagnoses in DIAGNOSES.items():
        assert set(table.index[table["field"] == field]) == set(diagnoses)
    assert not table.index.str.contains(";").any()  # which joins them


def test_every_statement_is_one_of_the_71_or_said_to_be_none():
    table = ludb.diagnosis_statements()
    assert set(table["statement"]) - {""} <= set(statements().index)
    assert set(table["basis"]) == set(ludb.BASES)
    assert ((table["statement"] == "") == (table["basis"] == "no counterpart")).all()
    assert (table.loc[table["basis"] != "same finding", "why"] != "").all()
    assert set(table.loc[table["statement"] == "", "field"]) == {"Electric axis of the heart"}


@pytest.mark.parametrize(
    ("diagnosis", "statement"),
    [
        ("Sinus rhythm", "SR"),
        ("Atrial fibrillation", "AFIB"),
        ("Complete left bundle branch block", "CLBBB"),
        ("Complete right bundle branch block", "CRBBB"),
        ("Left anterior hemiblock", "LAFB"),
        ("I degree av block", "1AVB"),
        ("Iii degree av-block", "3AVB"),
        ("Atrial extrasystole, type: bigemini", "BIGU"),
        ("Ventricular extrasystole, type: single pvc", "PVC"),
        ("Left ventricular hypertrophy", "LVH"),
        ("Right atrial overload", "RAO/RAE"),
        ("Biventricular pacing", "PACE"),
        ("Stemi: anterior wall", "AMI"),
        ("Stemi: septal", "ASMI"),
        ("Scar formation: inferior wall", "IMI"),
        ("Scar formation: posterior wall", "PMI"),
        ("Ischemia: lateral wall", "ISCLA"),
        ("Ischemia: inferior wall", "ISCIN"),
        ("Ischemia: posterior wall", "ISC_"),
        ("Undefined ischemia/scar/supp.nstemi: anterior wall", "ISCAN"),
    ],
)
def test_findings_go_where_a_cardiologist_expects_them(diagnosis, statement):
    assert ludb.diagnosis_statements().loc[diagnosis, "statement"] == statement


@pytest.mark.parametrize("kind", ["Stemi", "Scar formation"])
def test_every_infarction_is_of_high_risk_wherever_it_is(kind):
    table = ludb.diagnosis_statements()
    infarctions = table.loc[table.index.str.startswith(kind), "statement"]
    assert len(infarctions) >= 5 and set(infarctions.map(statements()["critical_value"])) == {3}


def test_records_worked_by_hand(tmp_path):
    labelled = ludb.read_diagnoses(write_table(tmp_path, *RECORDS))
    assert labelled.index.tolist() == [1, 2, 3, 7] and labelled.index.name == "ecg_id"
    assert labelled["age"].tolist() == [51, 90, 64, 30]
    assert labelled["sex"].tolist() == ["female", "male", "male", "female"]
    assert labelled["diagnoses"].iloc[0] == "Sinus rhythm;Electric axis of the heart: normal"
    assert labelled["statements"].tolist() == ["SR", "SR;LAO/LAE;LVH", "AFIB;ASMI", "SBRAD;STE_"]
    assert labelled["critical_value"].tolist() == [0, 2, 3, 1]


def test_a_diagnosis_whose_statement_is_taken_away_no_longer_counts(tmp_path):
    diagnoses = ludb.read_diagnoses(write_table(tmp_path, *RECORDS))["diagnoses"]
    table = ludb.diagnosis_statements()
    kept = table["statement"].mask(table["field"] == "Hypertrophies", "")
    labelled = ludb.label(diagnoses, kept)
    assert labelled["critical_value"].tolist() == [0, 0, 3, 1] and labelled.loc[2, "statements"] == "SR"
    with pytest.raises(StatementError, match="record 1: scp_codes is empty"):
        ludb.label(diagnoses, kept.mask(table["field"] == "Rhythms", ""))


@pytest.mark.parametrize(
    ("record", "error", "message"),
    [
        ((5, "F", "40", {"Rhythms": ["Sinus rhytm"]}), DataSetError, "record 5 has the diagnosis 'Sinus rhytm'"),
        ((5, "F", "40", {}), StatementError, "record 5: scp_codes is empty"),
        ((5, "X", "40", NORMAL), DataSetError, "a sex other than F and M"),
        ((5, "F", "old", NORMAL), DataSetError, "cannot be read .*'old'"),
    ],
)
def test_what_cannot_be_understood_is_named(tmp_path, record, error, message):
    with pytest.raises(error, match=message):
        ludb.read_diagnoses(write_table(tmp_path, *RECORDS, record))


def test_a_missing_file_or_column_is_named(tmp_path):
    with pytest.raises(DataSetError, match=r"ludb.csv cannot be read .* give the folder of LUDB 1.0.1"):
        ludb.read_diagnoses(tmp_path)
    table = pd.read_csv(write_table(tmp_path, *RECORDS) / "ludb.csv")
    table.drop(columns="Ischemia").to_csv(tmp_path / "ludb.csv", index=False)
    with pytest.raises(DataSetError, match="cannot be read .*Ischemia"):
        ludb.read_diagnoses(tmp_path)


def test_ludb_is_read_whole(real):
    labelled = ludb.read_diagnoses(real)
    assert len(labelled) == labelled.index.nunique() == ludb.LUDB.records
    assert labelled["sex"].value_counts().to_dict() == {"male": 115, "female": 85}
    assert labelled["age"].agg(["min", "max"]).tolist() == [11, 90]
    # each text once a record, so that its records are as many as its occurrences
    counts = labelled["diagnoses"].str.split(";").explode().value_counts()
    assert set(counts.index) == {text for texts in DIAGNOSES.values() for text in texts}
    assert counts[["Sinus rhythm", "Atrial fibrillation", "Left ventricular hypertrophy"]].tolist() == [143, 15, 108]
    assert labelled["critical_value"].value_counts().sort_index().tolist() == [23, 47, 102, 28]
    paced = "Sinus rhythm;Iii degree av-block;Pacemaker presence, undefined;Unipolar ventricular pacing"
    assert labelled.loc[34, ["age", "diagnoses", "critical_value"]].tolist() == [90, paced, 3]


def of_header(path):
    """Diagnoses of a record's header, in other letters and order than in ``ludb.csv``."""
    lines = [line[1:].strip().rstrip(".") for line in path.read_text().splitlines() if line.startswith("#")]
    diagnoses = [line for line in lines[lines.index("<diagnoses>:") + 1 :] if line]
    return Counter(re.sub("^rhythm: ", "", line.lower()).strip() for line in diagnoses)


def test_the_table_says_what_the_headers_say(real):
    for record, text in ludb.read_diagnoses(real)["diagnoses"].items():
        # a header that gives the kind of pacing does not repeat that a pacemaker is present
        diagnoses = Counter(text.lower().split(";"))
        del diagnoses["pacemaker presence, undefined"]
        assert diagnoses == of_header(real / f"{record}.hea"), record


def test_records_are_in_microvolts_whatever_their_headers_gains(tmp_path):
    folder = unpack_ludb(tmp_path, ("/19.hea", "/19.dat", "/1.hea", "/1.dat"))
    for ecg_id in (1, 19):
        signal = ludb.read_record(folder, ecg_id).signal
        headers = read_ecg(folder / str(ecg_id)).signal
        np.testing.assert_allclose(np.ptp(headers, axis=-1), 1, atol=0.01)  # of each lead: no ECG is like that
        np.testing.assert_allclose(signal[0] + signal[2], signal[1], atol=0.02)
        assert not np.allclose(headers[0] + headers[2], headers[1], atol=0.02)
