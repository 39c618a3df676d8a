"""Training: cross-entropy first, then the ordinal loss, as the paper says; classification and regression beside it.

Defaults are the paper's settings where it states them, else the authors' code's (reproduction.md): Adam at 0.001 with
weight decay 0.001, batches of 256, 10 epochs of cross-entropy and 12 of the objective, the learning rate times 0.3
when the validation loss stops improving. Lightning Fabric carries precision, device and number of processes: each of
these takes every so many-th piece of a batch, whole, so that batch norm sees the same records however many they are.

Where it differs from the authors' code: batches are shuffled, the network is trained on logits in both steps (theirs
has a sigmoid inside), the plateau schedule really sees the validation loss, and the weights kept are those of the
epoch with the lowest validation loss of the last step.

What goes beyond the paper is off by default: learning all 71 statements first, other ordinal losses, crops and
augmentation, averaged weights, batch norm's statistics estimated anew, predictions averaged over windows.
"""

import json
import time
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch

from cardiov.processes import together
from cardiov.store.files import check_writable, replacing
from cardiov.store.provenance import provenance
from cardiov.training.batches import data_digest, training_rows
from cardiov.training.config import VERSION, same_run
from cardiov.training.predict import predict
from cardiov.training.trainer import Trainer


def fit(config, cache, metadata, weights_dir, run_dir):
    """Train one network, or finish the training that was interrupted, and leave all that a paper needs of it.

    Parameters
    ----------
    config : TrainingConfig
    cache, metadata : cardiov.data.cache.Cache, pandas.DataFrame
        Signals, (N, 12, n), and the rows of `cardiov.data.ptbxl.read_metadata` in the order of the cache.
    weights_dir, run_dir : Path
        Get weights and, while training, a checkpoint; and predictions (validation, test), history and provenance.

    Returns
    -------
    pandas.DataFrame
        The history: one row per epoch. A finished run of the same configuration, data and version is not repeated.

    Raises
    ------
    CheckpointError
        If the checkpoint found is of another configuration, data set or version.
    StorageError, WorkerError
        If there is no space or permission to write, or another process of this training is lost.
    """
    weights_dir, run_dir = Path(weights_dir), Path(run_dir)
    if config.label_rule == "highest-risk":
        metadata = metadata.assign(critical_value=metadata["critical_value_highest_risk"])
    identity = _identity(config, cache, metadata)
    if _finished(identity, weights_dir, run_dir):
        return pd.read_csv(run_dir / "history.csv")
    check_writable(weights_dir, run_dir)
    started, about = time.time(), provenance()
    trainer = Trainer(config, cache, metadata, weights_dir / "checkpoint.pt", identity)
    model, history = trainer.run()
    predictions = predict(trainer.fabric, model, cache, metadata, config)
    if trainer.fabric.is_global_zero:
        about = {"run": identity, "seconds": round(time.time() - started, 1), **about, **_gpu(trainer.fabric.device)}
        _write_run(about, model, history, predictions, weights_dir, run_dir)
    with together():
        trainer.fabric.barrier()
    return history


def _gpu(device):
    return {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}


def _identity(config, cache, metadata):
    """What decides a run: equal identities give equal runs."""
    data = {"data": data_digest(cache, metadata, config.phases), "rate": cache.rate}
    data["train_records"] = len(training_rows(metadata, config))
    return {"config": asdict(config), **data, "version": VERSION}


def _finished(identity, weights_dir, run_dir):
    """Whether a whole run of this identity is there already."""
    written = [weights_dir / "weights.safetensors", run_dir / "predictions.csv", run_dir / "history.csv"]
    if not all(path.exists() for path in [*written, run_dir / "provenance.json"]):
        return False
    stored = json.loads((run_dir / "provenance.json").read_text()).get("run", {})
    return same_run(stored, json.loads(json.dumps(identity)))


def _write_run(about, model, history, predictions, weights_dir, run_dir):
    """Write the run's files; provenance comes last and stands for all of them."""
    (run_dir / "provenance.json").unlink(missing_ok=True)
    model.save_pretrained(weights_dir / "weights.safetensors", run=about["run"])
    for name, table in (("history", history), ("predictions", predictions)):
        with replacing(run_dir / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    with replacing(run_dir / "provenance.json") as temporary:
        temporary.write_text(json.dumps(about, indent=2) + "\n")
    (weights_dir / "checkpoint.pt").unlink(missing_ok=True)
