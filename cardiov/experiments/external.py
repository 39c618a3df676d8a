"""The network's predictions of LUDB's records, on none of which any network here is trained."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cardiov.data.ludb import read_diagnoses
from cardiov.ecg.filters import prepare_signal, to_microvolts
from cardiov.ecg.leads import read_ecg
from cardiov.objectives import objective_of
from cardiov.store.files import replacing
from cardiov.training.config import TrainingConfig
from cardiov.training.devices import make_fabric
from cardiov.training.predict import predict as predict_records


def predict(model, folder, rate) -> pd.DataFrame:
    """Predict LUDB's records as the network's own run predicts its test records, at its sampling rate in Hz.

    Returns
    -------
    DataFrame
        As `cardiov.training.predict.predict`, ``split`` "external" and ``patient_id`` the record's number, since each
        record is of another person; and ``age``, ``sex``, ``diagnoses`` and ``statements``.

    Raises
    ------
    CheckpointError
        If the weights do not say what they were trained for.
    DataSetError, StatementError, SignalError
        As `cardiov.data.ludb.read_diagnoses`, or if a record cannot be read.
    """
    objective_of(model)  # else the outputs mean nothing
    config = TrainingConfig(**model.metadata["run"]["config"])
    records = read_diagnoses(folder)
    fabric = make_fabric(config.precision)
    signals = _Signals(Path(folder), records.index.to_numpy(), rate)
    metadata = records.assign(patient_id=records.index, split="test")
    predictions = predict_records(fabric, model.to(fabric.device), signals, metadata, config).assign(split="external")
    return predictions.join(records[["age", "sex", "diagnoses", "statements"]], on="ecg_id")


@dataclass(frozen=True)
class _Signals:
    """LUDB's records as `cardiov.training.predict.predict` reads them from a cache."""

    folder: Path
    ecg_ids: np.ndarray
    rate: float

    def stored(self, rows):
        ecgs = [read_ecg(self.folder / str(ecg_id)) for ecg_id in self.ecg_ids[rows]]
        signals = np.stack([prepare_signal(ecg.signal, ecg.fs, self.rate) for ecg in ecgs])  # (B, 12, n) in mV
        return to_microvolts(signals)[0]


def write_external(table, path) -> Path:
    """Write `predict`'s table, for notebook 16."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    return Path(path)
