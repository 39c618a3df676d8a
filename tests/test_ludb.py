"""LUDB's diagnoses as critical values, by hand and against its own headers; predictions of its records."""

import os
import re
import tarfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from ecg_files import simulated_signal, write_record

from cardiov import __main__ as command_line
from cardiov import evaluation, ludb, ptbxl, results, training
from cardiov.errors import CheckpointError, DataSetError, StatementError
from cardiov.mapping import statements
from cardiov.model import CardioV, CardioVConfig

SHARED = Path(os.environ.get("CARDIOV_SHARED", Path(__file__).parents[2] / "shared"))
ARCHIVE = SHARED / "ludb" / "ludb-1.0.1.tar.xz"
SMALL = CardioVConfig(stem_width=16, widths=(16, 16, 16, 16, 16, 32, 32), depths=(1,) * 7)
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


# Mapping


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
    found = table.loc[table.index.str.startswith(kind), "statement"]
    assert len(found) >= 5 and set(found.map(statements()["critical_value"])) == {3}


# Labels


def write_table(folder, *records):
    """A ``ludb.csv`` as LUDB writes it, from (id, sex, age, {field: diagnoses})."""
    rows = []
    for record, sex, age, found in records:
        fields = {field: "\n".join(texts) for field, texts in found.items()}
        rows.append({"ID": record, "Sex": f"{sex}\n", "Age": f"{age}\n"} | fields)
    Path(folder).mkdir(exist_ok=True)
    pd.DataFrame(rows, columns=["ID", "Sex", "Age", *ludb.FIELDS]).to_csv(Path(folder) / "ludb.csv", index=False)
    return folder


NORMAL = {"Rhythms": ["Sinus rhythm"], "Electric axis of the heart": ["Electric axis of the heart: normal"]}
RECORDS = [
    (1, "F", "51", NORMAL),
    (2, "M", ">89", NORMAL | {"Hypertrophies": ["Left atrial hypertrophy", "Left ventricular hypertrophy"]}),
    (3, "M", "64", {"Rhythms": ["Atrial fibrillation"], "Ischemia": ["Scar formation: septal", "Stemi: septal"]}),
    (7, "F", "30", {"Rhythms": ["Sinus bradycardia"], "Other states": ["Early repolarization syndrome"]}),
]


def test_records_worked_by_hand(tmp_path):
    found = ludb.read_diagnoses(write_table(tmp_path, *RECORDS))
    assert found.index.tolist() == [1, 2, 3, 7] and found.index.name == "ecg_id"
    assert found["age"].tolist() == [51, 90, 64, 30]
    assert found["sex"].tolist() == ["female", "male", "male", "female"]
    assert found["diagnoses"].iloc[0] == "Sinus rhythm;Electric axis of the heart: normal"
    assert found["statements"].tolist() == ["SR", "SR;LAO/LAE;LVH", "AFIB;ASMI", "SBRAD;STE_"]
    assert found["critical_value"].tolist() == [0, 2, 3, 1]


def test_a_diagnosis_whose_statement_is_taken_away_no_longer_counts(tmp_path):
    diagnoses = ludb.read_diagnoses(write_table(tmp_path, *RECORDS))["diagnoses"]
    table = ludb.diagnosis_statements()
    kept = table["statement"].mask(table["field"] == "Hypertrophies", "")
    found = ludb.label(diagnoses, kept)
    assert found["critical_value"].tolist() == [0, 0, 3, 1] and found.loc[2, "statements"] == "SR"
    with pytest.raises(StatementError, match="record 1: scp_codes is empty"):
        ludb.label(diagnoses, kept.mask(table["field"] == "Rhythms", ""))


@pytest.mark.parametrize(
    ("record", "error", "said"),
    [
        ((5, "F", "40", {"Rhythms": ["Sinus rhytm"]}), DataSetError, "record 5 has the diagnosis 'Sinus rhytm'"),
        ((5, "F", "40", {}), StatementError, "record 5: scp_codes is empty"),
        ((5, "X", "40", NORMAL), DataSetError, "a sex other than F and M"),
        ((5, "F", "old", NORMAL), DataSetError, "cannot be read .*'old'"),
    ],
)
def test_what_cannot_be_understood_is_named(tmp_path, record, error, said):
    with pytest.raises(error, match=said):
        ludb.read_diagnoses(write_table(tmp_path, *RECORDS, record))


