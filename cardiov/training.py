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

import ast
import functools
import hashlib
import json
import logging
import os
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from safetensors import safe_open
from safetensors.torch import save_file
from torch import distributed, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from cardiov import mapping
from cardiov.accelerator import compile_for, signals_of
from cardiov.augmentation import augment, random_crop
from cardiov.devices import PATIENCE, launched, together
from cardiov.errors import CheckpointError, ParameterError
from cardiov.model import CardioV, CardioVConfig
from cardiov.ordinal import OBJECTIVES, decode_outputs
from cardiov.results import check_writable, locked, provenance, replacing

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
# the code that decides a run, given its signals and labels
SOURCES = ("model.py", "ordinal.py", "training.py", "augmentation.py", "accelerator.py")
MOMENTUM = nn.BatchNorm2d(1).momentum
STATEMENTS = "statements"  # the auxiliary task: which of the 71 statements does the record have?
# fields that the auxiliary task does not depend on
AFTER_STATEMENTS = ("objective", "label_rule", "pretrain_epochs", "finetune_epochs", "finetune_rate", "windows")


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a run besides data and code; every departure from the paper is a field here."""

    objective: str = "ordinal"  # or another of `cardiov.ordinal.OBJECTIVES`
    seed: int = 0  # of the initial weights, the order of the records, dropout and augmentation
    label_rule: str = "most-likely"  # or "highest-risk", see `cardiov.mapping.critical_value`
    train_share: float = 1.0  # of the training patients, drawn by the seed; a smaller share is part of a larger one
    statements_epochs: int = 0  # of the 71 statements, before everything else
    pretrain_epochs: int = 10  # of cross-entropy, before the ordinal loss
    finetune_epochs: int = 12  # of the ordinal loss; the other objectives get both numbers added
    batch_size: int = 256  # records an optimiser step, over all processes
    micro_batch: int = 32  # records at once, which is what batch norm sees; gradients are accumulated up to batch_size
    learning_rate: float = 1e-3
    finetune_rate: float = 0.0  # learning rate of the last step; 0 for the same
    weight_decay: float = 1e-3  # of Adam, as in the authors' code; the paper says "weight normalization"
    schedule: str = "plateau"  # or "one-cycle"
    plateau_factor: float = 0.3
    plateau_patience: int = 2  # epochs without a better validation loss; the paper gives no number
    precision: str = "32-true"  # Fabric's names, such as "bf16-mixed" where the processor has bfloat16
    crop: float = 0.0  # seconds of each record, at a random place, that a training step sees; 0 for all
    augment: dict = field(default_factory=dict)  # amounts of `cardiov.augmentation.AUGMENTATIONS`
    average: float = 0.0  # decay a step of the moving average of the weights, which is then what is kept; 0 for none
    settle: int = 0  # training records by which batch norm's statistics are estimated anew after each epoch
    windows: int = 1  # stretches of the crop's length, evenly spread, over which a prediction is averaged; 1: the record
    model: dict = field(default_factory=dict)  # fields of CardioVConfig other than outputs

    def __post_init__(self):
        choices = {"objective": OBJECTIVES, "schedule": ("plateau", "one-cycle"), "label_rule": mapping.RULES}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ParameterError(f"there is no {name} {getattr(self, name)!r}: choose among {', '.join(known)}.")

    @property
    def phases(self):
        """Training steps as (objective, epochs), in order."""
        steps = [(STATEMENTS, self.statements_epochs)]
        if self.objective == "ordinal":
            steps += [("classification", self.pretrain_epochs), ("ordinal", self.finetune_epochs)]
        else:
            steps += [(self.objective, self.pretrain_epochs + self.finetune_epochs)]
        return [step for step in steps if step[1]]


class _SideBySide(DDPStrategy):
    """Processes with a plain network each: `_Trainer` adds up what they found, however many pieces each had."""

    def setup_module(self, module):
        return module


def make_fabric(precision="32-true"):
    """Fabric on the processes that were launched (`cardiov.devices`), or on one; a GPU is taken where there is one."""
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    nodes = int(os.environ.get("WORLD_SIZE", 1)) // devices
    if torch.cuda.is_available() and devices > torch.cuda.device_count():
        raise ParameterError(
            f"{devices} processes cannot share the GPUs of this machine, {torch.cuda.device_count()}, in training: start as "
            "many as there are GPUs."
        )
    strategy = _SideBySide(timeout=PATIENCE) if devices * nodes > 1 else "auto"
    torch.backends.cudnn.allow_tf32 = False  # single precision is what it says; speed comes from "bf16-mixed"
    torch.backends.cudnn.deterministic = True  # equal runs give equal networks on a GPU too
    os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")  # else NCCL ends a process where `together` would tell why
    fabric = Fabric(accelerator="auto", devices=devices, num_nodes=nodes, strategy=strategy, precision=precision)
    fabric.launch()
    return fabric


def fit(config, cache, metadata, weights_dir, run_dir):
    """Train one network, or finish the training that was interrupted, and leave all that a paper needs of it.

    Parameters
    ----------
    config : TrainingConfig
    cache : ptbxl.Cache
        Signals, (N, 12, n) in mV.
    metadata : pandas.DataFrame
        Of `ptbxl.read_metadata`, one row for each record of the cache in its order.
    weights_dir : Path
        Gets `weights.safetensors` and, while training, `checkpoint.pt`.
    run_dir : Path
        Gets `predictions.csv` (validation and test records), `history.csv` and `provenance.json`.

    Returns
    -------
    pandas.DataFrame
        The history: one row an epoch. A run that is finished already, by the same configuration, data and code, is
        not repeated.

    Raises
    ------
    CheckpointError
        If the checkpoint found is of another configuration, data set or code.
    StorageError
        If there is no space, or no permission, to write in either folder.
    WorkerError
        If another process of this training is lost.
    """
    weights_dir, run_dir = Path(weights_dir), Path(run_dir)
    if config.label_rule == "highest-risk":
        metadata = metadata.assign(critical_value=metadata["critical_value_highest_risk"])
    identity = _identity(config, cache, metadata)
    if _finished(identity, weights_dir, run_dir):
        return pd.read_csv(run_dir / "history.csv")
    check_writable(weights_dir, run_dir)
    started, about = time.time(), provenance()
    trainer = _Trainer(config, cache, metadata, weights_dir / "checkpoint.pt", identity)
    model, history = trainer.run()
    predictions = predict(trainer.fabric, model, cache, metadata, config)
    if trainer.fabric.is_global_zero:
        about = {"run": identity, "seconds": round(time.time() - started, 1), **about}
        if trainer.fabric.device.type == "cuda":
            about["gpu"] = torch.cuda.get_device_name(trainer.fabric.device)
        _write_run(about, model, history, predictions, weights_dir, run_dir)
    with together():
        trainer.fabric.barrier()
    return history


def predict(fabric, model, cache, metadata, config):
    """Per-record predictions of the validation and test records.

    Returns
    -------
    pandas.DataFrame
        ecg_id, patient_id, split, critical_value (the label), output_1... (logits), p0 to p3 and predicted. p0 to p3
        are Eq. 6's for the ordinal network (and may be negative), the softmax for classification, and -|value - k| for
        regression, which is a score to rank by and no probability.
    """
    rows = np.flatnonzero(metadata["split"].isin(["validation", "test"]))
    model.eval()
    outputs = []
    parts = _pieces(rows, config.micro_batch)
    with torch.inference_mode(), fabric.autocast():
        for x in signals_of(cache, parts, fabric.device):
            x = x.to(model.head.weight)  # (B, 12, n)
            windows = _windows(x, round(config.crop * cache.rate), config.windows)
            outputs.append(torch.stack([model(window).float() for window in windows]).mean(0).cpu())
    return tabulate(metadata.iloc[rows], torch.cat(outputs), config.objective)


def _pieces(rows, size):
    """Rows cut into as few pieces of at most `size` as there can be, as even as they can be."""
    return np.array_split(rows, -(-len(rows) // size))


def _windows(x, length, count):
    """`count` stretches of `length` samples, evenly spread over the records (B, 12, n); for one, the whole records."""
    if count == 1:
        return [x]
    starts = torch.linspace(0, x.shape[-1] - length, count).round().int()
    return [x[..., start : start + length] for start in starts]


def tabulate(metadata, outputs, objective):
    """The table of predictions (see `predict`) from the network's outputs, (N, m)."""
    scores, predicted = decode_outputs(outputs, objective)
    table = metadata.reset_index()[["ecg_id", "patient_id", "split", "critical_value"]].copy()
    for i in range(outputs.shape[1]):
        table[f"output_{i + 1}"] = outputs[:, i].double().numpy().round(6)
    for k in range(4):
        table[f"p{k}"] = scores[:, k].double().numpy().round(6)
    table["predicted"] = predicted.numpy()
    return table


