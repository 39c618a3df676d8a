"""The network's predictions of LUDB's records; no network here is trained on them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from cardiov.data.ludb import read_diagnoses, read_record
from cardiov.ecg.filters import prepare_signal, to_microvolts
from cardiov.experiments.runs import weights_path
from cardiov.objectives import objective_of
from cardiov.store.results import chosen_run, run_dir, shipped_path
from cardiov.training.config import TrainingConfig
from cardiov.training.devices import make_fabric
from cardiov.training.predict import predict as predict_records

RULES = {"most-likely": "ordinal", "highest-risk": "label-highest-risk"}  # runs that differ in the rule of their labels alone


def networks(dataset: str) -> dict[str | None, Path]:
    """Weights of the shipped network (None) and, by label rule, of the run that fold 9 chooses, if they are here.

    Weights of runs are not committed; what such a network has predicted is.
    """
    stored = {rule: name for rule, name in RULES.items() if any(run_dir(dataset, "").glob(f"{name}-*/predictions.csv"))}
    paths = {rule: weights_path(dataset, chosen_run(dataset, name)) for rule, name in stored.items()}
    return {None: shipped_path(dataset)} | {rule: path for rule, path in paths.items() if path.exists()}


def predict(model, folder) -> pd.DataFrame:
    """Predict LUDB's records as the network's own run predicts its test records, at the run's sampling rate.

    A `CheckpointError` if the weights do not say what they were trained for.

    Returns
    -------
    DataFrame
        As `cardiov.training.predict.predict`, ``split`` "external" and ``patient_id`` the record's number, since each
        record is of another person; and ``age``, ``sex``, ``diagnoses`` and ``statements``.
    """
    objective_of(model)  # else the outputs mean nothing
    rate, config = model.metadata["run"]["rate"], TrainingConfig(**model.metadata["run"]["config"])
    records = read_diagnoses(folder)

    def stored(rows):  # as from a cache: (B, 12, n) in µV
        ecgs = [read_record(folder, ecg_id) for ecg_id in records.index[rows]]
        return to_microvolts(np.stack([prepare_signal(ecg.signal, ecg.fs, rate) for ecg in ecgs]))[0]

    cache, fabric = SimpleNamespace(rate=rate, stored=stored), make_fabric()
    metadata = records.assign(patient_id=records.index, split="test")
    predictions = predict_records(fabric, model.to(fabric.device), cache, metadata, config).assign(split="external")
    return predictions.join(records[["age", "sex", "diagnoses", "statements"]], on="ecg_id")
