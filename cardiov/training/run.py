"""A training run: cross-entropy first, then the ordinal loss, as in the paper; the other objectives take one step.

The defaults of `TrainingConfig` are the paper's settings, or the authors' code's where the paper is silent.
Training differs from the authors' code in this:

- batches are shuffled;
- both steps train on logits, where theirs have a sigmoid inside;
- the plateau schedule sees the validation loss;
- the weights kept are those of the epoch with the lowest validation loss of the last step.
"""

import json
import time
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch

from cardiov.store.files import check_writable, write_note
from cardiov.store.provenance import provenance
from cardiov.store.results import write_table
from cardiov.training.batches import data_digest, training_rows
from cardiov.training.config import VERSION, same_run
from cardiov.training.predict import predict
from cardiov.training.processes import exchanging
from cardiov.training.trainer import Trainer


@exchanging()
def fit(config, cache, metadata, weights_dir, run_dir, on_epoch=lambda count: None):
    """Train one network or finish an interrupted training, in all processes of torchrun; a finished run is not repeated.

    Parameters
    ----------
    config : TrainingConfig
    cache : cardiov.data.cache.Cache
        Signals, (N, 12, n).
    metadata : pandas.DataFrame
        Of `cardiov.data.ptbxl.read_metadata`, in the order of the cache.
    weights_dir, run_dir : path
        For weights.safetensors and the checkpoint; for predictions.csv, history.csv and provenance.json.
    on_epoch : callable
        Is told the number of epochs that the run has behind it, after each.

    Returns
    -------
    pandas.DataFrame
        The history: one row per epoch.

    Raises
    ------
    CheckpointError, ParameterError, StorageError, WorkerError
    """
    weights_dir, run_dir = Path(weights_dir), Path(run_dir)
    if config.label_rule == "highest-risk":
        metadata = metadata.assign(critical_value=metadata["critical_value_highest_risk"])
    identity = _identity(config, cache, metadata)
    if _finished(identity, run_dir):
        return pd.read_csv(run_dir / "history.csv")
    check_writable(weights_dir, run_dir)
    started, made_by = time.time(), provenance()
    trainer = Trainer(config, cache, metadata, weights_dir / "checkpoint.pt", identity, on_epoch)
    model, history = trainer.run()
    if trainer.fabric.is_global_zero:
        predictions = predict(trainer.fabric, model, cache, metadata, config)
        seconds = round(time.time() - started, 1)
        used = {"precision": trainer.precision, **_gpu(trainer.fabric.device)}
        described = {"run": identity, "seconds": seconds, **made_by, **used}
        _write_run(described, model, history, predictions, weights_dir, run_dir)
    trainer.fabric.barrier()
    return history


def _gpu(device):
    return {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}


def _identity(config, cache, metadata):
    """What decides a run: equal identities give equal runs."""
    data = {"data": data_digest(cache, metadata, config.phases), "rate": cache.rate}
    data["train_records"] = len(training_rows(metadata, config))
    return {"config": asdict(config), **data, "version": VERSION}


def _finished(identity, run_dir):
    """Whether the results of a run of this identity are there already; its weights are not needed for the analysis."""
    if not all((run_dir / name).exists() for name in ("predictions.csv", "history.csv", "provenance.json")):
        return False
    stored = json.loads((run_dir / "provenance.json").read_text()).get("run", {})
    return same_run(stored, json.loads(json.dumps(identity)))


def _write_run(described, model, history, predictions, weights_dir, run_dir):
    """Write the run's files; provenance comes last and stands for all of them."""
    (run_dir / "provenance.json").unlink(missing_ok=True)
    model.save_pretrained(weights_dir / "weights.safetensors", run=described["run"])
    for name, table in (("history", history), ("predictions", predictions)):
        write_table(table.reset_index(drop=True), run_dir / f"{name}.csv")
    write_note(run_dir / "provenance.json", described)
    (weights_dir / "checkpoint.pt").unlink(missing_ok=True)
