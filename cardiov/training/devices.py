"""Devices that a network is trained on: the processor, a GPU, or a GPU for each process of torchrun."""

import functools
import logging
import os
from datetime import timedelta

import torch
from torch import nn

from cardiov.errors import ParameterError

PATIENCE = timedelta(minutes=10)  # until a process that does not answer counts as lost
WITHOUT_BFLOAT16 = "avx512_core", "avx512_core_vnni"  # with these oneDNN takes bfloat16, and multiplies it as float32
log = logging.getLogger(__name__)
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


@functools.cache  # so that it is said once
def chosen_precision(name: str) -> str:
    """Fabric's name of a precision: for "auto" bf16-mixed on a device that multiplies bfloat16 in hardware, else 32-true."""
    if name != "auto":
        return name
    if torch.cuda.is_available():
        device, low = "GPU", torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        device, low = "processor", multiplies_bfloat16()
    precision, verb = ("bf16-mixed", "multiplies") if low else ("32-true", "does not multiply")
    log.info('precision "auto" is %s here: torch %s bfloat16 in hardware on this %s.', precision, verb, device)
    return precision


def multiplies_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware (AVX-512 BF16), and torch's libraries use that.

    Without it training took 1.5 to 13 times as long in bfloat16 as in single precision (measured). ONEDNN_MAX_CPU_ISA and
    ATEN_CPU_CAPABILITY can hold the libraries to older instructions. Processors other than x86 are not measured yet: False.
    """
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA", "")
    return (
        torch.cpu.get_capabilities().get("avx512_bf16", False)
        and torch.backends.mkldnn.is_available()  # oneDNN, by its former name
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        and limit.lower() not in WITHOUT_BFLOAT16
        and torch.backends.cpu.get_cpu_capability() != "DEFAULT"  # without vectors, what oneDNN gains is lost between its layers
    )


def make_fabric(precision: str = "32-true"):
    """A ``lightning_fabric.Fabric`` on a GPU if there is one, and under torchrun over all processes.

    Raises
    ------
    ParameterError
        If a machine with GPUs has more processes than GPUs.
    """
    from lightning_fabric import Fabric  # takes seconds, and most of what imports this module trains nothing
    from lightning_fabric.strategies import DDPStrategy

    devices = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    nodes = int(os.environ.get("WORLD_SIZE", 1)) // devices
    if torch.cuda.is_available() and devices > torch.cuda.device_count():
        raise ParameterError(f"{devices} processes need as many GPUs, and here are {torch.cuda.device_count()}: start fewer processes.")
    # batch norm's statistics are exchanged after each epoch, by `Phase`
    strategy = DDPStrategy(timeout=PATIENCE, forward_sync_buffers=False) if devices * nodes > 1 else "auto"
    torch.backends.cudnn.allow_tf32 = False  # single precision is what it says; speed comes from "bf16-mixed"
    torch.backends.cudnn.deterministic = True  # equal runs give equal networks on a GPU too
    fabric = Fabric(accelerator="auto", devices=devices, num_nodes=nodes, strategy=strategy, precision=precision)
    fabric.launch()
    return fabric


def compile_for(model: nn.Module, device: torch.device) -> nn.Module:
    """The model, compiled in place if the device is a GPU and torch's compiler works; its parameters keep their names."""
    if device.type == "cuda" and _compiles(device):
        model.compile()
    return model


@functools.cache
def _compiles(device):
    """Whether torch's compiler works here; it needs a C compiler and Python's headers."""
    try:
        torch.compile(nn.functional.silu)(torch.ones(8, device=device))
    except Exception as error:  # of many kinds
        reason = str(error).strip().splitlines()[0]
        log.warning("networks are not compiled, and so are trained more slowly: torch's compiler does not work here (%s).", reason)
        return False
    return True
