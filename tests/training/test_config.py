"""What decides a run: the paper's defaults, choices, and when stored runs count as the same."""

import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_runs import BEYOND, CONFIG

from cardiov.errors import ParameterError
from cardiov.store.files import ROOT
from cardiov.training.batches import training_rows
from cardiov.training.config import VERSION, TrainingConfig, same_run
from cardiov.training.trainer import Trainer


def test_defaults_are_the_papers_settings():
    config = TrainingConfig()
    assert (config.batch_size, config.learning_rate, config.plateau_factor) == (256, 0.001, 0.3)
    assert config.phases == [("classification", 10), ("ordinal", 12)]
    assert replace(config, objective="regression").phases == [("regression", 22)]  # the same budget
    assert config.model == {}


@pytest.mark.parametrize("name", ["objective", "schedule", "label_rule"])
def test_unknown_choices_are_named(name):
    with pytest.raises(ParameterError, match=f"no {name} 'cosine': choose among .*(ordinal|one-cycle|highest-risk)"):
        TrainingConfig(**{name: "cosine"})


def test_what_a_run_would_leave_out_is_refused():
    for settings in ({"statements_weight": 1.0}, {"likelihoods": True}):
        with pytest.raises(ParameterError, match="keeps or weighs statements, which it does not learn first: set statements_epochs"):
            TrainingConfig(**settings)
    with pytest.raises(ParameterError, match="a final fit has no validation loss, .*: take one-cycle"):
        TrainingConfig(final_fit=True)
    with pytest.raises(ParameterError, match="a teacher's probabilities are for the ordinal objective"):
        TrainingConfig(objective="regression", teacher_weight=0.5)


def test_a_smaller_share_of_the_training_patients_is_part_of_a_larger_one(data):
    metadata = data[1]
    rows = {share: training_rows(metadata, replace(CONFIG, train_share=share)) for share in (0.25, 0.5, 1.0)}
    assert [len(found) for found in rows.values()] == [16, 32, 64]  # two records a patient
    assert set(rows[0.25]) < set(rows[0.5]) < set(rows[1.0]) == set(np.flatnonzero(metadata["split"] == "train"))
    assert not metadata["patient_id"].iloc[rows[0.25]].isin(metadata["patient_id"].drop(metadata.index[rows[0.25]])).any()
    other = training_rows(metadata, replace(CONFIG, train_share=0.25, seed=1))
    assert set(other) != set(rows[0.25])


def test_stored_runs_count_as_version_1():
    runs = [json.loads(path.read_text())["run"] for path in ROOT.glob("results/*/runs/*/provenance.json")]
    runs = [run for run in runs if "train_records" in run]  # not a search, which is many runs
    assert runs
    for run in runs:
        plain = {name: value for name, value in run.items() if name not in ("code", "version")}
        assert same_run(run, plain | {"version": 1}) and not same_run(run, plain | {"version": 2})
        assert not same_run(run, plain | {"version": 1, "rate": run["rate"] + 1})


def test_a_field_that_a_stored_run_lacks_has_its_default():
    stored = {"config": asdict(CONFIG), "data": "1", "rate": 100, "version": VERSION}
    del stored["config"]["sync_batch_norm"]
    for config, same in ((CONFIG, True), (replace(CONFIG, sync_batch_norm=True), False), (replace(CONFIG, seed=1), False)):
        assert same_run(stored, stored | {"config": asdict(config)}) == same


def test_stored_weights_of_the_statements_keep_their_name(data):
    cache, metadata = data
    for config, same in ((CONFIG, True), (replace(CONFIG, sync_batch_norm=True), False)):
        of_run = SimpleNamespace(config=replace(config, **BEYOND), cache=cache, metadata=metadata)
        assert (Trainer._statements_key(of_run, 0) == "f6f97b51ed3534eb") == same  # as before that field
