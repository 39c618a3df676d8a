"""The phases of one training run, with a checkpoint after each epoch."""

import hashlib
import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cardiov.errors import CheckpointError, ParameterError
from cardiov.store.files import locked, replacing
from cardiov.training.batches import data_digest, training_rows
from cardiov.training.config import STATEMENTS, VERSION, completed, same_run, statements_settings
from cardiov.training.devices import chosen_precision, make_fabric
from cardiov.training.phase import Phase


class Trainer:
    """One training run; `identity` is what decides it."""

    def __init__(self, config, cache, metadata, checkpoint, identity, on_epoch):
        self.config, self.cache, self.checkpoint, self.identity = config, cache, Path(checkpoint), identity
        self.metadata, self.on_epoch = metadata, on_epoch
        validation = [] if config.final_fit else np.flatnonzero(metadata["split"] == "validation")
        self.rows = {"train": training_rows(metadata, config), "validation": validation}
        self.precision = chosen_precision(config.precision)
        self.fabric = make_fabric(self.precision)
        self._check_processes()
        self.history, self.body = [], None  # body: the weights, but for the head, that the next phase starts from

    def _check_processes(self):
        processes, records = self.fabric.world_size, min(self.config.batch_size, len(self.rows["train"]))
        if processes > records:
            raise ParameterError(f"{processes} processes cannot share a batch of {records} records: start fewer processes.")
        if processes > 1 and self.config.sync_batch_norm and self.fabric.device.type == "cpu":
            raise ParameterError("sync_batch_norm needs a GPU for each process: set it to false, or start one process.")

    def run(self):
        """Train every phase; the network with the best weights of the last one, and the history."""
        saved = self._load()
        first = saved["phase"] if saved else 0
        if saved:
            self.history, self.body = saved["history"], saved["body"]
        for phase in range(first, len(self.config.phases)):
            train = self._statements_phase if self.config.phases[phase][0] == STATEMENTS else self._train_phase
            model = train(phase, saved if phase == first else None)
        return model, pd.DataFrame(self.history)

    def _statements_phase(self, phase, saved):
        """The auxiliary task, or its weights where another run has learned it alike."""
        path = self.checkpoint.parent.parent / "statements" / f"{self._statements_key(phase)}.safetensors"
        # one process takes the lock for all, because they train together
        with locked(path) if self.fabric.is_global_zero else nullcontext():
            if not self.fabric.broadcast(path.exists()):
                self._train_phase(phase, saved)
                if self.fabric.is_global_zero:
                    with replacing(path) as temporary:
                        save_file(self.body, temporary, {"history": json.dumps(self.history)})
        self.fabric.barrier()
        with safe_open(path, framework="pt") as file:
            self.history = json.loads(file.metadata()["history"])
            self.body = {name: file.get_tensor(name) for name in file.keys()}
        self.on_epoch(len(self.history))

    def _statements_key(self, phase):
        data = data_digest(self.cache, self.metadata, self.config.phases[phase : phase + 1])
        return hashlib.sha256(json.dumps([statements_settings(self.config), data, VERSION]).encode()).hexdigest()[:16]

    def _train_phase(self, number, saved):
        phase = Phase(self, number)
        best, start = {"loss": float("inf")}, 0
        if saved:
            phase.resume(saved)
            best, start = saved["best"], saved["epoch"] + 1
        for epoch in range(start, phase.epochs):
            began = time.time()
            train_loss = phase.epoch(epoch)
            kept = phase.settled()
            loss = phase.validate(kept)
            if loss < best["loss"] or self.config.final_fit:
                best = {"loss": loss, "state": _copy(kept.state_dict())}
            row = {"phase": phase.objective, "epoch": epoch + 1, "train_loss": train_loss, "validation_loss": loss}
            row["learning_rate"] = phase.optimizer.param_groups[0]["lr"]
            self.history.append({**row, "seconds": round(time.time() - began, 1)})
            self._save(number, epoch, phase.state, best)
            self.on_epoch(len(self.history))
            losses = f"train {train_loss:.4f}, validation {loss:.4f}"
            self.fabric.print(f"{phase.objective} epoch {epoch + 1}/{phase.epochs}: {losses}", file=sys.stderr)
        phase.model.load_state_dict(best["state"])
        self.body = _copy(phase.body())
        return phase.model

    def _save(self, phase, epoch, state, best):
        if not self.fabric.is_global_zero:
            return
        saved = {"identity": self.identity, "phase": phase, "epoch": epoch, "best": best}
        saved |= {"history": self.history, "body": self.body} | {name: part.state_dict() for name, part in state.items()}
        with replacing(self.checkpoint) as temporary:
            torch.save(saved, temporary)

    def _load(self):
        """The checkpoint of this run, if there is one."""
        if not self.checkpoint.exists():
            return None
        try:
            saved = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            stored = saved["identity"]
        except Exception as error:  # torch raises many kinds for a damaged file
            raise CheckpointError(
                f"{self.checkpoint}: the checkpoint cannot be read ({type(error).__name__}); delete it to train again."
            ) from error
        if not same_run(stored, self.identity):
            raise CheckpointError(
                f"{self.checkpoint}: the checkpoint was made with {_difference(stored, self.identity)}; "
                "restore that to resume it, or delete the file to train again."
            )
        return saved


def _difference(stored, identity):
    """What sets two runs apart, in words."""
    named = {"data": "data digest", "version": "version of the training code"}
    flat = [run["config"] | {words: run.get(key) for key, words in named.items()} for run in map(completed, (stored, identity))]
    changed = [name for name in flat[1] if flat[0].get(name) != flat[1][name]]
    return ", ".join(f"{name} {flat[0].get(name)} instead of {flat[1][name]}" for name in changed)


def _copy(state):
    return {name: value.detach().cpu().clone() for name, value in state.items()}
