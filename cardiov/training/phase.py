"""One phase of a training run: a network, its optimiser, and its epochs."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from cardiov import mapping
from cardiov.objectives import OBJECTIVES
from cardiov.training.augmentation import augment, random_crop
from cardiov.training.backbones import build_network
from cardiov.training.batches import in_pieces, seed_of, signals_of, softened, targets_of
from cardiov.training.config import CONTRAST, STATEMENTS
from cardiov.training.devices import compile_for

BATCH_NORMS = nn.BatchNorm2d, nn.SyncBatchNorm
TEMPERATURE = 0.1  # of what tells records apart
KEPT = "statements."  # in the names of the weights of the statements' head
MOMENTUM = nn.BatchNorm2d(1).momentum


class WithStatements(nn.Module):
    """A network with a second head, which says the statements: (B, 12, n) -> logits (B, m) and (B, 71)."""

    def __init__(self, model, body):
        super().__init__()
        self.model, self.statements = model, nn.Linear(model.head.in_features, len(mapping.statements()))
        self.statements.load_state_dict({name: body[f"{KEPT}{name}"] for name in self.statements.state_dict()})

    def forward(self, x):
        pooled = self.model.features(x).mean((2, 3))  # (B, width)
        return self.model.head(pooled), self.statements(pooled)


def contrast(outputs, _=None):
    """Loss of finding each row's partner, rows b and B + b of outputs (2B, m) being of one record.

    SimCLR: Chen et al. 2020, *A simple framework for contrastive learning of visual representations*, arXiv:2002.05709.
    """
    directions = F.normalize(outputs, dim=1)
    likeness = (directions @ directions.T / TEMPERATURE).fill_diagonal_(-torch.inf)  # (2B, 2B)
    return F.cross_entropy(likeness, torch.arange(len(outputs), device=outputs.device).roll(len(outputs) // 2))


# outputs and loss of the tasks before the objective
AUXILIARY = {CONTRAST: (64, contrast), STATEMENTS: (len(mapping.statements()), F.binary_cross_entropy_with_logits)}


class Phase:
    """Phase `number` of the trainer's run, which starts from the trainer's `body`, the weights of the phase before."""

    def __init__(self, trainer, number):
        self.config, self.cache, self.fabric, self.rows = trainer.config, trainer.cache, trainer.fabric, trainer.rows
        self.number, (self.objective, self.epochs) = number, self.config.phases[number]
        self.targets = targets_of(trainer.metadata, self.objective, self.config.likelihoods)
        auxiliary = self.objective in AUXILIARY
        self.loss_of = AUXILIARY[self.objective][1] if auxiliary else OBJECTIVES[self.objective].loss
        self.taught = self.targets, self.loss_of  # in training; the validation's are always the labels
        if self.config.teacher_weight and self.objective == "ordinal":
            self.taught = softened(trainer.metadata, self.config.teacher_weight), F.binary_cross_entropy_with_logits
        self.model = whole = self._build(trainer.body)
        self.said = None
        if self.config.statements_weight and not auxiliary:
            self.said = targets_of(trainer.metadata, STATEMENTS, self.config.likelihoods)
            whole = compile_for(WithStatements(self.model, trainer.body).to(self.fabric.device), self.fabric.device)
        last = number == len(self.config.phases) - 1
        rate = (last and self.config.finetune_rate) or self.config.learning_rate
        optimizer = torch.optim.Adam(whole.parameters(), rate, weight_decay=self.config.weight_decay, fused=True)
        self.state = {"model": whole, "optimizer": optimizer, "scheduler": self._scheduler(optimizer, rate)}
        self._wrapped, self.optimizer = self.fabric.setup(whole, optimizer)
        if self.config.average:
            self.state["averaged"] = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(self.config.average))

    def resume(self, saved):
        for name, part in self.state.items():
            part.load_state_dict(saved[name])

    def _build(self, body):
        """A network with this phase's head."""
        torch.manual_seed(seed_of(self.config.seed, self.number))
        if self.objective in AUXILIARY:
            head = {"outputs": AUXILIARY[self.objective][0]}
        else:
            objective = OBJECTIVES[self.objective]
            head = {"outputs": objective.outputs, "shared_slope": objective.shared_slope}
        model = build_network(self.config.model, **head)
        if body:
            model.load_state_dict(body, strict=False)
        if self.config.sync_batch_norm and self.fabric.world_size > 1:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
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
        """Optimiser steps per epoch; records that do not fill a batch wait for the next epoch's order."""
        return max(1, len(self.rows["train"]) // self.config.batch_size)

    def epoch(self, number):
        """Train on all records once; the mean loss of the steps."""
        config, fabric, place = self.config, self.fabric, (self.config.seed, self.number, number)
        # seeded in each epoch, so that a resumed run continues as if it had not been interrupted
        order = np.random.default_rng(place).permutation(self.rows["train"])
        torch.manual_seed(seed_of(*place, fabric.global_rank))  # dropout and augmentation
        self.model.train()
        batches = np.array_split(order[: self._steps() * config.batch_size], self._steps())
        batches = [in_pieces(batch, config.micro_batch, fabric.world_size) for batch in batches]
        signals = self._signals(piece for pieces in batches for piece in self._own(pieces))
        losses, bar = [], tqdm(batches, f"epoch {number + 1}", leave=False, disable=not fabric.is_global_zero)
        for i, pieces in enumerate(bar):
            losses.append(self._step(pieces, signals))
            if config.average:
                self.state["averaged"].update_parameters(self.model)
            if config.schedule == "one-cycle":
                self.state["scheduler"].step()
            bar.set_postfix(loss=f"{losses[max(0, i - 1)]:.3f}")  # a GPU is still busy with the last one
        self._average_statistics()
        return fabric.all_reduce(torch.stack(losses).mean()).item()

    def _step(self, pieces, signals):
        """One optimiser step on a batch, whose pieces the processes share; the mean loss of this process's pieces."""
        own, records = self._own(pieces), sum(map(len, pieces))
        total = torch.zeros((), device=self.fabric.device)
        self.optimizer.zero_grad()
        for piece in own:
            # gradients are accumulated, and averaged over the processes with the last piece
            with self.fabric.no_backward_sync(self._wrapped, enabled=piece is not own[-1]):
                loss = self._loss(self._wrapped(self._seen(next(signals))), piece)
                loss = loss * (len(piece) * self.fabric.world_size / records)
                self.fabric.backward(loss)
            total += loss.detach()
        self.optimizer.step()
        return total

    def _loss(self, outputs, piece):
        """Mean training loss of a piece; where the statements are kept, theirs is added."""
        outputs, said = (outputs, None) if self.said is None else outputs  # (B, m), (B, 71)
        targets, loss_of = self.taught
        loss = loss_of(outputs, targets[piece].to(outputs.device, non_blocking=True))
        if said is None:
            return loss
        beside = F.binary_cross_entropy_with_logits(said, self.said[piece].to(said.device, non_blocking=True))
        return loss + self.config.statements_weight * beside

    def body(self):
        """Weights that the next phase starts from: all but the head's, and the head of the statements where it is known."""
        head = self.model.head if self.objective == STATEMENTS else getattr(self.state["model"], "statements", None)
        body = {name: value for name, value in self.model.state_dict().items() if not name.startswith("head.")}
        return body | ({} if head is None else {f"{KEPT}{name}": value for name, value in head.state_dict().items()})

    def _average_statistics(self):
        """Give every process the mean of all processes' statistics of batch norm."""
        for part in self.state.values():
            for buffer in part.buffers() if isinstance(part, nn.Module) else ():
                if buffer.is_floating_point():
                    buffer.copy_(self.fabric.all_reduce(buffer))

    def _own(self, pieces):
        return pieces[self.fabric.global_rank :: self.fabric.world_size]

    def _signals(self, pieces):
        return signals_of(self.cache, pieces, self.fabric.device)

    def _seen(self, x):
        """What a training step sees of signals (B, 12, n); where records are told apart, two variants of each, (2B, 12, n)."""
        return torch.cat([self._varied(x), self._varied(x)]) if self.objective == CONTRAST else self._varied(x)

    def _varied(self, x):
        """Training signals (B, 12, n), cropped and augmented."""
        rate = self.cache.rate
        if self.config.crop:
            x = random_crop(x, round(self.config.crop * rate))
        return augment(x, rate, self.config.augment)

    def settled(self):
        """The epoch's network, or the moving average; with `settle`, batch norm's statistics are estimated without dropout.

        Dropout before batch norm makes the variance that is gathered in training larger than the one met afterwards
        (Li et al. 2019, Understanding the disharmony between dropout and batch normalization by variance shift).
        """
        model = self.state["averaged"].module if self.config.average else self.model
        model.eval()
        if not self.config.settle:
            return model
        norms = [module for module in model.modules() if isinstance(module, BATCH_NORMS)]
        for norm in norms:
            norm.train()
        rows = np.random.default_rng(self.config.seed).permutation(self.rows["train"])[: self.config.settle]
        with torch.no_grad(), self.fabric.autocast():
            for i, x in enumerate(self._signals(in_pieces(rows, self.config.micro_batch))):
                for norm in norms:
                    norm.momentum = 1 / (i + 1)  # the mean over all pieces
                model(x.to(model.head.weight))
        for norm in norms:
            norm.momentum = MOMENTUM
        return model.eval()

    def validate(self, model):
        """Mean loss on the validation records, which the plateau schedule sees; NaN for a final fit, which has none."""
        rows, total = self.rows["validation"], 0.0
        if not len(rows):
            return float("nan")
        pieces = self._own(in_pieces(rows, self.config.micro_batch))
        with torch.inference_mode():
            for piece, x in zip(pieces, self._signals(pieces), strict=True):
                if self.objective == CONTRAST:  # both ends of each record
                    length = round(self.config.crop * self.cache.rate)
                    x = torch.cat([x[..., :length], x[..., -length:]])
                with self.fabric.autocast():
                    outputs = model(x.to(model.head.weight))
                outputs = outputs.to(model.head.weight)
                total += self.loss_of(outputs, self.targets[piece].to(outputs.device)).item() * len(piece)
        if self.fabric.world_size > 1:
            total = self.fabric.all_reduce(torch.tensor(total, dtype=torch.float64), reduce_op="sum").item()
        loss = total / len(rows)
        if self.config.schedule == "plateau":
            self.state["scheduler"].step(loss)
        return loss
