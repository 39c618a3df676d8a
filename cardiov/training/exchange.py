"""Several processes that train one network: they add up gradients and batch norm's averages."""

import functools
import logging
import os

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import distributed, nn

from cardiov.errors import ParameterError
from cardiov.processes import PATIENCE

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


class _SideBySide(DDPStrategy):
    """Processes with a plain network each: a step adds up what they found, however many pieces each had."""

    def setup_module(self, module):
        return module


def make_fabric(precision="32-true"):
    """Fabric on the processes that were launched (`cardiov.processes`), or on one; a GPU is taken where there is one."""
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


def share(fabric, model, pieces):
    """Every so many-th piece of a batch, with its number; at the others batch norm's averages fade as if they came by.

    All processes but the first start a batch with averages of zero. As these are linear in what each piece adds,
    their sum over the processes is what one process would have.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for buffer in [] if fabric.is_global_zero else model.buffers():
        buffer.zero_()
    for i, piece in enumerate(pieces):
        if i % fabric.world_size == fabric.global_rank:
            yield i, piece
            continue
        for norm in norms:
            norm.running_mean *= 1 - norm.momentum
            norm.running_var *= 1 - norm.momentum


def add_gradients(fabric, model, gradients, pieces):
    """Give every process the sum of all pieces' gradients, added in their order, as one process adds them.

    In another order they are rounded differently, which a training in single precision blows up to another network.
    Each process adds up its share of the parameters and then has the others' sums.
    """
    world, parameters = fabric.world_size, list(model.parameters())
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


def add_averages(fabric, model, total):
    """Sum batch norm's averages and the loss over the processes, in place."""
    parts = [*model.buffers(), total]
    flat = fabric.all_reduce(torch.cat([part.flatten() for part in parts]), reduce_op="sum")
    for part, added in zip(parts, flat.split([part.numel() for part in parts]), strict=True):
        part.copy_(added.view_as(part))
