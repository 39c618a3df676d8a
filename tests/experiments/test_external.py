"""Predictions of LUDB's records."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch
from ecg_files import simulated_signal, write_record
from ludb_files import RECORDS, unpack_ludb, write_table

from cardiov.__main__ import main
from cardiov.analysis.cases import NOISE
from cardiov.analysis.metrics import SCORES, constant
from cardiov.analysis.resampling import bootstrap, bootstrap_difference
from cardiov.data import ludb, ptbxl
from cardiov.data.cache import prepare
from cardiov.errors import CheckpointError, DataSetError
from cardiov.experiments import external
from cardiov.experiments.external import predict
from cardiov.experiments.runs import weights_path
from cardiov.model import CardioV, CardioVConfig
from cardiov.store import results
from cardiov.store.files import ROOT
from cardiov.training.config import TrainingConfig
from cardiov.training.devices import make_fabric
from cardiov.training.predict import predict as predict_records

SMALL = CardioVConfig(stem_width=16, widths=(16, 16, 16, 16, 16, 32, 32), depths=(1,) * 7)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """LUDB's table and headers, and the signals of three records."""
    return unpack_ludb(tmp_path_factory.mktemp("ludb"), (".hea", "/ludb.csv", "/1.dat", "/34.dat", "/200.dat"))


def tiny_model(path, rate=250, **config):
    torch.manual_seed(0)
    config = asdict(TrainingConfig(**config))
    CardioV(SMALL).save_pretrained(path, run={"config": config, "rate": rate})
    return CardioV.from_pretrained(path)


@pytest.fixture
def simulated(tmp_path):
    """Records of LUDB's form: lead names in lower case, stored in µV."""
    folder = write_table(tmp_path / "ludb", *RECORDS)
    leads = ["i", "ii", "iii", "avr", "avl", "avf", *(f"v{k}" for k in range(1, 7))]
    for record, *_ in RECORDS:
        write_record(folder, str(record), simulated_signal(seed=record), leads=leads, gain=1000)
    return folder


def test_predictions_have_a_runs_columns_and_the_labels(simulated, tmp_path):
    table = predict(tiny_model(tmp_path / "w.safetensors"), simulated)
    run = ["ecg_id", "patient_id", "split", "critical_value", "output_1", "output_2", "output_3", *SCORES]
    assert table.columns.tolist() == [*run, "predicted", "age", "sex", "diagnoses", "statements"]
    assert table["ecg_id"].tolist() == table["patient_id"].tolist() == [1, 2, 3, 7]
    assert table["critical_value"].tolist() == [0, 2, 3, 1] and set(table["split"]) == {"external"}
    np.testing.assert_allclose(table[SCORES].sum(axis=1), 1, atol=1e-5)
    assert (table[SCORES].to_numpy().argmax(axis=1) == table["predicted"]).all()
    intervals = bootstrap(table, resamples=20)
    assert 0 <= intervals.loc["mae", "low"] <= intervals.loc["mae", "high"] <= 3


@pytest.mark.parametrize("windows", [{}, {"crop": 5.0, "windows": 3}])
def test_records_are_predicted_as_a_runs_own_from_its_cache(simulated, tmp_path, windows):
    model = tiny_model(tmp_path / "w.safetensors", **windows)
    table = predict(model, simulated)
    pd.DataFrame({
        "ecg_id": [1, 2, 3, 7], "patient_id": 1, "age": 50, "sex": 0, "scp_codes": "{'NORM': 100.0}", "strat_fold": 10,
        "filename_hr": ["1", "2", "3", "7"], **dict.fromkeys(NOISE),
    }).to_csv(simulated / "ptbxl_database.csv", index=False)  # fmt: skip
    cache, metadata = prepare(simulated, tmp_path / "cache", rate=250), ptbxl.read_metadata(simulated)
    config = TrainingConfig(**windows)
    expected = predict_records(make_fabric(), model, cache, metadata, config)
    columns = ["output_1", "output_2", "output_3", "predicted"]
    pd.testing.assert_frame_equal(table[columns], expected[columns])