def _identity(config, cache, metadata):
    """What decides a run: equal identities give equal runs."""
    data = {"data": _data_digest(cache, metadata, config.phases), "rate": cache.rate}
    data["train_records"] = len(_training_rows(metadata, config))
    return {"config": asdict(config), **data, "code": source_digest()}


def _data_digest(cache, metadata, phases):
    """Digest of signals, splits and the labels of these phases."""
    columns = {"scp_codes" if objective == STATEMENTS else "critical_value" for objective, _ in phases}
    labels = metadata[["split", *sorted(columns, reverse=True)]].to_csv()
    return hashlib.sha256((cache.digest + labels).encode()).hexdigest()[:16]


def _training_rows(metadata, config):
    """Positions of the training records, those of `config.train_share` of the training patients."""
    rows = np.flatnonzero(metadata["split"] == "train")
    patients = metadata["patient_id"].to_numpy()[rows]
    drawn = np.random.default_rng(config.seed).permutation(np.unique(patients))
    return rows[np.isin(patients, drawn[: round(config.train_share * len(drawn))])]


def _targets(metadata, objective):
    """Labels of a phase: the statements as 0 and 1, whatever their likelihood, (N, 71), or the critical values, (N,)."""
    if objective != STATEMENTS:
        return torch.from_numpy(metadata["critical_value"].to_numpy(np.int64, copy=True))
    names = mapping.statements().index
    return torch.tensor([[float(name in codes) for name in names] for codes in metadata["scp_codes"]])