def test_a_missing_file_or_column_is_named(tmp_path):
    with pytest.raises(DataSetError, match=r"ludb.csv cannot be read .* give the folder of LUDB 1.0.1"):
        ludb.read_diagnoses(tmp_path)
    table = pd.read_csv(write_table(tmp_path, *RECORDS) / "ludb.csv")
    table.drop(columns="Ischemia").to_csv(tmp_path / "ludb.csv", index=False)
    with pytest.raises(DataSetError, match="cannot be read .*Ischemia"):
        ludb.read_diagnoses(tmp_path)


# LUDB itself


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """LUDB's table and headers, and the signals of three records."""
    if not ARCHIVE.is_file():
        pytest.skip("LUDB is not here (CARDIOV_SHARED)")
    folder = tmp_path_factory.mktemp("ludb")
    with tarfile.open(ARCHIVE) as archive:
        wanted = (".hea", "/ludb.csv", "/1.dat", "/34.dat", "/200.dat")
        archive.extractall(folder, [m for m in archive if m.name.endswith(wanted)], filter="data")
    return folder / "ludb"


def test_ludb_is_read_whole(real):
    found = ludb.read_diagnoses(real)
    assert len(found) == found.index.nunique() == ludb.LUDB.records
    assert found["sex"].value_counts().to_dict() == {"male": 115, "female": 85}
    assert found["age"].agg(["min", "max"]).tolist() == [11, 90]
    # each text once a record, so that its records are as many as its occurrences
    counts = found["diagnoses"].str.split(";").explode().value_counts()
    assert set(counts.index) == {text for texts in DIAGNOSES.values() for text in texts}
    assert counts[["Sinus rhythm", "Atrial fibrillation", "Left ventricular hypertrophy"]].tolist() == [143, 15, 108]
    assert found["critical_value"].value_counts().sort_index().tolist() == [23, 47, 102, 28]
    paced = "Sinus rhythm;Iii degree av-block;Pacemaker presence, undefined;Unipolar ventricular pacing"
    assert found.loc[34, ["age", "diagnoses", "critical_value"]].tolist() == [90, paced, 3]


def of_header(path):
    """Diagnoses of a record's header, in other letters and order than in ``ludb.csv``."""
    lines = [line[1:].strip().rstrip(".") for line in path.read_text().splitlines() if line.startswith("#")]
    found = [line for line in lines[lines.index("<diagnoses>:") + 1 :] if line]
    return Counter(re.sub("^rhythm: ", "", line.lower()).strip() for line in found)


def test_the_table_says_what_the_headers_say(real):
    for record, text in ludb.read_diagnoses(real)["diagnoses"].items():
        # the headers leave out that there is a pacemaker where they say how it paces
        said = Counter(text.lower().split(";"))
        del said["pacemaker presence, undefined"]
        assert said == of_header(real / f"{record}.hea"), record


# Predictions


def tiny_model(path, **config):
    torch.manual_seed(0)
    config = asdict(training.TrainingConfig(**config))
    CardioV(SMALL).save_pretrained(path, run={"config": config})
    return CardioV.from_pretrained(path)


@pytest.fixture
def simulated(tmp_path):
    """Records of LUDB's form: lead names in lower case, each lead with a gain and baseline of its own."""
    folder = write_table(tmp_path / "ludb", *RECORDS)
    leads = ["i", "ii", "iii", "avr", "avl", "avf", *(f"v{k}" for k in range(1, 7))]
    for record, *_ in RECORDS:
        write_record(folder, str(record), simulated_signal(seed=record), leads=leads, gain=np.linspace(700, 2300, 12),
                     baseline=np.arange(12))  # fmt: skip
    return folder


def test_predictions_have_a_runs_columns_and_the_labels(simulated, tmp_path):
    table = ludb.predict(tiny_model(tmp_path / "w.safetensors"), simulated, 250)
    run = ["ecg_id", "patient_id", "split", "critical_value", "output_1", "output_2", "output_3", *evaluation.SCORES]
    assert table.columns.tolist() == [*run, "predicted", "age", "sex", "diagnoses", "statements"]
    assert table["ecg_id"].tolist() == table["patient_id"].tolist() == [1, 2, 3, 7]
    assert table["critical_value"].tolist() == [0, 2, 3, 1] and set(table["split"]) == {"external"}
    np.testing.assert_allclose(table[evaluation.SCORES].sum(axis=1), 1, atol=1e-5)
    assert (table[evaluation.SCORES].to_numpy().argmax(axis=1) == table["predicted"]).all()
    intervals = evaluation.bootstrap(table, resamples=20)
    assert 0 <= intervals.loc["mae", "low"] <= intervals.loc["mae", "high"] <= 3