def test_real_records_are_predicted(real, tmp_path, monkeypatch):
    three = ludb.read_diagnoses(real).loc[[1, 34, 200]]
    monkeypatch.setattr(external, "read_diagnoses", lambda folder: three)
    table = predict(tiny_model(tmp_path / "w.safetensors", 500), real)
    assert table["ecg_id"].tolist() == [1, 34, 200] and table["critical_value"].iloc[:2].tolist() == [2, 3]
    assert np.isfinite(table[SCORES]).all(axis=None) and table["output_1"].is_unique


def test_stored_predictions_are_those_of_the_network_in_the_package(real, monkeypatch):
    three = ludb.read_diagnoses(real).loc[[1, 34, 200]]
    monkeypatch.setattr(external, "read_diagnoses", lambda folder: three)
    model = CardioV.from_pretrained()
    stored = results.read_external(model.metadata["dataset"]).set_index("ecg_id").loc[[1, 34, 200]]
    table = predict(model, real)
    np.testing.assert_allclose(table[SCORES], stored[SCORES], atol=1e-3)


def test_what_the_page_on_scoring_says_of_another_hospital_is_what_is_stored():
    stored = results.read_external("ptbxl-sample")
    difference = bootstrap_difference(stored, constant(stored, 2)).loc["mae"]
    page = " ".join((ROOT / "docs/scoring.md").read_text(encoding="utf-8").split())
    claim = "there, a rule that calls every ECG a 2 has a lower mean absolute error" in page
    assert claim == (difference["low"] > 0)


def test_weights_that_do_not_say_what_they_are_for_are_refused(simulated, tmp_path):
    CardioV(SMALL).save_pretrained(tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="objective"):
        predict(CardioV.from_pretrained(tmp_path / "w.safetensors"), simulated)


def test_the_command_writes_what_the_notebook_reads(root, simulated, tmp_path, capsys):
    command = ["external", "no/data", "some", "no/params", "--ludb", str(simulated)]
    assert main(command) == 1 and "shipped.safetensors: no readable" in capsys.readouterr().err
    with pytest.raises(DataSetError, match="external_ludb.csv is missing: predict LUDB's records first"):
        results.read_external("some")
    for rate in (125, 250):
        model = tiny_model(results.shipped_path("some"), rate)
        assert main(command) == 0
        assert capsys.readouterr().out == f"{root}/results/some/external_ludb.csv\n"
        pd.testing.assert_frame_equal(results.read_external("some"), predict(model, simulated))


def test_networks_that_differ_in_the_rule_of_their_labels_predict_too_if_their_weights_are_here(root, simulated, capsys):
    tiny_model(results.shipped_path("some"))
    for name, losses in {"ordinal": (0.5,), "label-highest-risk": (0.5, 0.4)}.items():
        for seed, loss in enumerate(losses):
            folder = results.run_dir("some", f"{name}-{seed}")
            results.write_table(pd.DataFrame({"phase": ["ordinal"], "validation_loss": [loss]}), folder / "history.csv")
            results.write_table(pd.DataFrame({"ecg_id": [1]}), folder / "predictions.csv")
    assert list(external.networks("some")) == [None]
    tiny_model(weights_path("some", "label-highest-risk-0"))
    assert list(external.networks("some")) == [None]  # fold 9 chooses the other seed
    model = tiny_model(weights_path("some", "label-highest-risk-1"), 125)
    tiny_model(weights_path("some", "ordinal-0"))
    assert main(["external", "no/data", "some", "no/params", "--ludb", str(simulated)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{root}/results/some/{name}.csv" for name in ("external_ludb", "external_ludb_most_likely", "external_ludb_highest_risk")
    ]
    pd.testing.assert_frame_equal(results.read_external("some", "highest-risk"), predict(model, simulated))