def source_digest():
    """Digest of the code that decides a run; comments, docstrings and layout do not count."""
    digest = hashlib.sha256()
    for name in SOURCES:
        tree = ast.parse(Path(__file__).with_name(name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value.value = ""
        digest.update(ast.unparse(tree).encode())
    return digest.hexdigest()[:16]


class _Trainer:
    """The state of one training run: phases, epochs, and the checkpoint after each epoch."""

    def __init__(self, config, cache, metadata, checkpoint, identity):
        self.config, self.cache, self.checkpoint, self.identity = config, cache, Path(checkpoint), identity
        self.metadata = metadata
        validation = np.flatnonzero(metadata["split"] == "validation")
        self.rows = {"train": _training_rows(metadata, config), "validation": validation}
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
        data = _data_digest(self.cache, self.metadata, self.config.phases[phase : phase + 1])
        return hashlib.sha256(json.dumps([config, data, self.identity["code"]]).encode()).hexdigest()[:16]

    def _train_phase(self, phase, saved):
        objective, epochs = self.config.phases[phase]
        model = self._build(phase, objective)
        last = phase == len(self.config.phases) - 1
        rate = (last and self.config.finetune_rate) or self.config.learning_rate
        optimizer = torch.optim.Adam(model.parameters(), rate, weight_decay=self.config.weight_decay, fused=True)
        state = {"model": model, "optimizer": optimizer, "scheduler": self._scheduler(optimizer, rate, epochs)}
        best, start = {"loss": float("inf")}, 0
        wrapped, optimizer = self.fabric.setup(model, optimizer)  # before a checkpoint is loaded, as it sets the precision
        if saved:
            for name, part in state.items():
                part.load_state_dict(saved[name])
            best, start = saved["best"], saved["epoch"] + 1
        targets = _targets(self.metadata, objective)
        loss_of = F.binary_cross_entropy_with_logits if objective == STATEMENTS else OBJECTIVES[objective].loss
        if self.config.average:
            state["averaged"] = self._averaged(model, saved)
        for epoch in range(start, epochs):
            began = time.time()
            step = functools.partial(self._step, wrapped, optimizer, targets, loss_of)
            train_loss = self._epoch(step, state, phase, epoch)
            kept = self._settled(state["averaged"].module if self.config.average else model)
            loss = self._validate(kept, targets, loss_of)
            if self.config.schedule == "plateau":
                state["scheduler"].step(loss)
            if loss < best["loss"]:
                best = {"loss": loss, "state": _copy(kept.state_dict())}
            row = {"phase": objective, "epoch": epoch + 1, "train_loss": train_loss, "validation_loss": loss}
            row["learning_rate"] = optimizer.param_groups[0]["lr"]
            self.history.append({**row, "seconds": round(time.time() - began, 1)})
            self._save(phase, epoch, state, best)
            self.fabric.print(f"{objective} epoch {epoch + 1}/{epochs}: train {train_loss:.4f}, validation {loss:.4f}")
        model.load_state_dict(best["state"])
        self.body = {name: value for name, value in _copy(model.state_dict()).items() if not name.startswith("head.")}
        return model

    def _averaged(self, model, saved):
        averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(self.config.average))
        if saved:
            averaged.load_state_dict(saved["averaged"])
        return averaged

    def _build(self, phase, objective):
        """A network for this phase: the body of the phase before, with a new head."""
        torch.manual_seed(_seed(self.config.seed, phase))
        if objective == STATEMENTS:
            head = {"outputs": len(mapping.statements())}
        else:
            head = {"outputs": OBJECTIVES[objective].outputs, "shared_slope": OBJECTIVES[objective].shared_slope}
        model = CardioV(CardioVConfig(**self.config.model, **head))
        if self.body:
            model.load_state_dict(self.body, strict=False)
        return compile_for(model.to(self.fabric.device), self.fabric.device)

    def _scheduler(self, optimizer, rate, epochs):
        config = self.config
        if config.schedule == "one-cycle":
            steps = epochs * self._steps()
            return torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
        return torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=config.plateau_factor, patience=config.plateau_patience
        )

    def _steps(self):
        """Optimiser steps an epoch; what does not fill a batch waits for the next shuffle."""
        return max(1, len(self.rows["train"]) // self.config.batch_size)

    def _epoch(self, step, state, phase, epoch):
        config, place = self.config, (self.config.seed, phase, epoch)
        # seeded anew for each epoch, so that a resumed run goes on as if it had not been killed
        order = np.random.default_rng(place).permutation(self.rows["train"])
        torch.manual_seed(_seed(*place, 0))  # dropout and augmentation
        state["model"].train()
        losses, size = [], config.batch_size
        batches = [_pieces(order[i * size : (i + 1) * size], config.micro_batch) for i in range(self._steps())]
        signals = self._signals(piece for pieces in batches for piece in self._own(pieces))
        bar = tqdm(batches, f"epoch {epoch + 1}", leave=False, disable=not self.fabric.is_global_zero)
        for i, pieces in enumerate(bar):
            losses.append(step(pieces, signals, (*place, i)))
            if config.average:
                state["averaged"].update_parameters(state["model"])
            if config.schedule == "one-cycle":
                state["scheduler"].step()
            bar.set_postfix(loss=f"{losses[max(0, i - 1)]:.3f}")  # a GPU is still busy with the last one
        return torch.stack(losses).mean().item()

    def _step(self, model, optimizer, targets, loss_of, pieces, signals, place):
        """One optimiser step on a batch, of whose pieces this process takes its share; their mean loss, on the device."""
        optimizer.zero_grad()
        records = sum(map(len, pieces))
        total, gradients = torch.zeros((), device=self.fabric.device), []
        for i, piece in self._share(model, pieces):
            if launched():  # whichever process has it, a piece has the same random numbers
                torch.manual_seed(_seed(*place, i))
            outputs = model(self._varied(next(signals)))
            loss = loss_of(outputs, targets[piece].to(outputs.device, non_blocking=True)) * (len(piece) / records)
            self.fabric.backward(loss)
            total += loss.detach()
            if self.fabric.world_size > 1:
                gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
                optimizer.zero_grad()
        if self.fabric.world_size > 1:
            with together():
                self._add_gradients(model, gradients, len(pieces))
                self._add_averages(model, total)
        optimizer.step()
        return total

    def _own(self, pieces):
        return pieces[self.fabric.global_rank :: self.fabric.world_size]

    def _signals(self, pieces):
        return signals_of(self.cache, pieces, self.fabric.device)

    def _share(self, model, pieces):
        """Every so many-th piece of a batch, with its number; at the others batch norm's averages fade as if they came by.

        All processes but the first start a batch with averages of zero. As these are linear in what each piece adds,
        their sum over the processes is what one process would have.
        """
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        for buffer in [] if self.fabric.is_global_zero else model.buffers():
            buffer.zero_()
        for i, piece in enumerate(pieces):
            if i % self.fabric.world_size == self.fabric.global_rank:
                yield i, piece
                continue
            for norm in norms:
                norm.running_mean *= 1 - norm.momentum
                norm.running_var *= 1 - norm.momentum

    def _add_gradients(self, model, gradients, pieces):
        """Give every process the sum of all pieces' gradients, added in their order, as one process adds them.

        In another order they are rounded differently, which a training in single precision blows up to another network.
        Each process adds up its share of the parameters and then has the others' sums.
        """
        world, parameters = self.fabric.world_size, list(model.parameters())
        most, size = -(-pieces // world), sum(parameter.numel() for parameter in parameters)
        laid = parameters[0].new_zeros(most, world * -(-size // world))  # zeros where a process has a piece less
        for row, gradient in zip(laid, gradients, strict=False):
            row[:size] = gradient
        shares = laid.view(most, world, -1).transpose(0, 1).contiguous()  # (process that adds it, piece, share)
        found = torch.empty_like(shares)
        distributed.all_to_all_single(found, shares)  # (process that it comes from, piece, share)
        own = functools.reduce(torch.add, found.transpose(0, 1).flatten(0, 1))
        added = laid.new_empty(laid.shape[1])
        distributed.all_gather_into_tensor(added, own)
        for parameter, part in zip(parameters, added[:size].split([p.numel() for p in parameters]), strict=True):
            parameter.grad = part.view_as(parameter)

    def _add_averages(self, model, total):
        """Sum batch norm's averages and the loss over the processes, in place."""
        parts = [*model.buffers(), total]
        flat = self.fabric.all_reduce(torch.cat([part.flatten() for part in parts]), reduce_op="sum")
        for part, added in zip(parts, flat.split([part.numel() for part in parts]), strict=True):
            part.copy_(added.view_as(part))

    def _varied(self, x):
        """Training signals (B, 12, n), cropped and augmented."""
        rate = self.cache.rate
        if self.config.crop:
            x = random_crop(x, round(self.config.crop * rate))
        return augment(x, rate, self.config.augment)

    def _settled(self, model):
        """The model, its batch norm's statistics estimated anew without dropout.

        Dropout ahead of batch norm makes the variance that is gathered in training larger than the one met afterwards
        (Li et al. 2019, Understanding the disharmony between dropout and batch normalization by variance shift).
        """
        model.eval()
        if not self.config.settle:
            return model
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.train()
        rows = np.random.default_rng(self.config.seed).permutation(self.rows["train"])[: self.config.settle]
        with torch.no_grad(), self.fabric.autocast():
            for i, x in enumerate(self._signals(_pieces(rows, self.config.micro_batch))):
                for norm in norms:
                    norm.momentum = 1 / (i + 1)  # the mean over all parts
                model(x.to(model.head.weight))
        for norm in norms:
            norm.momentum = MOMENTUM
        return model.eval()

    def _validate(self, model, targets, loss_of):
        """Mean loss on the validation records, of which every process takes its share."""
        rows, total = self.rows["validation"], 0.0
        parts = self._own(_pieces(rows, self.config.micro_batch))
        with torch.inference_mode():
            for part, x in zip(parts, self._signals(parts), strict=True):
                with self.fabric.autocast():
                    outputs = model(x.to(model.head.weight))
                outputs = outputs.to(model.head.weight)
                total += loss_of(outputs, targets[part].to(outputs.device)).item() * len(part)
        if self.fabric.world_size > 1:
            with together():
                total = self.fabric.all_reduce(torch.tensor(total, dtype=torch.float64), reduce_op="sum").item()
        return total / len(rows)

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
        if theirs != self.identity:
            raise CheckpointError(
                f"{self.checkpoint}: the checkpoint was made with {_difference(theirs, self.identity)}; "
                "restore that to resume it, or delete the file to train anew."
            )
        return saved


def _difference(theirs, ours):
    """Say in words what sets two runs apart."""
    flat = [run["config"] | {f"{key} digest": run[key] for key in ("data", "code")} for run in (theirs, ours)]
    changed = [name for name in flat[1] if flat[0].get(name) != flat[1][name]]
    return ", ".join(f"{name} {flat[0].get(name)} instead of {flat[1][name]}" for name in changed)


def _seed(*numbers):
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _copy(state):
    return {name: value.detach().cpu().clone() for name, value in state.items()}


def _finished(identity, weights_dir, run_dir):
    """Whether a whole run of this identity is there already."""
    written = [weights_dir / "weights.safetensors", run_dir / "predictions.csv", run_dir / "history.csv"]
    if not all(path.exists() for path in [*written, run_dir / "provenance.json"]):
        return False
    return json.loads((run_dir / "provenance.json").read_text()).get("run") == json.loads(json.dumps(identity))


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
