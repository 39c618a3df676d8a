"""One phase of a training run: a network, its optimiser, and the epochs that it goes through."""

import functools
import logging

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from cardiov import mapping
from cardiov.model import CardioV, CardioVConfig
from cardiov.objectives import OBJECTIVES
from cardiov.processes import launched, together
from cardiov.training.augmentation import augment, random_crop
from cardiov.training.batches import in_pieces, seed_of, signals_of, targets_of
from cardiov.training.config import STATEMENTS
from cardiov.training.exchange import add_averages, add_gradients, share

MOMENTUM = nn.BatchNorm2d(1).momentum
log = logging.getLogger(__name__)


class Phase:
    """Phase `number` of a run: it takes configuration, data, devices and `body`, the weights so far, of its trainer."""

    def __init__(self, trainer, number):
        self.config, self.cache, self.fabric, self.rows = trainer.config, trainer.cache, trainer.fabric, trainer.rows
        self.number, (self.objective, self.epochs) = number, self.config.phases[number]
        self.targets = targets_of(trainer.metadata, self.objective)
        statements = self.objective == STATEMENTS
        self.loss_of = F.binary_cross_entropy_with_logits if statements else OBJECTIVES[self.objective].loss
        self.model = self._build(trainer.body)
        last = number == len(self.config.phases) - 1
        rate = (last and self.config.finetune_rate) or self.config.learning_rate
        optimizer = torch.optim.Adam(self.model.parameters(), rate, weight_decay=self.config.weight_decay, fused=True)
        self.state = {"model": self.model, "optimizer": optimizer, "scheduler": self._scheduler(optimizer, rate)}
        self._wrapped, self.optimizer = self.fabric.setup(self.model, optimizer)
        if self.config.average:
            self.state["averaged"] = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(self.config.average))

    def resume(self, saved):
        """Go on from a checkpoint; after `setup`, which sets the precision."""
        for name, part in self.state.items():
            part.load_state_dict(saved[name])

    def _build(self, body):
        """A network for this phase: the body of the phase before, with a new head."""
        torch.manual_seed(seed_of(self.config.seed, self.number))
        if self.objective == STATEMENTS:
            head = {"outputs": len(mapping.statements())}
        else:
            objective = OBJECTIVES[self.objective]
            head = {"outputs": objective.outputs, "shared_slope": objective.shared_slope}
        model = CardioV(CardioVConfig(**self.config.model, **head))
        if body:
            model.load_state_dict(body, strict=False)
        return compile_for(model.to(self.fabric.device), self.fabric.device)

    def _scheduler(self, optimizer, rate):
        config = self.config
        if config.schedule == "one-cycle":
            steps = self.epochs * self._steps()
            return torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
        return torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=config.plateau_factor, patience=config.plateau_patience
        )

    def _steps(self):
        """Optimiser steps an epoch; what does not fill a batch waits for the next shuffle."""
        return max(1, len(self.rows["train"]) // self.config.batch_size)

    def epoch(self, number):
        """Train on all records once; the mean loss of its steps."""
        config, place = self.config, (self.config.seed, self.number, number)
        # seeded anew for each epoch, so that a resumed run goes on as if it had not been killed
        order = np.random.default_rng(place).permutation(self.rows["train"])
        torch.manual_seed(seed_of(*place, 0))  # dropout and augmentation
        self.model.train()
        losses, size = [], config.batch_size
        batches = [in_pieces(order[i * size : (i + 1) * size], config.micro_batch) for i in range(self._steps())]
        signals = self._signals(piece for pieces in batches for piece in self._own(pieces))
        bar = tqdm(batches, f"epoch {number + 1}", leave=False, disable=not self.fabric.is_global_zero)
        for i, pieces in enumerate(bar):
            losses.append(self._step(pieces, signals, (*place, i)))
            if config.average:
                self.state["averaged"].update_parameters(self.model)
            if config.schedule == "one-cycle":
                self.state["scheduler"].step()
            bar.set_postfix(loss=f"{losses[max(0, i - 1)]:.3f}")  # a GPU is still busy with the last one
        return torch.stack(losses).mean().item()

    def _step(self, pieces, signals, place):
        """One optimiser step on a batch, of whose pieces this process takes its share; their mean loss, on the device."""
        model, optimizer = self._wrapped, self.optimizer
        optimizer.zero_grad()
        records = sum(map(len, pieces))
        total, gradients = torch.zeros((), device=self.fabric.device), []
        for i, piece in share(self.fabric, model, pieces):
            if launched():  # whichever process has it, a piece has the same random numbers
                torch.manual_seed(seed_of(*place, i))
            outputs = model(self._varied(next(signals)))
            loss = self.loss_of(outputs, self.targets[piece].to(outputs.device, non_blocking=True)) * (len(piece) / records)
            self.fabric.backward(loss)
            total += loss.detach()
            if self.fabric.world_size > 1:
                gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
                optimizer.zero_grad()
        if self.fabric.world_size > 1:
            with together():
                add_gradients(self.fabric, model, gradients, len(pieces))
                add_averages(self.fabric, model, total)
        optimizer.step()
        return total

    def _own(self, pieces):
        return pieces[self.fabric.global_rank :: self.fabric.world_size]

    def _signals(self, pieces):
        return signals_of(self.cache, pieces, self.fabric.device)

    def _varied(self, x):
        """Training signals (B, 12, n), cropped and augmented."""
        rate = self.cache.rate
        if self.config.crop:
            x = random_crop(x, round(self.config.crop * rate))
        return augment(x, rate, self.config.augment)

    def settled(self):
        """What the epoch leaves: the model, or its moving average, batch norm's statistics estimated anew without dropout.

        Dropout ahead of batch norm makes the variance that is gathered in training larger than the one met afterwards
        (Li et al. 2019, Understanding the disharmony between dropout and batch normalization by variance shift).
        """
        model = self.state["averaged"].module if self.config.average else self.model
        model.eval()
        if not self.config.settle:
            return model
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.train()
        rows = np.random.default_rng(self.config.seed).permutation(self.rows["train"])[: self.config.settle]
        with torch.no_grad(), self.fabric.autocast():
            for i, x in enumerate(self._signals(in_pieces(rows, self.config.micro_batch))):
                for norm in norms:
                    norm.momentum = 1 / (i + 1)  # the mean over all parts
                model(x.to(model.head.weight))
        for norm in norms:
            norm.momentum = MOMENTUM
        return model.eval()

    def validate(self, model):
        """Mean loss on the validation records, of which every process takes its share; a plateau is noticed by it."""
        rows, total = self.rows["validation"], 0.0
        parts = self._own(in_pieces(rows, self.config.micro_batch))
        with torch.inference_mode():
            for part, x in zip(parts, self._signals(parts), strict=True):
                with self.fabric.autocast():
                    outputs = model(x.to(model.head.weight))
                outputs = outputs.to(model.head.weight)
                total += self.loss_of(outputs, self.targets[part].to(outputs.device)).item() * len(part)
        if self.fabric.world_size > 1:
            with together():
                total = self.fabric.all_reduce(torch.tensor(total, dtype=torch.float64), reduce_op="sum").item()
        loss = total / len(rows)
        if self.config.schedule == "plateau":
            self.state["scheduler"].step(loss)
        return loss


def compile_for(model: nn.Module, device: torch.device) -> nn.Module:
    """The model, compiled in place where the device is a GPU that torch can compile for; its parameters keep their names."""
    if device.type == "cuda" and _compiles(device):
        model.compile()
    return model


@functools.cache
def _compiles(device):
    """Whether torch's compiler works here; it needs a C compiler and Python's headers, which not every machine has."""
    try:
        torch.compile(nn.functional.silu)(torch.ones(8, device=device))
    except Exception as error:  # of many kinds
        reason = str(error).strip().splitlines()[0]
        log.warning("networks are not compiled, and so are trained more slowly: torch's compiler does not work here (%s).", reason)
        return False
    return True