@pytest.mark.parametrize("windows", [{}, {"crop": 5.0, "windows": 3}])
def test_records_are_predicted_as_a_runs_own_from_its_cache(simulated, tmp_path, windows):
    model = tiny_model(tmp_path / "w.safetensors", **windows)
    table = ludb.predict(model, simulated, 250)
    pd.DataFrame({
        "ecg_id": [1, 2, 3, 7], "patient_id": 1, "age": 50, "sex": 0, "scp_codes": "{'NORM': 100.0}", "strat_fold": 10,
        "filename_hr": ["1", "2", "3", "7"], **dict.fromkeys(evaluation.NOISE),
    }).to_csv(simulated / "ptbxl_database.csv", index=False)  # fmt: skip
    cache, metadata = ptbxl.prepare(simulated, tmp_path / "cache", rate=250), ptbxl.read_metadata(simulated)
    config = training.TrainingConfig(**windows)
    expected = training.predict(training.make_fabric(), model, cache, metadata, config)
    columns = ["output_1", "output_2", "output_3", "predicted"]
    pd.testing.assert_frame_equal(table[columns], expected[columns])


def test_real_records_are_predicted(real, tmp_path, monkeypatch):
    three = ludb.read_diagnoses(real).loc[[1, 34, 200]]
    monkeypatch.setattr(ludb, "read_diagnoses", lambda folder: three)
    table = ludb.predict(tiny_model(tmp_path / "w.safetensors"), real, 500)
    assert table["ecg_id"].tolist() == [1, 34, 200] and table["critical_value"].iloc[:2].tolist() == [2, 3]
    assert np.isfinite(table[evaluation.SCORES]).all(axis=None) and table["output_1"].is_unique


def test_weights_that_do_not_say_what_they_are_for_are_refused(simulated, tmp_path):
    CardioV(SMALL).save_pretrained(tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="objective"):
        ludb.predict(CardioV.from_pretrained(tmp_path / "w.safetensors"), simulated, 250)


def test_the_command_writes_what_the_notebook_reads(root, simulated, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ludb, "results_dir", lambda dataset: root / "results" / dataset)
    weights, target = tmp_path / "w.safetensors", root / "results/some/external_ludb.csv"
    model = tiny_model(weights)
    command = ["external", str(simulated), str(weights), str(target)]
    assert command_line.main(command) == 1 and "give it by --rate, in Hz." in capsys.readouterr().err
    with pytest.raises(DataSetError, match="external_ludb.csv is missing: make it by `python -m cardiov external`"):
        ludb.read_external("some")
    assert command_line.main([*command, "--rate", "250"]) == 0
    expected = ludb.predict(model, simulated, 250)
    pd.testing.assert_frame_equal(ludb.read_external("some"), expected)
    model.save_pretrained(weights, run=model.metadata["run"], preprocessing={"rate": 125})
    assert command_line.main(command) == 0
    assert not np.allclose(ludb.read_external("some")["output_1"], expected["output_1"], atol=1e-4)


# Errors by statement


def test_under_called_records_are_counted_against_the_statements_own_value():
    predictions = pd.DataFrame({
        "statements": ["SR;LVH", "SR;LVH;AMI", "SR;LVH", "SR;IRBBB"],
        "critical_value": [2, 3, 2, 1],
        "predicted": [1, 2, 3, 1],
    })  # fmt: skip
    table = ludb.errors_by_statement(predictions)
    assert table.index.tolist() == ["LVH", "AMI", "IRBBB"]  # nothing can be predicted below SR
    assert table["critical_value"].tolist() == [2, 3, 1] and table["records"].tolist() == [3, 1, 1]
    assert table["mean_error"].tolist() == pytest.approx([-1 / 3, -1, 0])
    assert table["under_called"].tolist() == [1, 1, 0]  # the second record is not below LVH's own 2
    assert table["estimate"].tolist() == pytest.approx([1 / 3, 1, 0])
    # Clopper-Pearson of 1 of 1 and 0 of 1: the 2.5 % point of Beta(1, 1)
    assert table.loc["AMI", ["low", "high"]].tolist() == pytest.approx([0.025, 1])
    assert table.loc["IRBBB", ["low", "high"]].tolist() == pytest.approx([0, 0.975])
    assert table.loc["LVH", "low"] == pytest.approx(1 - (1 - 0.025) ** (1 / 3))  # P(at least 1 of 3) = 2.5 %
