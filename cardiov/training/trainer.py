"""The state of one training run: phases, epochs, and the checkpoint after each epoch."""

import hashlib
import json
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cardiov.errors import CheckpointError
from cardiov.processes import together
from cardiov.store.files import locked, replacing
from cardiov.training.batches import data_digest, training_rows
from cardiov.training.config import AFTER_STATEMENTS, STATEMENTS, VERSION, same_run
from cardiov.training.exchange import make_fabric
from cardiov.training.phase import Phase


class Trainer:
    """The state of one training run: phases, epochs, and the checkpoint after each epoch."""

    def __init__(self, config, cache, metadata, checkpoint, identity):
        self.config, self.cache, self.checkpoint, self.identity = config, cache, Path(checkpoint), identity
        self.metadata = metadata
        validation = np.flatnonzero(metadata["split"] == "validation")
        self.rows = {"train": training_rows(metadata, config), "validation": validation}
        self.fabric = make_fabric(config.precision)
        pieces = -(-config.batch_size // config.micro_batch)
        if self.fabric.world_size > pieces:
            self.fabric.print(f"a batch has {pieces} pieces (of micro_batch), so further processes have no share in its steps")
        self.history, self.body = [], None  # body: the state dictionary that the next phase starts from

    def run(self):
        """Train every phase; return the model with the best weights of the last one, and the history."""
        saved = self._load()
        first = saved["phase"] if saved else 0
        self.history = saved["history"] if saved else []
        self.body = saved["body"] if saved else None
        for phase in range(first, len(self.config.phases)):
            train = self._statements_phase if self.config.phases[phase][0] == STATEMENTS else self._train_phase
            model = train(phase, saved if phase == first else None)
        return model, pd.DataFrame(self.history)

    def _statements_phase(self, phase, saved):
        """The auxiliary task, taken over where another run has learned it alike."""
        path = self.checkpoint.parent.parent / "statements" / f"{self._statements_key(phase)}.safetensors"
        # one process of a run takes the lock for all: the others must not wait for it, for they train together
        with locked(path) if self.fabric.is_global_zero else nullcontext():
            with together():
                known = self.fabric.broadcast(path.exists())
            if not known:
                self._train_phase(phase, saved)
                if self.fabric.is_global_zero:
                    with replacing(path) as temporary:
                        save_file(self.body, temporary, {"history": json.dumps(self.history)})
        with together():
            self.fabric.barrier()
        with safe_open(path, framework="pt") as file:
            self.history = json.loads(file.metadata()["history"])
            self.body = {name: file.get_tensor(name) for name in file.keys()}

    def _statements_key(self, phase):
        config = {name: value for name, value in asdict(self.config).items() if name not in AFTER_STATEMENTS}
        data = data_digest(self.cache, self.metadata, self.config.phases[phase : phase + 1])
        return hashlib.sha256(json.dumps([config, data, VERSION]).encode()).hexdigest()[:16]

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
            if loss < best["loss"]:
                best = {"loss": loss, "state": _copy(kept.state_dict())}
            row = {"phase": phase.objective, "epoch": epoch + 1, "train_loss": train_loss, "validation_loss": loss}
            row["learning_rate"] = phase.optimizer.param_groups[0]["lr"]
            self.history.append({**row, "seconds": round(time.time() - began, 1)})
            self._save(number, epoch, phase.state, best)
            said = f"train {train_loss:.4f}, validation {loss:.4f}"
            self.fabric.print(f"{phase.objective} epoch {epoch + 1}/{phase.epochs}: {said}")
        phase.model.load_state_dict(best["state"])
        state = _copy(phase.model.state_dict())
        self.body = {name: value for name, value in state.items() if not name.startswith("head.")}
        return phase.model

    def _save(self, phase, epoch, state, best):
        if not self.fabric.is_global_zero:
            return
        saved = {"identity": self.identity, "phase": phase, "epoch": epoch, "best": best}
        saved |= {"history": self.history, "body": self.body} | {name: part.state_dict() for name, part in state.items()}
        with replacing(self.checkpoint) as temporary:
            torch.save(saved, temporary)

    def _load(self):
        """The checkpoint of this very run, or None where there is none."""
        if not self.checkpoint.exists():
            return None
        try:
            saved = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            theirs = saved["identity"]
        except Exception as error:  # torch raises many kinds for a damaged file
            raise CheckpointError(
                f"{self.checkpoint}: the checkpoint cannot be read ({type(error).__name__}); delete it to train anew."
            ) from error
        if not same_run(theirs, self.identity):
            raise CheckpointError(
                f"{self.checkpoint}: the checkpoint was made with {_difference(theirs, self.identity)}; "
                "restore that to resume it, or delete the file to train anew."
            )
        return saved


def _difference(theirs, ours):
    """Say in words what sets two runs apart."""
    named = {"data": "data digest", "version": "version of the training code"}
    flat = [run["config"] | {words: run.get(key) for key, words in named.items()} for run in (theirs, ours)]
    changed = [name for name in flat[1] if flat[0].get(name) != flat[1][name]]
    return ", ".join(f"{name} {flat[0].get(name)} instead of {flat[1][name]}" for name in changed)


def _copy(state):
    return {name: value.detach().cpu().clone() for name, value in state.items()}
